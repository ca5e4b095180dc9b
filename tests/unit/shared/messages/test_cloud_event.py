"""CloudEvents: their identity, and how they are written."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from azure.core.messaging import CloudEvent

from shared.errors import StorageTrouble
from shared.messages import event_id
from shared.messages.cloud_event import EventType, WrittenEvent, new_event, to_structured
from shared.messages.training import TrainingResult, TrainingStatus
from shared.services.events import EventPublisher
from tests.unit.shared.queues import FakeOutbox, unreachable

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def event(**changes: Any) -> CloudEvent[dict[str, Any]]:
    fields: dict[str, Any] = {
        "source": "https://face.example",
        "subject": "persongroups/employees",
        "identity": "completed at noon",
        "time": NOON,
        "data": {"status": "succeeded"},
    }
    kind = changes.pop("kind", EventType.TRAINING_SUCCEEDED)
    return new_event(kind, **{**fields, **changes})


@pytest.mark.parametrize("change", [{}, {"time": None}, {"data": {"status": "failed"}}])
def test_a_repeated_event_has_the_same_id(change: dict[str, Any]) -> None:
    assert event(**change).id == event().id
    assert UUID(event().id).version == 5


@pytest.mark.parametrize(
    "change",
    [
        {"source": "https://other.example"},
        {"subject": "persongroups/visitors"},
        {"identity": "completed at one"},
        {"kind": EventType.TRAINING_FAILED},
        {"subject": "persongroups/employees\ncompleted", "identity": "at noon"},
    ],
)
def test_another_event_has_another_id(change: dict[str, Any]) -> None:
    assert event(**change).id != event().id


EXACTLY = NOON.replace(microsecond=123_456)
SUCCESS = TrainingResult(status=TrainingStatus.SUCCEEDED, last_successful_training_date_time=EXACTLY)
FAILURE = TrainingResult(
    status=TrainingStatus.FAILED, created_date_time=EXACTLY, last_action_date_time=NOON + timedelta(hours=1)
)


@pytest.mark.parametrize(
    ("kind", "identity", "expected"),
    [
        (EventType.METADATA_REJECTED, "m", "28165074-c0d0-58df-a6e3-c794b9b8afc5"),
        (EventType.WATCH_EXPIRED, event_id.of_watch("m", "c"), "b28300a9-34ad-5f85-bcaa-4d6a956e41c8"),
        (
            EventType.TRAINING_SUCCEEDED,
            event_id.of_completion(SUCCESS, EXACTLY, "c"),
            "e3e9b85d-8cf4-5ce9-8ed0-fca65a07ad49",
        ),
        (
            EventType.TRAINING_FAILED,
            event_id.of_completion(FAILURE, EXACTLY, None),
            "e8fe3aec-3aa8-5b29-b779-00d6688c4729",
        ),
    ],
)
def test_the_ids_are_those_that_consumers_have_kept(kind: EventType, identity: str, expected: str) -> None:
    """Another way of making them would have every event come once more as a new one."""
    assert event(kind=kind, identity=identity).id == expected


def test_it_is_written_in_structured_mode() -> None:
    assert json.loads(to_structured(event(data={"name": "Jürg"}))) == {
        "specversion": "1.0",
        "id": event().id,
        "source": "https://face.example",
        "type": "VisionRelay.Training.Succeeded",
        "subject": "persongroups/employees",
        "time": "2026-01-31T12:00:00+00:00",
        "datacontenttype": "application/json",
        "data": {"name": "Jürg"},
    }


def test_it_names_the_span_that_it_comes_of() -> None:
    span = f"00-{'a' * 32}-{'b' * 16}-01"
    assert json.loads(to_structured(event(traceparent=span)))["traceparent"] == span
    assert "traceparent" not in json.loads(to_structured(event()))


def test_what_is_not_known_is_left_out() -> None:
    bare: CloudEvent[dict[str, Any]] = CloudEvent(source="/s", type="t", data={}, time=None)
    assert not {"time", "subject"} & json.loads(to_structured(bare)).keys()


async def test_it_is_published_to_the_queue() -> None:
    outbox = FakeOutbox()
    await EventPublisher(outbox).publish(event())
    assert outbox.sent == [to_structured(event())]


async def test_it_is_logged_once_it_is_published(caplog: pytest.LogCaptureFixture) -> None:
    outbox = FakeOutbox(fails=[unreachable()])
    with caplog.at_level(logging.INFO):
        with pytest.raises(StorageTrouble):
            await EventPublisher(outbox).publish(event(subject="persongroups/a\nb"))
        assert caplog.messages == []
        await EventPublisher(outbox).publish(event(subject="persongroups/a\nb"))
    assert caplog.messages == ["published VisionRelay.Training.Succeeded of persongroups/a\\nb"]


async def test_the_event_of_a_message_that_went_well_is_no_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        await EventPublisher(FakeOutbox()).publish(event(kind=EventType.METADATA_UPDATED))
    assert caplog.messages == []


async def test_a_queue_that_fails_is_told() -> None:
    with pytest.raises(StorageTrouble):
        await EventPublisher(FakeOutbox(fails=[unreachable()])).publish(event())


@pytest.mark.parametrize("traceparent", [None, f"00-{'a' * 32}-{'b' * 16}-01"])
def test_an_event_that_stood_in_its_watch_is_the_same_again(traceparent: str | None) -> None:
    made = new_event(
        EventType.TRAINING_SUCCEEDED,
        source="https://x",
        subject="persongroups/g",
        identity="1",
        time=None,
        data={"kind": "personGroup"},
        traceparent=traceparent,
    )
    written = to_structured(made)
    again = WrittenEvent.model_validate_json(written).to_event()
    assert to_structured(again) == written
    assert again.extensions == made.extensions
