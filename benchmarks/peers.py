"""Another way to keep to a limit that is shared, for comparison only: each instance knows nothing but its answers."""

from __future__ import annotations

from shared.limits.rate_limit_alone import EvenSpacing

INCREASE_PER_SECOND = 0.1
DECREASE = 0.5
LOWEST_RATE = 0.01


class AdditiveIncrease(EvenSpacing):
    """Additive increase, multiplicative decrease (Chiu and Jain, 1989): +0.1 calls/s each second, half at a 429."""

    def __init__(self, calls_per_second: float) -> None:
        super().__init__(calls_per_second)
        self._highest = self._rate = calls_per_second

    def succeeded(self, permit: object) -> None:  # noqa: ARG002 (the interface)
        """Raise the rate: at `rate` answers a second, by `INCREASE_PER_SECOND` each second."""
        self._set_rate(min(self._highest, self._rate + INCREASE_PER_SECOND / self._rate))

    def limited(self, permit: object, retry_after_seconds: float | None, now: float) -> None:
        """Halve the rate and wait as long as asked."""
        self._set_rate(max(LOWEST_RATE, self._rate * DECREASE))
        super().limited(permit, retry_after_seconds, now)

    def _set_rate(self, rate: float) -> None:
        self._rate = rate
        self._interval = 1 / rate
