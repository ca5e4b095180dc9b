"""What a message costs in Microsoft's worker, with our function and with one that does nothing."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import load
from benchmarks.results import MEASURED_NOISE, Figure, Outcome, Peer, at_most
from local.cloud import LocalCloud
from local.simulation.models import Api

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.sizes import Sizes

NAME = "worker"
TITLE = "In Microsoft's worker"
LATENCY_SECONDS = 0.05
WINDOW = 1024
WARM_UP = 2 * WINDOW
PROJECT = Path(__file__).parents[1]
PYTHON = PROJECT / ".venv-worker" / "bin" / "python"
NEEDS = PYTHON
OURS = "Vision Relay"
NOTHING = "a function that does nothing"
APPS = {OURS: PROJECT, NOTHING: PROJECT / "benchmarks" / "nothing"}
PASS_SECONDS = 300.0
ABOUT = f"""\
The library of the worker from Python 3.13 on (`azure-functions-runtime`) in a process of its own, behind gRPC as in
Azure: each message comes as an invocation with its binding data, and its outcome and log lines go back. {WINDOW:,}
messages are in process at a time, the simulation answers without rate limit after {LATENCY_SECONDS * 1000:g} ms, one
image a message, one key; the first {WARM_UP:,} do not count. CPU is the processor time of the worker's process with
all its threads. Beside it: a function with the same binding that does nothing, which is what gRPC, the library and
its log lines cost. Both take turns in one run.
"""
SETTINGS = {
    "CUSTOM_VISION_CALLS_PER_SECOND": "10000",
    "TRAINING_POLL_SCHEDULE": "0 0 * * * *",  # nobody calls it here
}


@dataclass(frozen=True, slots=True)
class Cost:
    """What one pass came to."""

    messages_a_second: float
    cpu_microseconds: float


def run(sizes: Sizes, step: Callable[[], None]) -> Outcome:
    """Each function in turn, as often as there are samples."""
    return asyncio.run(_run(sizes, step))


def steps(sizes: Sizes) -> int:
    """How many pieces of work there are."""
    return sizes.real_samples * len(APPS)


async def _run(sizes: Sizes, step: Callable[[], None]) -> Outcome:
    messages = WARM_UP + sizes.worker_messages
    costs: dict[str, list[Cost]] = {name: [] for name in APPS}
    async with LocalCloud() as cloud:
        await cloud.control.set_rate(Api.CUSTOM_VISION, None)
        await cloud.control.set_latency(Api.CUSTOM_VISION, LATENCY_SECONDS)
        await load.add_images(cloud.control, messages)
        with tempfile.NamedTemporaryFile(prefix="benchmark-") as bodies:
            bodies.write(b"\n".join(load.body(0, number) for number in range(messages)))
            bodies.flush()
            for _ in range(sizes.real_samples):
                for name, app_root in APPS.items():
                    costs[name].append(await _pass(app_root, bodies.name, cloud.settings | SETTINGS))
                    step()
    return Outcome(tuple(_figures(costs)))


async def _pass(app_root: Path, bodies: str, settings: Mapping[str, str]) -> Cost:
    process = await asyncio.create_subprocess_exec(
        PYTHON,
        *("-m", "benchmarks.worker_pass", str(app_root), bodies),
        cwd=PROJECT,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PASS_SECONDS):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise RuntimeError(f"the pass failed:\n{errors.decode(errors='replace')}")
    return Cost(**json.loads(output))


def _figures(costs: Mapping[str, list[Cost]]) -> list[Figure]:
    speed = {name: tuple(cost.messages_a_second for cost in found) for name, found in costs.items()}
    cpu = {name: tuple(cost.cpu_microseconds for cost in found) for name, found in costs.items()}
    ratio = tuple(ours / nothing for ours, nothing in zip(cpu[OURS], cpu[NOTHING], strict=True))
    return [
        Figure(NAME, "messages a second", "messages/s", speed[OURS], peers=(Peer(NOTHING, speed[NOTHING]),)),
        Figure(NAME, "CPU", "µs a message", cpu[OURS], peers=(Peer(NOTHING, cpu[NOTHING]),)),
        Figure(NAME, f"CPU ÷ {NOTHING}", "ratio", ratio, at_most(1.1), noise=MEASURED_NOISE),
    ]
