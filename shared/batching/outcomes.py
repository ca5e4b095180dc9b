"""The outcome of an image, and the outcome of a message, which follows from those of its images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Applied:
    """The service has the image's metadata."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The service will never take it: `code` is its word for why, `message` its sentence, if it said one."""

    code: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """Nothing is known to be wrong with it: the service had trouble with this image. `reason` says which."""

    reason: str


ImageOutcome = Applied | Refused | Retry
NotApplied = Refused | Retry

APPLIED = Applied()


@dataclass(frozen=True, slots=True)
class Complete:
    """Every image is applied: the message can be deleted."""


@dataclass(frozen=True, slots=True)
class Abandon:
    """At least one image has to be tried again: the message comes back later."""

    reason: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """The rest is applied, these images never will be: they go to the dead letters."""

    refused: Mapping[str, Refused]


MessageOutcome = Complete | Abandon | DeadLetter

COMPLETE = Complete()


def outcome_of_message(not_applied: Mapping[str, NotApplied]) -> MessageOutcome:
    """The outcome of a message whose other images were applied."""
    if not not_applied:
        return COMPLETE
    refused: dict[str, Refused] = {}
    for image_id, outcome in not_applied.items():
        if isinstance(outcome, Retry):
            return Abandon(f"image {image_id}: {outcome.reason}")
        refused[image_id] = outcome
    return DeadLetter(refused)
