"""Receive and delete everything in a queue, and do nothing else: what Azurite can do, measured from outside.

The storage connection comes from the environment, as the host gets it. It receives and deletes as the host does, on the
same client with the same number of connections and of messages in process.
"""

from __future__ import annotations

import asyncio
import os
import sys

from local.host.queues import TriggerQueue, open_queue_services

IN_PROCESS = 1024
LEASE_SECONDS = 600
RECEIVE = 32
READY = "draining"


async def drain(queue_name: str) -> None:
    """Work until the process is stopped."""
    async with open_queue_services(os.environ) as services:
        queue = TriggerQueue(services.service("AzureWebJobsStorage"), queue_name)
        room = asyncio.Semaphore(IN_PROCESS)
        deleting: set[asyncio.Task[None]] = set()

        async def delete(message_id: str, pop_receipt: str) -> None:
            await queue.delete(message_id, pop_receipt)
            room.release()

        print(READY, flush=True)
        while True:
            messages = await queue.receive(RECEIVE, LEASE_SECONDS)
            for message in messages:
                await room.acquire()
                task = asyncio.create_task(delete(message.id, str(message.pop_receipt)))
                deleting.add(task)
                task.add_done_callback(deleting.discard)
            if not messages:
                await asyncio.sleep(0.1)


if __name__ == "__main__":
    asyncio.run(drain(sys.argv[1]))
