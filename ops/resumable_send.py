"""Sends every message of a journal into the queue exactly once, however often it is broken off.

Storage has no idempotent put: a process that is killed between a put and its response cannot know whether the message
is there. So each message goes in two steps.

1. Reserve: put an invisible placeholder, and write its id and pop receipt to the journal.
2. Release: replace its content by the message's, and make it visible. A pop receipt permits this once. The refusal of a
   second attempt therefore proves that the first one succeeded.

A send that resumes releases every placeholder in its journal. At worst, one wave of empty placeholders stays behind.
"""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ops.send_journal import Reservation
from ops.storage import RESERVED_FOR, finish_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from ops.catalogue.packing import Message
    from ops.send_journal import Journal
    from ops.storage import OpsQueue

WAVE = 32
"""How many messages are reserved, then released, at the same time."""


class Stop:
    """Notes the first Ctrl-C or SIGTERM. A second Ctrl-C ends the process at once."""

    def __init__(self) -> None:
        self.is_asked = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen during the block."""
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


async def send(journal: Journal, queue: OpsQueue, stop: Stop, on_sent: Callable[[int], None]) -> int:
    """Send what is not sent yet. Return how many messages may be in the queue twice.

    These are 0 unless the send was broken off for longer than a placeholder can be invisible. `on_sent` gets the number
    of images that were just sent. Raises `AzureError`; the journal has what was done before.
    """
    doubtful = await _release_earlier(journal, queue, on_sent)
    reserved: list[Reservation] = []
    after = 0
    while True:
        planned = [] if stop.is_asked else journal.planned(WAVE, after)
        if not planned and not reserved:
            return doubtful
        after = planned[-1].number if planned else after
        releasing, reserving = await asyncio.gather(
            finish_all(_release(queue, placeholder) for placeholder in reserved),
            finish_all(_reserve(queue, message) for message in planned),
        )
        released, reserved = releasing[0], reserving[0]
        journal.write(released=released, reserved=reserved)
        on_sent(sum(message.images for message in released))
        for failed in (*releasing[1], *reserving[1]):
            raise failed


async def _release_earlier(journal: Journal, queue: OpsQueue, on_sent: Callable[[int], None]) -> int:
    """Release what an earlier run reserved, and plan messages again whose placeholders may be gone."""
    earlier = journal.reserved()
    doubtful: list[Message] = []
    for first in range(0, len(earlier), WAVE):
        wave = earlier[first : first + WAVE]
        found, failures = await finish_all(_release_of_earlier_run(queue, placeholder) for placeholder in wave)
        released = [message for message, is_sent in found if is_sent]
        doubtful += [message for message, is_sent in found if not is_sent]
        journal.write(released=released, reserved=())
        on_sent(sum(message.images for message in released))
        for failed in failures:
            raise failed
    journal.plan_again(doubtful)
    return len(doubtful)


async def _release_of_earlier_run(queue: OpsQueue, placeholder: Reservation) -> tuple[Message, bool]:
    """Release a placeholder, and return whether its message is sent. A refusal no longer proves that after its time."""
    is_released = await queue.release(placeholder.id, placeholder.pop_receipt, placeholder.message.body)
    has_lapsed = time.time() - placeholder.at >= RESERVED_FOR.total_seconds()
    return placeholder.message, is_released or not has_lapsed


async def _reserve(queue: OpsQueue, message: Message) -> Reservation:
    at = time.time()
    message_id, pop_receipt = await queue.reserve()
    return Reservation(message, message_id, pop_receipt, at)


async def _release(queue: OpsQueue, placeholder: Reservation) -> Message:
    await queue.release(placeholder.id, placeholder.pop_receipt, placeholder.message.body)
    return placeholder.message
