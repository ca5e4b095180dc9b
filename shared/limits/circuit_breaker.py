"""The circuit breaker before an API: when calls are suspended, how they are tried again, and when they are resumed.

What opens it and what closes it is said here and nowhere else (which calls share one, `admission` says):

* `Unavailable` (no answer, a time-out, 5xx and the like) and `AccessDenied` (401, 403 and the like) open it.
* While it is open, one call at a time goes through as a probe. Between two probes lies an exponential back-off with
  full jitter, up to 0.5 s at first and up to 60 s in the end, and never less than the service's `Retry-After`. Full
  jitter, as in Marc Brooker's "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): a random time between
  nothing and the back-off, so that instances which lost the service together do not come back together.
* Any other answer to the probe closes it: the service is back, whatever it thinks of that one call. So does a 429.

Only calls of the present epoch count. One that set out before the breaker last opened or closed tells of the past: it
neither closes an open breaker nor opens a closed one again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import TYPE_CHECKING

from shared.errors import AccessDenied, ApiError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

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
