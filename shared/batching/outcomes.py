"""What became of an image, and what that means for the message that asked for it.

An image ends in one of three ways. A message has one or many images and one outcome, which `conclude` makes out of
theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.ids import ImageId


@dataclass(frozen=True, slots=True)
class Applied:
    """The service has the image's metadata."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The service will never take it: `code` is its word for why, `message` its sentence, if it said one."""

    code: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Nothing is known to be wrong with it: the service had trouble with this image. `reason` says which."""

    reason: str


ImageOutcome = Applied | Refused | TryAgain
NotApplied = Refused | TryAgain

APPLIED = Applied()


@dataclass(frozen=True, slots=True)
class Done:
    """Every image is applied: the message can be deleted."""


@dataclass(frozen=True, slots=True)
class Return:
    """At least one image has to be tried again: the whole message comes back later.

    Updating the others twice does no harm: an update says what the metadata is, not how it changes.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Reject:
    """The rest is applied, these images never will be: they go to the dead letters."""

    refused: Mapping[ImageId, Refused]


MessageOutcome = Done | Return | Reject

DONE = Done()


def conclude(not_applied: Mapping[ImageId, NotApplied]) -> MessageOutcome:
    """Make a message's outcome out of those of its images that were not applied."""
    if not not_applied:
        return DONE
    refused: dict[ImageId, Refused] = {}
    for image_id, outcome in not_applied.items():
        if isinstance(outcome, TryAgain):
            return Return(f"image {image_id}: {outcome.reason}")
        refused[image_id] = outcome
    return Reject(refused)
