"""`vision-relay status` and `vision-relay doctor`: the state of the app, and what to do where something is wrong."""

import base64
import json
import os
import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from local.simulation.models import Api, Fault, FaultKind
from shared.limits.distributed_rate_limit import NEW_PERMIT, Permit
from tests.integration.ops.conftest import PROJECT_ROOT, Bench, Control
from tests.integration.ops.test_dead_letters import letter, never_valid, put


def status(bench: Bench, **environment: str) -> Any:
    return bench.run("status", "--json", environment=environment).json


def checks(bench: Bench, *arguments: str, **environment: str) -> dict[str, dict[str, Any]]:
    result = bench.run("doctor", "--json", *arguments, environment=environment)
    return {check["check"]: check for check in result.json}


class TestStatus:
    def test_all_is_well_where_nothing_waits(self, bench: Bench) -> None:
        result = bench.run("status")
        assert result.code == 0, result.out
        assert "all is well" in result.out
        assert "responds in" in result.out

    def test_depths_ages_and_letters_are_told(self, bench: Bench) -> None:
        for _ in range(3):
            bench.updates.send_message("x")
        put(bench, letter(bench), letter(bench), never_valid())
        said = status(bench)
        queues = {queue["role"]: queue for queue in said["queues"]}
        assert queues["updates"]["messages"] == 3
        assert 0 <= queues["updates"]["oldestSeconds"] < 60
        assert queues["dead letters of updates"]["messages"] == 3
        assert said["deadLetters"] == {"refused ErrorImageNotFound": 2, "invalid": 1}
        assert {"problem": "3 dead letters", "advice": "vision-relay dead-letters list"} in said["findings"]
        assert bench.run("status").code == 1

    def test_permits_in_use_are_told(self, bench: Bench) -> None:
        environment = {"CUSTOM_VISION_CALLS_PER_SECOND": "10"}
        none = {"callsPerSecond": 10, "permits": None, "inUse": 0, "idle": 0, "idleAndRefusedLately": 0}
        assert status(bench, **environment)["limit"] == none
        queue = bench.queue("PERMITS_QUEUE")
        queue.create_queue()
        for _ in range(9):
            queue.send_message("{}")
        assert queue.receive_message(visibility_timeout=60) is not None
        said = status(bench, **environment)
        assert said["limit"] == {**none, "permits": 9, "inUse": 1, "idle": 8}
        assert said["findings"][0]["problem"] == "there are 9 permits; 10 calls a second need 10"
        queue.close()

    def test_permits_that_were_refused_with_429_are_told_when_they_can_be_seen_again(self, bench: Bench) -> None:
        refused = Permit(mock.Mock(), refused_at=int(time.time())).text
        with bench.queue("PERMITS_QUEUE") as queue:
            queue.create_queue()
            queue.send_message(refused)
            queue.send_message(NEW_PERMIT)
            queue.send_message(refused, visibility_timeout=60)
        said = status(bench, CUSTOM_VISION_CALLS_PER_SECOND="3")
        assert said["limit"] == {"callsPerSecond": 3, "permits": 3, "inUse": 1, "idle": 2, "idleAndRefusedLately": 1}
        assert said["findings"][0]["problem"] == "Custom Vision refused calls with 429 in the last 2 min"

    def test_an_api_that_refuses_with_429_is_told(self, bench: Bench, control: Control) -> None:
        control.set_faults(Api.CUSTOM_VISION, Fault(kind=FaultKind.TOO_MANY_REQUESTS))
        try:
            result = bench.run("status")
        finally:
            control.set_faults(Api.CUSTOM_VISION)
        assert result.code == 1
        assert "refuses calls with 429" in result.out
        assert "CUSTOM_VISION_CALLS_PER_SECOND is more" in " ".join(result.out.split())

    def test_an_api_that_does_not_answer_is_told(self, bench: Bench, control: Control) -> None:
        control.begin_outage(Api.FACE, FaultKind.UNAVAILABLE_HTML)
        try:
            said = status(bench)
        finally:
            control.end_outage(Api.FACE)
        assert [api["problem"] is None for api in said["apis"]] == [True, False]
        assert "messages wait" in said["findings"][0]["advice"]

    def test_a_missing_queue_is_told(self, bench: Bench) -> None:
        said = status(bench, TRAINING_WATCHES_QUEUE="nobody-made-this")
        assert said["findings"][0]["problem"] == "there is no queue nobody-made-this"

    def test_following_prints_a_line_each_time(self, bench: Bench) -> None:
        process = bench.start("status", "--follow", "--json")
        process.join(5)
        process.terminate()
        process.join()
        lines = bench.stdout.splitlines()
        assert len(lines) >= 2
        assert all("queues" in json.loads(line) for line in lines)


