"""The pace: one instance's rules, and what many instances that know nothing of one another do together."""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass
from itertools import count, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.limits.pace import (
    LOWEST_SHARE,
    MAX_BACK_OFF_SECONDS,
    MOST_DECREASES_IN_A_ROW,
    PROBE_AFTER_CALLS,
    PROBE_AFTER_SECONDS,
    PROBE_BELOW_SHARE,
    PROBE_BURST_ON_THE_WIRE,
    PROBE_JITTER,
    PROBE_MOST_SECONDS,
    PROBE_PATIENCE_SECONDS,
    REFUSED_ALWAYS,
    REFUSED_PER_INSTANCE,
    SETTLING_SUCCESSES,
    Pace,
)

LIMIT = 10.0
PROBE_MOST_SUCCESSES = int(PROBE_MOST_SECONDS * LIMIT)


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


def test_after_idling_half_a_second_s_worth_may_go_at_once_and_no_more() -> None:
    pace = a_full_pace()
    burst = 0
    while pace.ready_at(100.0) == 100.0:
        pace.take(100.0)
        burst += 1
    assert burst == LIMIT / 2


@dataclass(frozen=True)
class Step:
    """Idle for so long, then call; so long after that comes the answer, a 429 with such a `Retry-After` or none."""

    idle: float
    latency: float
    refused: bool
    retry_after: float | None


STEPS = st.builds(
    Step,
    idle=st.sampled_from([0.0, 0.0, 0.0, 2.0, 100.0]),
    latency=st.sampled_from([0.0, 0.05, 0.3, 3.0]),
    refused=st.booleans(),
    retry_after=st.sampled_from([None, 0.0, 0.5, 1.0, 7.0]),
)


@given(st.sampled_from([0.33, 1.0, 10.0, 1000.0]), st.lists(STEPS, max_size=300), st.integers(0, 99))
def test_never_more_than_the_configured_rate_over_any_window(configured: float, steps: list[Step], seed: int) -> None:
    pace = a_pace(configured, seed)
    now = 0.0
    times: list[float] = []
    answers: list[tuple[float, int, Step]] = []
    for step in steps:
        now += step.idle
        while answers and answers[0][0] <= pace.ready_at(now):
            now, _, answered = heapq.heappop(answers)
            if answered.refused:
                pace.limited(now, answered.retry_after)
            else:
                pace.succeeded(now)
        now = pace.ready_at(now)
        pace.take(now)
        times.append(now)
        heapq.heappush(answers, (now + step.latency, len(times), step))
    worth = max(1.0, configured)  # of a second: one call at least
    for first, start in enumerate(times):
        for number, time in enumerate(times[first:], 1):
            assert number <= configured * (time - start) + worth + 1e-6


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
        pace.succeeded(second * 2.0 + 1.5)
    assert pace.rate >= LIMIT * LOWEST_SHARE


@pytest.mark.parametrize("storm_seconds", [30, 120, 3600])
@pytest.mark.parametrize("configured", [0.33, 1.0, LIMIT])
def test_after_a_storm_of_429_the_rate_is_soon_what_it_was(storm_seconds: float, configured: float) -> None:
    pace = Pace(configured, start_share=1.0, rng=random.Random(1))
    now, refused = 0.0, 0
    while (now := pace.ready_at(now)) < storm_seconds:
        pace.take(now)
        pace.limited(now + 0.1, 1.0)
        now += 0.1
        refused += 1
    assert refused <= 2 * MOST_DECREASES_IN_A_ROW + storm_seconds / MAX_BACK_OFF_SECONDS
    assert pace.ready_at(now) - now <= 2 * MAX_BACK_OFF_SECONDS
    call_until(pace, now, now + max(300.0, 200 / configured), latency=0.1)
    assert pace.rate >= 0.8 * configured


def test_in_the_start_a_success_brings_the_next_call_forward() -> None:
    pace = a_pace()
    pace.take(0.0)
    second = pace.ready_at(0.0)
    pace.take(second)
    third = pace.ready_at(second)
    pace.succeeded(second + 0.1)
    assert second + 0.1 < pace.ready_at(second + 0.1) < third


def test_a_storm_of_days_is_waited_out_like_any_other() -> None:
    pace = a_full_pace()
    now = 0.0
    for _ in range(5000):
        now = pace.ready_at(now)
        pace.take(now)
        pace.limited(now, 0.0)
    assert MAX_BACK_OFF_SECONDS <= pace.ready_at(now) - now <= 2 * MAX_BACK_OFF_SECONDS


def test_an_instance_with_little_to_do_does_not_raise_its_rate() -> None:
    pace = a_pace()
    for second in range(1000):
        pace.take(float(second))
        pace.succeeded(second + 0.1)
    assert pace.rate < LIMIT / 4


def test_a_second_429_of_an_episode_moves_the_next_call_with_its_random_part() -> None:
    pace = a_full_pace()
    pace.limited(0.0, 1.0)
    spread = pace.ready_at(0.0) - 1.0
    assert spread > 0
    pace.limited(0.5, 2.0)
    assert pace.ready_at(0.5) == pytest.approx(2.5 + spread)


