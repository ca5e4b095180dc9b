"""The pace: one instance's rules, and what many instances that know nothing of one another do together."""

from __future__ import annotations

import heapq
import math
import random
from itertools import count, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.pace import LOWEST_SHARE, PROBE_DOUBT_CALLS, START_CALLS, Pace

LIMIT = 10.0


def a_pace(calls_per_second: float = LIMIT, seed: int = 1) -> Pace:
    return Pace(calls_per_second, rng=random.Random(seed))


def call_until(pace: Pace, start: float, end: float, latency: float = 0.0) -> list[float]:
    """Call as soon as allowed, one call after the other, all of them successful; return when the calls went."""
    times = []
    now = start
    while (now := pace.ready_at(now)) < end:
        pace.take(now)
        times.append(now)
        now += latency
        pace.succeeded(now)
    return times


def a_full_pace(at: float = 0.0) -> Pace:
    pace = a_pace()
    call_until(pace, at - 40, at)
    assert pace.rate == LIMIT
    return pace


def test_the_first_call_goes_at_once() -> None:
    assert a_pace().ready_at(5.0) == 5.0


def test_a_call_before_its_time_is_refused() -> None:
    pace = a_pace()
    pace.take(0.0)
    with pytest.raises(RuntimeError):
        pace.take(0.5)


