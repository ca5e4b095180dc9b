"""A message's outcome, from those of its images."""

from __future__ import annotations

import pytest

from shared.batching.outcomes import (
    COMPLETE,
    Abandon,
    DeadLetter,
    MessageOutcome,
    NotApplied,
    Refused,
    Retry,
    outcome_of_message,
)
from tests.unit.shared.conftest import image

GONE = Refused("ErrorImageNotFound")
FULL = Refused("ErrorLimitExceed")
LATER = Retry("status ErrorUnknown")


@pytest.mark.parametrize(
    ("not_applied", "outcome"),
    [
        ({}, COMPLETE),
        ({1: GONE}, DeadLetter({image(1): GONE})),
        ({1: GONE, 2: FULL}, DeadLetter({image(1): GONE, image(2): FULL})),
        ({1: LATER}, Abandon(f"image {image(1)}: status ErrorUnknown")),
        ({1: GONE, 2: LATER}, Abandon(f"image {image(2)}: status ErrorUnknown")),
        ({1: LATER, 2: GONE}, Abandon(f"image {image(1)}: status ErrorUnknown")),
    ],
    ids=["all applied", "one refused", "several refused", "one again", "refused and again", "again and refused"],
)
def test_one_image_to_be_tried_again_brings_the_message_back_before_anything_is_rejected(
    not_applied: dict[int, NotApplied], outcome: MessageOutcome
) -> None:
    assert outcome_of_message({image(number): one for number, one in not_applied.items()}) == outcome
