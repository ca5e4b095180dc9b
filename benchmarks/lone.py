"""What a lone message waits in an idle app, beyond its linger and its call."""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks import load, parts
from benchmarks.results import Figure
from benchmarks.service import LIMIT
from benchmarks.sizes import Sizes
from shared.batching.batcher import Send
from shared.batching.outcome_types import ImageOutcome
from shared.limits.admission import Limiter
from shared.messages.custom_vision_ids import ImageId
from shared.messages.update import BatchKey
from shared.services.http import new_client
from shared.services.permit_queue import PermitQueue

LATENCY_SECONDS = 0.005
SHORT_LINGER_SECONDS = 0.02
IMAGES = 1000


def run(sizes: Sizes) -> list[Figure]:
    """Measure rounds with the short linger and one with the default."""
    return asyncio.run(_run(sizes))


async def _run(sizes: Sizes) -> list[Figure]:
    async with load.fast_cloud(IMAGES, LATENCY_SECONDS) as cloud, new_client() as http:
        endpoint, key = cloud.settings["CUSTOM_VISION_ENDPOINT"], cloud.settings["CUSTOM_VISION_TRAINING_KEY"]
        call = parts.new_send(http, endpoint, key)
        rounds = [await _round(call, SHORT_LINGER_SECONDS, sizes.lone_messages) for _ in range(sizes.samples)]
        queue = PermitQueue(cloud.queues.get_queue_client("custom-vision-permits"))
        await queue.create(int(LIMIT))
        limiter = parts.shared_limit(LIMIT, queue, random.Random(0))  # noqa: S311 (repeatable on purpose)
        default = await _round(call, parts.LINGER_SECONDS, sizes.lone_messages // 20, limiter)
    short = f"linger {SHORT_LINGER_SECONDS * 1000:g} ms, {sizes.lone_messages} messages a sample"
    p99 = [sorted(found)[int(0.99 * len(found))] for found in rounds]
    long = f"linger {parts.LINGER_SECONDS:g} s, {len(default)} messages"
    return [
        Figure(short, "ms, 99th percentile", p99, most=20, peers={"median": list(map(median, rounds))}, noise=None),
        Figure(long, "ms, each message", default, most=20, noise=None),
    ]


async def _round(call: Send[BatchKey], linger: float, messages: int, limiter: Limiter | None = None) -> list[float]:
    """Milliseconds beyond linger and call of each message."""
    call_seconds = 0.0

    async def send(key: BatchKey, image_ids: Sequence[ImageId]) -> Mapping[ImageId, ImageOutcome]:
        nonlocal call_seconds
        began = time.perf_counter()
        outcomes = await call(key, image_ids)
        call_seconds = time.perf_counter() - began
        return outcomes

    batcher = parts.new_batcher(send, None, parts.UNLIMITED, limiter, linger_seconds=linger)
    handler = parts.new_handler(batcher)
    beyond = []
    for number in range(messages):
        delivery = load.delivery(0, number % IMAGES)
        began = time.perf_counter()
        await asyncio.create_task(handler.handle(delivery))
        beyond.append(1000 * (time.perf_counter() - began - linger - call_seconds))
    await batcher.aclose()
    return beyond
