"""Reads a queue message's bytes, a JSON object or Base64 of one, and writes a message in the encoding that is set.

Any other form, such as gzip or UTF-16, is refused with an error that names it. So is a field that is given twice. See
`envelope` for where in the object a message is.
"""

import base64
import binascii
import codecs
import json
from collections import Counter
from typing import Any, Literal, NoReturn

from shared.text import one_line

MAX_MESSAGE_BYTES = 64 * 1024
"""A queue message's size at most (Azure Storage, "Scalability and performance targets for Queue Storage")."""

Encoding = Literal["base64", "none"]


def encode(text: str, encoding: Encoding) -> str:
    """A message as it is put into its queue. More than 48 KiB goes as it is, since its Base64 would not fit."""
    if encoding == "none":
        return text
    encoded = base64.b64encode(text.encode()).decode()
    return encoded if len(encoded) <= MAX_MESSAGE_BYTES else text


def read_object(body: bytes) -> tuple[bytes, dict[str, Any] | str]:
    """Return the JSON document that a body is, or is Base64 of; and its fields, or why it has none."""
    body = body.removeprefix(codecs.BOM_UTF8)
    document = body
    if _form(body) != _OBJECT:
        document = _from_base64(body)
        if _form(document) != _OBJECT:
            return _refused_form(body)
    try:
        return document, _DECODER.decode(document.decode())
    except UnicodeDecodeError as error:
        return document, f"not UTF-8: byte {error.start} is {document[error.start]:#04x}"
    except RecursionError:
        return document, "not a message: nested too deeply"
    except ValueError as error:
        return document, f"not JSON: {one_line(error)}"


def readable(document: bytes) -> str:
    """A document as text. Bytes that are no text are escaped."""
    name = json.detect_encoding(document)
    is_utf_8 = name.startswith("utf-8") or _form(document) is None
    return document.decode("utf-8" if is_utf_8 else name, "backslashreplace").removeprefix("\ufeff")


_OBJECT = "a JSON object"
_COMPRESSED = {
    b"\x1f\x8b": "gzip: send the JSON uncompressed",
    b"\x28\xb5\x2f\xfd": "zstd: send the JSON uncompressed",
    b"PK\x03\x04": "a ZIP archive: send the JSON uncompressed",
}
_FORMS = {
    b"{": _OBJECT,
    b"[": "a JSON array: send a message for each of its objects",
    b'"': "JSON in JSON: the object stands as text in quotes, send it without them",
    b"<": "XML or HTML: send a JSON object",
    **_COMPRESSED,
}


def _form(document: bytes) -> str | None:
    """What a document is and what to do about it, if its first bytes tell."""
    name = json.detect_encoding(document).upper()
    if name.startswith(("UTF-16", "UTF-32")):
        sample = document[:64].decode(name, "ignore").lstrip("\ufeff").strip()
        return f"{name[:6]}: send the JSON in UTF-8" if sample and sample.isascii() and sample.isprintable() else None
    text = document.lstrip()
    return next((form for start, form in _FORMS.items() if text.startswith(start)), None)


def _refused_form(body: bytes) -> tuple[bytes, str]:
    """What is to be read of a body that is no object, and what is wrong with its form."""
    decoded = _from_base64(body)
    if form := _form(body):
        return body, form
    if form := _form(decoded):
        return body if form in _COMPRESSED.values() else decoded, f"Base64 of {form}"
    twice = _from_base64(decoded)
    if _form(twice) == _OBJECT:
        return twice, "Base64 of Base64: encode the JSON once"
    in_standard_alphabet = b"".join(body.split()).translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
    repaired = _from_base64(in_standard_alphabet + b"=" * (-len(in_standard_alphabet) % 4))
    if _form(repaired) == _OBJECT:
        return repaired, "Base64 for URLs or without its padding: use the standard alphabet, padded with ="
    return body, f"{'' if body.strip() else 'empty: '}neither a JSON object nor Base64 of one"


def _from_base64(body: bytes) -> bytes:
    """What a body is Base64 of; empty if it is no Base64."""
    try:
        return base64.b64decode(b"".join(body.split()), validate=True).removeprefix(codecs.BOM_UTF8)
    except binascii.Error:
        return b""


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name given twice: nobody can tell which of the two was meant."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"field given twice: {one_line(twice)}")
    return fields


def _no_constant(name: str) -> NoReturn:
    """Refuse NaN and the infinities, which Python reads although JSON has none."""
    raise ValueError(f"{name} is no JSON value")


_DECODER = json.JSONDecoder(object_pairs_hook=_distinct, parse_constant=_no_constant)
