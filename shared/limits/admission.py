"""Decides when the next call to one API may go: when its circuit breakers and its rate limit both let it.

Every call of this process to the API is admitted here and reports its response here. `circuit_breaker` decides which
calls are suspended; `distributed_rate_limit` and `local_pacing` how many go in a second and what a 429 does. This
module decides how two kinds of callers take turns: batches, and those who wait for a turn, such as polls.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from shared.errors import ApiError, RateLimited
from shared.limits.circuit_breaker import CircuitBreakers, trips
from shared.limits.refusals import Refusals

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Hashable

    from shared.limits.circuit_breaker import AdmittedCall, CircuitBreaker


class Limiter(Protocol):
    """Keeps calls within the API's rate. `on_change` is called when the next call may go at another time."""

    on_change: Callable[[], None]

    def want(self, calls: int, now: float) -> None:
        """Be told how many calls wait to be made; 0 when there is nothing to send."""

    def ready_at(self, now: float) -> float:
        """When the next call may go: `now` if at once, infinity where only a change can tell."""
        ...

    def take(self, now: float) -> Any:
        """Make a call now; returns its permit."""

    def succeeded(self, permit: Any) -> None:
        """The call with this permit was not refused for coming too early."""

    def limited(self, permit: Any, retry_after_seconds: float | None, now: float) -> None:
        """The response to the call with this permit was a 429."""

    async def aclose(self) -> None:
        """Do nothing any more."""


MAX_REMEMBERED = 1000
"""Things that failed alone which are remembered. One that is forgotten can suspend calls once more."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A call that may go: what the circuit breakers know it by, and the rate limit."""

    scope: Hashable
    breakers: tuple[AdmittedCall, AdmittedCall]
    permit: Any


def _nobody_listens() -> None:
    """What `on_change` is at first."""