class TestDoctor:
    def test_all_is_well(self, bench: Bench) -> None:
        result = bench.run("doctor", "--app", str(PROJECT_ROOT))
        assert result.code == 0, result.out
        lines = result.out.splitlines()
        assert lines[0] == "settings come from the environment and local.settings.json"
        assert all(line.startswith("ok ") for line in lines[1:]), "one line each"

    def test_missing_queues_are_told_and_made_if_asked(self, bench: Bench) -> None:
        name = f"new-{bench.settings['EVENTS_QUEUE']}"
        environment = {"METADATA_UPDATES_QUEUE": name}
        missing = checks(bench, **environment)[f"queue {name}"]
        assert missing["level"] == "failed"
        assert missing["advice"] == "vision-relay doctor --create-queues"
        assert checks(bench, "--create-queues", **environment)[f"queue {name}"]["found"] == "is created"
        assert checks(bench, **environment)[f"queue {name}"]["level"] == "ok"

    def test_rights_are_tried_and_nothing_is_left_behind(self, bench: Bench) -> None:
        found = checks(bench)["rights in storage"]
        assert found["found"] == "a connection string may read, send and delete"
        assert bench.updates.get_queue_properties().approximate_message_count == 0

    def test_a_wrong_key_of_storage_is_told_without_it(self, bench: Bench) -> None:
        key = base64.b64encode(os.urandom(32)).decode()
        parts = bench.settings["AzureWebJobsStorage"].split(";")
        wrong = ";".join(f"AccountKey={key}" if part.startswith("AccountKey=") else part for part in parts)
        result = bench.run("doctor", "--json", environment={"AzureWebJobsStorage": wrong})
        assert result.code == 1
        assert "Storage Queue Data Contributor" in result.out
        assert key not in result.out + result.err

    def test_a_wrong_key_of_an_api_names_its_setting(self, bench: Bench) -> None:
        found = checks(bench, CUSTOM_VISION_TRAINING_KEY="wrong")["Custom Vision"]
        assert found["level"] == "failed"
        assert "CUSTOM_VISION_TRAINING_KEY" in found["found"]

    def test_what_the_app_would_not_start_with_is_told(self, bench: Bench) -> None:
        del bench.settings["FACE_ENDPOINT"]
        bench.write_settings()
        found = checks(bench)
        assert found["settings"]["level"] == "warning"
        assert "FACE_ENDPOINT: is missing" in found["settings"]["found"]
        assert found["Face"]["level"] == "skipped"

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"messageEncoding": "base64"}, "messageEncoding"),
            ({"newBatchThreshold": 1}, "calls cannot be full"),
            ({"maxDequeueCount": 5}, "a short outage"),
            ({"visibilityTimeout": "00:00:00"}, "uses up its deliveries at once"),
        ],
    )
    def test_what_is_wrong_in_host_json_is_told(
        self, bench: Bench, tmp_path: Path, change: dict[str, Any], told: str
    ) -> None:
        document = json.loads((PROJECT_ROOT / "host.json").read_text())
        document["extensions"]["queues"].update(change)
        (tmp_path / "host.json").write_text(json.dumps(document))
        found = checks(bench)["host.json"]
        assert found["level"] == "failed"
        assert told in found["found"]

    def test_storage_that_cannot_be_reached_is_told(self, bench: Bench) -> None:
        connection = bench.settings["AzureWebJobsStorage"].split("QueueEndpoint=")[0]
        nowhere = f"{connection}QueueEndpoint=http://127.0.0.1:9/localaccount"
        result = bench.run("send", str(bench.catalogue(bench.ids(1))), environment={"AzureWebJobsStorage": nowhere})
        assert result.code == 4
        assert "storage cannot be reached" in result.err
        assert "start `make run`, or Azurite, or correct AzureWebJobsStorage" in result.err
        found = checks(bench, AzureWebJobsStorage=nowhere)
        assert [found[name]["level"] for name in ("rights in storage", "clock")] == ["skipped"] * 2, "one wait only"


class TestSettings:
    def test_without_any_it_is_said_where_they_were_looked_for(self, bench: Bench) -> None:
        (bench.folder / "local.settings.json").unlink()
        result = bench.run("status")
        assert result.code == 3
        assert "AzureWebJobsStorage: is missing" in result.err
        assert "there is no local.settings.json here" in result.err

    def test_another_file_can_be_named(self, bench: Bench) -> None:
        (bench.folder / "local.settings.json").rename(bench.folder / "other.json")
        assert bench.run("status", "--settings", "other.json").code == 0
        assert bench.run("status", environment={"VISION_RELAY_SETTINGS": "other.json"}).code == 0

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("{", "not JSON"),
            ("[]", 'has no "Values"'),
            ('{"Values": {}, "IsEncrypted": true}', "func settings decrypt"),
        ],
    )
    def test_a_file_that_cannot_be_used_is_told(self, bench: Bench, text: str, told: str) -> None:
        bench.write("local.settings.json", text)
        result = bench.run("status")
        assert result.code == 3
        assert told in result.err
