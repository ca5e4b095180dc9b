"""Decides the encoding of a file. A byte that it cannot decode spoils only its own row, so that the row can be named.

Such bytes become characters that no message may have. Written again, they are the same bytes.
"""

from __future__ import annotations

import codecs
import json
import re

from ops.catalogue.row import CatalogueError
from shared.text import one_line

KEEP = "vision-relay-keep"
"""The error handler to open files with."""

NAME_THE_ENCODING = "name the encoding, such as --encoding"

_NO_TEXT = {"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape", "mbcs", "oem"}
_NOT_DECODED = re.compile("[\udc00-\udcff]")


def choose_encoding(head: bytes, chosen: str | None) -> str:
    """The encoding of a file that begins with `head`. Raises `CatalogueError` if `chosen` does not exist or fit."""
    seen = json.detect_encoding(head)  # by a byte order mark, or by the zero bytes of UTF-16 and UTF-32
    if chosen is None:
        return seen
    if _plain(_looked_up(chosen)).startswith(_plain(seen).removesuffix("sig")[:5]):
        return seen if seen != "utf-8" else chosen
    if seen == "utf-8" and _plain(chosen) in ("utf16", "utf32"):
        return f"{chosen}-le"  # Windows writes it without a byte order mark
    if seen != "utf-8":
        raise CatalogueError(f"--encoding {one_line(chosen)}: the file is {name_of(seen)}; leave the option out")
    return chosen


def _looked_up(chosen: str) -> str:
    try:
        codec = codecs.lookup(chosen)
    except (LookupError, ValueError):
        raise CatalogueError(f"--encoding {one_line(chosen)}: there is no such encoding; try cp1252") from None
    if not codec._is_text_encoding or codec.name in _NO_TEXT:  # noqa: SLF001
        raise CatalogueError(f"--encoding {one_line(chosen)}: this is no encoding of text files; try cp1252")
    return codec.name


def _plain(encoding: str) -> str:
    return re.sub("[^a-z0-9]", "", encoding.lower())


def name_of(encoding: str) -> str:
    """The name of an encoding as people know it."""
    return encoding.upper().removesuffix("-SIG") if encoding.lower().startswith("utf") else encoding


def hint_of_encoding(text: str, encoding: str) -> str:
    """What to add to the problem of this text if bytes of it could not be decoded; otherwise empty."""
    if not _NOT_DECODED.search(text):
        return ""
    other = "cp1252" if name_of(encoding) != "cp1252" else "latin-1"
    return f" (not {name_of(encoding)}? {NAME_THE_ENCODING} {other})"


def _keep(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeDecodeError | UnicodeEncodeError):
        raise error
    is_wide = _plain(error.encoding)[:5] in ("utf16", "utf32")
    if isinstance(error, UnicodeDecodeError):
        end = error.end if is_wide else error.start + 1
        return "".join(chr(0xDC00 | byte) for byte in error.object[error.start : end]), end
    code = ord(error.object[error.start])
    return bytes([code & 0xFF]) if 0xDC00 <= code <= 0xDCFF and not is_wide else "?", error.start + 1


codecs.register_error(KEEP, _keep)
