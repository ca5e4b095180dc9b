"""One line of a catalogue: the images that it names and what they are to have, or what is wrong with it."""

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
"""What a message may say so that it fits its 64 KiB in either encoding: Base64 makes four bytes of three."""

BYTES_PER_IMAGE = 39
"""An id of 36 characters, two quotation marks and a comma."""

NO_PAIRS = "no metadata: there is nothing to give its images"


@dataclass(frozen=True, slots=True)
class Row:
    """A valid line. Lines are counted from 1; a record of several lines is known by its first."""

    line: int
    project_id: str
    image_ids: tuple[str, ...]
    pairs: Pairs
    correlation_id: str | None = None


@dataclass(frozen=True, slots=True)
class BadRow:
    """A line that cannot be sent, and why."""

    line: int
    problem: str


_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NOT_DECODED = re.compile("[\udc80-\udcff]")


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID of 36 characters, as the queue takes them."""
    return _UUID.fullmatch(text) is not None


def id_bytes(text: str) -> bytes:
    """A UUID of 36 characters as its 16 bytes, without the cost of taking it apart further."""
    return bytes.fromhex(text.replace("-", ""))


def id_text(data: bytes) -> str:
    """The 36 characters again, in lower case."""
    digits = data.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def hint_of_encoding(text: str) -> str:
    """What to add to a row's problem if bytes of it were not of the encoding that the file was read with."""
    return " (not UTF-8? say what it is, such as --encoding cp1252)" if _NOT_DECODED.search(text) else ""


def validated(fields: dict[str, Any], limits: MetadataLimits) -> MetadataUpdate:
    """The update that these fields are, by the rules of the queue itself. Raises `InvalidMessage`."""
    update = parse_update(to_json(fields).encode("utf-8", "surrogatepass"), limits)
    if not update.metadata:
        raise InvalidMessage(NO_PAIRS)
    rest = {**update.to_dict(), "imageIds": []}
    if content_bytes(rest) + BYTES_PER_IMAGE > MAX_CONTENT_BYTES:
        raise InvalidMessage(f"metadata: does not fit a message, which has {MAX_CONTENT_BYTES:,} bytes")
    return update


def content_bytes(fields: dict[str, Any]) -> int:
    """How long a message with these fields is, before it is encoded."""
    return len(to_json(fields).encode())
