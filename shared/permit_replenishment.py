"""Keeps the number of permits in the queue equal to the limit.

The timer function calls this at each tick; the platform runs it in one instance at a time. There is rarely anything to
do: somebody deleted a permit or put one too many, or `CUSTOM_VISION_CALLS_PER_SECOND` was changed.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from shared.errors import QueueMissing, StorageTrouble
from shared.text import one_line

if TYPE_CHECKING:
    from shared.limits.distributed_rate_limit import Permits
    from shared.services.permits import PermitQueue

log = logging.getLogger(__name__)

COUNT_AGAIN_SECONDS = 1.0
"""A count that is taken while the queue is being filled is no reason to change anything."""


class PermitReplenisher:
    """Keeps as many permits in a queue as `permits` says."""

    def __init__(self, queue: PermitQueue, permits: Permits) -> None:
        self._queue = queue
        self._number = permits.number
        self._lease_seconds = permits.lease_seconds

    async def read(self) -> int:
        """How many permits there are at present, 0 without a queue. Raises `StorageTrouble` where storage fails."""
        try:
            return await self._queue.count()
        except QueueMissing:
            return 0

    async def replenish(self) -> None:
        """Create the permits, replace those that are lost, and begin anew where there are too many.

        Logs what it did. Raises nothing: the timer has other work that does not depend on permits.
        """
        try:
            await self._replenish()
        except StorageTrouble as trouble:
            log.warning("permits in %s could not be counted: %s", self._queue.name, one_line(trouble))
        except Exception:
            log.exception("permits in %s could not be counted", self._queue.name)

    async def _replenish(self) -> None:
        found = await self.read()
        if found == 0 and await self._queue.create(self._number):
            log.info("permits: %s created with %d", self._queue.name, self._number)
            return
        if found == self._number:
            return
        await asyncio.sleep(COUNT_AGAIN_SECONDS)
        found = await self.read()
        if found < self._number:
            missing = self._number - found
            await self._queue.add(missing)
            log.warning(
                "permits: %d of %d were missing in %s, and are replaced", missing, self._number, self._queue.name
            )
        elif found > self._number:
            # A surplus cannot be picked out: instances hold nearly all permits nearly all the time.
            log.warning("permits: %s has %d, %d allowed: all are replaced", self._queue.name, found, self._number)
            await self._queue.clear()
            await asyncio.sleep(self._lease_seconds)  # whoever holds one may call until its turn ends
            await self._queue.add(self._number)
