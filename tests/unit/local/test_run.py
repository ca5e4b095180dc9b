"""What `make run` starts itself, and what it tells its user."""

import json
import shlex
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from local.host.settings import read_settings_file
from local.instructions import GROUP, IMAGES, PROJECT, Places, instructions, shell_file, what_survives
from local.run import (
    SAMPLE_FILE,
    SHORTENED,
    is_storage_local,
    local_endpoints,
    places,
    port_or_any,
    read_settings,
    with_shortened_waits,
)
from local.terminal import WIDTH

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


def test_what_an_earlier_run_put_into_the_terminal_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"Values": {"A": "file", "B": "file"}}))
    written = shell_file(replace(LOCAL, local=(("A", "http://127.0.0.1:1"),)))
    for line in written.splitlines():
        if line.startswith("export "):
            for word in shlex.split(line)[1:]:
                name, _, value = word.partition("=")
                if name != "PATH":
                    monkeypatch.setenv(name, value)
    assert read_settings(file) == {"A": "file", "B": "file"}


def test_waits_of_the_host_are_short_unless_somebody_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "LOCAL_HOST_LEASE_SECONDS"
    monkeypatch.delenv(name, raising=False)
    assert with_shortened_waits({"A": "1"}) == {**SHORTENED, "A": "1"}
    assert with_shortened_waits({name: "600"})[name] == "600"
    monkeypatch.setenv(name, "5")
    assert with_shortened_waits({name: "600"})[name] == "5"


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


def test_the_users_own_connection_string_is_written_nowhere() -> None:
    settings = {"AzureWebJobsStorage": "AccountKey=secret", **dict.fromkeys(SAMPLE, OWN), **QUEUES}
    what = places(settings, None, storage_is_ours=False)
    assert "secret" not in instructions(what, "terminal.sh", "host.log") + shell_file(what)
    assert "export AZURE_STORAGE_CONNECTION_STRING='<that of your storage account>'" in instructions(
        what, "f", "host.log"
    )


LOCAL = Places("connection", "updates", "watches", "events", PROJECT, IMAGES[0], GROUP, "http://127.0.0.1:7080")


def test_the_printed_commands_name_what_is_there() -> None:
    told = instructions(LOCAL, "terminal.sh", "host.log")
    assert (
        f"vision-relay put --project-id {PROJECT} \\\n  --image-id {IMAGES[0]} \\\n  collection=Harbour decade=1950s"
        in told
    )
    assert f"vision-relay watch personGroup {GROUP}" in told


def test_nothing_that_is_printed_is_wider_than_a_terminal() -> None:
    sample = read_settings_file(SAMPLE_FILE)
    updates, watches, events = (sample[name] for name in QUEUES)
    what = replace(LOCAL, updates=updates, watches=watches, events=events)
    printed = instructions(what, ".local/terminal.sh", ".local/host.log") + what_survives(
        ".local", storage=True, simulation=True
    )
    assert max(map(len, printed.splitlines())) <= WIDTH


def test_without_the_simulation_nothing_is_said_of_it() -> None:
    without = replace(LOCAL, simulation=None)
    assert "simulated" not in instructions(without, "f", "host.log") + what_survives(
        "d", storage=True, simulation=False
    )
    assert "curl" not in shell_file(without)
    assert what_survives("d", storage=False, simulation=False) == ""
