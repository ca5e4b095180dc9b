"""Lists dead letters, redrives them and drops them. A killed process loses no letter.

A peek shows only 32 messages. If there are more, all are leased, read and released. After a kill, letters are visible
again when their leases end.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops.dead_letters import Letter, read_letter
from ops.storage import finish_all
from shared.services.queues import MAX_RECEIVE
from shared.settings import poison_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from datetime import datetime

    from ops.dead_letters import Filter
    from ops.storage import OpsQueue, Seen, Storage

SHORTEST_LEASE_SECONDS = 15
LETTERS_PER_SECOND = 200
"""Leases last as long as the work takes at this rate. If one ends too early, its letter costs a second look. The lease
of a killed process hides its letter until it ends."""

POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """A dead-letter queue, and the queue from which its letters came: `home`, whose name is `kind`."""

    kind: str
    letters: OpsQueue
    home: OpsQueue

    @classmethod
    def of(cls, storage: Storage, name: str) -> DeadLetters:
        """The dead letters of the queue of this name."""
        return cls(name, storage.queue(poison_of(name)), storage.queue(name))

    async def lease_seconds(self) -> int:
        """How long letters must be leased so that all can be handled."""
        return SHORTEST_LEASE_SECONDS + (await self.letters.count() or 0) // LETTERS_PER_SECOND


async def look(queue: DeadLetters) -> list[Letter]:
    """Read all letters, oldest first. If there are 32 or more, this adds one to their delivery counts."""
    peeked = await queue.letters.peek()
    if len(peeked) < MAX_RECEIVE:
        return _sorted(queue.kind, peeked)
    found: dict[str, Seen] = {}
    seconds = await queue.lease_seconds()
    try:
        while messages := await queue.letters.lease(seconds):
            known = len(found)
            found.update({message.id: message for message in messages})
            if len(found) == known:  # all have been seen
                break
    finally:
        await _give_back(queue.letters, found)
    return _sorted(queue.kind, found.values())


def _sorted(kind: str, messages: Iterable[Seen]) -> list[Letter]:
    letters = [read_letter(kind, message) for message in messages]
    return sorted(letters, key=lambda letter: (letter.at, letter.message.id))


async def _give_back(queue: OpsQueue, messages: dict[str, Seen]) -> None:
    kept = list(messages.values())
    for first in range(0, len(kept), MAX_RECEIVE):
        await asyncio.gather(*(queue.give_back(message) for message in kept[first : first + MAX_RECEIVE]))


@dataclass(slots=True)
class Handled:
    """How many letters were handled, were not selected, never were valid, or are leased by somebody else."""

    done: int = 0
    left: int = 0
    never_valid: int = 0
    leased: int = 0


async def redrive(
    queue: DeadLetters, wanted: Filter, now: datetime, on_done: Callable[[Letter], None], result: Handled
) -> None:
    """Move the selected letters back to the queue from which they came, unchanged.

    A letter is sent before it is deleted: if the process is killed in between, the next redrive moves it again. Letters
    that came after `now` (storage's time) stay, so that the redrive ends even if some come back.
    """
    await _handle(queue, wanted, now, on_done, result, queue.home)


async def drop(
    queue: DeadLetters, wanted: Filter, now: datetime, on_done: Callable[[Letter], None], result: Handled
) -> None:
    """Delete the selected letters. `on_done` gets each one before it is deleted."""
    await _handle(queue, wanted, now, on_done, result, None)


async def _handle(
    queue: DeadLetters,
    wanted: Filter,
    now: datetime,
    on_done: Callable[[Letter], None],
    result: Handled,
    destination: OpsQueue | None,
) -> None:
    moved: set[str] = set()
    kept: dict[str, Seen] = {}
    seconds = await queue.lease_seconds()

    async def handle(message: Seen) -> None:
        if message.id in moved:  # its lease ended before it could be deleted
            await queue.letters.delete(message)
            return
        letter = read_letter(queue.kind, message)
        if not _is_meant(letter, wanted, now, result, moves=destination is not None):
            kept[message.id] = message
            return
        if destination is not None:
            await destination.put_as_is(message.body)
            moved.add(message.id)
        on_done(letter)
        result.done += 1
        await queue.letters.delete(message)

    try:
        async for messages in _lease_new(queue.letters, seconds, kept):
            _, failures = await finish_all(handle(message) for message in messages)
            for failed in failures:
                raise failed
    finally:
        await _give_back(queue.letters, kept)
    result.leased += max((await queue.letters.count() or 0) - len(kept), 0)


async def _lease_new(queue: OpsQueue, seconds: int, kept: dict[str, Seen]) -> AsyncIterator[list[Seen]]:
    """Lease letters that are not kept, until there are none. Wait `seconds` for those that somebody else leases."""
    clock = asyncio.get_running_loop().time
    until = clock() + seconds
    while True:
        messages = await queue.lease(seconds)
        new = [message for message in messages if message.id not in kept]
        kept.update({message.id: message for message in messages if message.id in kept})
        if new:
            yield new
            until = clock() + seconds
        elif clock() > until or (await queue.count() or 0) <= len(kept):
            return
        elif not messages:
            await asyncio.sleep(POLL_SECONDS)


def _is_meant(letter: Letter, wanted: Filter, now: datetime, result: Handled, *, moves: bool) -> bool:
    if letter.message.inserted_at > now:
        return False
    if not wanted.means(letter, now):
        result.left += 1
        return False
    if moves and not letter.was_valid and not wanted.includes_invalid:
        result.never_valid += 1
        return False
    return True
