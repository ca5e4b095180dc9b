"""What a message costs in Microsoft's worker, with our function and with one that does nothing.

`python -m benchmarks.worker APP BODIES`, in the environment of `make conformance`, sends the messages of a file through
the worker and prints the messages a second and the processor microseconds a message.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks import load
from benchmarks.results import Figure, absolute, ratio
from benchmarks.sizes import Sizes
from benchmarks.whole_path import OURS, PROJECT, SETTINGS, peer_app

WINDOW = 1024
WARM_UP = 2 * WINDOW
PYTHON = PROJECT / ".venv-worker" / "bin" / "python"
NOTHING = "a function that does nothing"
PASS_SECONDS = 300.0
FUNCTION = "update_image_metadata"


def run(sizes: Sizes) -> list[Figure]:
    """Each function in turn, as often as there are samples."""
    return asyncio.run(_run(sizes))


async def _run(sizes: Sizes) -> list[Figure]:
    messages = WARM_UP + sizes.worker_messages
    async with load.fast_cloud(messages) as cloud:
        with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
            apps = {OURS: PROJECT, NOTHING: peer_app("nothing", Path(scratch))}
            bodies = Path(scratch) / "bodies"
            bodies.write_bytes(b"\n".join(load.body(0, number) for number in range(messages)))
            found: dict[str, list[list[float]]] = {name: [] for name in apps}
            for _ in range(sizes.samples):
                for name, app in apps.items():
                    found[name].append(await _pass(app, bodies, cloud.settings | SETTINGS))
    speed, cpu = ({name: [one[what] for one in passes] for name, passes in found.items()} for what in (0, 1))
    return [
        absolute("messages a second", "messages/s", speed),
        absolute("CPU", "µs a message", cpu),
        ratio(f"CPU ÷ {NOTHING}", cpu[OURS], cpu[NOTHING], most=1.4),
    ]


async def _pass(app_root: Path, bodies: Path, settings: Mapping[str, str]) -> list[float]:
    command = [str(PYTHON), "-m", "benchmarks.worker", str(app_root), str(bodies)]
    environment = {**os.environ, **settings}
    printed = await asyncio.to_thread(
        lambda: subprocess.check_output(command, cwd=PROJECT, env=environment, timeout=PASS_SECONDS)  # noqa: S603 (ours)
    )
    return [float(number) for number in printed.split()]


async def _measure(app_root: Path, bodies: list[bytes]) -> None:
    """Deliver all, `WINDOW` at a time; the first are for warming up and do not count."""
    from local.worker.host import WorkerHost
    from local.worker.shapes import QueueMessage, queue_invocation

    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        async with WorkerHost(app_root, {}, Path(scratch) / "worker.log") as host:
            [binding] = host.functions[FUNCTION].bindings.values()

            async def deliver_some(remaining: Iterator[bytes]) -> None:
                for body in remaining:
                    message = QueueMessage(body, "b6ea6c2f-0000-4000-8000-000000000000")
                    await host.invoke(FUNCTION, queue_invocation(message, "updates", binding.data_type))
                    host.logs.clear()

            for some in (bodies[:WARM_UP], bodies[WARM_UP:]):
                began, cpu_began = time.perf_counter(), _cpu_seconds(host.pid)
                remaining = iter(some)
                await asyncio.gather(*(deliver_some(remaining) for _ in range(WINDOW)))
                seconds, cpu_seconds = time.perf_counter() - began, _cpu_seconds(host.pid) - cpu_began
    print(len(some) / seconds, cpu_seconds / len(some) * 1e6)


def _cpu_seconds(pid: int) -> float:
    """Processor time of another process, all its threads: Linux' clock of it, as clock_getcpuclockid(3) makes it."""
    return time.clock_gettime(~pid << 3 | 2)


if __name__ == "__main__":
    asyncio.run(_measure(Path(sys.argv[1]), Path(sys.argv[2]).read_bytes().splitlines()))
