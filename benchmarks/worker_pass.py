"""`python -m benchmarks.worker_pass`: send messages through Microsoft's worker and print what that cost, as JSON.

Runs in the environment of `make conformance`; the case `worker` starts it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.official_worker import WARM_UP, WINDOW
from local.worker.host import WorkerHost
from local.worker.shapes import QueueMessage, queue_invocation

if TYPE_CHECKING:
    from collections.abc import Iterator

FUNCTION = "update_image_metadata"


async def measure(app_root: Path, bodies: list[bytes]) -> dict[str, float]:
    """Deliver all, `WINDOW` at a time; the first are for warming up and do not count."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        async with WorkerHost(app_root, {}, Path(scratch) / "worker.log") as host:
            await _deliver(host, bodies[:WARM_UP])
            counted = bodies[WARM_UP:]
            began, cpu_began = time.perf_counter(), _cpu_seconds(host.pid)
            await _deliver(host, counted)
            seconds, cpu_seconds = time.perf_counter() - began, _cpu_seconds(host.pid) - cpu_began
    return {"messages_a_second": len(counted) / seconds, "cpu_microseconds": cpu_seconds / len(counted) * 1e6}


async def _deliver(host: WorkerHost, bodies: list[bytes]) -> None:
    [binding] = host.functions[FUNCTION].bindings.values()

    async def deliver_some(remaining: Iterator[bytes]) -> None:
        for body in remaining:
            message = QueueMessage(body, "b6ea6c2f-0000-4000-8000-000000000000")
            await host.invoke(FUNCTION, queue_invocation(message, "updates", binding.data_type))
            host.logs.clear()

    remaining = iter(bodies)
    await asyncio.gather(*(deliver_some(remaining) for _ in range(WINDOW)))


def _cpu_seconds(pid: int) -> float:
    """Processor time of another process, all its threads: Linux' clock of it, as clock_getcpuclockid(3) makes it."""
    return time.clock_gettime(~pid << 3 | 2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worker_pass", description=__doc__)
    parser.add_argument("app_root", type=Path, help="the folder with function_app.py")
    parser.add_argument("bodies", type=Path, help="a file with the messages, one a line")
    arguments = parser.parse_args()
    print(json.dumps(asyncio.run(measure(arguments.app_root, arguments.bodies.read_bytes().splitlines()))))
