"""What is to be sent: keys, images, messages, and a window that is refilled from the backlog."""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from random import Random
from typing import Any
from uuid import UUID

from local.cloud import LocalCloud
from local.simulation.models import Api
from shared.errors import MessageAbandoned
from shared.messages.custom_vision_ids import ImageId
from shared.metadata_updates import Delivery

PROJECT = "6f0d7c1e-0000-4000-8000-000000000000"


def image(number: int) -> ImageId:
    """The image of this number."""
    return f"10000000-0000-4000-8000-{number:012x}"


@asynccontextmanager
async def fast_cloud(images: int, latency_seconds: float = 0.05) -> AsyncIterator[LocalCloud]:
    """Azurite and the simulation, which has the first so many images and no rate limit."""
    async with LocalCloud() as cloud:
        await cloud.control.set_rate(Api.CUSTOM_VISION, None)
        await cloud.control.set_latency(Api.CUSTOM_VISION, latency_seconds)
        await cloud.control.add_images(UUID(PROJECT), (UUID(image(number)) for number in range(images)))
        yield cloud


def body(key: int, number: int) -> bytes:
    """A message of one image, as it stands in the queue, with two pairs as a photo archive might set them."""
    metadata = {"collection": f"Collection {key}", "rights": "public domain"}
    return json.dumps({"projectId": PROJECT, "imageIds": [image(number)], "metadata": metadata}).encode()


def delivery(key: int, number: int) -> Delivery:
    """The same as the host hands it over."""
    return Delivery(f"message-{number}", body(key, number), 1)


def evenly(keys: int, messages: int, rng: Random) -> list[int]:
    """The key of each message: every key equally often, in random order."""
    drawn = [number % keys for number in range(messages)]
    rng.shuffle(drawn)
    return drawn


def by_zipf(keys: int, messages: int, rng: Random) -> list[int]:
    """The key of each message by Zipf's law: the second key half as often as the first, the third a third as often."""
    return rng.choices(range(keys), [1 / (rank + 1) for rank in range(keys)], k=messages)


async def keep_full(window: int, messages: Iterable[Coroutine[Any, Any, Any]]) -> None:
    """Keep `window` messages in process, as the host does: for each that ends, start another, until all are done.

    A message that is returned to its queue has ended as well; any other error is raised.
    """
    loop = asyncio.get_running_loop()
    finished: asyncio.Future[None] = loop.create_future()
    remaining = iter(messages)
    running = 0

    def begin() -> bool:
        nonlocal running
        message = next(remaining, None)
        if message is None:
            return False
        running += 1
        loop.create_task(message).add_done_callback(end)
        return True

    def end(task: asyncio.Task[Any]) -> None:
        nonlocal running
        running -= 1
        error = None if task.cancelled() else task.exception()
        if finished.done():
            return
        if error is not None and not isinstance(error, MessageAbandoned):
            finished.set_exception(error)
        elif not begin() and not running:
            finished.set_result(None)

    for _ in range(window):
        if not begin():
            break
    if running:
        await finished
