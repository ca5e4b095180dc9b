"""Paces the polls of Face: calls of one process, to an API whose limit it shares with nobody."""

from shared.limits.admission import Limiter


class EvenSpacing(Limiter):
    """Calls at even intervals, and none for as long as a 429 asks for. One that goes a little late delays no other."""

    def __init__(self, calls_per_second: float) -> None:
        self._interval = 1 / calls_per_second
        self._next_at = 0.0

    def ready_at(self, now: float) -> float:
        """When the next call may go: `now` if at once."""
        return max(now, self._next_at)

    def take(self, now: float) -> None:
        """Take note of a call that goes now."""
        is_late = now - self._next_at >= self._interval
        self._next_at = (now if is_late else self._next_at) + self._interval

    def limited(self, permit: object, retry_after_seconds: float | None, now: float) -> None:  # noqa: ARG002
        """Make no call for as long as `Retry-After` says, or for a second."""
        wait = 1.0 if retry_after_seconds is None else retry_after_seconds
        self._next_at = max(self._next_at, now + max(wait, self._interval))
