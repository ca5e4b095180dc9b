"""How the host shapes an invocation: types and binding data as its sources have them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from local.worker.protocol import messages

if TYPE_CHECKING:
    from collections.abc import Mapping

NEVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
LEASE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Invocation:
    """What a trigger hands over: the data bound to the function's parameter, and the trigger's metadata."""

    data: Any
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class QueueMessage:
    """A message as the host has received it. `expires_at` NEVER: it lives until it is deleted."""

    body: bytes
    id: str
    dequeue_count: int = 1
    pop_receipt: str = "AgAAAAMAAAAAAAAA"
    expires_at: datetime = NEVER

    @classmethod
    def of(cls, body: str | bytes, **fields: Any) -> QueueMessage:
        """A message with an id of its own."""
        return cls(body.encode() if isinstance(body, str) else body, str(uuid4()), **fields)


def queue_invocation(message: QueueMessage, queue: str, data_type: int) -> Invocation:
    """Shape the invocation for a message.

    With data type `binary` the body is bytes. With none the host takes it for text and merges the fields of a JSON
    object, whatever their case, over the trigger's own metadata.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    metadata = {
        "QueueTrigger": messages.TypedData(string=queue),
        "Id": messages.TypedData(string=message.id),
        "PopReceipt": messages.TypedData(string=message.pop_receipt),
        "DequeueCount": messages.TypedData(json=str(message.dequeue_count)),
        "InsertionTime": _time(now),
        "ExpirationTime": _time(message.expires_at),
        "NextVisibleTime": _time(now + LEASE),
        "sys": _system("update_image_metadata"),
    }
    if data_type == messages.BindingInfo.binary:
        return Invocation(messages.TypedData(bytes=message.body), metadata)
    text = message.body.decode(errors="replace")
    own_names = {name.lower(): name for name in metadata}
    for name, value in _fields(text).items():
        metadata[own_names.get(name.lower(), name)] = _value(value)
    return Invocation(messages.TypedData(string=text), metadata)


def timer_invocation(*, past_due: bool = False) -> Invocation:
    """Shape the invocation for a tick."""
    now = datetime.now(UTC)
    timer = {
        "Schedule": {"AdjustForDST": True},
        "ScheduleStatus": {"Last": now.isoformat(), "LastUpdated": now.isoformat(), "Next": now.isoformat()},
        "IsPastDue": past_due,
    }
    return Invocation(messages.TypedData(json=json.dumps(timer)), {"sys": _system("poll_training_status")})


def _time(at: datetime) -> Any:
    return messages.TypedData(string=at.isoformat())


def _system(function: str) -> Any:
    about = {"MethodName": function, "UtcNow": datetime.now(UTC).isoformat(), "RandGuid": str(uuid4())}
    return messages.TypedData(json=json.dumps(about))


def _fields(text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _value(value: Any) -> Any:
    if isinstance(value, str):
        return messages.TypedData(string=value)
    return messages.TypedData(json=json.dumps(value))
