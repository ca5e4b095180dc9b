"""A message's outcome, from those of its images."""

from __future__ import annotations

import pytest

from shared.outcomes import DONE, MessageOutcome, NotApplied, Refused, Reject, Return, TryAgain, conclude
from tests.unit.conftest import image

GONE = Refused("ErrorImageNotFound")
FULL = Refused("ErrorLimitExceed")
LATER = TryAgain("status ErrorUnknown")


@pytest.mark.parametrize(
    ("not_applied", "outcome"),
    [
        ({}, DONE),
        ({1: GONE}, Reject({image(1): GONE})),
        ({1: GONE, 2: FULL}, Reject({image(1): GONE, image(2): FULL})),
        ({1: LATER}, Return(f"image {image(1)}: status ErrorUnknown")),
        ({1: GONE, 2: LATER}, Return(f"image {image(2)}: status ErrorUnknown")),
        ({1: LATER, 2: GONE}, Return(f"image {image(1)}: status ErrorUnknown")),
    ],
    ids=["all applied", "one refused", "several refused", "one again", "refused and again", "again and refused"],
)
def test_one_image_to_be_tried_again_brings_the_message_back_before_anything_is_rejected(
    not_applied: dict[int, NotApplied], outcome: MessageOutcome
) -> None:
    assert conclude({image(number): one for number, one in not_applied.items()}) == outcome
