"""What is to be sent: keys, images, messages, and a window that is refilled from the backlog."""

from __future__ import annotations

import asyncio
import json
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import UUID

from shared.errors import MessageAbandoned
from shared.messages.update import BatchKey
from shared.metadata_updates import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from random import Random

    from local.simulation.control import SimulationControl
    from shared.messages.ids import ImageId

PROJECT = "6f0d7c1e-0000-4000-8000-000000000000"


def image(number: int) -> ImageId:
    """The image of this number."""
    return f"10000000-0000-4000-8000-{number:012x}"


def images() -> Iterator[ImageId]:
    """One image after another, without end."""
    return map(image, count())


async def add_images(control: SimulationControl, count: int) -> None:
    """Let the simulation have the first so many images."""
    await control.add_images(UUID(PROJECT), (UUID(image(number)) for number in range(count)))


def metadata(key: int) -> dict[str, str]:
    """Two pairs, as a photo archive might set them, different for each key."""
    return {"collection": f"Collection {key}", "rights": "public domain"}


def batch_key(key: int) -> BatchKey:
    """What all updates of this key have in common."""
    return BatchKey(PROJECT, frozenset(metadata(key).items()))


def body(key: int, number: int) -> bytes:
    """A message of one image, as it stands in the queue."""
    message = {"projectId": PROJECT, "imageIds": [image(number)], "metadata": metadata(key)}
    return json.dumps(message).encode()


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


async def keep_full(window: int, start: Callable[[], asyncio.Future[Any] | None]) -> None:
    """Keep `window` messages in process, as the host does: for each that ends, start another.

    `start` returns None when the backlog is empty. Returns when all are done. A message that is returned to its queue
    has ended as well; any other error is raised.
    """
    finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    running = 0

    def begin() -> bool:
        nonlocal running
        future = start()
        if future is None:
            return False
        running += 1
        future.add_done_callback(end)
        return True

    def end(future: asyncio.Future[Any]) -> None:
        nonlocal running
        running -= 1
        error = None if future.cancelled() else future.exception()
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


def starter(futures: Iterable[asyncio.Future[Any]]) -> Callable[[], asyncio.Future[Any] | None]:
    """A `start` for `keep_full` that takes one after another."""
    remaining = iter(futures)
    return lambda: next(remaining, None)
