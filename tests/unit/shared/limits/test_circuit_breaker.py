"""The gate: what trips it, what opens it, and when it is tried."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import (
    AccessDenied,
    ApiError,
    CallRefused,
    NotFound,
    RateLimited,
    SharedFieldsRefused,
    Unavailable,
    UnexpectedAnswer,
)
from shared.limits.circuit_breaker import MAX_BACK_OFF_SECONDS, MIN_BACK_OFF_SECONDS, CircuitBreaker, Transition, trips

DOWN = Unavailable("503")
CLOSING: list[ApiError] = [DOWN, AccessDenied("401")]
OTHERS: list[ApiError | None] = [
    None,
    RateLimited("429"),
    SharedFieldsRefused("c", "m"),
    CallRefused("c", "m"),
    NotFound("c", "m"),
    UnexpectedAnswer("418"),
]


def longest(low: float, high: float) -> float:
    return high


def new_gate() -> CircuitBreaker:
    """Without luck: the jitter is always the longest."""
    return CircuitBreaker(uniform=longest)


def closed_gate(now: float = 0.0, error: ApiError = DOWN) -> CircuitBreaker:
    gate = new_gate()
    assert gate.report(gate.admit(now), error, now) is Transition.OPENED
    return gate


class TestClosing:
    @pytest.mark.parametrize("error", CLOSING, ids=lambda error: type(error).__name__)
    def test_trouble_of_the_service_closes_it(self, error: ApiError) -> None:
        gate = closed_gate(7.0, error)
        assert gate.opened_at == 7.0
        assert gate.ready_at(7.0) == 7.0 + MIN_BACK_OFF_SECONDS
        with pytest.raises(RuntimeError):
            gate.admit(7.0)

    @pytest.mark.parametrize("error", OTHERS, ids=lambda error: type(error).__name__)
    def test_any_other_answer_leaves_it_open(self, error: ApiError | None) -> None:
        gate = new_gate()
        assert not trips(error)
        assert gate.report(gate.admit(0), error, 0) is Transition.NONE
        assert gate.opened_at is None

    def test_while_open_any_number_of_calls_goes(self) -> None:
        gate = new_gate()
        assert not any(gate.admit(0).probe for _ in range(100))
        assert gate.ready_at(0) <= 0


class TestProbe:
    def test_one_goes_at_a_time(self) -> None:
        gate = closed_gate()
        leave = gate.admit(MIN_BACK_OFF_SECONDS)
        assert leave.probe
        assert gate.ready_at(1000) == math.inf
        with pytest.raises(RuntimeError):
            gate.admit(1000)
        gate.report(leave, DOWN, 1000)
        assert gate.admit(1001).probe

    @pytest.mark.parametrize("error", OTHERS, ids=lambda error: type(error).__name__)
    def test_any_answer_that_is_not_trouble_opens_it(self, error: ApiError | None) -> None:
        gate = closed_gate()
        assert gate.report(gate.admit(0.5), error, 0.6) is Transition.CLOSED
        assert gate.opened_at is None
        assert not gate.admit(0.6).probe

    def test_trouble_keeps_it_closed_without_closing_it_anew(self) -> None:
        gate = closed_gate()
        assert gate.report(gate.admit(0.5), DOWN, 0.6) is Transition.NONE
        assert gate.opened_at == 0

    def test_one_that_ended_without_an_answer_lets_the_next_one_try(self) -> None:
        gate = closed_gate()
        gate.withdraw(gate.admit(0.5))
        assert gate.ready_at(0.5) <= 0.5
        assert gate.admit(0.5).probe


class TestBackOff:
    def test_it_doubles_up_to_a_minute_and_starts_anew_after_an_outage(self) -> None:
        gate = closed_gate()
        now, waits = 0.0, []
        for _ in range(12):
            waits.append(gate.ready_at(now) - now)
            now = gate.ready_at(now)
            gate.report(gate.admit(now), DOWN, now)
        assert waits == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]
        now = gate.ready_at(now)
        gate.report(gate.admit(now), None, now)
        gate.report(gate.admit(now), DOWN, now)
        assert gate.ready_at(now) - now == MIN_BACK_OFF_SECONDS

    def test_jitter_is_full(self) -> None:
        asked: list[tuple[float, float]] = []

        def uniform(low: float, high: float) -> float:
            asked.append((low, high))
            return low

        gate = CircuitBreaker(uniform=uniform)
        for _ in range(3):
            gate.report(gate.admit(0), DOWN, 0)
        assert asked == [(0, 0.5), (0, 1), (0, 2)]

    @pytest.mark.parametrize(("retry_after", "wait"), [(None, 0.5), (0.0, 0.5), (0.2, 0.5), (90.0, 90.0)])
    def test_it_is_never_shorter_than_the_service_asks(self, retry_after: float | None, wait: float) -> None:
        gate = closed_gate(0, Unavailable("503", retry_after_seconds=retry_after))
        assert gate.ready_at(0) == wait

    def test_a_real_gate_jitters_within_the_bounds(self) -> None:
        waits = set()
        for _ in range(20):
            gate = CircuitBreaker()
            gate.report(gate.admit(0), DOWN, 0)
            waits.add(gate.ready_at(0))
        assert len(waits) > 1
        assert all(0 <= wait <= MIN_BACK_OFF_SECONDS for wait in waits)


class TestStaleReports:
    def test_a_call_from_before_it_closed_does_not_open_it(self) -> None:
        gate = new_gate()
        stale = gate.admit(0)
        gate.report(gate.admit(0), DOWN, 0)
        assert gate.report(stale, None, 0.1) is Transition.NONE
        assert gate.opened_at == 0

    def test_nor_does_its_failure_lengthen_the_back_off(self) -> None:
        gate = new_gate()
        leaves = [gate.admit(0) for _ in range(10)]
        for leave in leaves:
            gate.report(leave, DOWN, 0)
        assert gate.ready_at(0) == MIN_BACK_OFF_SECONDS

    def test_a_call_from_before_it_opened_again_does_not_close_it(self) -> None:
        gate = new_gate()
        stale = gate.admit(0)
        gate.report(gate.admit(0), DOWN, 0)
        gate.report(gate.admit(0.5), None, 0.6)
        assert gate.report(stale, DOWN, 0.7) is Transition.NONE
        assert gate.opened_at is None

    def test_giving_back_a_stale_leave_changes_nothing(self) -> None:
        gate = new_gate()
        stale = gate.admit(0)
        gate.report(gate.admit(0), DOWN, 0)
        gate.admit(0.5)
        gate.withdraw(stale)
        assert gate.ready_at(1) == math.inf


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(["fail", "succeed", "give back"]), st.floats(0, 100)), max_size=40))
def test_whatever_happens_only_one_probe_is_out_and_none_comes_early(steps: list[tuple[str, float]]) -> None:
    gate = CircuitBreaker()
    now = 0.0
    for what, pause in steps:
        now += pause
        ready_at = gate.ready_at(now)
        assert ready_at - now <= MAX_BACK_OFF_SECONDS
        now = max(now, ready_at)
        leave = gate.admit(now)
        assert leave.probe is (gate.opened_at is not None)
        if leave.probe:
            assert gate.ready_at(now) == math.inf
        if what == "give back":
            gate.withdraw(leave)
        else:
            gate.report(leave, DOWN if what == "fail" else None, now)
