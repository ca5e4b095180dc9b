"""Circuit breakers suspend the calls to an API that is in trouble, try it with probes, and resume the calls.

* `Unavailable` (no response, a time-out, 5xx and the like) and `AccessDenied` (401, 403 and the like) open a breaker.
* While it is open, one call at a time goes as a probe. Between two probes lies an exponential back-off with full
  jitter: a random time of up to 0.5 s at first and up to 60 s in the end, and never less than `Retry-After`. So
  instances that lost the service together do not come back together (Marc Brooker, "Exponential Backoff And Jitter",
  AWS Architecture Blog, 2015).
* Any other response to a probe closes it, even a 429: the service is back.
* If a call was made before the breaker last opened or closed, its response is out of date and is ignored.

A call is a *witness*, whose failure counts against the service, if it asks for anything that has not yet failed alone.
Otherwise one bad image that is sent again and again would look like an outage. A call that is no witness opens no
breaker. If it is a probe and fails, it delays other such calls but no witness. If it succeeds, it closes the breaker.

A call can have a *scope*, such as the project that it is about. Each scope has a breaker, and the service has one:

* A failure suspends the calls of its scope alone. It may be trouble of that project.
* If a second scope fails before any call has succeeded, it is trouble of the service: all calls are suspended, and a
  call of any scope can be the probe.
* A scope that failed when others succeeded has trouble of its own. Its failures say nothing of the service until one
  of its calls succeeds.
"""

import logging
import math
import random
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeGuard

from shared.errors import AccessDenied, ApiError, Unavailable
from shared.text import one_line

log = logging.getLogger(__name__)

MIN_BACK_OFF_SECONDS = 0.5
MAX_BACK_OFF_SECONDS = 60.0
REMIND_SECONDS = 3600.0
"""That calls are suspended is logged again so long after it was logged last: an alert looks back a limited time."""
MAX_SCOPES = 1000  # that are remembered; the one that has been for longest is forgotten first


def trips(error: BaseException | None) -> TypeGuard[Unavailable | AccessDenied]:
    """Whether a response with this error (None: a success) speaks of the service and not of what was asked."""
    return isinstance(error, Unavailable | AccessDenied)


def shows_service_is_up(error: BaseException | None) -> bool:
    """Whether a call that ended so (None: with success) had a response, and one that does not trip."""
    return error is None or (isinstance(error, ApiError) and not trips(error))


@dataclass(slots=True)
class _BackOff:
    longest_wait: float = MIN_BACK_OFF_SECONDS
    next_at: float = -math.inf
    probes_out: int = 0


@dataclass(slots=True, eq=False)
class _Breaker:
    """A circuit breaker from one change to the next. When it opens or closes, a new one takes its place."""

    whose: str = ""
    opened_at: float | None = None
    of_witnesses: _BackOff = field(default_factory=_BackOff)
    of_all: _BackOff = field(default_factory=_BackOff)
    logged_level: int = logging.NOTSET
    logged_at: float = -math.inf
    last_error: ApiError | None = None

    @property
    def is_open(self) -> bool:
        return self.opened_at is not None

    def back_offs(self, is_witness: bool) -> list[_BackOff]:
        """Those that a probe counts for. The first says when it may go."""
        return [self.of_witnesses, self.of_all] if is_witness else [self.of_all]

    def ready_at(self, is_witness: bool) -> float:
        back_off = self.back_offs(is_witness)[0]
        return math.inf if back_off.probes_out else back_off.next_at


class AdmittedCall(NamedTuple):
    """A call that was let through, with the breakers of that moment: the service's, and the one that let it through."""

    scope: Hashable
    is_witness: bool
    service: _Breaker
    breaker: _Breaker


