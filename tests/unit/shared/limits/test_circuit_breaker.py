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
    UnexpectedResponse,
)
from shared.limits import circuit_breaker
from shared.limits.circuit_breaker import (
    MAX_BACK_OFF_SECONDS,
    MIN_BACK_OFF_SECONDS,
    CircuitBreaker,
    CircuitBreakers,
    trips,
)

DOWN = Unavailable("503")
CLOSING: list[ApiError] = [DOWN, AccessDenied("401")]
OTHERS: list[ApiError | None] = [
    None,
    RateLimited("429"),
    SharedFieldsRefused("c", "m"),
    CallRefused("c", "m"),
    NotFound("c", "m"),
    UnexpectedResponse("418"),
]


def longest(low: float, high: float) -> float:
    return high


def new_gate() -> CircuitBreaker:
    """Without luck: the jitter is always the longest."""
    return CircuitBreaker(uniform=longest)


def closed_gate(now: float = 0.0, error: ApiError = DOWN) -> CircuitBreaker:
    gate = new_gate()
    gate.report(gate.admit(now), error, now)
    assert gate.opened_at == now
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
        gate.report(gate.admit(0), error, 0)
        assert gate.opened_at is None

    def test_while_open_any_number_of_calls_goes(self) -> None:
        gate = new_gate()
        assert not any(gate.admit(0).is_probe for _ in range(100))
        assert gate.ready_at(0) <= 0


class TestProbe:
    def test_one_goes_at_a_time(self) -> None:
        gate = closed_gate()
        leave = gate.admit(MIN_BACK_OFF_SECONDS)
        assert leave.is_probe
        assert gate.ready_at(1000) == math.inf
        with pytest.raises(RuntimeError):
            gate.admit(1000)
        gate.report(leave, DOWN, 1000)
        assert gate.admit(1001).is_probe

    @pytest.mark.parametrize("error", OTHERS, ids=lambda error: type(error).__name__)
    def test_any_answer_that_is_not_trouble_opens_it(self, error: ApiError | None) -> None:
        gate = closed_gate()
        gate.report(gate.admit(0.5), error, 0.6)
        assert gate.opened_at is None
        assert not gate.admit(0.6).is_probe

    def test_trouble_keeps_it_closed_without_closing_it_anew(self) -> None:
        gate = closed_gate()
        gate.report(gate.admit(0.5), DOWN, 0.6)
        assert gate.opened_at == 0

    def test_one_that_ended_without_an_answer_lets_the_next_one_try(self) -> None:
        gate = closed_gate()
        gate.withdraw(gate.admit(0.5))
        assert gate.ready_at(0.5) <= 0.5
        assert gate.admit(0.5).is_probe


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


class TestWitnesses:
    """Evidence against a service comes from different images: one that failed alone before is no witness."""

    def test_who_is_no_witness_opens_nothing(self) -> None:
        gate = new_gate()
        gate.report(gate.admit(0, is_witness=False), DOWN, 0)
        assert gate.opened_at is None

    def test_its_success_closes_it(self) -> None:
        gate = closed_gate()
        gate.report(gate.admit(0.5, is_witness=False), None, 0.6)
        assert gate.opened_at is None

    def test_its_failures_make_only_its_like_wait_longer(self) -> None:
        gate = closed_gate()
        now = 0.5
        for wait in (1, 2, 4, 8, 16, 32, 60, 60):
            gate.report(gate.admit(now, is_witness=False), DOWN, now)
            assert gate.ready_at(now) == MIN_BACK_OFF_SECONDS
            assert gate.ready_at(now, is_witness=False) == now + wait
            now += wait
        assert gate.admit(now).is_probe

    def test_no_witness_waits_for_its_response(self) -> None:
        gate = closed_gate()
        gate.admit(0.5, is_witness=False)
        assert gate.ready_at(0.5) <= 0.5
        assert gate.ready_at(0.5, is_witness=False) == math.inf

    def test_it_waits_for_a_witness(self) -> None:
        gate = closed_gate()
        probe = gate.admit(0.5)
        assert gate.ready_at(0.5, is_witness=False) == math.inf
        gate.report(probe, DOWN, 1)
        assert gate.ready_at(1, is_witness=False) == gate.ready_at(1) == 2


class TestScopes:
    def test_those_that_have_a_breaker_are_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(circuit_breaker, "MAX_SCOPES", 10)
        breakers = CircuitBreakers("API", new_gate())
        for number in range(100):
            scope = f"project {number}"
            breakers.report(scope, breakers.admit(scope, 0), DOWN, 0)
            breakers.report("well", breakers.admit("well", 0), None, 0)
        assert len(breakers.open) == 10
        assert breakers.is_suspended("project 99")
        assert not breakers.is_suspended("project 0")

    def test_a_probe_of_one_that_lost_its_breaker_does_not_count_for_the_next(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(circuit_breaker, "MAX_SCOPES", 1)
        breakers = CircuitBreakers("API", new_gate())

        def fail(scope: str) -> None:
            breakers.report(scope, breakers.admit(scope, 10), DOWN, 10)
            breakers.report("well", breakers.admit("well", 10), None, 10)

        fail("a")
        probe = breakers.admit("a", 20)
        fail("b")
        fail("a")
        breakers.report("a", probe, DOWN, 20)
        assert breakers.ready_at("a", 20) < math.inf


class TestStaleReports:
    def test_a_call_from_before_it_closed_does_not_open_it(self) -> None:
        gate = new_gate()
        stale = gate.admit(0)
        gate.report(gate.admit(0), DOWN, 0)
        gate.report(stale, None, 0.1)
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
        gate.report(stale, DOWN, 0.7)
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
        assert leave.is_probe is (gate.opened_at is not None)
        if leave.is_probe:
            assert gate.ready_at(now) == math.inf
        if what == "give back":
            gate.withdraw(leave)
        else:
            gate.report(leave, DOWN if what == "fail" else None, now)
