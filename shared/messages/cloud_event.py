"""The events that other systems react to: their types, and how they are written. They are CloudEvents 1.0.

See `event_data` for what is in them, `event_id` for what their ids are made of, `services.events` for where they go.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from azure.core.messaging import CloudEvent
from pydantic import ConfigDict, StringConstraints

from shared.messages.dates import DateTime
from shared.messages.event_id import new_event_id
from shared.messages.validation import Traceparent, WireModel
from shared.text import to_json


class EventType(StrEnum):
    """The types of event, as consumers filter by them."""

    TRAINING_SUCCEEDED = "VisionRelay.Training.Succeeded"
    TRAINING_FAILED = "VisionRelay.Training.Failed"
    TRAINING_NOT_FOUND = "VisionRelay.Training.NotFound"
    WATCH_EXPIRED = "VisionRelay.Training.WatchExpired"
    WATCH_REJECTED = "VisionRelay.Training.WatchRejected"
    METADATA_REJECTED = "VisionRelay.ImageMetadata.Rejected"
    METADATA_UPDATED = "VisionRelay.ImageMetadata.Updated"


WATCH_EVENTS = (
    EventType.TRAINING_SUCCEEDED,
    EventType.TRAINING_FAILED,
    EventType.TRAINING_NOT_FOUND,
    EventType.WATCH_EXPIRED,
)

Event = CloudEvent[dict[str, Any]]
CONTENT_TYPE = "application/json"


def new_event(
    kind: EventType,
    *,
    source: str,
    subject: str,
    identity: str,
    time: datetime | None,
    data: dict[str, Any],
    traceparent: str | None = None,
) -> Event:
    """Make an event. `identity` is one of `event_id`; `traceparent` says what the event comes of."""
    event_id = new_event_id(kind, source, subject, identity)
    return _cloud_event(event_id, kind, source, subject, time, data, traceparent)


def _cloud_event(
    event_id: str, kind: EventType, source: str, subject: str, time: datetime | None, data: dict[str, Any],
    traceparent: str | None,
) -> Event:  # fmt: skip
    return CloudEvent(
        source=source,
        type=kind,
        subject=subject,
        id=event_id,
        time=time,
        datacontenttype=CONTENT_TYPE,
        data=data,
        extensions=None if traceparent is None else {"traceparent": traceparent},
    )


def to_structured(event: Event) -> str:
    """Write an event in structured mode: one JSON object (CloudEvents 1.0, JSON event format)."""
    attributes = {
        "specversion": event.specversion,
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time": event.time.isoformat() if isinstance(event.time, datetime) else None,
        "datacontenttype": CONTENT_TYPE,
        **(event.extensions or {}),
    }
    given = {name: value for name, value in attributes.items() if value is not None}
    return to_json({**given, "data": event.data})


class WrittenEvent(WireModel):
    """The event of a watch as it stands in structured mode, by which it is read again."""

    model_config = ConfigDict(frozen=True)

    specversion: Literal["1.0"]
    id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", max_length=36)]
    source: Annotated[str, StringConstraints(min_length=1)]
    type: Literal[*WATCH_EVENTS]  # type: ignore[valid-type]
    subject: str
    time: DateTime | None = None
    datacontenttype: Literal["application/json"]
    traceparent: Traceparent | None = None
    data: dict[str, str]

    @classmethod
    def of(cls, event: Event) -> WrittenEvent:
        """Write an event."""
        return cls.model_validate_json(to_structured(event))

    def to_event(self) -> Event:
        """The event that was written."""
        return _cloud_event(self.id, self.type, self.source, self.subject, self.time, self.data, self.traceparent)
