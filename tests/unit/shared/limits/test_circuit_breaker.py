"""Circuit breakers: what opens one, what closes it, and when the service is tried."""

from __future__ import annotations

import asyncio
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
from shared.limits.circuit_breaker import CircuitBreakers, trips

DOWN = Unavailable("503")
TRIPPING: list[ApiError] = [DOWN, AccessDenied("401")]
OTHERS: list[ApiError | None] = [
    None,
    RateLimited("429"),
    SharedFieldsRefused("c", "m"),
    CallRefused("c", "m"),
    NotFound("c", "m"),
    UnexpectedResponse("418"),
]


MIN_BACK_OFF_SECONDS, MAX_BACK_OFF_SECONDS = 0.5, 60.0


def longest(low: float, high: float) -> float:
    return high


def new_breakers() -> CircuitBreakers:
    """Without luck: the jitter is always the longest."""
    return CircuitBreakers("API", longest)


def opened(now: float = 0.0, error: ApiError = DOWN) -> CircuitBreakers:
    breakers = new_breakers()
    breakers.report(breakers.admit(now), error, now)
    assert breakers.is_suspended()
    return breakers


class TestOpening:
    @pytest.mark.parametrize("error", TRIPPING, ids=lambda error: type(error).__name__)
    def test_trouble_of_the_service_opens_it(self, error: ApiError) -> None:
        breakers = opened(7.0, error)
        assert breakers.ready_at() == 7.0 + MIN_BACK_OFF_SECONDS
        with pytest.raises(RuntimeError):
            breakers.admit(7.0)

    @pytest.mark.parametrize("error", OTHERS, ids=lambda error: type(error).__name__)
    def test_any_other_response_leaves_it_closed(self, error: ApiError | None) -> None:
        breakers = new_breakers()
        assert not trips(error)
        breakers.report(breakers.admit(0), error, 0)
        assert not breakers.is_suspended()

    def test_while_closed_any_number_of_calls_goes(self) -> None:
        breakers = new_breakers()
        for _ in range(100):
            breakers.admit(0)
        assert breakers.ready_at() <= 0


class TestProbe:
    def test_one_goes_at_a_time(self) -> None:
        breakers = opened()
        call = breakers.admit(MIN_BACK_OFF_SECONDS)
        assert breakers.ready_at() == math.inf
        with pytest.raises(RuntimeError):
            breakers.admit(1000)
        breakers.report(call, DOWN, 1000)
        assert breakers.admit(1001)

    @pytest.mark.parametrize("error", OTHERS, ids=lambda error: type(error).__name__)
    def test_any_response_that_is_not_trouble_closes_it(self, error: ApiError | None) -> None:
        breakers = opened()
        breakers.report(breakers.admit(0.5), error, 0.6)
        assert not breakers.is_suspended()
        breakers.admit(0.6)
        assert breakers.ready_at() <= 0.6

    def test_trouble_keeps_it_open_without_opening_it_anew(self) -> None:
        breakers = opened()
        breakers.report(breakers.admit(0.5), DOWN, 0.6)
        assert [breaker.opened_at for breaker in breakers.open] == [0]

    def test_one_that_ended_without_a_response_lets_the_next_one_try(self) -> None:
        breakers = opened()
        breakers.report(breakers.admit(0.5), asyncio.CancelledError(), 0)
        assert breakers.ready_at() <= 0.5
        breakers.admit(0.5)
        assert breakers.ready_at() == math.inf


