"""Keeps the messages of running invocations invisible.

A received message is invisible for a while, its lease. At half time the lease is renewed, which changes the
message's pop receipt; whoever deletes or releases the message needs the newest one.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from azure.storage.queue import QueueMessage

from local.host.queues import MessageGoneError, StorageTrouble, TriggerQueue

# How often leases are looked through, as a share of half a lease and in seconds at most.
TICK_SHARE = 0.1
MAX_TICK_SECONDS = 1.0

log = logging.getLogger("host")


@dataclass(eq=False)
class Lease:
    """One message's lease. `renew_at` is on the monotonic clock; a lost lease is renewed no more."""

    message_id: str
    pop_receipt: str
    renew_at: float
    renewal: asyncio.Task[None] | None = None
    is_lost: bool = False


class Leases:
    """The leases of one queue, renewed by one loop that looks them through at every tick.

    `fail` is told of a renewal that storage refuses for good.
    """

    def __init__(self, queue: TriggerQueue, lease_seconds: int, fail: Callable[[Exception], None]) -> None:
        self._queue = queue
        self._fail = fail
        self._lease_seconds = lease_seconds
        self._half_seconds = lease_seconds / 2
        self._leases: set[Lease] = set()

    def add(self, message: QueueMessage) -> Lease:
        """Keep a message that was received just now invisible until `end`."""
        renew_at = time.monotonic() + self._half_seconds
        lease = Lease(message.id, str(message.pop_receipt), renew_at)
        self._leases.add(lease)
        return lease

    async def end(self, lease: Lease) -> None:
        """Renew no more. Afterwards the lease has the newest pop receipt and keeps it."""
        self._leases.discard(lease)
        if lease.renewal is not None:
            await lease.renewal

    async def keep(self) -> None:
        """Renew what is due, until cancelled."""
        tick = min(MAX_TICK_SECONDS, self._half_seconds * TICK_SHARE)
        while True:
            await asyncio.sleep(tick)
            now = time.monotonic()
            for lease in self._leases:
                if lease.renew_at <= now and lease.renewal is None and not lease.is_lost:
                    lease.renewal = asyncio.create_task(self._renew(lease))

    async def _renew(self, lease: Lease) -> None:
        try:
            lease.pop_receipt = await self._queue.hide(lease.message_id, lease.pop_receipt, self._lease_seconds)
            lease.renew_at = time.monotonic() + self._half_seconds
        except MessageGoneError:
            lease.is_lost = True
            log.warning("queue %s: the lease of message %s is lost", self._queue.name, lease.message_id)
        except StorageTrouble as error:
            lease.is_lost = True
            self._fail(error)
        finally:
            lease.renewal = None
