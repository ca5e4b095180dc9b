"""The API under the virtual clock: a gateway that counts, a network and a latency, in place of the app's HTTP client.

The app's own clients talk to it, so that everything above the sending of a request is the deployed code. How the real
gateway counts its calls is not documented, so there are five ways.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from local.simulation.bucket import TokenBucket

LIMIT = 10.0
"""Calls a second."""
SHORTEST_WAY, LONGEST_WAY = 0.005, 0.015
MEDIAN_SERVICE, SERVICE_SIGMA = math.log(0.08), 0.6
"""Log-normal: half of the calls take 100 ms or more with both ways, one in a hundred more than 320 ms."""


class _CalendarWindow:
    """So many calls in each window of the clock."""

    def __init__(self, calls: int, seconds: float) -> None:
        self._calls, self._seconds = calls, seconds
        self._window, self._taken = -1, 0

    def take(self, now: float) -> float:
        window = math.floor(now / self._seconds)
        if window != self._window:
            self._window, self._taken = window, 0
        if self._taken < self._calls:
            self._taken += 1
            return 0.0
        return (window + 1) * self._seconds - now


class _SlidingWindow:
    """So many calls in any stretch of so many seconds."""

    def __init__(self, calls: int, seconds: float) -> None:
        self._calls, self._seconds = calls, seconds
        self._passed: deque[float] = deque()

    def take(self, now: float) -> float:
        while self._passed and self._passed[0] <= now - self._seconds:
            self._passed.popleft()
        if len(self._passed) < self._calls:
            self._passed.append(now)
            return 0.0
        return self._passed[0] + self._seconds - now


Gateway = TokenBucket | _CalendarWindow | _SlidingWindow
"""Counts calls: `take` lets a call pass and returns 0, or returns how many seconds are left until one may."""


def _bucket(calls_per_second: float) -> TokenBucket:
    """A bucket of one second's worth, at least one call."""
    return TokenBucket(calls_per_second, max(1.0, calls_per_second), 0.0)


GATEWAYS: Mapping[float, Mapping[str, Callable[[], Gateway]]] = {
    LIMIT: {
        "bucket of 10": lambda: _bucket(LIMIT),
        "calendar second": lambda: _CalendarWindow(10, 1.0),
        "sliding second": lambda: _SlidingWindow(10, 1.0),
        "sliding 10 s": lambda: _SlidingWindow(100, 10.0),
        "calendar minute": lambda: _CalendarWindow(600, 60.0),
    },
    2.0: {
        "bucket of 2": lambda: _bucket(2.0),
        "calendar second": lambda: _CalendarWindow(2, 1.0),
        "sliding second": lambda: _SlidingWindow(2, 1.0),
    },
    1 / 3: {
        "bucket of 1": lambda: _bucket(1 / 3),
        "calendar 3 s": lambda: _CalendarWindow(1, 3.0),
        "sliding 3 s": lambda: _SlidingWindow(1, 3.0),
    },
}
"""By the limit in calls a second."""


@dataclass(slots=True)
class Calls:
    """What the gateway saw of a client: when each call arrived, and whether it passed. `operations` are storage's."""

    passed: list[tuple[float, bool]] = field(default_factory=list)
    operations: int = 0


class Limit:
    """The limit that all clients of a resource share; without a gateway, a bucket of ten calls a second."""

    def __init__(self, gateway: Gateway | None = None) -> None:
        self._gateway = gateway or _bucket(LIMIT)

    def refuse(self, now: float) -> httpx.Response | None:
        """The gateway's 429 with `Retry-After` in whole seconds, or None for a call that may pass."""
        wait = self._gateway.take(now)
        error = {"code": "429", "message": "Rate limit is exceeded."}
        return json_answer(429, {"error": error}, {"retry-after": str(max(1, math.ceil(wait)))}) if wait else None


class Transport:
    """One client's way to the service. By so many seconds calls come `late` on average, by chance (exponential)."""

    def __init__(self, limit: Limit, answer: Callable[[str], httpx.Response], rng: Random, late: float = 0.0) -> None:
        self.calls = Calls()
        self._limit, self._answer, self._rng, self._late = limit, answer, rng, late

    async def exchange(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> httpx.Response:  # noqa: ARG002
        """Carry a call there, and its answer back."""
        way = self._rng.uniform(SHORTEST_WAY, LONGEST_WAY)
        await asyncio.sleep(way + (self._rng.expovariate(1 / self._late) if self._late else 0.0))
        now = asyncio.get_running_loop().time()
        answer = self._limit.refuse(now)
        self.calls.passed.append((now, answer is None))
        if answer is None:
            answer = self._answer(url)
            await asyncio.sleep(self._rng.lognormvariate(MEDIAN_SERVICE, SERVICE_SIGMA))
        await asyncio.sleep(self._rng.uniform(SHORTEST_WAY, LONGEST_WAY))
        return answer

    @property
    def client(self) -> httpx.AsyncClient:
        """The library's client, this way."""
        return httpx.AsyncClient(transport=httpx.MockTransport(self._respond))

    async def _respond(self, request: httpx.Request) -> httpx.Response:
        return await self.exchange(request.method, str(request.url), request.headers, request.content)


def all_ok(url: str) -> httpx.Response:
    """Custom Vision's answer where every image is updated."""
    ids = parse_qs(urlsplit(url).query)["imageIds"][0].split(",")
    entries = [{"imageId": image_id, "status": "OK", "metadata": {}} for image_id in ids]
    return json_answer(200, {"isBatchSuccessful": True, "images": entries})


def json_answer(status: int, document: Any, headers: Mapping[str, str] | None = None) -> httpx.Response:
    """An answer with this document as its body."""
    return httpx.Response(status, headers=headers, json=document)
