"""From the bytes of a queue message to its fields: Base64, byte order mark, JSON, CloudEvents and Event Grid envelopes.

A body is JSON, or Base64 of it, of one object; that object is the message, or a CloudEvents 1.0 or Event Grid
envelope whose `data` is the message. A field given twice is an error. What the fields may be, `validation` says.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import json
from typing import Any, NoReturn

from shared.errors import InvalidMessage
from shared.text import one_line

MAX_MESSAGE_BYTES = 64 * 1024
"""A queue message's size at most (Azure Storage, "Scalability and performance targets for Queue Storage")."""


def read_envelope(body: bytes) -> dict[str, Any]:
    """The message's fields, taken out of whatever they came in. Raises `InvalidMessage`."""
    return _unwrap(_load(body))


def _load(body: bytes) -> dict[str, Any]:
    """Parse the one JSON object in `body`, which may be Base64 of it."""
    body = body.removeprefix(codecs.BOM_UTF8)
    if not body.lstrip().startswith(b"{"):
        body = _from_base64(body)
    try:
        fields: dict[str, Any] = _DECODER.decode(body.decode())
    except UnicodeDecodeError as error:
        raise InvalidMessage(f"not UTF-8: byte {error.start} is {body[error.start]:#04x}") from None
    except RecursionError:
        raise InvalidMessage("not a message: nested too deeply") from None
    except ValueError as error:
        raise InvalidMessage(f"not JSON: {one_line(error)}") from None
    return fields


def _from_base64(body: bytes) -> bytes:
    if not body.strip():
        raise InvalidMessage("empty: neither a JSON object nor Base64 of one")
    try:
        decoded = base64.b64decode(b"".join(body.split()), validate=True).removeprefix(codecs.BOM_UTF8)
    except binascii.Error:
        decoded = b""
    if not decoded.lstrip().startswith(b"{"):  # many a word happens to be Base64 of something
        raise InvalidMessage("neither a JSON object nor Base64 of one")
    return decoded


def _unwrap(fields: dict[str, Any]) -> dict[str, Any]:
    """Take the message out of its CloudEvents 1.0 or Event Grid envelope, if it is in one."""
    if "specversion" in fields:
        if fields["specversion"] != "1.0":
            raise InvalidMessage("specversion: must be 1.0, the only version of CloudEvents that is read")
        if "data_base64" in fields:
            encoded = fields["data_base64"]
            if not isinstance(encoded, str):
                raise InvalidMessage("data_base64: must be text")
            return _load(encoded.encode("utf-8", "backslashreplace"))
    elif "eventType" not in fields:
        return fields
    data = fields.get("data")
    if not isinstance(data, dict):
        raise InvalidMessage("data: the envelope must carry the message as a JSON object")
    return data


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object, refusing a name given twice: which of the two was meant, nobody can tell."""
    fields = dict(pairs)
    if len(fields) == len(pairs):
        return fields
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise ValueError(f"field given twice: {one_line(name)}")
        seen.add(name)
    raise AssertionError("fewer names than pairs, yet none twice")


def _no_constant(name: str) -> NoReturn:
    """Refuse NaN and the infinities, which Python would read although JSON has none."""
    raise ValueError(f"{name} is no JSON value")


_DECODER = json.JSONDecoder(object_pairs_hook=_distinct, parse_constant=_no_constant)
