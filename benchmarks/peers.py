"""Other ways to keep to a limit, with the interface of `shared.pace.Pace`, for comparison only."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from random import Random

    from shared.limits.pace import Pace

BACK_OFF_SECONDS = 1.0
INCREASE_PER_SECOND = 0.1
DECREASE = 0.5
LOWEST_RATE = 0.01


class FixedRate:
    """Calls at the configured rate; waits for `Retry-After`, then goes on as before. What most clients do."""

    def __init__(self, calls_per_second: float) -> None:
        self.rate = calls_per_second
        self._next_at = 0.0

    def ready_at(self, now: float) -> float:
        """The earliest time of the next call."""
        return max(now, self._next_at)

    def take(self, now: float) -> None:
        """Count a call."""
        self._next_at = now + 1 / self.rate

    def succeeded(self, now: float) -> None:
        """Go on."""

    def limited(self, now: float, retry_after_seconds: float | None) -> None:
        """Wait as long as asked."""
        self._next_at = max(self._next_at, now + (retry_after_seconds or BACK_OFF_SECONDS))


class AdditiveIncrease(FixedRate):
    """Additive increase, multiplicative decrease (Chiu and Jain, 1989): +0.1 calls/s each second, half at a 429."""

    def __init__(self, calls_per_second: float) -> None:
        super().__init__(calls_per_second)
        self._highest = calls_per_second

    def succeeded(self, now: float) -> None:  # noqa: ARG002 (the interface)
        """Raise the rate: at `rate` answers a second, by `INCREASE_PER_SECOND` each second."""
        self.rate = min(self._highest, self.rate + INCREASE_PER_SECOND / self.rate)

    def limited(self, now: float, retry_after_seconds: float | None) -> None:
        """Halve the rate and wait as long as asked."""
        self.rate = max(LOWEST_RATE, self.rate * DECREASE)
        super().limited(now, retry_after_seconds)


def fixed_rate(calls_per_second: float, _: Random) -> Pace:
    """A `FixedRate` where a `Pace` is expected."""
    return cast("Pace", FixedRate(calls_per_second))


def additive_increase(calls_per_second: float, _: Random) -> Pace:
    """An `AdditiveIncrease` where a `Pace` is expected."""
    return cast("Pace", AdditiveIncrease(calls_per_second))
