"""What the dead letter of a message that cannot be applied holds, and what is left out where it does not fit.

The dead letter of a valid update is the update, reduced to the images that were refused, plus a `failure`. A message
that was never valid stands under `body`, decoded. Either can be moved back as it is: see `envelope`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from shared.messages.custom_vision_ids import ImageId
from shared.messages.encoding import MAX_MESSAGE_BYTES
from shared.messages.envelope import CUT_MARK, MAX_REDRIVES
from shared.messages.update import MetadataUpdate
from shared.redaction import without_secrets
from shared.text import to_json

MAX_SENTENCE = 200
MAX_BASE64_BYTES = MAX_MESSAGE_BYTES * 3 // 4
"""What is longer is written plain, which not every consumer reads."""
ID_BYTES = 39
"""An image id in its quotes, with the comma."""
MAX_LETTERS = 8
"""More of them are not made of one update, however little room its metadata leaves."""


class Reason(StrEnum):
    """Why a message is a dead letter."""

    INVALID = "invalid"
    REFUSED = "refused"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, when, and how often the message had been delivered by then."""

    reason: Reason
    code: Annotated[str, Field(description="The service's word, or ours where it was not asked.")]
    message: Annotated[str, Field(description="The service's sentence, or ours.")]
    at: datetime
    dequeue_count: Annotated[int, Field(alias="deliveries", ge=1, description="How often the message came.")]
    images: Annotated[Mapping[ImageId, str], Field(description="Each refused image's code.")] = field(
        default_factory=dict
    )
    redrives: Annotated[
        int, Field(ge=0, le=MAX_REDRIVES, description="How often it was a dead letter before and was moved back.")
    ] = 0
    truncated: Annotated[bool, Field(description="Whether something was left out so that it fits a message.")] = False

    def to_dict(self) -> dict[str, Any]:
        """The `failure` of the dead letter."""
        return {
            "reason": self.reason,
            "code": self.code,
            "message": self.message,
            "images": dict(self.images),
            "at": self.at.isoformat(),
            "deliveries": self.dequeue_count,
            "redrives": self.redrives,
        }


def of_update(update: MetadataUpdate, failure: Failure) -> list[str]:
    """The dead letters of a valid update, with its refused images, or with all if the failure names none.

    If one is not enough, each of several has all metadata and some of the images, and fits a message in Base64 if the
    metadata leaves room. Metadata that leaves none, which only raised limits permit, is cut; such a dead letter cannot
    be moved back.
    """
    ids = list(failure.images or update.image_ids)
    letter = {**update.to_dict(), "imageIds": ids, "failure": failure.to_dict()}
    text = _fit(letter, MAX_BASE64_BYTES)
    if _fits(text, MAX_BASE64_BYTES):
        return [text]
    without_ids = len(to_json({**letter, "imageIds": []}).encode())
    for size in (MAX_BASE64_BYTES, MAX_MESSAGE_BYTES):
        room = (size - without_ids) // ID_BYTES
        if room * MAX_LETTERS >= len(ids):
            return [to_json({**letter, "imageIds": ids[first : first + room]}) for first in range(0, len(ids), room)]
    return [of_text(to_json({**update.to_dict(), "imageIds": ids}), failure)]


def of_text(text: str, failure: Failure) -> str:
    """The dead letter of a message that is not valid: its text, without the dead letters around it. At most 64 KiB."""
    return _fit({"body": text, "failure": failure.to_dict()})


def _fit(letter: dict[str, Any], size: int = MAX_MESSAGE_BYTES) -> str:
    """Write a dead letter, and cut what is needed least until it has this size, but nothing that a redrive needs."""
    failure = letter["failure"]
    text = to_json(letter)
    sentences = {name: _cut(failure[name], MAX_SENTENCE) for name in ("message", "code")}
    for shorter in ({"images": {}, "truncated": True}, sentences):
        if not _fits(text, size):
            failure |= shorter
            text = to_json(letter)
    while "body" in letter and not _fits(text, size):
        letter["body"] = _cut(letter["body"], len(letter["body"]) * 7 // 8)  # a character is up to six bytes long
        text = to_json(letter)
    return text


def _fits(text: str, size: int) -> bool:
    return len(text.encode()) <= size


def _cut(text: str, length: int) -> str:
    text = without_secrets(text)  # before it is cut: half a key would not be found
    return text if len(text) <= length else text[:length].removesuffix(CUT_MARK) + CUT_MARK
