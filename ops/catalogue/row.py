"""Decides what a row of a catalogue must look like to be sent, by the rules of the queue itself (`validated`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.errors import InvalidMessage
from shared.messages.update import parse_update
from shared.text import to_json

if TYPE_CHECKING:
    from shared.messages.update import MetadataLimits, MetadataUpdate

Pairs = tuple[tuple[str, str], ...]

MAX_CONTENT_BYTES = 48 * 1024
"""A message of this size fits 64 KiB in either encoding: Base64 makes four bytes of three."""

BYTES_PER_IMAGE = 39
"""An id of 36 characters, two quotation marks and a comma."""

NO_PAIRS = "no metadata: there is nothing to give its images"


class CatalogueError(Exception):
    """A file cannot be read as a catalogue; the text says why and what helps.

    `advice` follows the text, unless whoever catches the error has better advice.
    """

    def __init__(self, text: str, advice: str = "") -> None:
        super().__init__(f"{text}; {advice}" if advice else text)
        self.text = text


@dataclass(frozen=True, slots=True)
class Row:
    """A valid row. `line` is its first line, counted from 1."""

    line: int
    project_id: str
    image_ids: tuple[str, ...]
    pairs: Pairs
    correlation_id: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with the lines from `line` to `last_line`. They are not sent, unless it is only a warning.

    `rows` is the number of rows on them: a quotation mark without its partner swallows several.
    """

    line: int
    last_line: int
    text: str
    is_warning: bool = False
    rows: int = 1

    @property
    def where(self) -> str:
        """The line, or the first and the last."""
        return str(self.line) if self.last_line == self.line else f"{self.line}-{self.last_line}"

    def to_dict(self) -> dict[str, Any]:
        """The problem as `--json` prints it."""
        return {"line": self.line, "lastLine": self.last_line, "problem": self.text}


_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_OTHER_NOTATION = re.compile(
    r"(?:urn:uuid:)?[{(]?([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})[)}]?",
    re.IGNORECASE,
)
_INVISIBLE = "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
_PLAIN = str.maketrans(dict.fromkeys(_INVISIBLE, "") | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"))
"""Deletes invisible characters, and turns the dashes of word processors into hyphens."""


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID of 36 characters, as the queue requires it."""
    return _UUID.fullmatch(text) is not None


def plain_id(text: str) -> str:
    """Rewrite a UUID as the queue requires it; of any other text, remove only the spaces around it.

    Braces, `urn:uuid:`, missing hyphens, quotation marks and invisible characters are accepted: the id is still clear.
    """
    if _UUID.fullmatch(text):
        return text.lower()
    found = _OTHER_NOTATION.fullmatch(text.translate(_PLAIN).strip().strip("'\"` "))
    return "-".join(found.groups()).lower() if found else text.strip()


def id_bytes(text: str) -> bytes:
    """The 16 bytes of a UUID of 36 characters."""
    return bytes.fromhex(text.replace("-", ""))


def id_text(data: bytes) -> str:
    """The UUID of 16 bytes, in lower case."""
    digits = data.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def plain_name(text: str) -> str:
    """The name of a column, without the spaces around it and without invisible characters."""
    return text.translate(dict.fromkeys(map(ord, _INVISIBLE))).strip()


def validated(fields: dict[str, Any], limits: MetadataLimits) -> MetadataUpdate:
    """Read the fields of an update by the rules of the queue. Raises `InvalidMessage`."""
    body = to_json(fields).encode("utf-8", "surrogatepass")
    update = parse_update(body, limits)
    if not update.metadata:
        raise InvalidMessage(NO_PAIRS)
    is_large = len(body) > MAX_CONTENT_BYTES  # perhaps only because of its many images, which can be split
    if is_large and content_bytes({**update.to_dict(), "imageIds": []}) + BYTES_PER_IMAGE > MAX_CONTENT_BYTES:
        raise InvalidMessage(f"metadata: does not fit a message, which has {MAX_CONTENT_BYTES:,} bytes")
    return update


_SOME_ID = "00000000-0000-0000-0000-000000000000"


def problem_of(limits: MetadataLimits, metadata: dict[str, str] | None = None, **fields: str) -> str | None:
    """What is wrong with this metadata or these fields, in a message that is otherwise valid."""
    update = {"projectId": _SOME_ID, "imageIds": [_SOME_ID], "metadata": metadata or {"a": "b"}, **fields}
    try:
        validated(update, limits)
    except InvalidMessage as error:
        return str(error)
    return None


def content_bytes(fields: dict[str, Any]) -> int:
    """The size of a message with these fields, before it is encoded."""
    return len(to_json(fields).encode())
