"""The circuit breakers before an API: when calls are suspended, whose, how they are tried again, and when resumed.

What opens one and what closes it is said here and nowhere else:

* `Unavailable` (no answer, a time-out, 5xx and the like) and `AccessDenied` (401, 403 and the like) open it.
* While it is open, one call at a time goes through as a probe. Between two probes lies an exponential back-off with
  full jitter, up to 0.5 s at first and up to 60 s in the end, and never less than the service's `Retry-After`. Full
  jitter, as in Marc Brooker's "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): a random time between
  nothing and the back-off, so that instances which lost the service together do not come back together.
* Any other answer to the probe closes it: the service is back, whatever it thinks of that one call. So does a 429.

Only calls of the present epoch count. One that set out before the breaker last opened or closed tells of the past: it
neither closes an open breaker nor opens a closed one again.

An API has several (`CircuitBreakers`):

* Calls can have a *scope*, such as the project that they are about. A failure suspends the calls of its scope alone:
  trouble that only one project has is that project's.
* If a second scope fails before any call has succeeded, the trouble is the service's: all calls are suspended, and one
  probe at a time, of whatever scope, tries the service.

That calls are suspended and that they are resumed is said once each, and once more if it turns out that the operator
has to do something about it. It is returned as a `Notice` and not logged here: the Functions host drops what is logged
by anything but a running invocation, so whoever reports a call lets one that runs log it.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from shared.errors import AccessDenied, ApiError, Unavailable
from shared.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

log = logging.getLogger(__name__)

MIN_BACK_OFF_SECONDS = 0.5
MAX_BACK_OFF_SECONDS = 60.0


_MOST_DOUBLINGS = 64  # of any interval that leads to the longest wait; a float bears no thousand of them


def doubled(seconds: float, times: int, longest: float) -> float:
    """So many seconds, doubled so many times, however many; `longest` seconds at most."""
    return min(longest, seconds * 2.0 ** min(times, _MOST_DOUBLINGS))


@dataclass(frozen=True, slots=True)
class AdmittedCall:
    """A call that was let through. `probe`: it is the one that tries an open breaker."""

    probe: bool
    epoch: int


class Transition(Enum):
    """What a call's answer did to the breaker."""

    NONE = "none"
    OPENED = "opened"
    CLOSED = "closed"


def trips(error: BaseException | None) -> bool:
    """Whether an answer with this error (None: a success) speaks of the service and not of what was asked."""
    return isinstance(error, Unavailable | AccessDenied)


class CircuitBreaker:
    """Pure: it is told the time, in seconds of a monotonic clock, and tells when a call may go."""

    def __init__(self, *, uniform: Callable[[float, float], float] | None = None) -> None:
        self.uniform = uniform or Random().uniform  # noqa: S311 (jitter is no secret)
        self._epoch = 0
        self._opened_at: float | None = None
        self._failures = 0
        self._next_probe_at = 0.0
        self._probe_out = False

    @property
    def opened_at(self) -> float | None:
        """Since when calls are suspended; None while they are not."""
        return self._opened_at

    def ready_at(self, now: float) -> float:
        """The earliest time at which a call may go: `now` or before if at once, infinity while a probe is out."""
        if self._opened_at is None:
            return now
        return math.inf if self._probe_out else self._next_probe_at

    def admit(self, now: float) -> AdmittedCall:
        """Let one call through. Raises `RuntimeError` before `ready_at`."""
        if self.ready_at(now) > now:
            raise RuntimeError("calls are suspended")
        self._probe_out = self._opened_at is not None
        return AdmittedCall(self._probe_out, self._epoch)

    def report(self, call: AdmittedCall, error: ApiError | None, now: float) -> Transition:
        """Take note of how the call was answered: by `error`, or well."""
        if not self.is_current(call) or (self._opened_at is not None and not call.probe):
            return Transition.NONE
        self._probe_out = False
        if not trips(error):
            return self._close()
        return self._open(error, now)

    def is_current(self, call: AdmittedCall) -> bool:
        """Whether the call was admitted since the breaker last opened or closed."""
        return call.epoch == self._epoch

    def withdraw(self, call: AdmittedCall) -> None:
        """Take note that the call ended without telling anything, say because it was cancelled."""
        if call.probe and self.is_current(call):
            self._probe_out = False

    def _close(self) -> Transition:
        if self._opened_at is None:
            return Transition.NONE
        self._opened_at = None
        self._failures = 0
        self._epoch += 1
        return Transition.CLOSED

    def _open(self, error: ApiError | None, now: float) -> Transition:
        back_off = doubled(MIN_BACK_OFF_SECONDS, self._failures, MAX_BACK_OFF_SECONDS)
        wait = self.uniform(0.0, back_off)
        asked = error.retry_after_seconds if isinstance(error, Unavailable) else None
        self._next_probe_at = now + max(wait, asked or 0.0)
        self._failures += 1
        if self._opened_at is not None:
            return Transition.NONE
        self._opened_at = now
        self._epoch += 1
        return Transition.OPENED


