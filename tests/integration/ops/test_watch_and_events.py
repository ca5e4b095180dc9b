"""`vision-relay watch` and `events tail`: what is put into the queue, and what is seen without being taken."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.ops.conftest import Bench, Control, taken

GROUP = "employees"


def watched(bench: Bench) -> dict[str, Any]:
    [text] = taken(bench.watches)
    watch: dict[str, Any] = json.loads(base64.b64decode(text))
    return watch


def event(correlation_id: str = "nightly", kind: str = "Succeeded", number: int = 0) -> str:
    document = {
        "specversion": "1.0",
        "id": str(number),
        "source": "https://my-face.cognitiveservices.azure.com",
        "type": f"VisionRelay.Training.{kind}",
        "subject": f"persongroups/{GROUP}",
        "time": "2026-01-31T12:00:00+00:00",
        "datacontenttype": "application/json",
        "data": {"kind": "personGroup", "id": GROUP, "status": kind.lower(), "correlationId": correlation_id},
    }
    return base64.b64encode(json.dumps(document).encode()).decode()


def wait_until(condition: Callable[[], bool], within_seconds: float = 20) -> None:
    deadline = time.monotonic() + within_seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class TestWatch:
    def test_what_is_said_becomes_a_watch(self, bench: Bench) -> None:
        arguments = ("--repeat", "--after", "2026-01-31T12:00:00Z", "--correlation-id", "nightly")
        result = bench.run("watch", "persongroup", GROUP, *arguments)
        assert result.code == 0, result.err
        assert watched(bench) == {
            "kind": "personGroup",
            "id": GROUP,
            "repeat": True,
            "after": "2026-01-31T12:00:00Z",
            "correlationId": "nightly",
        }

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (("personGroup", "E X"), "id:"),
            (("personGroup", GROUP, "--after", "noon"), "after: must be a date-time"),
            (("personGroup", GROUP, "--after", "2026-01-31T12:00:00"), "time zone"),
            (("faces", GROUP), "is none of personGroup, largePersonGroup"),
            (("personGroup", GROUP, "--expires-in", "soon"), "90m"),
        ],
    )
    def test_what_the_queue_would_not_take_is_told_at_once(
        self, bench: Bench, arguments: tuple[str, ...], told: str
    ) -> None:
        result = bench.run("watch", *arguments)
        assert result.code == 2
        assert told in " ".join(result.err.replace("│", " ").split())
        assert taken(bench.watches) == []

    @pytest.mark.parametrize(("kind", "code"), [("Succeeded", 0), ("Failed", 1), ("NotFound", 1)])
    def test_waiting_ends_with_its_own_event_which_stays_for_its_consumer(
        self, bench: Bench, kind: str, code: int
    ) -> None:
        bench.events.send_message(event("of another watch"))
        process = bench.start("watch", "personGroup", GROUP, "--wait", "--correlation-id", "nightly")
        wait_until(lambda: "training not found, its watch waits" in bench.stderr)
        bench.events.send_message(event(kind=kind))
        process.join(20)
        assert process.exitcode == code, bench.stderr
        assert f"Training.{kind} persongroups/{GROUP}" in bench.stdout
        assert "of another watch" not in bench.stdout
        assert len(taken(bench.events)) == 2

    def test_a_watch_that_is_settled_unseen_ends_it_with_what_face_says(self, bench: Bench, control: Control) -> None:
        group = bench.settings["EVENTS_QUEUE"]  # a name of its own
        control.train(group, running_seconds=0)
        process = bench.start("watch", "personGroup", group, "--wait")
        wait_until(lambda: "training succeeded, its watch waits" in bench.stderr)
        assert len(taken(bench.watches)) == 1
        process.join(20)
        assert process.exitcode == 0, bench.stderr
        assert "the watch is settled; the training: succeeded" in bench.stdout

    def test_a_watch_that_somebody_has_leased_is_not_settled(self, bench: Bench) -> None:
        process = bench.start("watch", "personGroup", GROUP, "--wait", "--timeout", "4s")
        wait_until(lambda: "its watch waits" in bench.stderr)
        assert bench.watches.receive_message(visibility_timeout=60) is not None
        process.join(20)
        assert process.exitcode == 1
        assert "the time is over; the watch continues" in bench.stderr


class TestEvents:
    def test_events_are_shown_and_stay(self, bench: Bench) -> None:
        for number in range(3):
            bench.events.send_message(event(number=number))
        result = bench.run("events", "tail", "--once")
        assert (
            result.out.splitlines()
            == [f"2026-01-31T12:00:00 Training.Succeeded persongroups/{GROUP} status=succeeded correlationId=nightly"]
            * 3
        )
        assert len(taken(bench.events)) == 3

    def test_each_is_told_once_as_it_comes(self, bench: Bench) -> None:
        bench.events.send_message(event(number=1))
        process = bench.start("events", "tail", "--json", "--count", "2")
        wait_until(lambda: '"id": "1"' in bench.stdout)
        bench.events.send_message(event(number=2))
        process.join(20)
        assert process.exitcode == 0
        assert [json.loads(line)["id"] for line in bench.stdout.splitlines()] == ["1", "2"]
        assert "is never shown" in bench.stderr, "what queues hide is said"

    def test_more_than_a_queue_shows_is_said(self, bench: Bench) -> None:
        for number in range(33):
            bench.events.send_message(event(number=number))
        result = bench.run("events", "tail", "--once")
        assert len(result.out.splitlines()) == 32
        assert "there may be more behind these 32" in result.err

    def test_types_are_chosen(self, bench: Bench) -> None:
        bench.events.send_message(event())
        bench.events.send_message(event(kind="Failed"))
        assert len(bench.run("events", "tail", "--once", "--type", "training.fail*").out.splitlines()) == 1

    def test_what_is_no_event_is_passed_over(self, bench: Bench) -> None:
        bench.events.send_message("junk")
        bench.events.send_message('{"type": 5}')
        assert bench.run("events", "tail", "--once").out == ""

    def test_a_queue_that_is_missing_does_not_read_as_no_events(self, bench: Bench) -> None:
        bench.events.delete_queue()
        result = bench.run("events", "tail", "--once")
        assert result.code == 3
        assert "there is no queue" in result.err
