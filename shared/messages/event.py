"""The events that other systems react to: CloudEvents 1.0, and where they are put.

An event that is published again, because something failed between publishing it and taking note of that, has the
same id.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from azure.core.messaging import CloudEvent

from shared.text import to_json

if TYPE_CHECKING:
    from shared.queues import Outbox

NAMESPACE = UUID("5b7d3b0e-3f6c-4c5e-9a53-0c1f6d1f0a52")
"""Namespace of this app's event ids, which are UUIDs made from names (RFC 9562, version 5)."""


class EventType(StrEnum):
    """The types of event, as consumers filter by them."""

    TRAINING_SUCCEEDED = "VisionRelay.Training.Succeeded"
    TRAINING_FAILED = "VisionRelay.Training.Failed"
    TRAINING_NOT_FOUND = "VisionRelay.Training.NotFound"
    WATCH_EXPIRED = "VisionRelay.Training.WatchExpired"
    METADATA_REJECTED = "VisionRelay.ImageMetadata.Rejected"
    METADATA_UPDATED = "VisionRelay.ImageMetadata.Updated"


def new_event(
    kind: EventType, *, source: str, subject: str, identity: str, time: datetime | None, data: dict[str, Any]
) -> CloudEvent[dict[str, Any]]:
    """Make an event. `identity` is what it has in common with its repetitions; source, subject and type are added."""
    event_id = uuid5(NAMESPACE, "\n".join((kind, source, subject, identity)))
    return CloudEvent(source=source, type=kind, subject=subject, id=str(event_id), time=time, data=data)


def to_structured(event: CloudEvent[dict[str, Any]]) -> str:
    """Write an event in structured mode: one JSON object (CloudEvents 1.0, JSON event format)."""
    attributes = {
        "specversion": event.specversion,
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time": event.time.isoformat() if isinstance(event.time, datetime) else None,
        "datacontenttype": "application/json",
    }
    given = {name: value for name, value in attributes.items() if value is not None}
    return to_json({**given, "data": event.data})


class Events:
    """Publishes events to the events queue. Raises `azure.core.exceptions.AzureError` where that fails."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    async def publish(self, event: CloudEvent[dict[str, Any]]) -> None:
        """Publish one event."""
        await self._outbox.send(to_structured(event))
