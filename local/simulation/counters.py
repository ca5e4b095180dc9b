"""What an API was asked and how it was answered."""

from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager

from local.simulation.answers import Answer, Reply
from local.simulation.models import ApiCounters

NO_ANSWER = "none"
LATENCY = "latency"
OUTAGE = "outage"
WRONG_KEY = "wrong_key"
MARKED_IMAGE = "marked_image"
"""An image was marked to be refused, or to be left as it is."""


class CallCounters:
    """Counts the calls of one API. Times are in seconds and do not go back."""

    def __init__(self) -> None:
        self.faults: Counter[str] = Counter()
        self.rate_limited = 0
        self._calls = 0
        self._statuses: Counter[str] = Counter()
        self._images_per_call: Counter[int] = Counter()
        self._last_second: deque[float] = deque()
        self._max_calls_per_second = 0
        self._in_flight = 0
        self._max_in_flight = 0

    @contextmanager
    def call(self, now: float, images: int | None) -> Iterator[None]:
        """A call from its arrival until the client has its answer, with the number of its different images."""
        self._calls += 1
        if images is not None:
            self._images_per_call[images] += 1
        self._last_second.append(now)
        while self._last_second[0] <= now - 1:
            self._last_second.popleft()
        self._max_calls_per_second = max(self._max_calls_per_second, len(self._last_second))
        self._in_flight += 1
        self._max_in_flight = max(self._max_in_flight, self._in_flight)
        try:
            yield
        finally:
            self._in_flight -= 1

    def replied(self, reply: Reply) -> None:
        """Count an answer by its status; half an answer counts as none."""
        self._statuses[str(reply.status) if isinstance(reply, Answer) else NO_ANSWER] += 1

    def snapshot(self) -> ApiCounters:
        """The counts so far."""
        return ApiCounters(
            calls=self._calls,
            statuses=dict(self._statuses),
            faults=dict(self.faults),
            images_per_call=dict(self._images_per_call),
            rate_limited=self.rate_limited,
            max_calls_per_second=self._max_calls_per_second,
            in_flight=self._in_flight,
            max_in_flight=self._max_in_flight,
        )
