"""How a queue message's bytes become a JSON object, and the other way round.

The app reads JSON of one object, or Base64 of it. It names other forms when it refuses them, and fields given twice. It
writes JSON in the encoding of the setting `MESSAGE_ENCODING`. See `envelope` for where in the object the message is.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import json
from typing import Any, Literal, NoReturn

from shared.errors import InvalidMessage
from shared.text import one_line

MAX_MESSAGE_BYTES = 64 * 1024
"""A queue message's size at most (Azure Storage, "Scalability and performance targets for Queue Storage")."""

Encoding = Literal["base64", "none"]


def encode(text: str, encoding: Encoding) -> str:
    """A message as it is put into its queue: Base64 of its UTF-8, or the text itself.

    A text of more than 48 KiB goes as it is, since its Base64 would not fit a message.
    """
    if encoding == "none":
        return text
    encoded = base64.b64encode(text.encode()).decode()
    return encoded if len(encoded) <= MAX_MESSAGE_BYTES else text


def load_object(document: bytes, problem: str | None = None) -> dict[str, Any]:
    """Parse the JSON object that `decode` has found. Raises `InvalidMessage`, also of a problem that `decode` found."""
    if problem is not None:
        raise InvalidMessage(problem)
    try:
        fields: dict[str, Any] = _DECODER.decode(document.decode())
    except UnicodeDecodeError as error:
        raise InvalidMessage(f"not UTF-8: byte {error.start} is {document[error.start]:#04x}") from None
    except RecursionError:
        raise InvalidMessage("not a message: nested too deeply") from None
    except ValueError as error:
        raise InvalidMessage(f"not JSON: {one_line(error)}") from None
    return fields


_NEITHER = "neither a JSON object nor Base64 of one"


def decode(body: bytes) -> tuple[bytes, str | None]:
    """Return the document that a body is, or is Base64 of, and what is wrong with its form.

    Nothing is wrong with a document that begins like a JSON object in UTF-8.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    if body[:1] == b"{" and body[1:2] != b"\0":  # as nearly all do; else it may be UTF-16
        return body, None
    if not body.strip():
        return body, f"empty: {_NEITHER}"
    form = _form(body)
    if form == _OBJECT:
        return body, None
    decoded = _from_base64(body)
    decoded_form = None if decoded is None else _form(decoded)
    if decoded is not None and decoded_form == _OBJECT:  # many a word happens to be Base64 of something
        return decoded, None
    if form is not None:
        return body, form
    if decoded is None:
        repaired = _from_base64_for_urls(body)
        return (body, _NEITHER) if repaired is None else (repaired, _FOR_URLS)
    if decoded_form is not None:
        return body if decoded_form in _MAGIC.values() else decoded, f"Base64 of {decoded_form}"
    again = _from_base64(decoded)
    if again is not None and _form(again) == _OBJECT:
        return again, "Base64 of Base64: encode the JSON once"
    return body, _NEITHER


def readable(document: bytes) -> str:
    """A document as text. Bytes that are no text are escaped."""
    name = json.detect_encoding(document)
    is_utf_8 = name.startswith("utf-8") or _form(document) is None
    return document.decode("utf-8" if is_utf_8 else name, "backslashreplace").removeprefix("\ufeff")


_OBJECT = "a JSON object"
_JSON_STARTS = {
    b"{": _OBJECT,
    b"[": "a JSON array: send a message for each of its objects",
    b'"': "JSON in JSON: the object stands as text in quotes, send it without them",
    b"<": "XML or HTML: send a JSON object",
}
_MAGIC = {
    b"\x1f\x8b": "gzip: send the JSON uncompressed",
    b"\x28\xb5\x2f\xfd": "zstd: send the JSON uncompressed",
    b"PK\x03\x04": "a ZIP archive: send the JSON uncompressed",
}
_SAMPLE_BYTES = 64


def _form(body: bytes) -> str | None:
    """What a body is and what to do about it, if that can be told from its first bytes."""
    body = body.removeprefix(codecs.BOM_UTF8)
    name = json.detect_encoding(body).upper()
    if name.startswith(("UTF-16", "UTF-32")):
        sample = body[:_SAMPLE_BYTES].decode(name, "ignore").lstrip("\ufeff").strip()
        return f"{name[:6]}: send the JSON in UTF-8" if sample and sample.isascii() and sample.isprintable() else None
    for magic, form in _MAGIC.items():
        if body.startswith(magic):
            return form
    return _JSON_STARTS.get(body.lstrip()[:1])


def _from_base64(body: bytes) -> bytes | None:
    try:
        return base64.b64decode(b"".join(body.split()), validate=True).removeprefix(codecs.BOM_UTF8)
    except binascii.Error:
        return None


_URL_ALPHABET = bytes.maketrans(b"-_", b"+/")
_FOR_URLS = "Base64 for URLs or without its padding: use the standard alphabet, padded with ="


def _from_base64_for_urls(body: bytes) -> bytes | None:
    """The object that somebody has encoded in nearly the right way."""
    padded = b"".join(body.split()).translate(_URL_ALPHABET).rstrip(b"=")
    repaired = _from_base64(padded + b"=" * (-len(padded) % 4))
    return repaired if repaired is not None and _form(repaired) == _OBJECT else None


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
