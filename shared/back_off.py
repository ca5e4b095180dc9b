"""Exponential back-off, as gate and pace wait for an API that does not serve them."""

_MOST_DOUBLINGS = 64  # of any interval that leads to the longest wait; a float bears no thousand of them


def doubled(seconds: float, times: int, longest: float) -> float:
    """So many seconds, doubled so many times, however many; `longest` seconds at most."""
    return min(longest, seconds * 2.0 ** min(times, _MOST_DOUBLINGS))
