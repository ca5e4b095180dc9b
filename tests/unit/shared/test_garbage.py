"""How often Python looks for reference cycles."""

import gc
from collections.abc import Iterator

import pytest

from shared.garbage import look_less_often


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_what_exists_after_start_up_is_never_looked_at_again() -> None:
    look_less_often()
    assert gc.get_freeze_count() > 1000


def test_cycles_are_still_found() -> None:
    look_less_often()
    assert gc.isenabled()
    assert gc.get_threshold()[0] > 0


def test_thousands_of_new_objects_lead_to_no_look() -> None:
    look_less_often()
    looks = sum(generation["collections"] for generation in gc.get_stats())
    kept = [[number] for number in range(20_000)]
    assert sum(generation["collections"] for generation in gc.get_stats()) == looks
    assert len(kept) == 20_000
