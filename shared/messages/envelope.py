"""Takes a message out of what it came in: a CloudEvents or Event Grid envelope, or a dead letter moved back.

The `data` of an envelope is the message or its text. The `failure` of a dead letter is ignored, and a message under
`body` is taken out. See `validation` for what the message's fields may be.
"""

from typing import Any, NamedTuple

from shared.messages.encoding import read_object

MAX_REDRIVES = 1_000_000
"""Nobody moves a message back more often; a message that says more is not believed."""

CUT_MARK = "…[truncated]"
"""Ends what a dead letter had no room for."""


class Unwrapped(NamedTuple):
    """A message's fields, or why there are none; the `traceparent` of its CloudEvent, whatever stands there; and
    the message as it was first sent, decoded, and how often it was dead-lettered and moved back since.
    """

    document: bytes
    redrives: int
    fields: dict[str, Any] | str
    traceparent: Any = None


def unwrap(body: bytes, redrives: int = 0) -> Unwrapped:
    """Take a message out of whatever it came in. `redrives` counts the dead letters around it."""
    document, outer = read_object(body)
    fields, traceparent = (_in_envelope(outer), outer.get("traceparent")) if isinstance(outer, dict) else (outer, None)
    if isinstance(fields, str):
        if redrives and document.endswith(CUT_MARK.encode()):
            fields = "body: it was cut when it was dead-lettered, so the message must be sent anew"
        return Unwrapped(document, redrives, fields)
    failure = fields.get("failure")
    if failure is not None:
        redrives = redrives or _redrives(failure) + 1
        given = {name for name, value in fields.items() if value is not None}
        if given == {"body", "failure"} and isinstance(fields["body"], str):  # of a message that was never valid
            return unwrap(fields["body"].encode("utf-8", "backslashreplace"), redrives)
    if "failure" in fields:  # whoever wrote the letter again may have written null for what it does not have
        fields = {name: value for name, value in fields.items() if name != "failure" and value is not None}
    return Unwrapped(document, redrives, fields, traceparent)


def _redrives(failure: Any) -> int:
    count = failure.get("redrives") if isinstance(failure, dict) else None
    return count if type(count) is int and 0 <= count < MAX_REDRIVES else 0


def _in_envelope(outer: dict[str, Any]) -> dict[str, Any] | str:
    """The object, or what is in it if it is a CloudEvents 1.0 or Event Grid envelope; or why nothing can be read."""
    if outer.get("specversion") is not None:
        if outer["specversion"] != "1.0":
            return "specversion: must be 1.0, the only version of CloudEvents that is read"
        encoded = outer.get("data_base64")
        if encoded is not None:
            return _read_inner("data_base64", encoded) if isinstance(encoded, str) else "data_base64: must be text"
    elif outer.get("eventType") is None:
        return outer
    data = outer.get("data")
    if isinstance(data, str):  # what the serializers of several libraries make of a message that they are given as text
        return _read_inner("data", data)
    if not isinstance(data, dict):
        return "data: the envelope must carry the message as a JSON object or as its text"
    return data


def _read_inner(name: str, text: str) -> dict[str, Any] | str:
    _, fields = read_object(text.encode("utf-8", "backslashreplace"))
    return f"{name}: {fields}" if isinstance(fields, str) else fields
