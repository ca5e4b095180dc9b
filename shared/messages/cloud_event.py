"""The events that other systems react to, as CloudEvents 1.0: their types, how they are written and read again."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from azure.core.messaging import CloudEvent
from pydantic import BaseModel, ConfigDict, StringConstraints

from shared.messages.dates import DateTime
from shared.messages.event_id import new_event_id
from shared.messages.validation import Traceparent
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


Event = CloudEvent[dict[str, Any]]


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
    """Make an event. See `event_id` for `identity`; `traceparent` is the span that the event comes of."""
    return CloudEvent(
        source=source,
        type=kind,
        subject=subject,
        id=new_event_id(kind, source, subject, identity),
        time=time,
        datacontenttype="application/json",
        data=data,
        extensions=None if traceparent is None else {"traceparent": traceparent},
    )


def to_structured(event: Event) -> str:
    """Write an event in structured mode: one JSON object (CloudEvents 1.0, JSON event format)."""
    fields = {
        "specversion": event.specversion,
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time": event.time.isoformat() if event.time is not None else None,
        "datacontenttype": event.datacontenttype,
        **(event.extensions or {}),
        "data": event.data,
    }
    return to_json({name: value for name, value in fields.items() if value is not None})


class WrittenEvent(BaseModel):
    """The event of a watch in structured mode, as it stands in its watch until it is published."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    specversion: Literal["1.0"]
    id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", max_length=36)]
    source: Annotated[str, StringConstraints(min_length=1)]
    type: Literal[
        EventType.TRAINING_SUCCEEDED, EventType.TRAINING_FAILED, EventType.TRAINING_NOT_FOUND, EventType.WATCH_EXPIRED
    ]
    subject: str
    time: DateTime | None = None
    datacontenttype: Literal["application/json"]
    traceparent: Traceparent | None = None
    data: dict[str, str]

    def to_event(self) -> Event:
        """The event that was written."""
        return Event.from_json(self.model_dump_json(exclude_none=True))
