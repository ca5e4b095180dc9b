"""When a call may go: circuit breakers and limiter together, several who wait, and what is logged of an outage."""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from shared.errors import AccessDenied, ApiError, NotFound, RateLimited, Unavailable
from shared.limits.admission import Admission, Limiter
from shared.limits.local_pacing import EvenSpacing

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.looptime

DOWN = Unavailable("503")


@dataclass
class FakeLimiter(Limiter):
    """One call every `interval` seconds; keeps what it is told."""

    interval: float = 0.0
    free_at: float = 0.0
    limited_by: list[float | None] = field(default_factory=list)
    successes: int = 0
    wanted: int = 0

    def __post_init__(self) -> None:
        self.on_change: Callable[[], None] = lambda: None

    def ready_at(self, now: float) -> float:
        return max(self.free_at, now)

    def take(self, now: float) -> None:
        self.free_at = now + self.interval

    def want(self, calls: int, now: float) -> None:
        self.wanted = calls

    def succeeded(self, permit: object) -> None:
        self.successes += 1

    def limited(self, permit: object, retry_after_seconds: float | None, now: float) -> None:
        self.limited_by.append(retry_after_seconds)
        self.free_at = now + (retry_after_seconds or 1)

    async def aclose(self) -> None:
        self.wanted = 0


def new_admission(limiter: FakeLimiter | None = None) -> Admission:
    return Admission("Face", limiter or FakeLimiter(), uniform=lambda low, high: high)


def now() -> float:
    return asyncio.get_running_loop().time()


async def call(admission: Admission, error: Exception | None = None, seconds: float = 0.0) -> float:
    """One call that takes so long and ends so. Returns when it went."""
    async with admission.turn():
        went = now()
        await asyncio.sleep(seconds)
        if error is not None:
            raise error
    return went


class TestReadyAt:
    async def test_both_circuit_breaker_and_limiter_must_agree(self) -> None:
        limiter = FakeLimiter(interval=10)
        admission = new_admission(limiter)
        admission.report(admission.admit(0), DOWN, 0)
        assert admission.breakers.is_suspended()
        assert admission.ready_at(0) == 10
        limiter.free_at = 0.1
        assert admission.ready_at(0) == 0.5
        admission.admit(0.5)
        assert admission.ready_at(1) == math.inf

    @pytest.mark.parametrize("error", [DOWN, AccessDenied("401")])
    async def test_what_closes_the_gate_says_nothing_about_the_rate(self, error: ApiError) -> None:
        limiter = FakeLimiter()
        admission = new_admission(limiter)
        admission.report(admission.admit(0), error, 0)
        assert limiter.successes == 0
        assert limiter.limited_by == []

    async def test_a_429_is_for_the_limiter_and_another_answer_tells_that_the_rate_is_kept(self) -> None:
        limiter = FakeLimiter()
        admission = new_admission(limiter)
        admission.report(admission.admit(0), RateLimited("429", retry_after_seconds=3), 0)
        assert limiter.limited_by == [3]
        assert admission.ready_at(0) == 3
        assert not admission.breakers.is_suspended()
        admission.report(admission.admit(3), None, 3)
        assert limiter.successes == 1


class TestTurn:
    async def test_several_go_at_the_pace_in_the_order_in_which_they_came(self) -> None:
        admission = new_admission(FakeLimiter(interval=2))
        went = await asyncio.gather(*(call(admission, seconds=5) for _ in range(4)))
        assert went == [0, 2, 4, 6]

    async def test_while_the_service_is_down_one_probe_at_a_time_goes(self) -> None:
        admission = new_admission()
        with pytest.raises(Unavailable):
            await call(admission, DOWN)
        probe, *others = (asyncio.ensure_future(call(admission, seconds=7)) for _ in range(3))
        assert await probe == 0.5
        assert await asyncio.gather(*others) == [7.5, 7.5]

    async def test_an_error_is_reported_and_raised(self) -> None:
        admission = new_admission()
        with pytest.raises(NotFound):
            await call(admission, NotFound("PersonGroupNotFound", "m"))
        assert not admission.breakers.is_suspended()
        with pytest.raises(AccessDenied):
            await call(admission, AccessDenied("401"))
        assert admission.breakers.is_suspended()

    @pytest.mark.parametrize("error", [ZeroDivisionError(), asyncio.CancelledError()], ids=["bug", "cancelled"])
    async def test_a_probe_that_ends_without_an_answer_gives_its_leave_back(self, error: BaseException) -> None:
        admission = new_admission()
        with pytest.raises(Unavailable):
            await call(admission, DOWN)
        with pytest.raises(type(error)):
            async with admission.turn():
                raise error
        assert await asyncio.wait_for(call(admission), 1) == 0.5

    @pytest.mark.parametrize("moment", [0.0, 0.2, 0.5, 0.7, 3.0, 5.5, 5.6])
    async def test_who_is_cancelled_at_any_moment_leaves_nothing_behind(self, moment: float) -> None:
        admission = new_admission(FakeLimiter(interval=0.3))
        with pytest.raises(Unavailable):
            await call(admission, DOWN)
        tasks = [asyncio.ensure_future(call(admission, seconds=5)) for _ in range(3)]
        await asyncio.sleep(moment)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert all(task.done() for task in tasks)
        assert now() == moment
        assert await call(admission) <= max(moment, 0.5) + 0.9
        assert await call(admission) <= max(moment, 0.5) + 1.2
        assert len(asyncio.all_tasks()) == 1

    async def test_one_of_several_waiters_can_go(self) -> None:
        admission = new_admission(FakeLimiter(interval=1))
        tasks = [asyncio.ensure_future(call(admission)) for _ in range(4)]
        await asyncio.sleep(0.5)
        tasks[1].cancel()  # the first in line
        tasks[3].cancel()  # the last
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (tasks[0].result(), tasks[2].result()) == (0, 1)


