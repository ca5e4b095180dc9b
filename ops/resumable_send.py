"""`send`: every message of a plan into the queue, once each, whatever happens on the way.

Storage has no idempotent put: who is killed between a put and taking note of it cannot know whether the message is
there. So a message goes in two steps. First it gets a place in the queue, which says nothing and which nobody sees; the
place's id and pop receipt are written to the journal. Then the place is given its content and is let be seen, which a
pop receipt permits only once: doing it again is refused, and the refusal says that it was done. A send that was broken
off asks for that of every place in its journal. At worst, the places of one wave that was being reserved are left
behind, with nothing in them.
"""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from azure.core.exceptions import AzureError

from ops.send_journal import Reservation
from ops.storage import RESERVED_FOR

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator
    from types import FrameType

    from ops.catalogue.packing import Message
    from ops.send_journal import Journal
    from ops.storage import OpsQueue

WAVE = 32
"""Messages that are reserved, then released, at the same time; at worst so many empty places are left behind."""

T = TypeVar("T")


class Stop:
    """Becomes true with the first Ctrl-C or SIGTERM; a second Ctrl-C ends the process at once."""

    def __init__(self) -> None:
        self.is_asked = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen as long as the block."""
        before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, number: int, _: FrameType | None) -> None:
        if self.is_asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.is_asked = True


async def send(journal: Journal, queue: OpsQueue, stop: Stop, on_sent: Callable[[int, int], None]) -> int:
    """Send what the journal has not sent yet; return how many messages may be there twice.

    That number is 0 unless the send was broken off for longer than a place can be reserved. `on_sent` is told of
    messages and images as they go. Raises `AzureError` where storage fails; what is done by then is in the journal.
    """
    doubtful = await _settle_earlier(journal, queue, on_sent)
    reserved: list[Reservation] = []
    after = 0
    while True:
        planned = [] if stop.is_asked else journal.planned(WAVE, after)
        if not planned and not reserved:
            return doubtful
        after = planned[-1].number if planned else after
        releasing, reserving = await asyncio.gather(
            _all(_release(queue, place) for place in reserved), _all(_reserve(queue, message) for message in planned)
        )
        released, reserved = releasing[0], reserving[0]
        journal.write(released=released, reserved=reserved)
        on_sent(len(released), sum(message.images for message in released))
        for failed in (*releasing[1], *reserving[1]):
            raise failed


async def _settle_earlier(journal: Journal, queue: OpsQueue, on_sent: Callable[[int, int], None]) -> int:
    """Release what an earlier run had reserved. A message of whose place nobody can know any more is planned again."""
    earlier = journal.reserved()
    doubtful: list[Message] = []
    for first in range(0, len(earlier), WAVE):
        wave = earlier[first : first + WAVE]
        settled, failures = await _all(_settle(queue, place) for place in wave)
        released = [message for message, is_sent in settled if is_sent]
        doubtful += [message for message, is_sent in settled if not is_sent]
        journal.write(released=released, reserved=())
        on_sent(len(released), sum(message.images for message in released))
        for failed in failures:
            raise failed
    journal.plan_again(doubtful)
    return len(doubtful)


async def _settle(queue: OpsQueue, place: Reservation) -> tuple[Message, bool]:
    """Release a place of an earlier run. Once its time is over, a used-up receipt no longer says by whom."""
    is_released = await queue.release(place.id, place.pop_receipt, place.message.body)
    has_lapsed = time.time() - place.at >= RESERVED_FOR.total_seconds()
    return place.message, is_released or not has_lapsed


async def _reserve(queue: OpsQueue, message: Message) -> Reservation:
    at = time.time()
    message_id, pop_receipt = await queue.reserve()
    return Reservation(message, message_id, pop_receipt, at)


async def _release(queue: OpsQueue, place: Reservation) -> Message:
    """Whether the place is released now or was before, its message is sent."""
    await queue.release(place.id, place.pop_receipt, place.message.body)
    return place.message


async def _all(work: Iterable[Awaitable[T]]) -> tuple[list[T], list[AzureError]]:
    """What was done, and how the rest failed. Raises whatever nobody foresaw."""
    done: list[T] = []
    failed: list[AzureError] = []
    for result in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(result, AzureError):
            failed.append(result)
        elif isinstance(result, BaseException):
            raise result
        else:
            done.append(result)
    return done, failed