class Admission:
    """One API's circuit breakers and limiter. Times are seconds of the event loop's clock.

    Synchronous callers, who choose what to send at the moment when they may, use `ready_at`, `admits`, `admit` and
    `report`; they say with `want` how many calls wait, and `on_change` is called when `ready_at` may be another time.
    Others write `async with admission.turn():` around their call.
    """

    def __init__(self, api: str, limiter: Limiter, breaker: CircuitBreaker) -> None:
        self._limiter = limiter
        limiter.on_change = self._limiter_changed
        self.on_change: Callable[[], None] = _nobody_listens
        self._breakers = CircuitBreakers(api, breaker)
        self._refusals = Refusals(api)
        self._reported = asyncio.Event()
        self._line = asyncio.Lock()
        self._wanted = 0  # calls that synchronous callers wait to make
        self._turns = 0  # those who wait for a turn
        self._last_was_turn = False
        self._failed: dict[Hashable, None] = {}  # what turns were about that failed, the longest ago first

    @property
    def open_breakers(self) -> int:
        """How many circuit breakers are open: the service's, and those of scopes."""
        return len(self._breakers.open)

    def ready_at(self, now: float) -> float:
        """The earliest time at which a call may go: `now` or before if at once.

        Infinity while a probe is out, and where somebody who waits for a turn goes first. `on_change` is called when
        that is over.
        """
        ready_at = self._free_at(now)
        turn_is_next = self._turns and not self._last_was_turn
        return math.inf if ready_at <= now and turn_is_next else ready_at

    def want(self, calls: int, now: float) -> None:
        """Say how many calls wait to be made, 0 when none does; while all calls are suspended, one is enough."""
        self._wanted = calls
        self._want_all(now)
        self._breakers.remind(now)

    async def aclose(self) -> None:
        """Hold no permits any more."""
        await self._limiter.aclose()

    def admits(self, scope: Hashable, now: float, *, is_witness: bool = True) -> bool:
        """Whether the circuit breakers let a call of this scope go now. A probe of the service can be of any."""
        return self._breakers.ready_at(scope, now, is_witness=is_witness) <= now

    def next_probe_at(self, now: float) -> float:
        """When something suspended may be tried that may not yet; infinity if there is none, or its probe is out."""
        return self._breakers.next_at(now)

    def is_suspended(self, scope: Hashable = None) -> bool:
        """Whether calls of this scope are suspended, so that the next one is a probe."""
        return self._breakers.is_suspended(scope)

    def admit(self, now: float, scope: Hashable = None, *, is_witness: bool = True) -> Admitted:
        """Admit one call that goes now. Raises `RuntimeError` before `ready_at`, or where `admits` says no.

        `is_witness`: whether its failure can suspend calls, see `circuit_breaker`.
        """
        call = self._breakers.admit(scope, now, is_witness=is_witness)
        self._last_was_turn = False
        return Admitted(scope, call, self._limiter.take(now))

    def report(self, call: Admitted, error: ApiError | None, now: float) -> None:
        """Take note of a call's response: an error, or success."""
        self._refusals.count(isinstance(error, RateLimited))
        if isinstance(error, RateLimited):
            self._limiter.limited(call.permit, error.retry_after_seconds, now)
        elif not trips(error):
            self._limiter.succeeded(call.permit)
        self._breakers.report(call.scope, call.breakers, error, now)
        self._reported.set()

    def withdraw(self, call: Admitted) -> None:
        """Take note that a call ended without a response that tells anything, say because of an error of ours."""
        self._breakers.withdraw(call.scope, call.breakers)
        self._reported.set()

    def _free_at(self, now: float) -> float:
        return max(self._breakers.service_ready_at(now), self._limiter.ready_at(now))

    def _want_all(self, now: float) -> None:
        calls = self._wanted + self._turns
        self._limiter.want(min(calls, 1) if self._breakers.is_service_suspended else calls, now)

    def _limiter_changed(self) -> None:
        self._reported.set()
        self.on_change()

    @asynccontextmanager
    async def turn(self, scope: Hashable = None, about: Hashable = None) -> AsyncIterator[None]:
        """Wait until one call may go, and report what the body of the `async with` makes of it.

        `about`: what the call asks for. If that failed last time, it is no witness against the service.
        """
        loop = asyncio.get_running_loop()
        call = await self._admitted(scope, loop, is_witness=about not in self._failed)
        try:
            yield
        except ApiError as error:
            self._report_turn(call, about, error, loop.time())
            raise
        except BaseException:
            self.withdraw(call)
            raise
        else:
            self._report_turn(call, about, None, loop.time())
        finally:
            self.on_change()

    def _report_turn(self, call: Admitted, about: Hashable, error: ApiError | None, now: float) -> None:
        self._failed.pop(about, None)
        if about is not None and trips(error):
            self._failed[about] = None
            if len(self._failed) > MAX_REMEMBERED:
                del self._failed[next(iter(self._failed))]
        self.report(call, error, now)

    async def _admitted(self, scope: Hashable, loop: asyncio.AbstractEventLoop, *, is_witness: bool) -> Admitted:
        while True:
            # before it is in line, so that others do not wait behind it
            await self._until(lambda now: self._breakers.ready_at(scope, now, is_witness=is_witness), loop)
            self._turns += 1
            self._want_all(loop.time())
            try:
                async with self._line:
                    await self._until(self._free_at, loop)
                    if self.admits(scope, loop.time(), is_witness=is_witness):
                        call = self.admit(loop.time(), scope, is_witness=is_witness)
                        self._last_was_turn = True
                        return call
            finally:
                self._turns -= 1
                self._want_all(loop.time())
                self.on_change()

    async def _until(self, ready_at: Callable[[float], float], loop: asyncio.AbstractEventLoop) -> None:
        while (wait := ready_at(loop.time()) - loop.time()) > 0:
            self._reported.clear()
            try:
                async with asyncio.timeout(None if wait == math.inf else wait):
                    await self._reported.wait()
            except TimeoutError:
                continue