def test_instances_refused_together_do_not_come_back_together() -> None:
    def again_at(seed: int) -> float:
        pace = a_pace(seed=seed)
        pace.limited(0.0, 1.0)
        return pace.ready_at(0.0)

    assert len({again_at(seed) for seed in range(20)}) == 20


def a_settled_pace(share: float) -> Pace:
    """A pace at this share of the limit, with its final step, as far as rounding lets it be."""
    pace = a_pace()
    pace.limited(0.0, 1.0)
    for _ in range(int(20 * SETTLING_SUCCESSES)):
        pace.succeeded(1.0)
    at(pace, share)
    return pace


def at(pace: Pace, share: float) -> None:
    pace._set_share(share)


@pytest.mark.parametrize("instances", [2, 4, 16, 64])
def test_the_share_of_429_at_which_the_rate_stays_grows_with_the_number_of_instances(instances: int) -> None:
    pace = a_settled_pace(1 / instances)
    refused = REFUSED_ALWAYS + REFUSED_PER_INSTANCE * instances
    for _ in range(round((1 - refused) / refused)):
        pace.succeeded(100.0)
    pace.limited(100.0, 1.0)
    assert pace.rate == pytest.approx(LIMIT / instances, rel=0.02)


def test_unequal_instances_become_equal_where_they_see_the_same_share_of_429() -> None:
    paces = [a_settled_pace(share) for share in (0.02, 0.2)]
    now = 100.0
    for _ in range(2000):
        for pace in paces:
            for _ in range(70):
                pace.succeeded(now)
            pace.limited(now, 1.0)
        now += 3.0
    low, high = (pace.rate for pace in paces)
    assert low == pytest.approx(high, rel=0.05)


def test_a_429_moves_an_instance_far_at_first_and_little_once_it_has_settled() -> None:
    def factor(successes: int) -> float:
        pace = a_pace()
        pace.limited(0.0, 1.0)
        for _ in range(successes):
            pace.succeeded(50.0)
        before = pace.rate
        pace.limited(100.0, 1.0)
        return pace.rate / before

    assert factor(0) < factor(20) < factor(500) < 0.95


@given(st.integers(0, 99), st.floats(0.1, 60))
def test_after_a_429_the_next_call_waits_as_long_as_asked_and_at_most_an_interval_more(seed: int, wait: float) -> None:
    pace = a_pace(seed=seed)
    pace.limited(0.0, wait)
    assert wait <= pace.ready_at(0.0) <= wait + min(wait, 1 / pace.rate)


def quiet_until_probe(pace: Pace, latency: float = 0.1) -> float:
    """Call with nothing but successes until a probe begins; return when its first call went."""
    now = pace.ready_at(0.0)
    for _ in range(10_000):
        pace.take(now)
        if pace.ready_at(now) - now < 0.5 / pace.rate:
            return now
        pace.succeeded(now + latency)
        now = pace.ready_at(now + latency)
    raise AssertionError("no probe begins")


def a_sixteenth(seed: int = 1) -> Pace:
    pace = a_pace(seed=seed)
    pace.limited(0.0, 1.0)
    at(pace, 1 / 16)
    pace._plan_probe(0.0)
    return pace


def answer_burst(pace: Pace, now: float, latency: float = 0.05) -> float:
    """Let a burst succeed whose first call went at `now`, one answer after another; return the last answer's time."""
    answers = [now + latency]
    for _ in range(int(LIMIT)):
        while (ready_at := pace.ready_at(now)) > answers[0]:
            now = answers.pop(0)
            pace.succeeded(now)
        now = max(now, ready_at)
        pace.take(now)
        answers.append(now + latency)
    for now in answers:
        pace.succeeded(now)
    return now


@pytest.mark.parametrize("instances", [2, 16, 64])
def test_an_instance_probes_after_so_long_and_so_many_calls_without_a_429(instances: int) -> None:
    pace = a_pace()
    pace.limited(0.0, 1.0)
    at(pace, 1 / instances)
    pace._plan_probe(0.0)
    expected = max(PROBE_AFTER_SECONDS, PROBE_AFTER_CALLS * instances / LIMIT)
    assert quiet_until_probe(pace) == pytest.approx(expected, rel=PROBE_JITTER + 0.05)


def test_who_has_the_limit_alone_does_not_probe() -> None:
    pace = a_full_pace()
    pace.limited(0.0, 1.0)
    at(pace, 0.9)
    times = call_until(pace, 0.0, 400.0)
    assert min(later - earlier for earlier, later in pairwise(times)) >= 1 / LIMIT - 1e-9


def test_a_probe_begins_with_a_burst_of_which_few_calls_are_on_the_wire() -> None:
    pace = a_sixteenth()
    now = quiet_until_probe(pace)
    for _ in range(PROBE_BURST_ON_THE_WIRE - 1):
        assert pace.ready_at(now) == now
        pace.take(now)
    assert pace.ready_at(now) > now + 0.5
    pace.succeeded(now + 0.03)
    assert pace.ready_at(now + 0.03) == now + 0.03


