"""The rate limit of an API: a token bucket."""


class TokenBucket:
    """Lets through `calls_per_second` on average and at most `burst` at once; it starts full.

    Time is given by the caller, in seconds, and must not go back.
    """

    def __init__(self, calls_per_second: float, burst: float, now: float) -> None:
        self._calls_per_second = calls_per_second
        self._burst = burst
        self._tokens = burst
        self._filled_at = now

    def take(self, now: float) -> float:
        """Take a token and return 0, or take none and return how many seconds are left until there will be one."""
        elapsed = now - self._filled_at
        self._filled_at = now
        self._tokens = min(self._burst, self._tokens + elapsed * self._calls_per_second)
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self._calls_per_second
