"""The API under the virtual clock: a gateway that counts, a network and a latency, in place of the app's HTTP client.

The app's own clients talk to it, so that everything above the sending of a request is the deployed code.
"""

from __future__ import annotations

import asyncio
import json
import math
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from benchmarks.gateways import bucket
from shared.services.http import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from benchmarks.gateways import Gateway

LIMIT = 10.0
"""Calls a second."""


@dataclass(frozen=True, slots=True)
class Network:
    """How long things take, in seconds: one way through the network, and in the service, which is log-normal."""

    shortest_way: float
    longest_way: float
    median_service: float
    sigma: float
    late: float = 0.0
    """By so much calls come later to the gateway on average, by chance (exponential)."""

    def way(self, rng: Random) -> float:
        """The time to or from the gateway."""
        return rng.uniform(self.shortest_way, self.longest_way)

    def way_there(self, rng: Random) -> float:
        """The time to the gateway, with what a call may be late by."""
        return self.way(rng) + (rng.expovariate(1 / self.late) if self.late else 0.0)

    def service(self, rng: Random) -> float:
        """The time in the service."""
        return rng.lognormvariate(math.log(self.median_service), self.sigma)


INTERNET = Network(shortest_way=0.005, longest_way=0.015, median_service=0.08, sigma=0.6)
"""Half of the calls take 100 ms or more, one in a hundred more than 320 ms."""


@dataclass(slots=True)
class Calls:
    """What the gateway saw: for each call its time of arrival and the images that it updated, 0 for a 429.

    `operations` are the instance's requests to storage for permits.
    """

    at: array[float] = field(default_factory=lambda: array("d"))
    images: array[int] = field(default_factory=lambda: array("i"))
    operations: int = 0

    def add(self, at: float, images: int) -> None:
        """Note a call."""
        self.at.append(at)
        self.images.append(images)

    def __len__(self) -> int:
        return len(self.at)

    def between(self, begin: float, end: float) -> list[int]:
        """The images of each call that arrived in this time, 0 for a 429."""
        return [images for at, images in zip(self.at, self.images, strict=True) if begin <= at < end]


class Limit:
    """The limit that all clients of a resource share; without a gateway, a bucket of ten calls a second."""

    def __init__(self, gateway: Gateway | None = None) -> None:
        self._gateway = gateway or bucket(LIMIT)

    def refuse(self, now: float) -> Answer | None:
        """The gateway's 429 with `Retry-After` in whole seconds, or None for a call that may pass."""
        wait = self._gateway.take(now)
        if not wait:
            return None
        seconds = max(1, math.ceil(wait))
        error = {"code": "429", "message": f"Rate limit is exceeded. Try again in {seconds} seconds."}
        return json_answer(429, {"error": error}, {"retry-after": str(seconds)})


class Transport:
    """One client's way to the service. `calls` is what the gateway saw of this client."""

    def __init__(
        self,
        limit: Limit,
        answer: Callable[[str], Answer],
        rng: Random,
        network: Network = INTERNET,
    ) -> None:
        self.calls = Calls()
        self._limit = limit
        self._answer = answer
        self._rng = rng
        self._network = network

    async def exchange(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:  # noqa: ARG002
        """Carry a call there, and its answer back."""
        await asyncio.sleep(self._network.way_there(self._rng))
        now = asyncio.get_running_loop().time()
        answer = self._limit.refuse(now)
        if answer is not None:
            self.calls.add(now, 0)
        else:
            self.calls.add(now, count_images(url))
            answer = self._answer(url)
            await asyncio.sleep(self._network.service(self._rng))
        await asyncio.sleep(self._network.way(self._rng))
        return answer


def count_images(url: str) -> int:
    """How many images a call names; 1 where it names none, as calls to Face do."""
    return urlsplit(url).query.count(",") + 1


def all_ok(url: str) -> Answer:
    """Custom Vision's answer where every image is updated."""
    ids = parse_qs(urlsplit(url).query)["imageIds"][0].split(",")
    entries = [{"imageId": image_id, "status": "OK", "metadata": {}} for image_id in ids]
    return json_answer(200, {"isBatchSuccessful": True, "images": entries})


def json_answer(status: int, document: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer with this document as its body."""
    return Answer(status, headers or {}, json.dumps(document).encode())