class TestBackOff:
    def test_it_doubles_up_to_a_minute_and_starts_anew_after_an_outage(self) -> None:
        breakers = opened()
        now, waits = 0.0, []
        for _ in range(12):
            waits.append(breakers.ready_at() - now)
            now = breakers.ready_at()
            breakers.report(breakers.admit(now), DOWN, now)
        assert waits == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]
        now = breakers.ready_at()
        breakers.report(breakers.admit(now), None, now)
        breakers.report(breakers.admit(now), DOWN, now)
        assert breakers.ready_at() - now == MIN_BACK_OFF_SECONDS

    def test_jitter_is_full(self) -> None:
        asked: list[tuple[float, float]] = []

        def uniform(low: float, high: float) -> float:
            asked.append((low, high))
            return low

        breakers = CircuitBreakers("API", uniform)
        for _ in range(3):
            breakers.report(breakers.admit(0), DOWN, 0)
        assert asked == [(0, 0.5), (0, 1), (0, 2)]

    @pytest.mark.parametrize(("retry_after", "wait"), [(None, 0.5), (0.0, 0.5), (0.2, 0.5), (90.0, 90.0)])
    def test_it_is_never_shorter_than_the_service_asks(self, retry_after: float | None, wait: float) -> None:
        breakers = opened(0, Unavailable("503", retry_after_seconds=retry_after))
        assert breakers.ready_at() == wait

    def test_real_jitter_is_within_the_bounds(self) -> None:
        waits = set()
        for _ in range(20):
            breakers = CircuitBreakers("API")
            breakers.report(breakers.admit(0), DOWN, 0)
            waits.add(breakers.ready_at())
        assert len(waits) > 1
        assert all(0 <= wait <= MIN_BACK_OFF_SECONDS for wait in waits)


class TestWitnesses:
    """Evidence against a service comes from different images: one that failed alone before is no witness."""

    def test_who_is_no_witness_opens_nothing(self) -> None:
        breakers = new_breakers()
        breakers.report(breakers.admit(0, is_witness=False), DOWN, 0)
        assert not breakers.is_suspended()

    def test_its_success_closes_it(self) -> None:
        breakers = opened()
        breakers.report(breakers.admit(0.5, is_witness=False), None, 0.6)
        assert not breakers.is_suspended()

    def test_its_failures_make_only_its_like_wait_longer(self) -> None:
        breakers = opened()
        now = 0.5
        for wait in (1, 2, 4, 8, 16, 32, 60, 60):
            breakers.report(breakers.admit(now, is_witness=False), DOWN, now)
            assert breakers.ready_at() == MIN_BACK_OFF_SECONDS
            assert breakers.ready_at(is_witness=False) == now + wait
            now += wait
        breakers.admit(now)
        assert breakers.ready_at() == math.inf

    def test_no_witness_waits_for_its_response(self) -> None:
        breakers = opened()
        breakers.admit(0.5, is_witness=False)
        assert breakers.ready_at() <= 0.5
        assert breakers.ready_at(is_witness=False) == math.inf

    def test_it_waits_for_a_witness(self) -> None:
        breakers = opened()
        probe = breakers.admit(0.5)
        assert breakers.ready_at(is_witness=False) == math.inf
        breakers.report(probe, DOWN, 1)
        assert breakers.ready_at(is_witness=False) == breakers.ready_at() == 2


