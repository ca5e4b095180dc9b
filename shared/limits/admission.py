"""Whether the next call to one API may go, and when: what its circuit breakers and its limiter say together.

Every call of this process to one API is admitted here and reports its answer here. What opens a circuit breaker, and
when an open one is tried again, says `circuit_breaker`; here is said which calls share one:

* Calls can have a *scope*, such as the project that they are about. A failure suspends the calls of its scope alone:
  trouble that only one project has is that project's.
* If a second scope fails before any call has succeeded, the trouble is the service's: all calls are suspended, and one
  probe at a time, of whatever scope, tries the service.

That calls are suspended and that they are resumed is said once each, and once more if it turns out that the operator
has to do something about it. It is returned as a `Notice` and not logged here: the Functions host drops what is logged
by anything but a running invocation, so whoever reports a call lets one that runs log it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from shared.errors import AccessDenied, ApiError, RateLimited
from shared.limits.circuit_breaker import AdmittedCall, CircuitBreaker, Transition, trips
from shared.text import one_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Hashable

log = logging.getLogger(__name__)


class Limiter(Protocol):
    """Keeps calls within the API's rate. What it calls a permit is its own affair.

    `on_change` is called when the next call may go at another time, for a reason that no caller of these knows.
    """

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
        """The call with this permit was answered 429."""

    async def aclose(self) -> None:
        """Do nothing any more."""


class Notice(NamedTuple):
    """A line for the log, to be written by an invocation that is running."""

    level: int
    text: str

    def log(self) -> None:
        """Write it."""
        log.log(self.level, "%s", self.text)


@dataclass(frozen=True, slots=True)
class Admitted:
    """A call that may go: `service` and `scoped` are what the two circuit breakers know it by, `permit` the limiter."""

    permit: Any
    scope: Hashable
    service: AdmittedCall
    scoped: AdmittedCall

    @property
    def is_probe(self) -> bool:
        """Whether it tries an open circuit breaker."""
        return self.service.probe or self.scoped.probe


class Breaker:
    """A circuit breaker and what the log says of it. `whose` ends the sentence "calls are suspended"."""

    def __init__(self, breaker: CircuitBreaker, api: str, whose: str) -> None:
        self.circuit = breaker
        self._api = api
        self._whose = whose
        self._denial_logged = False

    def report(self, call: AdmittedCall, error: ApiError | None, now: float) -> Notice | None:
        """Take note of how a call was answered; return what the log should say of it."""
        opened_at = self.circuit.opened_at
        transition = self.circuit.report(call, error, now)
        if transition is Transition.CLOSED and opened_at is not None:
            self._denial_logged = False
            return Notice(logging.WARNING, f"{self._api}: calls are resumed{self._whose} after {now - opened_at:.1f} s")
        suspended = f"{self._api}: calls are suspended{self._whose}: {one_line(error)}"
        if isinstance(error, AccessDenied) and not self._denial_logged and self.circuit.opened_at is not None:
            self._denial_logged = True
            return Notice(logging.ERROR, suspended)
        return Notice(logging.WARNING, suspended) if transition is Transition.OPENED else None


def _nobody_listens() -> None:
    """What `on_change` is at first."""


_BEFORE_ANY_FAILURE = AdmittedCall(probe=False, epoch=0)
"""What a scope's circuit breaker knows the calls by that went before it was needed."""