class CircuitBreakers:
    """Those of one API. They are told the time, in seconds of a monotonic clock, and log what they do."""

    def __init__(self, api: str, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._api = api
        self._uniform = uniform
        self._service = _Breaker()
        self._scopes: dict[Hashable, _Breaker] = {}  # those that have failed since the service's last changed
        self._failed: dict[Hashable, bool] = {}
        """Scopes that have not succeeded since they failed; whether another has, so that the trouble is their own."""

    @property
    def open(self) -> list[_Breaker]:
        """Those that are open."""
        return [breaker for breaker in (self._service, *self._scopes.values()) if breaker.is_open]

    def ready_at(self, scope: Hashable = None, *, is_witness: bool = True) -> float:
        """When a call of this scope, or without one of any that is not suspended, may go; infinity with a probe out."""
        return self._of(scope).ready_at(is_witness)

    def next_at(self, now: float) -> float:
        """When something suspended may be tried that may not yet; infinity if there is none, or with its probe out."""
        times = (breaker.ready_at(is_witness) for breaker in self.open for is_witness in (True, False))
        return min((at for at in times if at > now), default=math.inf)

    def is_suspended(self, scope: Hashable = None) -> bool:
        """Whether calls of this scope, or without one all calls, are suspended, so that the next one is a probe."""
        return self._of(scope).is_open

    def admit(self, now: float, scope: Hashable = None, *, is_witness: bool = True) -> AdmittedCall:
        """Let one call through. Raises `RuntimeError` before `ready_at`."""
        breaker = self._of(scope)
        if breaker.ready_at(is_witness) > now:
            raise RuntimeError("calls are suspended")
        if breaker.is_open:
            for back_off in breaker.back_offs(is_witness):
                back_off.probes_out += 1
        return AdmittedCall(scope, is_witness, self._service, breaker)

    def report(self, call: AdmittedCall, error: BaseException | None, now: float) -> None:
        """Take note of a call's response: success (None) or an `ApiError`. Any other error tells nothing."""
        if call.service is not self._service:
            return
        if shows_service_is_up(error):
            self._failed.pop(call.scope, None)
            self._failed = dict.fromkeys(self._failed, True)
        elif trips(error) and call.is_witness and call.scope is not None:
            self._failed.setdefault(call.scope, False)
            _forget_first(self._failed)
        is_of_service = self._service.is_open or list(self._failed.values()).count(False) > 1
        if is_of_service or call.breaker is self._of(call.scope):
            self._report_to(None if is_of_service else call.scope, call, error, now)

    def _report_to(self, scope: Hashable, call: AdmittedCall, error: BaseException | None, now: float) -> None:
        breaker = self._of(scope)
        if breaker.is_open:
            for back_off in breaker.back_offs(call.is_witness):
                back_off.probes_out -= 1
        if trips(error) and (breaker.is_open or call.is_witness):
            breaker = breaker if breaker.is_open else self._change(scope, now)
            self._fail(breaker, call.is_witness, error, now)
        elif breaker.opened_at is not None and shows_service_is_up(error):
            log.warning("%s: calls are resumed%s after %.1f s", self._api, breaker.whose, now - breaker.opened_at)
            self._change(scope, None)

    def remind(self, now: float) -> None:
        """Log from time to time that calls are still suspended."""
        for breaker in self.open:
            self._log_suspended(breaker, now)

    def _of(self, scope: Hashable) -> _Breaker:
        return self._scopes.get(scope, self._service)  # no scope has one while the service's is open

    def _change(self, scope: Hashable, opened_at: float | None) -> _Breaker:
        breaker = _Breaker("" if scope is None else f" for {scope}", opened_at)
        if scope is None:
            self._service = breaker
            self._scopes.clear()  # the service's trouble explained theirs; after its end theirs is to be seen anew
        else:
            self._scopes[scope] = breaker
            _forget_first(self._scopes)
        return breaker

    def _fail(self, breaker: _Breaker, is_witness: bool, error: ApiError, now: float) -> None:
        back_offs = breaker.back_offs(is_witness)
        wait = max(self._uniform(0.0, back_offs[0].longest_wait), error.retry_after_seconds or 0.0)
        for back_off in back_offs:
            back_off.longest_wait = min(2 * back_off.longest_wait, MAX_BACK_OFF_SECONDS)
            back_off.next_at = max(back_off.next_at, now + wait)
        breaker.last_error = error
        self._log_suspended(breaker, now)

    def _log_suspended(self, breaker: _Breaker, now: float) -> None:
        """Log it at once, again when it has become something for the operator, and from time to time."""
        level = logging.ERROR if isinstance(breaker.last_error, AccessDenied) else logging.WARNING
        if level > breaker.logged_level or now - breaker.logged_at >= REMIND_SECONDS:
            log.log(level, "%s: calls are suspended%s: %s", self._api, breaker.whose, one_line(breaker.last_error))
            breaker.logged_level, breaker.logged_at = max(level, breaker.logged_level), now


def _forget_first(scopes: dict[Hashable, Any]) -> None:
    if len(scopes) > MAX_SCOPES:
        del scopes[next(iter(scopes))]