class TestScopes:
    @pytest.mark.parametrize(
        ("error", "is_witness"), [(asyncio.CancelledError(), True), (DOWN, False), (ZeroDivisionError(), True)]
    )
    def test_what_is_no_evidence_in_two_does_not_make_a_third_ones_trouble_the_services(
        self, error: BaseException, *, is_witness: bool
    ) -> None:
        breakers = new_breakers()
        for scope in "ab":
            breakers.report(breakers.admit(0, scope, is_witness=is_witness), error, 0)
        breakers.report(breakers.admit(0, "c"), DOWN, 0)
        assert [breakers.is_suspended(scope) for scope in "abcd"] == [False, False, True, False]

    def test_something_suspended_may_be_tried_when_the_first_wait_is_over(self) -> None:
        breakers = new_breakers()
        assert breakers.next_at(0) == math.inf
        for at, scope in ((0, "a"), (1, "b")):
            breakers.report(breakers.admit(at, scope), Unavailable("503", retry_after_seconds=10), at)
            breakers.report(breakers.admit(at, "well"), None, at)
        assert [breakers.next_at(now) for now in (0, 9.9, 10, 10.9, 11)] == [10, 10, 11, 11, math.inf]

    def test_a_witness_may_be_tried_before_the_others(self) -> None:
        breakers = opened()
        breakers.report(breakers.admit(0.5, is_witness=False), DOWN, 0.5)
        assert [breakers.next_at(now) for now in (0.4, 0.5, 1.5)] == [0.5, 1.5, math.inf]

    def test_while_its_probe_is_out_nothing_tells_when(self) -> None:
        breakers = opened()
        breakers.admit(0.5)
        assert breakers.next_at(0.5) == math.inf

    def test_a_thousand_have_a_breaker_and_then_the_first_loses_it(self) -> None:
        breakers = new_breakers()

        def fail(scope: str) -> None:
            breakers.report(breakers.admit(0, scope), DOWN, 0)
            breakers.report(breakers.admit(0, "well"), None, 0)

        for number in range(1000):
            fail(f"project {number}")
        assert len(breakers.open) == 1000
        assert breakers.is_suspended("project 0")
        fail("project 1000")
        assert len(breakers.open) == 1000
        assert not breakers.is_suspended("project 0")
        assert breakers.is_suspended("project 1000")

    @pytest.mark.parametrize(("others", "is_of_service"), [(999, False), (1000, True)])
    def test_a_thousand_are_known_to_have_trouble_of_their_own_and_then_the_first_is_forgotten(
        self, others: int, *, is_of_service: bool
    ) -> None:
        """The failure of one that is forgotten counts against the service once more, beside that of another."""
        breakers = new_breakers()
        for number in range(1 + others):
            breakers.report(breakers.admit(0, f"project {number}"), DOWN, 0)
            breakers.report(breakers.admit(0, "well"), None, 0)
        for scope in ("project 0", "another"):
            breakers.report(breakers.admit(1, scope), DOWN, 1)
        assert breakers.is_suspended() is is_of_service

    def test_a_probe_of_one_that_lost_its_breaker_does_not_count_for_the_next(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(circuit_breaker, "MAX_SCOPES", 1)
        breakers = new_breakers()

        def fail(scope: str) -> None:
            breakers.report(breakers.admit(10, scope), DOWN, 10)
            breakers.report(breakers.admit(10, "well"), None, 10)

        fail("a")
        probe = breakers.admit(20, "a")
        fail("b")
        fail("a")
        breakers.report(probe, DOWN, 20)
        assert breakers.ready_at("a") < math.inf


class TestStaleReports:
    def test_a_call_from_before_it_closed_does_not_open_it(self) -> None:
        breakers = new_breakers()
        stale = breakers.admit(0)
        breakers.report(breakers.admit(0), DOWN, 0)
        breakers.report(stale, None, 0.1)
        assert [breaker.opened_at for breaker in breakers.open] == [0]

    def test_nor_does_its_failure_lengthen_the_back_off(self) -> None:
        breakers = new_breakers()
        calls = [breakers.admit(0) for _ in range(10)]
        for call in calls:
            breakers.report(call, DOWN, 0)
        assert breakers.ready_at() == MIN_BACK_OFF_SECONDS

    def test_a_call_from_before_it_opened_again_does_not_close_it(self) -> None:
        breakers = new_breakers()
        stale = breakers.admit(0)
        breakers.report(breakers.admit(0), DOWN, 0)
        breakers.report(breakers.admit(0.5), None, 0.6)
        breakers.report(stale, DOWN, 0.7)
        assert not breakers.is_suspended()

    def test_one_that_ended_without_a_response_changes_nothing(self) -> None:
        breakers = new_breakers()
        stale = breakers.admit(0)
        breakers.report(breakers.admit(0), DOWN, 0)
        breakers.admit(0.5)
        breakers.report(stale, asyncio.CancelledError(), 0)
        assert breakers.ready_at() == math.inf


@settings(deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.sampled_from(["fail", "succeed", "end without a response"]), st.floats(0, 100)), max_size=40)
)
def test_whatever_happens_only_one_probe_is_out_and_none_comes_early(steps: list[tuple[str, float]]) -> None:
    breakers = CircuitBreakers("API")
    now = 0.0
    for what, pause in steps:
        now += pause
        ready_at = breakers.ready_at()
        assert ready_at - now <= MAX_BACK_OFF_SECONDS
        now = max(now, ready_at)
        call = breakers.admit(now)
        if breakers.is_suspended():
            assert breakers.ready_at() == math.inf
        if what == "end without a response":
            breakers.report(call, asyncio.CancelledError(), 0)
        else:
            breakers.report(call, DOWN if what == "fail" else None, now)
