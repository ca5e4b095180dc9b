"""Keeps the number of permits in the queue equal to the limit.

The timer function calls this at each tick; the platform runs it in one instance at a time. There is rarely anything to
do: somebody deleted a permit or put one too many, or `CUSTOM_VISION_CALLS_PER_SECOND` was changed.
"""

import asyncio
import logging

from shared.errors import QueueMissing, StorageTrouble
from shared.services.permit_queue import PermitQueue
from shared.text import one_line

log = logging.getLogger(__name__)

COUNT_AGAIN_SECONDS = 1.0
"""A count that is taken while the queue is being filled is no reason to change anything."""


async def replenish_permits(queue: PermitQueue, number: int, lease_seconds: int) -> None:
    """Create the permits, replace those that are lost, and begin anew where there are too many.

    Logs what it did, and where storage fails, that it could not: the next tick tries again.
    """
    try:
        found = await _count(queue)
        if found == 0 and await queue.create(number):
            log.info("permits: %s created with %d", queue.name, number)
            return
        if found == number:
            return
        await asyncio.sleep(COUNT_AGAIN_SECONDS)
        found = await _count(queue)
        if found < number:
            await queue.add(number - found)
            log.warning("permits: %d of %d were missing in %s, and are replaced", number - found, number, queue.name)
        elif found > number:
            # A surplus cannot be picked out: instances hold nearly all permits nearly all the time.
            log.warning("permits: %s has %d, %d allowed: all are replaced", queue.name, found, number)
            await queue.clear()
            await asyncio.sleep(lease_seconds)  # whoever holds one may call until its turn ends
            await queue.add(number)
    except StorageTrouble as trouble:
        log.warning("permits in %s could not be counted: %s", queue.name, one_line(trouble))


async def _count(queue: PermitQueue) -> int:
    try:
        return await queue.count()
    except QueueMissing:
        return 0
