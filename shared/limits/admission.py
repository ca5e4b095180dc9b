"""Decides when the next call to one API may go: when its circuit breakers and its rate limit both permit it.

All calls of this process to the API ask here first and report their response here. See `circuit_breaker` for which
calls are suspended, and `distributed_rate_limit` and `local_pacing` for how many go in a second and for 429.

The batcher and the polls of Custom Vision's trainings share one limit. If both wait, they alternate.
"""

import asyncio
import logging
import math
import random
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager, suppress
from typing import Any

from shared.errors import RateLimited
from shared.limits.circuit_breaker import AdmittedCall, CircuitBreakers, shows_service_is_up, trips

log = logging.getLogger(__name__)

Admitted = tuple[AdmittedCall, Any]
"""A call that may go: what the circuit breakers know it by, and its permit of the limiter."""
MAX_REMEMBERED = 1000  # things that failed last time; one that is forgotten can suspend calls once more
REFUSALS_LOGGED_EVERY_SECONDS = 60.0


class Limiter:
    """Keeps calls within the API's rate. Calls `on_change` when the next call may go at another time."""

    on_change: Callable[[], None]

    def want(self, calls: int, now: float) -> None:
        """Be told how many calls wait to be made; 0 when there is nothing to send."""

    def ready_at(self, now: float) -> float:
        """When the next call may go: `now` if at once, infinity if only a change can tell."""
        raise NotImplementedError

    def take(self, now: float) -> Any:
        """Make a call now; returns its permit."""

    def succeeded(self, permit: Any) -> None:
        """The call with this permit was not refused for coming too early."""

    def limited(self, permit: Any, retry_after_seconds: float | None, now: float) -> None:
        """The response to the call with this permit was a 429."""

    async def aclose(self) -> None:
        """Do nothing any more."""


class Admission:
    """One API's circuit breakers and limiter. Times are seconds of the event loop's clock.

    The batcher chooses what to send at the moment when it may: it says with `want` how many calls wait, and uses
    `ready_at`, `breakers`, `admit` and `report`. Others write `async with admission.turn():` around their call.
    """

    def __init__(
        self, api: str, limiter: Limiter, *, uniform: Callable[[float, float], float] = random.uniform
    ) -> None:
        self.breakers = CircuitBreakers(api, uniform)
        self.on_change: Callable[[], None] = lambda: None
        self._api = api
        self._limiter = limiter
        limiter.on_change = self._limiter_changed
        self._calls = self._refused = 0  # since the first that was refused in this minute
        self._changed = asyncio.Event()
        self._turn_lock = asyncio.Lock()
        self._wanted = 0  # calls that the batcher waits to make
        self._turns = 0  # those who wait for a turn
        self._last_was_turn = False
        self._failed: dict[Hashable, None] = {}  # what turns were about that failed last time

    def ready_at(self, now: float) -> float:
        """When the batcher's next call may go: `now` or before if at once. `on_change` is called when it changes.

        Infinity while a probe is out, and where somebody who waits for a turn goes first.
        """
        ready_at = self._free_at(now)
        turn_is_next = self._turns and not self._last_was_turn
        return math.inf if ready_at <= now and turn_is_next else ready_at

    def want(self, calls: int, now: float) -> None:
        """Say how many calls the batcher waits to make."""
        self._wanted = calls
        self._want_all(now)
        self.breakers.remind(now)

    async def aclose(self) -> None:
        """Hold no permits any more."""
        await self._limiter.aclose()

    def admit(self, now: float, scope: Hashable = None, *, is_witness: bool = True) -> Admitted:
        """Admit one call that goes now. Raises `RuntimeError` before it may. See `circuit_breaker` for `is_witness`."""
        call = self.breakers.admit(now, scope, is_witness=is_witness)
        self._last_was_turn = False
        return call, self._limiter.take(now)

    def report(self, admitted: Admitted, error: BaseException | None, now: float) -> None:
        """Take note of what came of a call, as `CircuitBreakers.report` does."""
        call, permit = admitted
        if isinstance(error, RateLimited):
            self._limiter.limited(permit, error.retry_after_seconds, now)
            if not self._refused:
                asyncio.get_running_loop().call_later(REFUSALS_LOGGED_EVERY_SECONDS, self._log_refusals)
            self._refused += 1
        elif shows_service_is_up(error):
            self._limiter.succeeded(permit)
        self._calls += self._refused > 0
        self.breakers.report(call, error, now)
        self._changed.set()

    def _log_refusals(self) -> None:
        log.warning(
            "%s: %d of %d calls in a minute were refused with 429. If it lasts, somebody else calls the resource too, "
            "or %s_CALLS_PER_SECOND is more than it allows: lower it",
            self._api, self._refused, self._calls, self._api.upper().replace(" ", "_"),
        )  # fmt: skip
        self._calls = self._refused = 0

    def _free_at(self, now: float) -> float:
        return max(self.breakers.ready_at(), self._limiter.ready_at(now))

    def _want_all(self, now: float) -> None:
        calls = self._wanted + self._turns
        self._limiter.want(min(calls, 1) if self.breakers.is_suspended() else calls, now)  # a probe is one call

    def _limiter_changed(self) -> None:
        self._changed.set()
        self.on_change()

    @asynccontextmanager
    async def turn(self, scope: Hashable = None, about: Hashable = None) -> AsyncIterator[None]:
        """Wait until one call may go, and report what the body of the `async with` makes of it.

        `about`: what the call asks for. If that failed last time, it is no witness against the service.
        """
        now = asyncio.get_running_loop().time
        admitted = await self._next_turn(scope, now, is_witness=about not in self._failed)
        outcome: BaseException | None = None
        try:
            yield
        except BaseException as error:
            outcome = error
            raise
        finally:
            if trips(outcome) and about is not None:
                self._failed[about] = None
                if len(self._failed) > MAX_REMEMBERED:
                    del self._failed[next(iter(self._failed))]
            elif shows_service_is_up(outcome):
                self._failed.pop(about, None)
            self.report(admitted, outcome, now())
            self.on_change()

    async def _next_turn(self, scope: Hashable, now: Callable[[], float], *, is_witness: bool) -> Admitted:
        while True:
            # before it is in line, so that others do not wait behind it
            await self._until(lambda: self.breakers.ready_at(scope, is_witness=is_witness), now)
            self._turns += 1
            self._want_all(now())
            try:
                async with self._turn_lock:
                    await self._until(lambda: self._free_at(now()), now)
                    if self.breakers.ready_at(scope, is_witness=is_witness) <= now():
                        admitted = self.admit(now(), scope, is_witness=is_witness)
                        self._last_was_turn = True
                        return admitted
            finally:
                self._turns -= 1
                self._want_all(now())
                self.on_change()

    async def _until(self, ready_at: Callable[[], float], now: Callable[[], float]) -> None:
        while (at := ready_at()) > now():
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(None if at == math.inf else at):
                    await self._changed.wait()