class TestLog:
    @pytest.fixture(autouse=True)
    def _all_levels(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, "shared.limits.circuit_breaker")

    @staticmethod
    def outage(admission: Admission, *errors: Unavailable | AccessDenied) -> float:
        """An outage with these answers, and its end. Returns its length."""

        stale = [admission.admit(0) for _ in range(20)]
        at = 0.0
        for error in errors:
            at = max(at, admission.ready_at(at))
            admission.report(admission.admit(at), error, at)
        for call in stale:
            admission.report(call, DOWN, at)
        at = admission.ready_at(at)
        admission.report(admission.admit(at), None, at)
        return at

    async def test_an_outage_is_told_once_when_it_starts_and_once_when_it_ends(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        length = self.outage(new_admission(), *[DOWN] * 5)
        assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
            ("WARNING", "Face: calls are suspended: 503"),
            ("WARNING", f"Face: calls are resumed after {length:.1f} s"),
        ]

    async def test_refused_access_is_an_error_that_names_the_setting(self, caplog: pytest.LogCaptureFixture) -> None:
        refused = AccessDenied("Face responded with 401; look at FACE_KEY")
        self.outage(new_admission(), *[refused] * 5)
        assert [(record.levelname, record.getMessage()) for record in caplog.records][:1] == [
            ("ERROR", "Face: calls are suspended: Face responded with 401; look at FACE_KEY")
        ]
        assert len(caplog.records) == 2

    async def test_access_that_is_refused_later_in_an_outage_is_told_too(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        refused = AccessDenied("Face responded with 401; look at FACE_KEY")
        self.outage(new_admission(), DOWN, refused, refused, DOWN, refused)
        assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR", "WARNING"]
        assert "look at FACE_KEY" in caplog.text

    async def test_that_calls_are_suspended_is_logged_again_each_hour(self, caplog: pytest.LogCaptureFixture) -> None:
        """Also while the service asks to be left alone, so that no call is made."""
        admission = new_admission()
        admission.report(admission.admit(0), Unavailable("503", retry_after_seconds=20_000), 0)
        for second in (0.0, 3599.9, 3600.0, 7199.9, 7200.0):
            admission.want(0, second)
        assert [record.getMessage() for record in caplog.records] == ["Face: calls are suspended: 503"] * 3

    async def test_what_the_service_says_is_one_line(self, caplog: pytest.LogCaptureFixture) -> None:
        self.outage(new_admission(), Unavailable("a\nb"))
        assert all(record.getMessage().isprintable() for record in caplog.records)


class TestScopes:
    def test_a_call_from_before_an_outage_suspends_nobody_after_it(self) -> None:
        admission = new_admission()
        old = admission.admit(0, "a"), admission.admit(0, "b")
        for scope in "cd":
            admission.report(admission.admit(0, scope), DOWN, 0)
        at = admission.ready_at(0)
        admission.report(admission.admit(at, "c"), None, at)
        for call in old:
            admission.report(call, DOWN, at + 1)
        assert all(admission.breakers.ready_at(scope) <= at + 1 for scope in "abcd")
        assert admission.ready_at(at + 1) == at + 1

    def test_a_second_project_that_fails_before_any_succeeds_suspends_all(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        admission = new_admission()
        admission.report(admission.admit(0, "a"), DOWN, 0)
        admission.report(admission.admit(0, "b"), DOWN, 0)
        assert [record.getMessage() for record in caplog.records] == [
            "Face: calls are suspended for a: 503",
            "Face: calls are suspended: 503",
        ]
        assert admission.ready_at(0) > 0

    def test_a_second_project_that_fails_after_a_success_suspends_itself(self) -> None:
        admission = new_admission()
        admission.report(admission.admit(0, "a"), DOWN, 0)
        admission.report(admission.admit(0, "c"), None, 0)
        admission.report(admission.admit(0, "b"), DOWN, 0)
        assert [admission.breakers.is_suspended(scope) for scope in "abc"] == [True, True, False]
        assert admission.ready_at(0) == 0

    def test_projects_with_trouble_of_their_own_say_nothing_of_the_service_until_they_succeed(self) -> None:
        admission = new_admission()
        for scope in "ab":
            admission.report(admission.admit(0, scope), DOWN, 0)
        at = admission.ready_at(0)
        admission.report(admission.admit(at, "c"), None, at)
        for scope in "ab":
            admission.report(admission.admit(at, scope), DOWN, at)
        assert [admission.breakers.is_suspended(scope) for scope in "abc"] == [True, True, False]
        for scope in "ab":
            admission.report(admission.admit(at + 1, scope), None, at + 1)
        for scope in "ab":
            admission.report(admission.admit(at + 1, scope), DOWN, at + 1)
        assert admission.breakers.is_suspended("c")

    async def test_who_waits_for_a_suspended_project_does_not_hold_up_the_others(self) -> None:
        admission = new_admission()
        admission.report(admission.admit(0, "a"), Unavailable("503", retry_after_seconds=50), 0)

        async def turn(scope: str) -> float:
            async with admission.turn(scope):
                return now()

        suspended = asyncio.ensure_future(turn("a"))
        await asyncio.sleep(1)
        assert await turn("b") == 1
        assert await suspended == 50


class TestOneThingThatFails:
    """A group that its service cannot answer for is no evidence against the service when it fails again."""

    async def test_it_suspends_calls_once_and_keeps_nobody_waiting_afterwards(self) -> None:
        admission = new_admission()

        async def poll(about: str, error: Exception | None = None) -> float:
            async with admission.turn("scope", about):
                if error is not None:
                    raise error
            return now()

        for tick in range(10):
            with pytest.raises(Unavailable):
                await poll("bad", DOWN)
            assert await poll(f"good {tick}") - tick * 60 <= 0.5
            await asyncio.sleep((tick + 1) * 60 - now())
            assert not admission.breakers.is_suspended("scope")

    @pytest.mark.parametrize(("between", "suspends"), [(None, True), (NotFound("c", "m"), True), (DOWN, False)])
    async def test_once_it_has_a_response_it_is_a_witness_again(
        self, between: ApiError | None, *, suspends: bool
    ) -> None:
        admission = new_admission()

        async def poll(about: str, error: ApiError | None) -> None:
            with nullcontext() if error is None else pytest.raises(type(error)):
                async with admission.turn(about=about):
                    if error is not None:
                        raise error

        await poll("bad", DOWN)
        await poll("bad", between)
        await poll("good", None)
        await poll("bad", DOWN)
        assert admission.breakers.is_suspended() is suspends

    async def test_what_is_about_nothing_known_is_always_a_witness(self) -> None:
        admission = new_admission()
        for error in (DOWN, None, DOWN):
            with nullcontext() if error is None else pytest.raises(Unavailable):
                await call(admission, error)
            assert admission.breakers.is_suspended() == (error is not None)

    async def test_of_more_than_a_thousand_those_that_failed_first_are_forgotten(self) -> None:
        admission = new_admission()

        async def suspends(about: str) -> bool:
            async with admission.turn(about="good"):
                pass
            with pytest.raises(Unavailable):
                async with admission.turn(about=about):
                    raise DOWN
            return admission.breakers.is_suspended()

        assert all([await suspends(str(number)) for number in range(1000)])
        assert not any([await suspends(about) for about in ("0", "1", "999")])
        assert await suspends("another")
        assert not await suspends("1")
        assert await suspends("0")

    async def test_alone_it_keeps_calls_suspended_and_a_newcomer_goes_at_once(self) -> None:
        admission = new_admission()
        for _ in range(8):
            with pytest.raises(Unavailable):
                async with admission.turn("scope", "bad"):
                    raise DOWN
        before = now()
        async with admission.turn("scope", "good"):
            assert now() == before


class TestTurnsBesideOthers:
    """Those who wait for a turn share the limit with callers that choose at the moment when they may."""

    async def test_a_turn_asks_the_limiter_for_a_call(self) -> None:
        limiter = FakeLimiter(free_at=5)
        admission = new_admission(limiter)
        admission.want(2, 0)
        turn = asyncio.ensure_future(call(admission))
        await asyncio.sleep(1)
        assert limiter.wanted == 3
        await turn
        assert limiter.wanted == 2

    async def test_while_calls_are_suspended_one_is_enough(self) -> None:
        limiter = FakeLimiter()
        admission = new_admission(limiter)
        admission.report(admission.admit(0), DOWN, 0)
        for calls, wanted in ((5, 1), (1, 1), (0, 0)):
            admission.want(calls, 0)
            assert limiter.wanted == wanted
        admission.report(admission.admit(0.5), None, 0.5)
        admission.want(5, 0.5)
        assert limiter.wanted == 5

    async def test_what_is_closed_wants_nothing(self) -> None:
        limiter = FakeLimiter()
        admission = new_admission(limiter)
        admission.want(5, 0)
        await admission.aclose()
        assert limiter.wanted == 0

    async def test_turns_and_the_batcher_alternate(self) -> None:
        admission = new_admission(FakeLimiter(interval=1, free_at=5))
        assert admission.ready_at(5) == 5
        turn = asyncio.ensure_future(call(admission))
        await asyncio.sleep(1)
        assert admission.ready_at(4.9) == 5
        assert admission.ready_at(5) == math.inf  # who waits for a turn goes first
        assert await turn == 5
        another = asyncio.ensure_future(call(admission))
        await asyncio.sleep(0.5)
        assert admission.ready_at(6) == 6  # and then it is the batcher's turn
        admission.report(admission.admit(6), None, 6)
        assert admission.ready_at(7) == math.inf
        assert await another == 7

    async def test_whoever_leaves_the_line_lets_the_batcher_go(self) -> None:
        admission = new_admission(FakeLimiter(free_at=5))
        turn = asyncio.ensure_future(call(admission))
        await asyncio.sleep(1)
        assert admission.ready_at(5) == math.inf
        ready: list[float] = []
        admission.on_change = lambda: ready.append(admission.ready_at(5))
        turn.cancel()
        await asyncio.wait([turn])
        assert ready == [5]

    async def test_a_change_of_the_limiter_wakes_both(self) -> None:
        limiter = FakeLimiter(free_at=math.inf)
        admission = new_admission(limiter)
        changes = 0

        def count() -> None:
            nonlocal changes
            changes += 1

        turn = asyncio.ensure_future(call(admission))
        await asyncio.sleep(3)
        admission.on_change = count
        limiter.free_at = 0
        limiter.on_change()
        assert changes == 1
        assert await turn == 3
        assert changes > 1  # its end lets others go

    async def test_a_turn_is_not_starved_by_callers_who_always_have_something_to_send(self) -> None:
        admission = new_admission(FakeLimiter(interval=1))
        sent: list[float] = []

        def send() -> None:
            while admission.ready_at(now()) <= now():
                admission.report(admission.admit(now()), None, now())
                sent.append(now())
            if (at := admission.ready_at(now())) < math.inf:
                asyncio.get_running_loop().call_at(at, send)

        admission.on_change = send
        send()
        went = await asyncio.gather(*(call(admission) for _ in range(3)))
        assert went == pytest.approx([1, 3, 5])
        assert sent == pytest.approx([0, 2, 4])


class TestRefusals:
    """How often an API refused calls with 429: a line a minute, and none where it refused nothing."""

    @staticmethod
    async def call_each_second(seconds: int, refused: range) -> None:
        admission = Admission("Custom Vision", EvenSpacing(1e9))
        for second in range(seconds):
            error = RateLimited("429", retry_after_seconds=0.0) if second in refused else None
            admission.report(admission.admit(now()), error, now())
            await asyncio.sleep(1)

    async def test_the_log_says_once_a_minute_how_many_and_what_to_do(self, caplog: pytest.LogCaptureFixture) -> None:
        await self.call_each_second(seconds=200, refused=range(10, 100))
        first, second = caplog.messages
        assert first.startswith("Custom Vision: 60 of 60 calls in a minute were refused with 429")
        assert first.endswith("CUSTOM_VISION_CALLS_PER_SECOND is more than it allows: lower it")
        assert second.startswith("Custom Vision: 30 of 60 calls")

    async def test_other_trouble_is_no_refusal(self, caplog: pytest.LogCaptureFixture) -> None:
        admission = Admission("Face", EvenSpacing(1e9))
        admission.report(admission.admit(0.0), Unavailable("503"), 0.0)
        await asyncio.sleep(100)
        assert not any("429" in line for line in caplog.messages)

    async def test_where_nothing_is_refused_nothing_is_said(self, caplog: pytest.LogCaptureFixture) -> None:
        await self.call_each_second(seconds=200, refused=range(0))
        assert caplog.messages == []
