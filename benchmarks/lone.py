"""What a lone message waits in an idle app, beyond its linger and its call."""

from __future__ import annotations

import asyncio
import random
import time
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import load, parts
from benchmarks.results import Figure, Outcome, Peer, at_most
from benchmarks.service import LIMIT
from local.cloud import LocalCloud
from local.simulation.models import Api
from shared.services.queues import PermitQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.sizes import Sizes
    from shared.batching.outcomes import ImageOutcome
    from shared.limits.admission import Limiter
    from shared.messages.ids import ImageId
    from shared.messages.update import BatchKey
    from shared.services.custom_vision import CustomVisionClient

NAME = "lone"
TITLE = "A lone message"
LATENCY_SECONDS = 0.005
SHORT_LINGER_SECONDS = 0.02
IMAGES = 1000
ABOUT = f"""\
One message after another in an idle app, over real HTTP to the simulation on loopback. The figure is the 99th
percentile of the time from the body's bytes to the outcome, less the linger and less the time of the call
itself. Most of it is how punctually the operating system wakes a process. A short linger ({
    SHORT_LINGER_SECONDS * 1000:g} ms) makes many samples possible; a few are taken with the default of {
    parts.LINGER_SECONDS:g} s.
Those fetch a permit
from Azurite for each message, which the linger is time enough for; the others have a limit of their own. Beside it: the
median, and the same percentile of what a bare `asyncio.sleep` of the linger is late by.
"""

TARGET = at_most(20)


class TimedClient:
    """The client, with the time of its last call."""

    def __init__(self, client: CustomVisionClient) -> None:
        self._client = client
        self.seconds = 0.0

    async def send(self, key: BatchKey, image_ids: Sequence[ImageId]) -> Mapping[ImageId, ImageOutcome]:
        """Make a call."""
        began = time.perf_counter()
        try:
            return await self._client.update_image_metadata(key, image_ids)
        finally:
            self.seconds = time.perf_counter() - began


def run(sizes: Sizes, step: Callable[[], None]) -> Outcome:
    """Measure rounds with the short linger and one with the default."""
    return asyncio.run(_run(sizes, step))


def steps(sizes: Sizes) -> int:
    """How many pieces of work there are."""
    return sizes.samples + 1


async def _run(sizes: Sizes, step: Callable[[], None]) -> Outcome:
    async with LocalCloud() as cloud, parts.real_http() as http:
        await cloud.control.set_rate(Api.CUSTOM_VISION, None)
        await cloud.control.set_latency(Api.CUSTOM_VISION, LATENCY_SECONDS)
        await load.add_images(cloud.control, IMAGES)
        endpoint, key = cloud.settings["CUSTOM_VISION_ENDPOINT"], cloud.settings["CUSTOM_VISION_TRAINING_KEY"]
        client = TimedClient(parts.new_api(http.exchange, endpoint, key))
        rounds = []
        for _ in range(sizes.samples):
            rounds.append(await _round(client, SHORT_LINGER_SECONDS, sizes.lone_messages))
            step()
        late = [await _late(SHORT_LINGER_SECONDS, sizes.lone_messages // 4) for _ in range(sizes.samples)]
        queue = PermitQueue(cloud.queues.get_queue_client("custom-vision-permits"))
        await queue.create(int(LIMIT))
        limiter = parts.shared_limit(LIMIT, queue, random.Random(0))  # noqa: S311 (repeatable on purpose)
        default = await _round(client, parts.LINGER_SECONDS, sizes.lone_default_messages, limiter)
        step()
    short = Figure(
        NAME,
        f"linger {SHORT_LINGER_SECONDS * 1000:g} ms, {sizes.lone_messages} messages a sample",
        "ms, 99th percentile",
        tuple(map(_p99, rounds)),
        TARGET,
        (Peer("median", tuple(map(median, rounds))), Peer("a bare sleep", tuple(map(_p99, late)))),
    )
    long = Figure(
        NAME,
        f"linger {parts.LINGER_SECONDS:g} s, {len(default)} messages",
        "ms, each message",
        tuple(default),
        TARGET,
    )
    return Outcome((short, long))


async def _round(client: TimedClient, linger: float, messages: int, limiter: Limiter | None = None) -> list[float]:
    """Milliseconds beyond linger and call of each message."""
    rng = random.Random(0)  # noqa: S311 (repeatable on purpose)
    batcher = parts.new_batcher(client.send, rng, parts.Timing(parts.UNLIMITED, linger), limiter)
    handler = parts.new_handler(batcher)
    beyond = []
    for number in range(messages):
        delivery = load.delivery(0, number % IMAGES)
        began = time.perf_counter()
        await asyncio.create_task(handler.handle(delivery))
        beyond.append(1000 * (time.perf_counter() - began - linger - client.seconds))
    await batcher.aclose()
    return beyond


async def _late(seconds: float, times: int) -> list[float]:
    """Milliseconds that a bare sleep takes longer than it should."""
    late = []
    for _ in range(times):
        began = time.perf_counter()
        await asyncio.sleep(seconds)
        late.append(1000 * (time.perf_counter() - began - seconds))
    return late


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(0.99 * len(values)))]
