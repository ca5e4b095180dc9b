"""What `make run` starts itself, and what it tells its user."""

import json
import socket
from pathlib import Path

import pytest

from local.instructions import Places, instructions
from local.run import is_storage_local, local_endpoints, places, port_or_any, read_settings

SAMPLE = {"CUSTOM_VISION_ENDPOINT": "http://127.0.0.1:7080", "FACE_ENDPOINT": "http://127.0.0.1:7080"}
OWN = "https://own.cognitiveservices.azure.com"
QUEUES = {"METADATA_UPDATES_QUEUE": "updates", "TRAINING_WATCHES_QUEUE": "watches", "EVENTS_QUEUE": "events"}


def test_development_storage_means_azurite_and_anything_else_the_users_account() -> None:
    assert is_storage_local({"AzureWebJobsStorage": "UseDevelopmentStorage=true"})
    assert not is_storage_local({"AzureWebJobsStorage": "AccountName=own;AccountKey=k"})
    assert not is_storage_local({"AzureWebJobsStorage__accountName": "own"})


def test_the_simulation_stands_for_the_samples_endpoints_alone() -> None:
    assert local_endpoints(SAMPLE, SAMPLE) == ["CUSTOM_VISION_ENDPOINT", "FACE_ENDPOINT"]
    assert local_endpoints({**SAMPLE, "FACE_ENDPOINT": OWN}, SAMPLE) == ["CUSTOM_VISION_ENDPOINT"]
    assert local_endpoints(dict.fromkeys(SAMPLE, OWN), SAMPLE) == []


def test_the_environment_wins_over_the_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"Values": {"A": "file", "B": "file"}}))
    monkeypatch.setenv("A", "environment")
    assert read_settings(file) == {"A": "environment", "B": "file"}


def test_a_taken_port_is_given_up_with_a_notice(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        assert port_or_any(other.getsockname()[1], "Azurite") == 0
    assert "Azurite gets another one" in capsys.readouterr().out


def test_a_free_port_is_taken() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
    assert port_or_any(port, "Azurite") == port


def test_the_users_own_connection_string_is_never_printed() -> None:
    settings = {"AzureWebJobsStorage": "AccountKey=secret", **dict.fromkeys(SAMPLE, OWN), **QUEUES}
    assert "secret" not in instructions(places(settings, None, storage_is_ours=False))


def test_the_printed_messages_are_valid_json_for_the_named_queues() -> None:
    told = instructions(Places("connection", "updates", "watches", "events", "p", "i", "g", None))
    lines = told.splitlines()
    [update] = [line for line in lines if line.startswith("send updates ")]
    [watch] = [line for line in lines if line.startswith("send watches ")]
    assert json.loads(update.split("'")[1]) == {"projectId": "p", "imageIds": ["i"], "metadata": {"season": "summer"}}
    assert json.loads(watch.split("'")[1]) == {"kind": "personGroup", "id": "g"}
    assert "curl" not in told