class Notice(NamedTuple):
    """A line for the log, to be written by an invocation that is running."""

    level: int
    text: str

    def log(self) -> None:
        """Write it."""
        log.log(self.level, "%s", self.text)


class LoggedBreaker:
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


_BEFORE_ANY_FAILURE = AdmittedCall(probe=False, epoch=0)
"""What a scope's circuit breaker knows the calls by that went before it was needed."""


@dataclass(frozen=True, slots=True)
class AdmittedByBoth:
    """A call that was let through: what the service's breaker and its scope's know it by."""

    scope: Hashable
    service: AdmittedCall
    scoped: AdmittedCall

    @property
    def is_probe(self) -> bool:
        """Whether it tries an open circuit breaker."""
        return self.service.probe or self.scoped.probe


class CircuitBreakers:
    """One API's: that of the service, and those of the scopes that have failed since the service last did."""

    def __init__(self, api: str, service: CircuitBreaker) -> None:
        self._api = api
        self._service = LoggedBreaker(service, api, "")
        self._scopes: dict[Hashable, LoggedBreaker] = {}
        self._failing: set[Hashable] = set()  # scopes that have failed since any call succeeded

    @property
    def is_service_suspended(self) -> bool:
        """Whether all calls are suspended."""
        return self._service.circuit.opened_at is not None

    @property
    def open(self) -> int:
        """How many are open."""
        return sum(one.circuit.opened_at is not None for one in (self._service, *list(self._scopes.values())))

    def ready_at(self, now: float) -> float:
        """When a call of any scope that is not suspended may go; infinity while a probe of the service is out."""
        return self._service.circuit.ready_at(now)

    def scope_ready_at(self, scope: Hashable, now: float) -> float:
        """When a call of this scope may go, as far as it alone is concerned. A probe of the service can be of any."""
        breaker = self._scopes.get(scope)
        return now if breaker is None or self.is_service_suspended else breaker.circuit.ready_at(now)

    def next_scope_at(self, now: float) -> float:
        """When a suspended scope may be tried that may not yet; infinity if there is none, or its probe is out."""
        suspended = (one.circuit for one in self._scopes.values() if one.circuit.opened_at is not None)
        return min((at for circuit in suspended if (at := circuit.ready_at(now)) > now), default=math.inf)

    def next_is_probe(self, scope: Hashable) -> bool:
        """Whether the next call of this scope tries an open circuit breaker."""
        breaker = self._scopes.get(scope)
        return self.is_service_suspended or (breaker is not None and breaker.circuit.opened_at is not None)

    def admit(self, scope: Hashable, now: float) -> AdmittedByBoth:
        """Let one call through. Raises `RuntimeError` before it may go."""
        breaker = self._scopes.get(scope)
        service = self._service.circuit.admit(now)
        scoped = _BEFORE_ANY_FAILURE if breaker is None else breaker.circuit.admit(now)
        return AdmittedByBoth(scope, service, scoped)

    def withdraw(self, call: AdmittedByBoth) -> None:
        """Take note that the call ended without telling anything, say because of an error of ours."""
        self._service.circuit.withdraw(call.service)
        if call.scope in self._scopes:
            self._scopes[call.scope].circuit.withdraw(call.scoped)

    def report(self, call: AdmittedByBoth, error: ApiError | None, now: float) -> Notice | None:
        """Take note of how the call was answered: by `error`, or well. Returns what the log should say of it."""
        if not self._service.circuit.is_current(call.service):
            return None  # it set out before the service's trouble began or ended, and tells of the past
        if not trips(error):
            self._failing.clear()
        elif call.scope is not None:
            self._failing.add(call.scope)
        if call.scope is None or self.is_service_suspended or len(self._failing) > 1:
            return self._report_to_service(call, error, now)
        if trips(error) and call.scope not in self._scopes:
            breaker = CircuitBreaker(uniform=self._service.circuit.uniform)
            self._scopes[call.scope] = LoggedBreaker(breaker, self._api, f" for {call.scope}")
        scope = self._scopes.get(call.scope)
        return None if scope is None else scope.report(call.scoped, error, now)

    def _report_to_service(self, call: AdmittedByBoth, error: ApiError | None, now: float) -> Notice | None:
        was_suspended = self.is_service_suspended
        notice = self._service.report(call.service, error, now)
        if was_suspended != self.is_service_suspended:
            self._scopes.clear()  # the service's trouble explained theirs; after its end theirs is to be seen anew
            self._failing.clear()
        return notice