def test_the_burst_of_a_probe_is_a_second_s_worth_at_most_however_fast_the_answers() -> None:
    pace = a_sixteenth()
    now = quiet_until_probe(pace)
    pace.succeeded(now)
    burst = 1
    while pace.ready_at(now) == now:
        pace.take(now)
        pace.succeeded(now)
        burst += 1
    assert burst == LIMIT


def test_a_probe_ends_as_soon_as_it_has_found_most_of_the_limit() -> None:
    pace = a_sixteenth()
    began = quiet_until_probe(pace)
    rate = pace.rate
    now = answer_burst(pace, began)
    calls = 0
    while pace.rate == rate:
        now = pace.ready_at(now)
        pace.take(now)
        pace.succeeded(now)
        calls += 1
    assert pace.rate >= PROBE_BELOW_SHARE * LIMIT
    assert calls < PROBE_MOST_SUCCESSES / 2


def test_a_probe_whose_answers_are_slow_ends_with_what_it_has_found() -> None:
    pace = a_sixteenth()
    began = quiet_until_probe(pace)
    rate = pace.rate
    pace.succeeded(began + 0.25)
    now = began + 0.25
    for _ in range(PROBE_MOST_SUCCESSES):
        if pace.rate != rate:
            break
        pace.take(now)
        now += 0.25
        pace.succeeded(now)
    assert rate < pace.rate < PROBE_BELOW_SHARE * LIMIT


def test_a_probe_goes_on_at_the_configured_rate_once_all_of_its_burst_has_succeeded() -> None:
    pace = a_sixteenth()
    began = quiet_until_probe(pace)
    answered = answer_burst(pace, began)
    assert answered < began + 1
    now = pace.ready_at(answered)
    assert now == pytest.approx(began + 1.1)
    for number in range(12, 16):
        pace.take(now)
        pace.succeeded(now)
        now = pace.ready_at(now)
        assert now == pytest.approx(began + number / LIMIT)


def test_a_failed_probe_leaves_the_rate() -> None:
    pace = a_sixteenth()
    now = quiet_until_probe(pace)
    rate = pace.rate
    pace.limited(now + 0.02, 1.0)
    assert pace.rate == rate
    assert now + 1.02 <= pace.ready_at(now + 0.02) <= now + 2.02


def test_a_burst_that_succeeds_proves_nothing_yet() -> None:
    pace = a_sixteenth()
    now = quiet_until_probe(pace)
    rate = pace.rate
    now = answer_burst(pace, now)
    now = pace.ready_at(now)
    pace.take(now)
    pace.limited(now, 1.0)
    assert pace.rate == rate


def test_a_probe_raises_the_rate_to_what_it_has_found() -> None:
    pace = a_sixteenth()
    began = quiet_until_probe(pace)
    now = answer_burst(pace, began)
    succeeded = 11
    while (now := pace.ready_at(now)) < began + 4.0:
        pace.take(now)
        pace.succeeded(now)
        succeeded += 1
    pace.take(now)
    pace.limited(now, 1.0)
    assert pace.rate == pytest.approx((succeeded - LIMIT) / (now - began))


def test_a_probe_that_is_not_answered_is_given_up() -> None:
    pace = a_sixteenth()
    now = quiet_until_probe(pace)
    pace.take(now)
    late = pace.ready_at(now)
    assert late == now + PROBE_PATIENCE_SECONDS
    pace.take(late)
    assert pace.ready_at(late) - late == pytest.approx(1 / pace.rate)


def test_a_probe_whose_calls_come_late_is_given_up() -> None:
    pace = a_sixteenth()
    now = quiet_until_probe(pace)
    pace.succeeded(now + 0.1)
    pace.take(now + 5.0)
    assert pace.ready_at(now + 5.0) - (now + 5.0) > 0.5 / pace.rate


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
    ("instances", "least_used", "most_refused"), [(1, 0.98, 0.005), (4, 0.95, 0.02), (16, 0.95, 0.025)]
)
def test_instances_together_use_the_limit_and_waste_few_calls(
    instances: int, least_used: float, most_refused: float
) -> None:
    calls = simulate(instances, 180.0, Bucket(LIMIT, LIMIT), seed=3)
    admitted = sum(admitted for time, _, admitted in calls if time >= 30)
    assert admitted / (150 * LIMIT) >= least_used
    assert refused_share(calls, 30.0) <= most_refused


@pytest.mark.parametrize("instances", [4, 16])
def test_no_instance_starves_however_long_they_run(instances: int) -> None:
    calls = simulate(instances, 3600.0, Bucket(LIMIT, LIMIT), seed=5)
    for start in range(600, 3600, 600):
        served = [0] * instances
        for time, instance, admitted in calls:
            served[instance] += admitted and start <= time < start + 600
        assert min(served) >= 0.4 * sum(served) / instances


def test_a_limit_far_below_the_configured_rate_is_found_without_hammering() -> None:
    calls = simulate(1, 1200.0, Bucket(1 / 3, 20), seed=2, retry_after=5.0)
    late = [admitted for time, _, admitted in calls if time >= 300]
    assert late.count(True) / 900 >= 0.6 / 3
    assert late.count(False) / len(late) <= 0.15
