"""How a gateway may count calls: nobody knows how the real one does. Each says how long a refused call has to wait."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Protocol

from local.simulation.bucket import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Gateway(Protocol):
    """Counts calls at times that do not go back."""

    def take(self, now: float) -> float:
        """Let a call pass and return 0, or return how many seconds are left until one may."""
        ...


class CalendarWindow:
    """So many calls in each window of the clock."""

    def __init__(self, calls: int, seconds: float) -> None:
        self._calls = calls
        self._seconds = seconds
        self._window = -1
        self._taken = 0

    def take(self, now: float) -> float:
        """See `Gateway`."""
        window = math.floor(now / self._seconds)
        if window != self._window:
            self._window, self._taken = window, 0
        if self._taken < self._calls:
            self._taken += 1
            return 0.0
        return (window + 1) * self._seconds - now


class SlidingWindow:
    """So many calls in any stretch of so many seconds."""

    def __init__(self, calls: int, seconds: float) -> None:
        self._calls = calls
        self._seconds = seconds
        self._passed: deque[float] = deque()

    def take(self, now: float) -> float:
        """See `Gateway`."""
        while self._passed and self._passed[0] <= now - self._seconds:
            self._passed.popleft()
        if len(self._passed) < self._calls:
            self._passed.append(now)
            return 0.0
        return self._passed[0] + self._seconds - now


def bucket(calls_per_second: float) -> TokenBucket:
    """A bucket of one second's worth, at least one call."""
    return TokenBucket(calls_per_second, max(1.0, calls_per_second), 0.0)


GATEWAYS: Mapping[str, Callable[[], Gateway]] = {
    "bucket of 10": lambda: bucket(10.0),
    "calendar second": lambda: CalendarWindow(10, 1.0),
    "sliding second": lambda: SlidingWindow(10, 1.0),
    "sliding 10 s": lambda: SlidingWindow(100, 10.0),
    "calendar minute": lambda: CalendarWindow(600, 60.0),
}
"""Ten calls a second, counted in five ways."""

LOW_LIMITS: Mapping[float, Mapping[str, Callable[[], Gateway]]] = {
    2.0: {
        "bucket of 2": lambda: bucket(2.0),
        "calendar second": lambda: CalendarWindow(2, 1.0),
        "sliding second": lambda: SlidingWindow(2, 1.0),
    },
    1 / 3: {
        "bucket of 1": lambda: bucket(1 / 3),
        "calendar 3 s": lambda: CalendarWindow(1, 3.0),
        "sliding 3 s": lambda: SlidingWindow(1, 3.0),
    },
}
"""Lower limits, by calls a second."""
