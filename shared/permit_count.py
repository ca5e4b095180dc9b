"""How many permits there are, and that there are as many as the limit has.

The timer function looks after it, which the platform runs in one instance only. What it has to repair is rare: somebody
deleted a permit, or moved one into the queue, or `CUSTOM_VISION_CALLS_PER_SECOND` has been changed.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from shared.errors import QueueMissing, StorageTrouble
from shared.text import one_line

if TYPE_CHECKING:
    from shared.services.queues import PermitQueue

log = logging.getLogger(__name__)

COUNT_AGAIN_SECONDS = 1.0
"""A count that is taken while the queue is being filled is no reason to put more."""
REMOVE_SECONDS = 5.0
"""For so long a surplus permit is looked for; each is visible for a moment whenever it changes hands, at least every
ten seconds. What is not found is looked for again at the next tick."""
REMOVE_POLL_SECONDS = 0.1


class PermitCount:
    """Keeps `number` permits in a queue."""

    def __init__(self, queue: PermitQueue, number: int) -> None:
        self._queue = queue
        self._number = number

    async def read(self) -> int:
        """How many permits there are at present, 0 without a queue. Raises `StorageTrouble` where storage fails."""
        try:
            return await self._queue.count()
        except QueueMissing:
            return 0

    async def keep(self) -> None:
        """Create the permits, replace those that are lost, and remove those that are too many. Logs what it did.

        Raises nothing: the timer has other work that does not depend on permits.
        """
        try:
            await self._keep()
        except StorageTrouble as trouble:
            log.warning("permits in %s could not be counted: %s", self._queue.name, one_line(trouble))
        except Exception:
            log.exception("permits in %s could not be counted", self._queue.name)

    async def _keep(self) -> None:
        found = await self.read()
        if found == 0 and await self._queue.create(self._number):
            log.info("permits: %s created with %d", self._queue.name, self._number)
            return
        if found == self._number:
            return
        await asyncio.sleep(COUNT_AGAIN_SECONDS)
        found = await self.read()
        if found < self._number:
            await self._queue.add(self._number - found)
            log.warning("permits: %d of %d were missing in %s, and are replaced", *self._missing(found))
        elif found > self._number:
            removed = await self._remove(found - self._number)
            log.warning("permits: %s has %d, %d removed, %d allowed", self._queue.name, found, removed, self._number)

    def _missing(self, found: int) -> tuple[int, int, str]:
        return self._number - found, self._number, self._queue.name

    async def _remove(self, surplus: int) -> int:
        removed = 0
        end = asyncio.get_running_loop().time() + REMOVE_SECONDS
        while removed < surplus and asyncio.get_running_loop().time() < end:
            removed += await self._queue.remove(surplus - removed)
            await asyncio.sleep(REMOVE_POLL_SECONDS)
        return removed
