"""A queue of permits under the virtual clock, with what Storage leaves open: when exactly an invisibility ends."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from shared.errors import StorageTrouble
from shared.limits.rate_limit_shared import NEW_PERMIT
from shared.services.queues import PermitQueue, Received

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

SHORTEST_WAY, LONGEST_WAY = 0.004, 0.012
"""Seconds to or from storage."""
NO_ANSWER_SECONDS = 2.0


class Ends(Enum):
    """When an invisibility of whole seconds ends."""

    EXACTLY = "to the millisecond"
    EARLY = "at the whole second before"
    LATE = "at the whole second after"

    def at(self, end: float) -> float:
        """The time at which a message is visible again that was to be invisible until `end`."""
        return {Ends.EXACTLY: end, Ends.EARLY: math.floor(end), Ends.LATE: math.ceil(end)}[self]


@dataclass(slots=True)
class _Message:
    id: str
    body: bytes
    visible_at: float = 0.0
    receipts: int = 0
    dequeue_count: int = 0


class PermitStore:
    """What all instances share."""

    def __init__(
        self, permits: int, rng: Random, ends: Ends = Ends.EXACTLY, away: Sequence[tuple[float, float]] = ()
    ) -> None:
        self.rng = rng
        self._ends = ends
        self._away = away
        self._made = 0
        self._messages: list[_Message] = []
        self.add(permits)

    def add(self, permits: int) -> None:
        """Put new permits."""
        for _ in range(permits):
            self._made += 1
            self._messages.append(_Message(str(self._made), NEW_PERMIT.encode()))

    def lose(self) -> None:
        """Lose one, held or not."""
        self._messages.pop(self.rng.randrange(len(self._messages)))

    def is_away(self, now: float) -> bool:
        """Whether storage does not answer."""
        return any(begin <= now < end for begin, end in self._away)

    def count(self) -> int:
        """How many there are."""
        return len(self._messages)

    def receive(self, most: int, lease_seconds: int, now: float) -> list[Received]:
        """Lease out any of those that are visible."""
        visible = [message for message in self._messages if message.visible_at <= now]
        taken = self.rng.sample(visible, min(most, len(visible)))
        for message in taken:
            message.receipts += 1
            message.dequeue_count += 1
            message.visible_at = self._ends.at(now + lease_seconds)
        return [
            Received(message.id, str(message.receipts), message.body, message.dequeue_count, None) for message in taken
        ]

    def update(self, permit: Received, body: bytes, unseen_seconds: int, now: float) -> bool:
        """Change a permit, if this is its last receipt."""
        message = self._find(permit)
        if message is None:
            return False
        message.receipts += 1
        message.body = body
        message.visible_at = self._ends.at(now + unseen_seconds) if unseen_seconds else now
        return True

    def delete(self, permit: Received) -> None:
        """Delete a permit, if this is its last receipt."""
        message = self._find(permit)
        if message is not None:
            self._messages.remove(message)

    def _find(self, permit: Received) -> _Message | None:
        found = (message for message in self._messages if message.id == permit.id)
        message = next(found, None)
        return message if message is not None and str(message.receipts) == permit.pop_receipt else None


class SimulatedPermitQueue(PermitQueue):
    """One instance's way to the store. `operations` counts its requests."""

    def __init__(self, store: PermitStore) -> None:
        self.name = "permits"
        self.operations = 0
        self._store = store

    async def receive(self, most: int, lease_seconds: int) -> list[Received]:
        """See `PermitQueue`."""
        now = await self._arrive()
        messages = self._store.receive(most, lease_seconds, now)
        await self._way()
        return messages

    async def put_back(self, message: Received, text: str, unseen_seconds: int) -> bool:
        """See `PermitQueue`."""
        now = await self._arrive()
        is_back = self._store.update(message, text.encode(), unseen_seconds, now)
        await self._way()
        return is_back

    async def count(self) -> int:
        """See `PermitQueue`."""
        await self._arrive()
        return self._store.count()

    async def create(self, number: int) -> bool:  # noqa: ARG002
        """The queue exists."""
        return False

    async def add(self, number: int) -> None:
        """See `PermitQueue`."""
        await self._arrive()
        self._store.add(number)

    async def remove(self, most: int) -> int:
        """See `PermitQueue`."""
        messages = await self.receive(most, 30)
        for message in messages:
            await self._arrive()
            self._store.delete(message)
        return len(messages)

    async def _arrive(self) -> float:
        self.operations += 1
        await self._way()
        now = asyncio.get_running_loop().time()
        if self._store.is_away(now):
            await asyncio.sleep(NO_ANSWER_SECONDS)
            raise StorageTrouble("storage is away")
        return now

    async def _way(self) -> None:
        await asyncio.sleep(self._store.rng.uniform(SHORTEST_WAY, LONGEST_WAY))
