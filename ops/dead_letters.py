"""Reads a dead letter, decides whether a filter selects it, and what to advise about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from shared.messages.dates import read_date
from shared.messages.dead_letter import Reason
from shared.text import one_line

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from ops.storage import Seen

BY_THE_HOST = "host"
"""The reason of a letter without `failure`: the host moved the message, unchanged, after its last delivery."""

UNREADABLE = "unreadable"


class LetterReason(StrEnum):
    """The reasons of dead letters: three that the app writes, and two for letters that it did not write."""

    REFUSED = Reason.REFUSED.value
    INVALID = Reason.INVALID.value
    ERROR = Reason.ERROR.value
    HOST = BY_THE_HOST
    UNREADABLE = UNREADABLE


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter. `kind` is the queue from which it came, `at` when it was dead-lettered."""

    kind: str
    message: Seen
    reason: str
    code: str
    sentence: str
    at: datetime
    project_id: str = ""
    image_ids: tuple[str, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    correlation_id: str = ""
    redrives: int = 0
    document: dict[str, Any] = field(default_factory=dict)

    @property
    def was_valid(self) -> bool:
        """Whether a redrive can help: it once was a valid message, or perhaps only the app was wrong."""
        return self.reason == Reason.ERROR or ("body" not in self.document and self.reason != UNREADABLE)

    def to_dict(self) -> dict[str, Any]:
        """The letter as `--json` prints it."""
        return {
            "id": self.message.id,
            "queue": self.kind,
            "reason": self.reason,
            "code": self.code,
            "message": self.sentence,
            "at": self.at.isoformat(),
            "insertedAt": self.message.inserted_at.isoformat(),
            "projectId": self.project_id or None,
            "imageIds": list(self.image_ids),
            "metadata": self.metadata,
            "correlationId": self.correlation_id or None,
            "redrives": self.redrives,
            "advice": advice(self),
        }


def read_letter(kind: str, message: Seen) -> Letter:
    """Read a message of a dead-letter queue, whatever it holds."""
    document = message.json_object()
    if document is None:
        sentence = one_line(message.body.decode("utf-8", "backslashreplace"))
        return Letter(kind, message, UNREADABLE, "", sentence, message.inserted_at)
    failure = document.get("failure")
    told = failure if isinstance(failure, dict) else {}
    return Letter(
        kind=kind,
        message=message,
        reason=_text(told.get("reason")) or BY_THE_HOST,
        code=_text(told.get("code")),
        sentence=_text(told.get("message")),
        at=read_date(told.get("at")) or message.inserted_at,
        project_id=_text(document.get("projectId")),
        image_ids=_texts(document.get("imageIds")),
        metadata=_pairs(document.get("metadata")),
        correlation_id=_text(document.get("correlationId")),
        redrives=told.get("redrives", 0) if isinstance(told.get("redrives"), int) else 0,
        document=document,
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(filter(None, map(_text, value))) if isinstance(value, list) else ()


def _pairs(value: Any) -> dict[str, str]:
    return {key: text for key, text in value.items() if isinstance(text, str)} if isinstance(value, dict) else {}


@dataclass(frozen=True, slots=True)
class Filter:
    """Selects letters by all conditions that are given. Codes may contain `*`; ids may be shortened."""

    ids: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    correlation_ids: tuple[str, ...] = ()
    older_than: timedelta | None = None
    newer_than: timedelta | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it selects all letters."""
        return self == Filter()

    @property
    def includes_invalid(self) -> bool:
        """Whether a redrive moves letters that never were valid messages too: only if a reason or an id is given."""
        return bool(self.reasons or self.ids)

    def means(self, letter: Letter, now: datetime) -> bool:
        """Whether it selects this letter."""
        age = now - letter.at
        return (
            _any(self.ids, lambda id_: letter.message.id.lower().startswith(id_.lower()))
            and _any(self.reasons, letter.reason.__eq__)
            and _any(self.codes, lambda code: fnmatchcase(letter.code.lower(), code.lower()))
            and _any(self.projects, lambda project: letter.project_id.lower().startswith(project.lower()))
            and _any(self.correlation_ids, lambda known: fnmatchcase(letter.correlation_id, known))
            and (self.older_than is None or age > self.older_than)
            and (self.newer_than is None or age < self.newer_than)
        )


def _any(wanted: tuple[str, ...], matches: Any) -> bool:
    return not wanted or any(matches(each) for each in wanted)


_ADVICE_BY_CODE = {
    "ErrorImageNotFound": "the project has no such image: upload it and redrive, or drop the letter",
    "ErrorLimitExceed": "the image would have too many pairs: remove some of its pairs and redrive, or drop the letter",
    "NotFoundProject": "there is no such project: send it with the right id and drop the letter",
    "BadRequestImageMetadataKey": "the service does not accept this key: send another one and drop the letter",
    "BadRequestImageMetadataValue": "the service does not accept this value: send another one and drop the letter",
}
_ADVICE_BY_REASON = {
    "refused": "correct what the service names and redrive, or send it again and drop the letter",
    "invalid": "it was never a valid message: correct it, send it again and drop the letter",
    "error": "an error in the app: redrive when a corrected version is deployed",
    BY_THE_HOST: "all deliveries failed, as in an outage of a day: redrive when `vision-relay status` finds no fault",
    UNREADABLE: "it is no JSON object: find out who sends it, then drop the letter",
}


def advice(letter: Letter) -> str:
    """What to do about a letter."""
    return _ADVICE_BY_CODE.get(letter.code) or _ADVICE_BY_REASON.get(letter.reason, "read its `failure`")
