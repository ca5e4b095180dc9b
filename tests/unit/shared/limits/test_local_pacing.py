"""A limit that is shared with nobody: even intervals, and rest after a 429."""

from __future__ import annotations

import pytest

from shared.limits.local_pacing import EvenSpacing


def call_until(limiter: EvenSpacing, end: float, start: float = 0.0) -> list[float]:
    went = []
    now = start
    while (now := limiter.ready_at(now)) < end:
        limiter.take(now)
        went.append(now)
    return went


def test_calls_go_at_even_intervals_and_at_the_full_rate_from_the_first_second_on() -> None:
    went = call_until(EvenSpacing(10.0), 0.95)
    assert went == [pytest.approx(number / 10) for number in range(10)]


def test_one_that_goes_a_little_late_delays_no_other() -> None:
    limiter = EvenSpacing(10.0)
    limiter.take(0.0)
    limiter.take(0.15)
    assert limiter.ready_at(0.15) == pytest.approx(0.2)
    limiter.take(0.35)
    assert limiter.ready_at(0.35) == pytest.approx(0.45)


def test_one_that_goes_a_whole_interval_late_begins_anew() -> None:
    limiter = EvenSpacing(2.0)
    limiter.take(0.0)
    limiter.take(1.0)
    assert limiter.ready_at(1.0) == 1.5


def test_what_was_not_used_is_not_made_up_for() -> None:
    limiter = EvenSpacing(10.0)
    limiter.take(0.0)
    assert len(call_until(limiter, 100.95, 100.0)) == 10


@pytest.mark.parametrize(("asked", "waited"), [(3.0, 3.0), (None, 1.0), (0.0, 0.1)])
def test_after_a_429_no_call_goes_for_as_long_as_asked(asked: float | None, waited: float) -> None:
    limiter = EvenSpacing(10.0)
    limiter.take(0.0)
    limiter.limited(None, asked, 5.0)
    assert limiter.ready_at(5.0) == pytest.approx(5.0 + waited)
