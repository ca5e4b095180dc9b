"""The circuit breakers before an API decide which calls are suspended, how they are tried again, and when they resume.

* `Unavailable` (no response, a time-out, 5xx and the like) and `AccessDenied` (401, 403 and the like) open one.
* While it is open, one call at a time goes through as a probe. Between two probes lies an exponential back-off with
  full jitter, up to 0.5 s at first and up to 60 s in the end, and never less than the service's `Retry-After`. Full
  jitter, as in Marc Brooker's "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): a random time between
  nothing and the back-off, so that instances which lost the service together do not come back together.
* Any other response to a probe closes it: the service is back, whatever it thinks of that one call. So does a 429.

Evidence against a service comes from different images. A call about nothing but what has failed alone before is no
*witness*: its failure opens nothing and makes no witness wait longer. It has a back-off of its own, so that it keeps
no witness waiting either. Its success counts as any other.

Only calls of the present epoch count. One that set out before the breaker last opened or closed tells of the past: it
neither closes an open breaker nor opens a closed one again.

An API has several (`CircuitBreakers`). Calls can have a *scope*, such as the project that they are about:

* A failure suspends the calls of its scope alone: trouble that only one project has is that project's.
* If a second scope fails before any call has succeeded, the trouble is the service's: all calls are suspended, and one
  probe at a time, of whatever scope, tries the service.
* A scope that has failed while another succeeded is known to have trouble of its own. Until a call of it succeeds, its
  failures say nothing of the service.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import TYPE_CHECKING

from shared.errors import AccessDenied, ApiError, Unavailable
from shared.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

log = logging.getLogger(__name__)

MIN_BACK_OFF_SECONDS = 0.5
MAX_BACK_OFF_SECONDS = 60.0
REMIND_SECONDS = 3600.0
"""That calls are suspended is logged again so long after it was logged last: an alert looks back a limited time."""
MAX_SCOPES = 1000
"""Scopes that have a circuit breaker; the one that has had it for longest loses it first."""


_epochs = count(1)
"""Of all circuit breakers together: a call never belongs to one that was made for its scope after it set out."""

_MOST_DOUBLINGS = 64  # of any interval that leads to the longest wait; a float bears no thousand of them


def doubled(seconds: float, times: int, longest: float) -> float:
    """So many seconds, doubled so many times, however many; `longest` seconds at most."""
    return min(longest, seconds * 2.0 ** min(times, _MOST_DOUBLINGS))


def trips(error: BaseException | None) -> bool:
    """Whether a response with this error (None: a success) speaks of the service and not of what was asked."""
    return isinstance(error, Unavailable | AccessDenied)


@dataclass(frozen=True, slots=True)
class AdmittedCall:
    """A call that was let through. `is_probe`: it tries an open breaker."""

    is_probe: bool
    epoch: int
    is_witness: bool


class CircuitBreaker:
    """It is told the time, in seconds of a monotonic clock, and tells when a call may go.

    It logs that calls are suspended and that they are resumed, and whose: `api`, and `whose` as the end of a sentence.
    """

    def __init__(
        self, *, uniform: Callable[[float, float], float] | None = None, api: str = "API", whose: str = ""
    ) -> None:
        self.uniform = uniform or Random().uniform  # noqa: S311 (jitter is no secret)
        self.api = api
        self._whose = whose
        self._epoch = 0
        self.opened_at: float | None = None
        """Since when calls are suspended; None while they are not."""
        self._failures = self._witness_failures = 0
        self._next_at = self._next_witness_at = 0.0
        self._probes_out = self._witnesses_out = 0
        self._last_error: ApiError | None = None
        self._logged_at = -math.inf
        self._is_denial_logged = False

    def ready_at(self, now: float, *, is_witness: bool = True) -> float:
        """The earliest time at which a call may go: `now` or before if at once, infinity while a probe is out."""
        if self.opened_at is None:
            return now
        if is_witness:
            return math.inf if self._witnesses_out else self._next_witness_at
        return math.inf if self._probes_out else self._next_at

    def admit(self, now: float, *, is_witness: bool = True) -> AdmittedCall:
        """Let one call through. Raises `RuntimeError` before `ready_at`."""
        if self.ready_at(now, is_witness=is_witness) > now:
            raise RuntimeError("calls are suspended")
        call = AdmittedCall(self.opened_at is not None, self._epoch, is_witness)
        self._count_out(call, 1)
        return call

    def report(self, call: AdmittedCall, error: ApiError | None, now: float) -> None:
        """Take note of the call's response: an error, or success."""
        if not self.is_current(call) or (self.opened_at is not None and not call.is_probe):
            return
        self._count_out(call, -1)
        if trips(error):
            self._fail(call, error, now)
        elif self.opened_at is not None:
            self._close(now - self.opened_at)

    def is_current(self, call: AdmittedCall) -> bool:
        """Whether the call was admitted since the breaker last opened or closed."""
        return call.epoch == self._epoch

    def withdraw(self, call: AdmittedCall) -> None:
        """Take note that the call ended without telling anything, say because it was cancelled."""
        if self.is_current(call):
            self._count_out(call, -1)

    def remind(self, now: float) -> None:
        """Log from time to time that calls are still suspended."""
        if self.opened_at is not None and now - self._logged_at >= REMIND_SECONDS:
            self._log_suspended(now)

    def _count_out(self, call: AdmittedCall, difference: int) -> None:
        if call.is_probe:
            self._probes_out += difference
            self._witnesses_out += difference * call.is_witness

    def _close(self, seconds: float) -> None:
        log.warning("%s: calls are resumed%s after %.1f s", self.api, self._whose, seconds)
        self.opened_at = None
        self._epoch = next(_epochs)
        self._failures = self._witness_failures = 0
        self._next_at = self._next_witness_at = 0.0
        self._probes_out = self._witnesses_out = 0
        self._is_denial_logged = False

    def _fail(self, call: AdmittedCall, error: ApiError | None, now: float) -> None:
        if self.opened_at is None and not call.is_witness:
            return
        failures = self._witness_failures if call.is_witness else self._failures
        wait = self.uniform(0.0, doubled(MIN_BACK_OFF_SECONDS, failures, MAX_BACK_OFF_SECONDS))
        asked = error.retry_after_seconds if isinstance(error, Unavailable) else None
        self._failures += 1
        self._next_at = max(self._next_at, now + max(wait, asked or 0.0))
        if call.is_witness:
            self._witness_failures += 1
            self._next_witness_at = now + max(wait, asked or 0.0)
        self._last_error = error
        is_new_denial = isinstance(error, AccessDenied) and not self._is_denial_logged
        if self.opened_at is None:
            self.opened_at = now
            self._epoch = next(_epochs)
            self._log_suspended(now)
        elif is_new_denial:  # the operator has to do something
            self._log_suspended(now)

    def _log_suspended(self, now: float) -> None:
        is_denial = isinstance(self._last_error, AccessDenied)
        self._is_denial_logged |= is_denial
        self._logged_at = now
        level = logging.ERROR if is_denial else logging.WARNING
        log.log(level, "%s: calls are suspended%s: %s", self.api, self._whose, one_line(self._last_error))


