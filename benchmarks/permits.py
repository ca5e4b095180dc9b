"""A queue of permits under the virtual clock."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from shared.errors import MessageLost, StorageTrouble
from shared.limits.distributed_rate_limit import NEW_PERMIT
from shared.services.permit_queue import PermitQueue
from shared.services.queues import Received

SHORTEST_WAY, LONGEST_WAY = 0.004, 0.012
"""Seconds to or from storage."""
NO_ANSWER_SECONDS = 2.0


@dataclass(slots=True)
class _Message:
    id: str
    body: bytes = NEW_PERMIT.encode()
    visible_at: float = 0.0
    receipts: int = 0
    dequeue_count: int = 0


class PermitStore:
    """What all instances share. Storage does not answer while it is `away`, from one second to another."""

    def __init__(self, permits: int, rng: Random, away: Sequence[tuple[float, float]] = ()) -> None:
        self.rng, self.away = rng, away
        self._made = 0
        self.messages: list[_Message] = []
        self.add(permits)

    def add(self, permits: int) -> None:
        """Put new permits."""
        self.messages += [_Message(str(self._made + number)) for number in range(permits)]
        self._made += permits

    def lose(self) -> None:
        """Lose one, held or not."""
        self.messages.pop(self.rng.randrange(len(self.messages)))

    def receive(self, most: int, lease_seconds: int, now: float) -> list[Received]:
        """Lease out any of those that are visible."""
        visible = [message for message in self.messages if message.visible_at <= now]
        taken = self.rng.sample(visible, min(most, len(visible)))
        for message in taken:
            message.dequeue_count += 1
            self.hide(message, message.body, lease_seconds, now)
        return [Received(m.id, str(m.receipts), m.body, m.dequeue_count, None) for m in taken]

    def find(self, permit: Received) -> _Message | None:
        """The message, if this is its last receipt."""
        found = (m for m in self.messages if m.id == permit.id and str(m.receipts) == permit.pop_receipt)
        return next(found, None)

    def hide(self, message: _Message, body: bytes, unseen_seconds: int, now: float) -> None:
        """Change a permit."""
        message.receipts += 1
        message.body = body
        message.visible_at = now + unseen_seconds


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

    async def put_back(self, message: Received, text: str | None = None, unseen_seconds: int = 0) -> None:
        """See `Queue`."""
        now = await self._arrive()
        found = self._store.find(message)
        if found:
            self._store.hide(found, (text or "").encode(), unseen_seconds, now)
        await self._way()
        if not found:
            raise MessageLost("somebody else has the permit")

    async def count(self) -> int:
        """See `PermitQueue`."""
        await self._arrive()
        return len(self._store.messages)

    async def add(self, number: int) -> None:
        """See `PermitQueue`."""
        await self._arrive()
        self._store.add(number)

    async def clear(self) -> None:
        """See `PermitQueue`."""
        await self._arrive()
        self._store.messages.clear()

    async def _arrive(self) -> float:
        self.operations += 1
        await self._way()
        now = asyncio.get_running_loop().time()
        if any(begin <= now < end for begin, end in self._store.away):
            await asyncio.sleep(NO_ANSWER_SECONDS)
            raise StorageTrouble("storage is away")
        return now

    async def _way(self) -> None:
        await asyncio.sleep(self._store.rng.uniform(SHORTEST_WAY, LONGEST_WAY))
