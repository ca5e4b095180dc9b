"""CloudEvents: their identity, and how they are written."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from azure.core.messaging import CloudEvent

from shared.errors import StorageTrouble
from shared.messages.event import EventType, new_event, to_structured
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
