"""What is done to dead letters: looked at, moved back, dropped. Whenever it is killed, no letter is lost.

A queue shows 32 messages at a time. Where there are more, they are leased for as long as it takes to see all of them,
and then given back; a letter whose reader was killed is seen again when its lease ends.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops.dead_letters import Letter, read_letter
from shared.services.queues import MAX_RECEIVE
from shared.settings import poison_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
    from datetime import datetime

    from ops.dead_letters import Filter
    from ops.storage import OpsQueue, Seen, Storage

SHORTEST_LEASE_SECONDS = 15
LETTERS_PER_SECOND = 200
"""About as many are handled in a second, so that most leases do not end before the work is done. One that does costs a
further look at its letter; one of somebody who was killed keeps it from others for so long."""

POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """A dead-letter queue, and the queue where its letters were messages. `kind` is a word for that one."""

    kind: str
    letters: OpsQueue
    home: OpsQueue

    @classmethod
    def of(cls, storage: Storage, name: str) -> DeadLetters:
        """The dead letters of the queue of this name."""
        return cls(name, storage.queue(poison_of(name)), storage.queue(name))

    async def lease_seconds(self) -> int:
        """How long letters must be leased so that all that are there can be handled."""
        return SHORTEST_LEASE_SECONDS + (await self.letters.count() or 0) // LETTERS_PER_SECOND


async def look(queue: DeadLetters) -> list[Letter]:
    """All letters, oldest first. They are as they were afterwards, but for the count of their deliveries."""
    peeked = await queue.letters.peek()
    if len(peeked) < MAX_RECEIVE:
        return _sorted(queue.kind, peeked)
    found: dict[str, Seen] = {}
    seconds = await queue.lease_seconds()
    try:
        async for message in _lease_all(queue.letters, seconds, found):
            found[message.id] = message
    finally:
        await _give_back(queue.letters, found)
    return _sorted(queue.kind, found.values())


def _sorted(kind: str, messages: Iterable[Seen]) -> list[Letter]:
    letters = [read_letter(kind, message) for message in messages]
    return sorted(letters, key=lambda letter: (letter.at, letter.message.id))


async def _lease_all(queue: OpsQueue, seconds: int, seen: dict[str, Seen]) -> AsyncIterator[Seen]:
    """Lease until nothing new comes."""
    while messages := await queue.lease(seconds):
        is_new = any(message.id not in seen for message in messages)
        for message in messages:
            yield message
        if not is_new:
            return


async def _give_back(queue: OpsQueue, messages: dict[str, Seen]) -> None:
    kept = list(messages.values())
    for first in range(0, len(kept), MAX_RECEIVE):
        await asyncio.gather(*(queue.give_back(message) for message in kept[first : first + MAX_RECEIVE]))


@dataclass(slots=True)
class Handled:
    """What came of the letters: done, not meant, left because they never were valid messages, leased by somebody."""

    done: int = 0
    left: int = 0
    never_valid: int = 0
    leased: int = 0


async def redrive(queue: DeadLetters, wanted: Filter, now: datetime, on_done: Callable[[Letter], None]) -> Handled:
    """Move the letters that are meant back to the queue where they were messages, as they are.

    A letter is put there before it is deleted here: who is killed in between has moved it, and moves it again the next
    time. Only letters that were here at `now` (storage's time) are moved, so that it ends although some come back.
    Those that never were valid messages stay, unless they are asked for by reason or id.
    """

    async def move(message: Seen) -> None:
        await queue.home.put_as_is(message.body)

    return await _handle(queue, wanted, now, on_done, move)


async def drop(queue: DeadLetters, wanted: Filter, now: datetime, on_done: Callable[[Letter], None]) -> Handled:
    """Delete the letters that are meant; `on_done` is told of each before that."""
    return await _handle(queue, wanted, now, on_done, None)


async def _handle(
    queue: DeadLetters,
    wanted: Filter,
    now: datetime,
    on_done: Callable[[Letter], None],
    move: Callable[[Seen], Awaitable[None]] | None,
) -> Handled:
    result = Handled()
    moved: set[str] = set()
    kept: dict[str, Seen] = {}
    seconds = await queue.lease_seconds()

    async def handle(message: Seen) -> None:
        if message.id in moved:  # its lease ended before it could be deleted
            await queue.letters.delete(message)
            return
        letter = read_letter(queue.kind, message)
        if not _is_meant(letter, wanted, now, result, moves=move is not None):
            kept[message.id] = message
            return
        if move is not None:
            await move(message)
            moved.add(message.id)
        on_done(letter)
        result.done += 1
        await queue.letters.delete(message)

    try:
        async for message_batch in _lease_new(queue.letters, seconds, kept):
            await _all(handle(message) for message in message_batch)
    finally:
        await _give_back(queue.letters, kept)
    result.leased = max((await queue.letters.count() or 0) - len(kept), 0)
    return result


async def _lease_new(queue: OpsQueue, seconds: int, kept: dict[str, Seen]) -> AsyncIterator[list[Seen]]:
    """Lease what is not kept already, until nothing comes; for so long, wait for what somebody else has leased."""
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
    if moves and not letter.was_valid and not (wanted.reasons or wanted.ids):
        result.never_valid += 1
        return False
    return True


async def _all(work: Iterable[Awaitable[None]]) -> None:
    """Wait for all of it, then raise the first error there was: what is under way is finished first."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
