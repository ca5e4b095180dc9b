"""The gate before an API: closed while the service is in trouble or does not let us in.

This is a circuit breaker. What closes it and what opens it is said here and nowhere else:

* `Unavailable` (no answer, a time-out, 5xx and the like) and `AccessRefused` (401, 403 and the like) close it.
* While it is closed, one call at a time goes through as a probe. Between two probes lies an exponential back-off with
  full jitter, 0.5 s to 60 s, and never less than the service's `Retry-After`. Full jitter, as in Marc Brooker's
  "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): a random time between nothing and the back-off, so
  that instances which lost the service together do not come back together.
* Any other answer to the probe opens it: the service is back, whatever it thinks of that one call. So does a 429.

Only calls of the present epoch count. One that set out before the gate last opened or closed tells of the past: it
neither opens a closed gate nor closes a re-opened one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import TYPE_CHECKING

from shared.back_off import doubled
from shared.errors import AccessRefused, ApiError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

SHORTEST_BACK_OFF_SECONDS = 0.5
LONGEST_BACK_OFF_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Pass:
    """Leave for one call. `probe`: it is the one that tries a closed gate."""

    probe: bool
    epoch: int


class Change(Enum):
    """What a call's answer did to the gate."""

    NONE = "none"
    CLOSED = "closed"
    OPENED = "opened"


def closes(error: BaseException | None) -> bool:
    """Whether an answer with this error (None: a success) speaks of the service and not of what was asked."""
    return isinstance(error, Unavailable | AccessRefused)


class Gate:
    """Pure: it is told the time, in seconds of a monotonic clock, and tells when a call may go."""

    def __init__(self, *, uniform: Callable[[float, float], float] | None = None) -> None:
        self._uniform = uniform or Random().uniform  # noqa: S311 (jitter is no secret)
        self._epoch = 0
        self._closed_at: float | None = None
        self._failures = 0
        self._next_probe_at = 0.0
        self._probe_out = False

    @property
    def closed_at(self) -> float | None:
        """When the gate closed; None while it is open."""
        return self._closed_at

    def ready_at(self, now: float) -> float:
        """The earliest time at which a call may go: `now` or before if at once, infinity while a probe is out."""
        if self._closed_at is None:
            return now
        return math.inf if self._probe_out else self._next_probe_at

    def take(self, now: float) -> Pass:
        """Let one call through. Raises `RuntimeError` before `ready_at`."""
        if self.ready_at(now) > now:
            raise RuntimeError("the gate is closed")
        self._probe_out = self._closed_at is not None
        return Pass(self._probe_out, self._epoch)

    def report(self, leave: Pass, error: ApiError | None, now: float) -> Change:
        """Take note of how the call with this leave was answered: by `error`, or well."""
        if leave.epoch != self._epoch or (self._closed_at is not None and not leave.probe):
            return Change.NONE
        self._probe_out = False
        if not closes(error):
            return self._open()
        return self._close(error, now)

    def give_back(self, leave: Pass) -> None:
        """Take note that the call with this leave ended without telling anything, say because it was cancelled."""
        if leave.probe and leave.epoch == self._epoch:
            self._probe_out = False

    def _open(self) -> Change:
        if self._closed_at is None:
            return Change.NONE
        self._closed_at = None
        self._failures = 0
        self._epoch += 1
        return Change.OPENED

    def _close(self, error: ApiError | None, now: float) -> Change:
        back_off = doubled(SHORTEST_BACK_OFF_SECONDS, self._failures, LONGEST_BACK_OFF_SECONDS)
        wait = self._uniform(0.0, back_off)
        asked = error.retry_after_seconds if isinstance(error, Unavailable) else None
        self._next_probe_at = now + max(wait, asked or 0.0)
        self._failures += 1
        if self._closed_at is not None:
            return Change.NONE
        self._closed_at = now
        self._epoch += 1
        return Change.CLOSED
