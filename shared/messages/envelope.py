"""Takes a message out of what it came in: a CloudEvents or Event Grid envelope, or a dead letter moved back.

The object in a queue message is the message itself; or a CloudEvents 1.0 or Event Grid envelope, whose `data` is the
message or its text; or a dead letter that somebody has moved back as it is. Then `failure` is ignored, and a message
under `body` is taken out. See `validation` for what the message's fields may be.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from shared.errors import InvalidMessage
from shared.messages.encoding import decode, load_object, readable

MAX_REDRIVES = 1_000_000
"""Nobody moves a message back more often; a message that says more is not believed."""

CUT_MARK = "…[truncated]"
"""Ends what a dead letter had no room for."""
_CUT = "body: it was cut when it was dead-lettered, so the message must be sent anew"


class Unwrapped(NamedTuple):
    """A message's fields, and what they came in.

    Attributes:
        fields: what the message says.
        traceparent: of its CloudEvent, whatever stands there (CloudEvents, "Distributed Tracing Extension").
        document: the message as it was first sent, decoded, without the dead letters around it.
        redrives: how often it has been moved back since.
    """

    fields: dict[str, Any]
    traceparent: Any
    document: bytes
    redrives: int


def unwrap(body: bytes, redrives: int = 0) -> Unwrapped:
    """Take a message out of whatever it came in. Raises `InvalidMessage`, with the text and redrives set."""
    document, problem = decode(body)
    try:
        outer = load_object(document, problem)
        fields = _in_envelope(outer)
    except InvalidMessage as found:
        text = readable(document)
        error = InvalidMessage(_CUT) if redrives and text.endswith(CUT_MARK) else found
        error.text, error.redrives = text, redrives
        raise error from None
    failure = fields.get("failure")
    if failure is not None:
        redrives = redrives or _redrives(failure) + 1
        inner = _dead_lettered(fields)
        if inner is not None:
            return unwrap(inner.encode("utf-8", "backslashreplace"), redrives)
    traceparent = outer.get("traceparent") if fields is not outer else None
    if "failure" in fields:  # whoever wrote the letter again may have written null for what it does not have
        fields = {name: value for name, value in fields.items() if name != "failure" and value is not None}
    return Unwrapped(fields, traceparent, document, redrives)


def _dead_lettered(fields: dict[str, Any]) -> str | None:
    """What stands under `body` in the dead letter of a message that was never valid."""
    given = {name for name, value in fields.items() if value is not None}
    text = fields.get("body")
    return text if given == {"body", "failure"} and isinstance(text, str) else None


def _redrives(failure: Any) -> int:
    count = failure.get("redrives") if isinstance(failure, dict) else None
    return count if type(count) is int and 0 <= count < MAX_REDRIVES else 0


def _in_envelope(fields: dict[str, Any]) -> dict[str, Any]:
    """The object, or what is in it if it is a CloudEvents 1.0 or Event Grid envelope."""
    if fields.get("specversion") is not None:
        if fields["specversion"] != "1.0":
            raise InvalidMessage("specversion: must be 1.0, the only version of CloudEvents that is read")
        encoded = fields.get("data_base64")
        if encoded is not None:
            if not isinstance(encoded, str):
                raise InvalidMessage("data_base64: must be text")
            return _load_inner("data_base64", encoded)
    elif fields.get("eventType") is None:
        return fields
    data = fields.get("data")
    if isinstance(data, str):  # what the serializers of several libraries make of a message that they are given as text
        return _load_inner("data", data)
    if not isinstance(data, dict):
        raise InvalidMessage("data: the envelope must carry the message as a JSON object or as its text")
    return data


def _load_inner(field: str, text: str) -> dict[str, Any]:
    try:
        return load_object(*decode(text.encode("utf-8", "backslashreplace")))
    except InvalidMessage as error:
        raise InvalidMessage(f"{field}: {error}") from None
