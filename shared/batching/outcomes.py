"""What became of an image, and what that means for the message that asked for it.

An image ends in one of three ways. A message has one or many images and one outcome, which `settle` makes out of
theirs. What a failed call means for its images, `failed_calls` says.
"""

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
    """At least one image has to be tried again: the whole message comes back later.

    Updating the others twice does no harm: an update says what the metadata is, not how it changes.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """The rest is applied, these images never will be: they go to the dead letters."""

    refused: Mapping[str, Refused]


MessageOutcome = Complete | Abandon | DeadLetter

COMPLETE = Complete()


def settle(not_applied: Mapping[str, NotApplied]) -> MessageOutcome:
    """Make a message's outcome out of those of its images that were not applied."""
    if not not_applied:
        return COMPLETE
    refused: dict[str, Refused] = {}
    for image_id, outcome in not_applied.items():
        if isinstance(outcome, Retry):
            return Abandon(f"image {image_id}: {outcome.reason}")
        refused[image_id] = outcome
    return DeadLetter(refused)
