"""From a real queue to the API: messages a second, beside a function that makes one call per message.

`python -m benchmarks.whole_path QUEUE` shows what Azurite alone can do: it receives and deletes everything in a queue
as the host does, on the same client, with as many connections and messages in process, and does nothing else.
"""

import asyncio
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks import load
from benchmarks.results import Figure, absolute, ratio
from benchmarks.sizes import Sizes
from local.child_process import ChildProcess
from local.cloud import UPDATES, LocalCloud
from local.host.process import HostProcess
from local.host.queues import TriggerQueue, open_queue_services

KEYS = 4
CONTESTANTS = OURS, ONE_EACH, AZURITE = "Vision Relay", "one call per message", "Azurite alone"

PROJECT = Path(__file__).parents[1]
SETTINGS = {
    "CUSTOM_VISION_CALLS_PER_SECOND": "10000",
    "TRAINING_POLL_SCHEDULE": "0 0 * * * *",  # the timer has nothing to do here
}
POLL_SECONDS, LONGEST_SECONDS = 0.1, 180.0
IN_PROCESS, RECEIVE, LEASE_SECONDS = 1024, 32, 600
READY = "draining"


def run(sizes: Sizes) -> list[Figure]:
    """Each contestant in turn, as often as there are samples."""
    return asyncio.run(_run(sizes))


async def _run(sizes: Sizes) -> list[Figure]:
    passes: dict[str, list[tuple[float, float]]] = {name: [] for name in CONTESTANTS}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        async with load.fast_cloud(sizes.queue_messages) as cloud:
            for _ in range(sizes.samples):
                for name in CONTESTANTS:
                    messages = sizes.queue_messages // (4 if name == ONE_EACH else 1)  # it takes long enough
                    passes[name].append(await _pass(cloud, name, messages, Path(scratch)))
    speed, calls = ({name: [one[what] for one in found] for name, found in passes.items()} for what in (0, 1))
    return [
        absolute("messages a second", "messages/s", speed),
        ratio("messages a second ÷ Azurite alone", speed[OURS], speed[AZURITE], least=0.8),
        ratio("calls ÷ calls of one call per message", calls[OURS], calls[ONE_EACH], most=1 / 20),
    ]


async def _pass(cloud: LocalCloud, name: str, messages: int, scratch: Path) -> tuple[float, float]:
    """Messages a second, and calls a message."""
    texts = (load.body(number % KEYS, number).decode() for number in range(messages))
    async for _ in cloud.send(UPDATES, texts):
        pass
    calls_before = (await cloud.control.counters()).custom_vision.calls
    async with asyncio.timeout(LONGEST_SECONDS), _contestant(cloud, name, scratch):
        speed = await _speed(cloud, messages)
    calls = (await cloud.control.counters()).custom_vision.calls - calls_before
    return speed, calls / messages


@asynccontextmanager
async def _contestant(cloud: LocalCloud, name: str, scratch: Path) -> AsyncIterator[None]:
    if name == AZURITE:
        command = [sys.executable, "-m", "benchmarks.whole_path", UPDATES]
        env = {**os.environ, **cloud.settings}
        process = ChildProcess(AZURITE, command, env=env, cwd=PROJECT, output=scratch / "drain.log")
        await process.start(re.compile(READY), timeout_seconds=30)
        try:
            yield
        finally:
            await process.kill()
    else:
        app = PROJECT if name == OURS else peer_app("one_call_per_message", scratch)
        async with HostProcess(app, cloud.settings | SETTINGS, scratch / "host.log"):
            yield


def peer_app(name: str, folder: Path) -> Path:
    """An app of one function from benchmarks/functions, with our host.json. Returns its folder."""
    root = folder / name
    root.mkdir(exist_ok=True)
    shutil.copy(PROJECT / "benchmarks" / "functions" / f"{name}.py", root / "function_app.py")
    shutil.copy(PROJECT / "host.json", root)
    return root


async def _speed(cloud: LocalCloud, messages: int) -> float:
    """Messages a second, from when the first tenth is done to when nine tenths are. Returns when the queue is empty."""
    looks: list[tuple[float, int]] = []
    while not looks or looks[-1][1]:
        looks.append((time.perf_counter(), await cloud.count(UPDATES)))
        await asyncio.sleep(POLL_SECONDS)
    counted = [(at, left) for at, left in looks if 0.1 * messages <= left <= 0.9 * messages]
    (began, most), (ended, least) = counted[0], counted[-1]
    return (most - least) / (ended - began)


async def _drain(queue_name: str) -> None:
    async with open_queue_services(os.environ) as services:
        queue = TriggerQueue(services.service("AzureWebJobsStorage"), queue_name)
        room = asyncio.Semaphore(IN_PROCESS)

        async def delete(message_id: str, pop_receipt: str) -> None:
            await queue.delete(message_id, pop_receipt)
            room.release()

        print(READY, flush=True)
        async with asyncio.TaskGroup() as deleting:
            while True:
                messages = await queue.receive(RECEIVE, LEASE_SECONDS)
                for message in messages:
                    await room.acquire()
                    deleting.create_task(delete(message.id, str(message.pop_receipt)))
                if not messages:
                    await asyncio.sleep(0.1)


if __name__ == "__main__":
    asyncio.run(_drain(sys.argv[1]))
