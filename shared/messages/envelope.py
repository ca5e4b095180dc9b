"""Out of what a message comes in: CloudEvents and Event Grid envelopes, and dead letters moved back.

An object is the message, or a CloudEvents 1.0 or Event Grid envelope whose `data` is the message, as an object or as
its text; or it is a dead letter that somebody has moved back as it is: its `failure` is read over, and where the
message stands under `body`, it is taken out. From bytes to the object leads `encoding`; what its fields may be,
`validation` says.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from shared.errors import InvalidMessage
from shared.messages.encoding import load_object

MAX_REDRIVES = 1_000_000
"""Nobody moves a message back more often; what a message says beyond that is not believed."""

CUT_MARK = "…[truncated]"
"""Ends what a dead letter had no room for."""


def read_envelope(body: bytes) -> dict[str, Any]:
    """The message's fields, taken out of whatever they came in. Raises `InvalidMessage`."""
    return read_traced(body)[0]


def read_traced(body: bytes) -> tuple[dict[str, Any], Any]:
    """Likewise, and the `traceparent` of the CloudEvent that they came in, whatever stands there.

    See CloudEvents, "Distributed Tracing Extension".
    """
    document = load_object(body)
    fields = _unwrap(document)
    traceparent = document.get("traceparent") if fields is not document else None
    if "failure" not in fields:
        return fields, traceparent
    inner = _dead_lettered_body(fields)
    if inner is not None:
        if inner.endswith(CUT_MARK.encode()):
            raise InvalidMessage("body: it was cut when it was dead-lettered, so the message must be sent anew")
        return read_traced(inner)
    return {name: value for name, value in fields.items() if name != "failure"}, traceparent


class Origin(NamedTuple):
    """Where a message came from: its body as it was first sent, and how often it has been moved back since."""

    body: bytes
    redrives: int


def origin_of(body: bytes) -> Origin:
    """Take a message out of the dead letters around it, if there are any."""
    try:
        fields = _unwrap(load_object(body))
    except InvalidMessage:
        return Origin(body, 0)
    if "failure" not in fields:
        return Origin(body, 0)
    inner = _dead_lettered_body(fields)
    return Origin(body if inner is None else origin_of(inner).body, _redrives(fields["failure"]) + 1)


def _dead_lettered_body(fields: dict[str, Any]) -> bytes | None:
    """What stands under `body` in the dead letter of a message that was never valid."""
    text = fields.get("body")
    if fields.keys() != {"body", "failure"} or not isinstance(text, str):
        return None
    return text.encode("utf-8", "backslashreplace")


def _redrives(failure: Any) -> int:
    count = failure.get("redrives") if isinstance(failure, dict) else None
    return count if type(count) is int and 0 <= count < MAX_REDRIVES else 0


def _unwrap(fields: dict[str, Any]) -> dict[str, Any]:
    """Take the message out of its CloudEvents 1.0 or Event Grid envelope, if it is in one."""
    if "specversion" in fields:
        if fields["specversion"] != "1.0":
            raise InvalidMessage("specversion: must be 1.0, the only version of CloudEvents that is read")
        if "data_base64" in fields:
            encoded = fields["data_base64"]
            if not isinstance(encoded, str):
                raise InvalidMessage("data_base64: must be text")
            return _load_inner("data_base64", encoded)
    elif "eventType" not in fields:
        return fields
    data = fields.get("data")
    if isinstance(data, str):  # what the serializers of several libraries make of a message that they are given as text
        return _load_inner("data", data)
    if not isinstance(data, dict):
        raise InvalidMessage("data: the envelope must carry the message as a JSON object or as its text")
    return data


def _load_inner(field: str, text: str) -> dict[str, Any]:
    try:
        return load_object(text.encode("utf-8", "backslashreplace"))
    except InvalidMessage as error:
        raise InvalidMessage(f"{field}: {error}") from None