class CircuitBreakers:
    """One API's: that of the service, and those of the scopes that have failed since the service last did."""

    def __init__(self, api: str, service: CircuitBreaker) -> None:
        self._service = service
        service.api = api
        self._scopes: dict[Hashable, CircuitBreaker] = {}
        self._failing: dict[Hashable, None] = {}  # scopes that have failed since any call succeeded
        self._troubled: dict[Hashable, None] = {}  # scopes with trouble of their own

    @property
    def is_service_suspended(self) -> bool:
        """Whether all calls are suspended."""
        return self._service.opened_at is not None

    @property
    def open(self) -> list[CircuitBreaker]:
        """Those that are open."""
        return [one for one in (self._service, *list(self._scopes.values())) if one.opened_at is not None]

    def service_ready_at(self, now: float) -> float:
        """When a call of any scope that is not suspended may go; infinity while a probe of the service is out."""
        return self._service.ready_at(now)

    def ready_at(self, scope: Hashable, now: float, *, is_witness: bool = True) -> float:
        """When a call of this scope may go; infinity while a probe is out. A probe of the service can be of any."""
        breaker = self._service if self.is_service_suspended else self._scopes.get(scope)
        return now if breaker is None else breaker.ready_at(now, is_witness=is_witness)

    def next_at(self, now: float) -> float:
        """When something may be tried that may not yet; infinity if nothing is suspended, or all probes are out."""
        times = (one.ready_at(now, is_witness=is_witness) for one in self.open for is_witness in (True, False))
        return min((at for at in times if at > now), default=math.inf)

    def is_suspended(self, scope: Hashable) -> bool:
        """Whether calls of this scope are suspended, so that the next one is a probe."""
        breaker = self._scopes.get(scope)
        return self.is_service_suspended or (breaker is not None and breaker.opened_at is not None)

    def admit(self, scope: Hashable, now: float, *, is_witness: bool = True) -> tuple[AdmittedCall, AdmittedCall]:
        """Let one call through: what the service's breaker and its scope's know it by.

        Raises `RuntimeError` before it may go.
        """
        service = self._service.admit(now, is_witness=is_witness)
        breaker = self._scopes.get(scope)
        if breaker is None:
            return service, AdmittedCall(is_probe=False, epoch=0, is_witness=is_witness)
        return service, breaker.admit(now, is_witness=is_witness)

    def withdraw(self, scope: Hashable, call: tuple[AdmittedCall, AdmittedCall]) -> None:
        """Take note that the call ended without telling anything, say because of an error of ours."""
        self._service.withdraw(call[0])
        if scope in self._scopes:
            self._scopes[scope].withdraw(call[1])

    def report(
        self, scope: Hashable, call: tuple[AdmittedCall, AdmittedCall], error: ApiError | None, now: float
    ) -> None:
        """Take note of a call's response: an error, or success."""
        service, scoped = call
        if not self._service.is_current(service):
            return  # it set out before the service's trouble began or ended, and tells of the past
        if not trips(error):
            self._troubled |= self._failing
            self._troubled.pop(scope, None)
            self._failing.clear()
        elif scope is not None and service.is_witness and scope not in self._troubled:
            self._failing[scope] = None
        for scopes in (self._troubled, self._failing):
            while len(scopes) > MAX_SCOPES:
                del scopes[next(iter(scopes))]
        if scope is None or self.is_service_suspended or len(self._failing) > 1:
            self._report_to_service(service, error, now)
            return
        if trips(error) and service.is_witness:
            self._add(scope)
        if scope in self._scopes:
            self._scopes[scope].report(scoped, error, now)

    def remind(self, now: float) -> None:
        """Log from time to time that calls are still suspended."""
        for breaker in self.open:
            breaker.remind(now)

    def _add(self, scope: Hashable) -> None:
        if scope in self._scopes:
            return
        if len(self._scopes) >= MAX_SCOPES:
            del self._scopes[next(iter(self._scopes))]
        uniform, api = self._service.uniform, self._service.api
        self._scopes[scope] = CircuitBreaker(uniform=uniform, api=api, whose=f" for {scope}")

    def _report_to_service(self, call: AdmittedCall, error: ApiError | None, now: float) -> None:
        was_suspended = self.is_service_suspended
        self._service.report(call, error, now)
        if was_suspended != self.is_service_suspended:
            self._scopes.clear()  # the service's trouble explained theirs; after its end theirs is to be seen anew