class Admission:
    """One API's circuit breakers and limiter. Times are seconds of the event loop's clock.

    Synchronous callers, who choose what to send at the moment when they may, use `ready_at`, `admits`, `admit` and
    `report`; they say with `want` how many calls wait, and `on_change` is called when `ready_at` may be another time.
    Others write `async with admission.turn():` around their call.
    """

    def __init__(self, api: str, limiter: Limiter, breaker: CircuitBreaker) -> None:
        self._api = api
        self._limiter = limiter
        limiter.on_change = self._limiter_changed
        self.on_change: Callable[[], None] = _nobody_listens
        self._service = Breaker(breaker, api, "")
        self._scopes: dict[Hashable, Breaker] = {}  # those that have failed since the service last did
        self._failing: set[Hashable] = set()  # scopes that have failed since any call succeeded
        self._reported = asyncio.Event()
        self._line = asyncio.Lock()
        self._wanted = 0  # calls that synchronous callers wait to make
        self._turns = 0  # those who wait for a turn
        self._last_was_turn = False

    @property
    def open_breakers(self) -> int:
        """How many circuit breakers are open: the service's, and those of scopes."""
        breakers = [self._service, *list(self._scopes.values())]
        return sum(one.circuit.opened_at is not None for one in breakers)

    def ready_at(self, now: float) -> float:
        """The earliest time at which a call may go: `now` or before if at once, infinity where only a change can tell.

        That is while a probe is out, or where it is the turn of one who waits for it: the two kinds of callers take
        turns, and `on_change` says when that is over.
        """
        ready_at = self._free_at(now)
        turn_is_next = self._turns and not self._last_was_turn
        return math.inf if ready_at <= now and turn_is_next else ready_at

    def want(self, calls: int, now: float) -> None:
        """Say how many calls wait to be made, 0 when none does; while all calls are suspended, one is enough."""
        self._wanted = calls
        self._want_all(now)

    async def aclose(self) -> None:
        """Hold no permits any more."""
        await self._limiter.aclose()

    def admits(self, scope: Hashable, now: float) -> bool:
        """Whether a call of this scope may go once `ready_at` has come. A probe of the service can be of any."""
        return self._service.circuit.opened_at is not None or self._scope_ready_at(scope, now) <= now

    def next_scope_at(self, now: float) -> float:
        """When a suspended scope may be tried that may not yet; infinity if there is none, or its probe is out."""
        suspended = (one.circuit for one in self._scopes.values() if one.circuit.opened_at is not None)
        return min((at for circuit in suspended if (at := circuit.ready_at(now)) > now), default=math.inf)

    def next_is_probe(self, scope: Hashable = None) -> bool:
        """Whether the next call of this scope tries an open circuit breaker."""
        breaker = self._scopes.get(scope)
        return self._service.circuit.opened_at is not None or (
            breaker is not None and breaker.circuit.opened_at is not None
        )

    def admit(self, now: float, scope: Hashable = None) -> Admitted:
        """Admit one call that goes now. Raises `RuntimeError` before `ready_at`, or where `admits` says no."""
        breaker = self._scopes.get(scope)
        scoped = _BEFORE_ANY_FAILURE if breaker is None else breaker.circuit.admit(now)
        service = self._service.circuit.admit(now)
        self._last_was_turn = False
        return Admitted(self._limiter.take(now), scope, service, scoped)

    def report(self, call: Admitted, error: ApiError | None, now: float) -> Notice | None:
        """Take note of how a call was answered: by `error`, or well. Returns what the log should say of it."""
        if isinstance(error, RateLimited):
            self._limiter.limited(call.permit, error.retry_after_seconds, now)
        elif not trips(error):
            self._limiter.succeeded(call.permit)
        notice = self._note(call, error, now)
        self._reported.set()
        return notice

    def withdraw(self, call: Admitted) -> None:
        """Take note that a call ended without an answer that tells anything, say because of an error of ours."""
        self._service.circuit.withdraw(call.service)
        if call.scope in self._scopes:
            self._scopes[call.scope].circuit.withdraw(call.scoped)
        self._reported.set()

    def _free_at(self, now: float) -> float:
        return max(self._service.circuit.ready_at(now), self._limiter.ready_at(now))

    def _want_all(self, now: float) -> None:
        is_suspended = self._service.circuit.opened_at is not None
        calls = self._wanted + self._turns
        self._limiter.want(min(calls, 1) if is_suspended else calls, now)

    def _limiter_changed(self) -> None:
        self._reported.set()
        self.on_change()

    def _note(self, call: Admitted, error: ApiError | None, now: float) -> Notice | None:
        if not self._service.circuit.is_current(call.service):
            return None  # it set out before the service's trouble began or ended, and tells of the past
        if not trips(error):
            self._failing.clear()
        elif call.scope is not None:
            self._failing.add(call.scope)
        if call.scope is None or self._service.circuit.opened_at is not None or len(self._failing) > 1:
            return self._note_service(call, error, now)
        if trips(error) and call.scope not in self._scopes:
            breaker = CircuitBreaker(uniform=self._service.circuit.uniform)
            self._scopes[call.scope] = Breaker(breaker, self._api, f" for {call.scope}")
        breaker_of_scope = self._scopes.get(call.scope)
        return None if breaker_of_scope is None else breaker_of_scope.report(call.scoped, error, now)

    def _note_service(self, call: Admitted, error: ApiError | None, now: float) -> Notice | None:
        was_open = self._service.circuit.opened_at is not None
        notice = self._service.report(call.service, error, now)
        if was_open != (self._service.circuit.opened_at is not None):
            self._scopes.clear()  # the service's trouble explained theirs; after its end theirs is to be seen anew
            self._failing.clear()
        return notice

    def _scope_ready_at(self, scope: Hashable, now: float) -> float:
        breaker = self._scopes.get(scope)
        return now if breaker is None else breaker.circuit.ready_at(now)

    @asynccontextmanager
    async def turn(self, scope: Hashable = None) -> AsyncIterator[None]:
        """Wait until one call may go, and report what the body of the `async with` makes of it."""
        loop = asyncio.get_running_loop()
        call = await self._admitted(scope, loop)
        try:
            yield
        except ApiError as error:
            self._report_and_log(call, error, loop.time())
            raise
        except BaseException:
            self.withdraw(call)
            raise
        self._report_and_log(call, None, loop.time())

    def _report_and_log(self, call: Admitted, error: ApiError | None, now: float) -> None:
        if notice := self.report(call, error, now):
            notice.log()

    async def _admitted(self, scope: Hashable, loop: asyncio.AbstractEventLoop) -> Admitted:
        while True:
            await self._until(lambda now: self._scope_ready_at(scope, now), loop)  # others need not wait behind it
            self._turns += 1
            self._want_all(loop.time())
            try:
                async with self._line:
                    await self._until(self._free_at, loop)
                    if self.admits(scope, loop.time()):
                        call = self.admit(loop.time(), scope)
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
