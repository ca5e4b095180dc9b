"""What a function is told of its trigger, as the host puts it on the wire and the Python worker reads it.

The host keeps a trigger's metadata under names whose case does not matter. If it hands the body over as a string, and
that looks like a JSON object, it merges the object's top-level fields over them: a producer's `id` becomes the
message's. Only a body that is bound as binary is left alone. (Azure/azure-functions-host, `Utility.ApplyBindingData`.)
The worker's own converters then make the argument of it, and raise where a producer's value does not fit.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from azure.functions.meta import Datum
from azure.functions.queue import QueueMessageInConverter
from azure.functions.timer import TimerRequestConverter

if TYPE_CHECKING:
    from azure.functions.queue import QueueMessage as FunctionMessage
    from azure.functions.timer import TimerRequest
    from azure.storage.queue import QueueMessage

NEVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)

# The host's JSON library takes a text of this form for a date, and writes dates its own way.
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?")

Metadata = dict[str, Datum]


def function_message(message: QueueMessage, body: bytes, *, binary: bool) -> FunctionMessage:
    """The argument of a queue-triggered function. Raises whatever the worker's converter raises.

    `binary` says how the trigger binds the body. Raises `UnicodeDecodeError` where it is bound as a string and is none.
    """
    metadata = _metadata(message)
    if binary:
        return _decode(Datum(body, "bytes"), metadata)
    text = body.decode()
    return _decode(Datum(text, "string"), merged(metadata, text))


def timer_request(*, is_past_due: bool) -> TimerRequest:
    """The argument of a timer-triggered function."""
    told = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": None, "IsPastDue": is_past_due}
    request: TimerRequest = TimerRequestConverter.decode(Datum(json.dumps(told), "json"), trigger_metadata={})
    return request


def merged(metadata: Metadata, body: str) -> Metadata:
    """The metadata under the top-level fields of a body that is a JSON object.

    Arrays and nulls are left out, an object stays JSON, anything else becomes a string. A field whose name differs from
    one that is there by case alone takes its place, under the name that was there first.
    """
    merged_data = dict(metadata)
    names = {name.upper(): name for name in metadata}
    for name, value in _fields(body).items():
        if (datum := _datum(value)) is not None:
            merged_data[names.setdefault(name.upper(), name)] = datum
    return merged_data


def _decode(body: Datum, metadata: Metadata) -> FunctionMessage:
    message: FunctionMessage = QueueMessageInConverter.decode(body, trigger_metadata=metadata)
    return message


def _metadata(message: QueueMessage) -> Metadata:
    metadata = {
        "Id": Datum(message.id, "string"),
        "DequeueCount": Datum(json.dumps(message.dequeue_count), "json"),
        "PopReceipt": Datum(message.pop_receipt, "string"),
        "QueueTrigger": Datum(message.content, "string"),
    }
    times = {
        "ExpirationTime": message.expires_on or NEVER,
        "InsertionTime": message.inserted_on,
        "NextVisibleTime": message.next_visible_on,
    }
    return metadata | {name: Datum(json.dumps(time.isoformat()), "json") for name, time in times.items() if time}


def _fields(body: str) -> dict[str, Any]:
    """The top-level fields of a JSON object; none of anything else, which is no error."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _datum(value: object) -> Datum | None:
    match value:
        case None | list():
            return None
        case dict():
            return Datum(json.dumps(value), "json")
        case bool() | int() | float():
            return Datum(str(value), "string")
        case _:
            return Datum(_as_the_host_writes_it(str(value)), "string")


def _as_the_host_writes_it(text: str) -> str:
    if not _DATE.fullmatch(text):
        return text
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{date.astimezone(UTC) if date.tzinfo else date:%m/%d/%Y %H:%M:%S}"
