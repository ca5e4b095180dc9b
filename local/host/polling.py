"""How long to wait before an empty queue is asked again."""

import random

MINIMUM_SECONDS = 0.1
JITTER = 0.2


class PollingBackOff:
    """Randomised exponential back-off from 100 ms up to `maxPollingInterval`: 100, 200, 300, 500, 900 ms and so on.

    The jitter keeps several hosts on one queue from asking in step.
    """

    def __init__(self, maximum_seconds: float, random_source: random.Random | None = None) -> None:
        self._maximum_seconds = maximum_seconds
        self._random = random_source or random.Random()  # noqa: S311 - not for security
        self._in_vain = 0

    def delay_after(self, *, found: bool) -> float:
        """Seconds to wait after a fetch that did or did not find messages; none while there are some."""
        if found:
            self._in_vain = 0
            return 0.0
        longer = MINIMUM_SECONDS * 2.0 ** (self._in_vain - 1) if self._in_vain else 0.0
        if longer < self._maximum_seconds:
            self._in_vain += 1
        jitter = self._random.uniform(1 - JITTER, 1 + JITTER)
        return min(MINIMUM_SECONDS + longer * jitter, self._maximum_seconds)