@pytest.mark.parametrize("calls_per_second", [0, -1, math.inf, math.nan])
def test_a_rate_must_be_positive_and_finite(calls_per_second: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        Pace(calls_per_second)


def test_an_instance_that_knows_it_calls_alone_starts_at_the_configured_rate() -> None:
    assert Pace(LIMIT, start_share=1.0).rate == LIMIT


def test_a_lone_instance_reaches_the_configured_rate_within_seconds_and_keeps_it() -> None:
    pace = a_pace()
    times = call_until(pace, 0.0, 60.0, latency=0.05)
    assert pace.rate == LIMIT
    assert len([time for time in times if 30 <= time < 60]) == pytest.approx(300, abs=2)


def test_the_first_successes_leave_the_rate_as_it_is() -> None:
    pace = a_pace()
    rate = pace.rate
    for _ in range(START_CALLS):
        pace.succeeded(0.0)
    assert pace.rate == rate
    pace.succeeded(0.0)
    assert pace.rate > rate


def test_after_idling_half_a_second_s_worth_may_go_at_once_and_no_more() -> None:
    pace = a_full_pace()
    burst = 0
    while pace.ready_at(100.0) == 100.0:
        pace.take(100.0)
        burst += 1
    assert burst == LIMIT / 2


@given(
    st.lists(st.tuples(st.floats(0, 3), st.sampled_from(["ok", "429"])), max_size=300),
    st.integers(0, 99),
)
def test_never_more_than_the_configured_rate_over_any_window(steps: list[tuple[float, str]], seed: int) -> None:
    pace = a_pace(seed=seed)
    now = 0.0
    times = []
    for idle, answer in steps:
        now = pace.ready_at(now + idle * (idle > 2))
        pace.take(now)
        times.append(now)
        if answer == "ok":
            pace.succeeded(now)
        else:
            pace.limited(now, 1.0)
    for first, start in enumerate(times):
        for number, time in enumerate(times[first:], 1):
            assert number <= LIMIT * (time - start) + LIMIT + 1e-6


def test_retry_after_is_obeyed() -> None:
    pace = a_full_pace()
    pace.limited(0.0, 30.0)
    assert pace.ready_at(0.0) >= 30.0


def test_a_later_shorter_retry_after_does_not_shorten_the_wait() -> None:
    pace = a_full_pace()
    pace.limited(0.0, 30.0)
    pace.limited(1.0, 1.0)
    assert pace.ready_at(1.0) >= 30.0


def test_without_retry_after_a_second_passes() -> None:
    pace = a_full_pace()
    pace.limited(0.0, None)
    assert pace.ready_at(0.0) >= 1.0


def test_a_429_lowers_the_rate_and_several_of_one_episode_count_once() -> None:
    pace = a_full_pace()
    pace.limited(0.0, 1.0)
    lowered = pace.rate
    pace.limited(0.1, 1.0)
    pace.limited(0.2, 1.0)
    assert lowered < LIMIT
    assert pace.rate == lowered


def test_no_burst_follows_a_429() -> None:
    pace = a_full_pace()
    pace.limited(0.0, 5.0)
    times = call_until(pace, 0.0, 8.0)
    assert times[0] >= 5.0
    assert min(later - earlier for earlier, later in pairwise(times)) >= 1 / LIMIT - 1e-9


def test_the_rate_grows_back_to_the_configured_one() -> None:
    pace = a_full_pace()
    for second in range(12):
        pace.limited(second * 2.0, 1.0)
    assert pace.rate < LIMIT / 10
    call_until(pace, 24.0, 900.0, latency=0.1)
    assert pace.rate == LIMIT


def test_idling_does_not_raise_the_rate() -> None:
    pace = a_full_pace()
    pace.limited(0.0, 1.0)
    lowered = pace.rate
    pace.ready_at(1e6)
    assert pace.rate == lowered


def test_the_rate_never_vanishes() -> None:
    pace = a_pace()
    for second in range(1000):
        pace.limited(second * 2.0, 1.0)
    assert pace.rate == LIMIT * LOWEST_SHARE


def lowered_until_probe(seed: int = 1) -> tuple[Pace, float]:
    """A pace at a small share of the limit, and the time at which its probe's second call may go."""
    pace = a_pace(seed=seed)
    for second in range(4):
        pace.limited(second * 2.0, 1.0)
    now = 8.0
    while True:
        now = pace.ready_at(now)
        pace.take(now)
        pace.succeeded(now)
        if pace.ready_at(now) - now <= 1 / LIMIT + 1e-9:
            return pace, pace.ready_at(now)


def test_a_failed_probe_costs_its_price_but_not_the_rate() -> None:
    pace, now = lowered_until_probe()
    rate = pace.rate
    pace.take(now)
    pace.limited(now, 1.0)
    assert pace.rate == rate
    assert pace.ready_at(now) >= now - 1 / LIMIT + 2 / rate - 1e-9


def test_a_probe_begins_with_one_call_at_a_time() -> None:
    pace, now = lowered_until_probe()
    pace.take(now)
    assert pace.ready_at(now) - now == pytest.approx(1 / pace.rate, rel=0.01)


@pytest.mark.parametrize("latency", [0.05, 0.15, 0.3])
def test_slow_answers_do_not_keep_a_lone_instance_below_its_rate_after_a_storm_of_429(latency: float) -> None:
    pace = a_pace()
    answers: list[tuple[float, bool]] = []  # when, and whether it is a 429; in order, since each takes equally long
    now, sent_late = 0.0, 0
    while now < 400:
        ready_at = pace.ready_at(now)
        if answers and answers[0][0] <= ready_at:
            now, refused = answers.pop(0)
            if refused:
                pace.limited(now, 1.0)
            else:
                pace.succeeded(now)
            continue
        now = ready_at
        pace.take(now)
        answers.append((now + latency, 20 < now < 24))
        sent_late += now >= 300
    assert sent_late >= 0.95 * 100 * LIMIT


def test_a_probe_raises_the_rate_to_what_it_has_found() -> None:
    pace, now = lowered_until_probe()
    started = now - 1 / LIMIT
    call_until(pace, now, started + 4.0 - 1e-6)
    pace.take(started + 4.0)
    pace.limited(started + 4.0, 1.0)
    assert pace.rate == pytest.approx((40 - LIMIT - PROBE_DOUBT_CALLS) / 4.1, rel=0.02)


def test_a_second_s_worth_of_successes_proves_nothing() -> None:
    pace, now = lowered_until_probe()
    rate = pace.rate
    call_until(pace, now, now + 0.75)
    pace.take(pace.ready_at(now))
    pace.limited(now + 0.9, 1.0)
    assert pace.rate == rate


def test_a_429_soon_after_another_lowers_the_rate_more() -> None:
    factors = []
    for successes in (1, 20):
        pace = a_full_pace()
        pace.limited(0.0, 1.0)
        for _ in range(successes):
            pace.succeeded(100.0)
        before = pace.rate
        pace.limited(100.0, 1.0)
        factors.append(pace.rate / before)
    soon, late = factors
    assert soon < late < 1


class Bucket:
    """A token bucket, as the API has it; full at first."""

    def __init__(self, limit: float, capacity: float) -> None:
        self._limit = limit
        self._capacity = capacity
        self._level = capacity
        self._at = 0.0

    def admits(self, now: float) -> bool:
        self._level = min(self._capacity, self._level + (now - self._at) * self._limit)
        self._at = now
        if self._level < 1:
            return False
        self._level -= 1
        return True


def simulate(
    instances: int, seconds: float, api: Bucket, *, seed: int, retry_after: float = 1.0
) -> list[tuple[float, int, bool]]:
    """Let instances with endless backlogs share an API; return each call's time, instance and whether it got in."""
    rng = random.Random(seed)
    paces = [Pace(LIMIT, rng=random.Random(rng.random())) for _ in range(instances)]
    next_look = [0.0] * instances
    calls: list[tuple[float, int, bool]] = []
    number = count()
    # What is due: an answer, or (None) a look whether the next call may go.
    agenda: list[tuple[float, int, int, bool | None]] = [(0.0, next(number), i, None) for i in range(instances)]
    while agenda:
        now, _, instance, answer = heapq.heappop(agenda)
        if now > seconds:
            break
        pace = paces[instance]
        if answer is True:
            pace.succeeded(now)
        elif answer is False:
            pace.limited(now, retry_after)
        elif now != next_look[instance]:
            continue
        elif pace.ready_at(now) <= now:
            pace.take(now)
            calls.append((now, instance, api.admits(now)))
            latency = rng.lognormvariate(math.log(0.1), 0.4)
            heapq.heappush(agenda, (now + latency, next(number), instance, calls[-1][2]))
        next_look[instance] = pace.ready_at(now)
        heapq.heappush(agenda, (next_look[instance], next(number), instance, None))
    return calls


def refused_share(calls: list[tuple[float, int, bool]], start: float) -> float:
    answers = [admitted for time, _, admitted in calls if time >= start]
    return answers.count(False) / len(answers)


@pytest.mark.parametrize(
    ("instances", "least_used", "most_refused"), [(1, 0.98, 0.005), (4, 0.88, 0.03), (16, 0.9, 0.03)]
)
def test_instances_together_use_the_limit_and_waste_few_calls(
    instances: int, least_used: float, most_refused: float
) -> None:
    calls = simulate(instances, 180.0, Bucket(LIMIT, LIMIT), seed=3)
    admitted = sum(admitted for time, _, admitted in calls if time >= 30)
    assert admitted / (150 * LIMIT) >= least_used
    assert refused_share(calls, 30.0) <= most_refused


def test_no_instance_starves() -> None:
    calls = simulate(16, 300.0, Bucket(LIMIT, LIMIT), seed=5)
    served = [sum(admitted for _, one, admitted in calls if one == instance) for instance in range(16)]
    assert min(served) >= 0.2 * sum(served) / 16


def test_a_limit_far_below_the_configured_rate_is_found_without_hammering() -> None:
    calls = simulate(1, 1200.0, Bucket(1 / 3, 20), seed=2, retry_after=5.0)
    late = [admitted for time, _, admitted in calls if time >= 300]
    assert late.count(True) / 900 >= 0.6 / 3
    assert late.count(False) / len(late) <= 0.15
