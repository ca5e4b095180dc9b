"""From a real queue to the API: messages a second, beside a function that makes one call per message."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import load
from benchmarks.drain import READY
from benchmarks.results import MEASURED_NOISE, Figure, Outcome, Peer, at_least, at_most
from local.child_process import ChildProcess
from local.cloud import UPDATES, LocalCloud
from local.host.process import HostProcess
from local.simulation.models import Api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from benchmarks.sizes import Sizes

NAME = "whole_path"
TITLE = "From the queue to the API"
LATENCY_SECONDS = 0.05
KEYS = 4
ABOUT = f"""\
Azurite, the simulation without rate limit ({LATENCY_SECONDS * 1000:g} ms latency) and the local functions host,
each a process. One-image messages of {KEYS} keys are in the queue when the host starts. Messages a second are
counted from a tenth to nine tenths of the queue, so that neither start nor end counts. Beside it: a function
that makes one call per message, with the same host.json in the same host; and what Azurite itself can do, which
is a process that receives and deletes with the same client, the same number of connections and of messages in
process, and does nothing else.
"""

OURS = "Vision Relay"
ONE_EACH = "one call per message"
AZURITE = "Azurite alone"

PROJECT = Path(__file__).parents[1]
APPS = {OURS: PROJECT, ONE_EACH: PROJECT / "benchmarks" / "one_call_per_message"}
CONTESTANTS = (OURS, ONE_EACH, AZURITE)
SETTINGS = {
    "CUSTOM_VISION_CALLS_PER_SECOND": "10000",
    "TRAINING_POLL_SCHEDULE": "0 0 * * * *",  # the timer has nothing to do here
}
POLL_SECONDS = 0.1
LONGEST_SECONDS = 180.0
BEGIN, END = 0.9, 0.1


@dataclass(frozen=True, slots=True)
class AdmittedCall:
    """What one contestant did with a full queue."""

    messages_a_second: float
    calls_a_message: float


def run(sizes: Sizes, step: Callable[[], None]) -> Outcome:
    """Each contestant in turn, as often as there are samples."""
    return asyncio.run(_run(sizes, step))


def steps(sizes: Sizes) -> int:
    """How many pieces of work there are."""
    return sizes.path_samples * len(CONTESTANTS)


async def _run(sizes: Sizes, step: Callable[[], None]) -> Outcome:
    passes: dict[str, list[AdmittedCall]] = {name: [] for name in CONTESTANTS}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        async with LocalCloud() as cloud:
            await cloud.control.set_rate(Api.CUSTOM_VISION, None)
            await cloud.control.set_latency(Api.CUSTOM_VISION, LATENCY_SECONDS)
            await load.add_images(cloud.control, sizes.queue_messages)
            for _ in range(sizes.path_samples):
                for name in CONTESTANTS:
                    messages = sizes.queue_messages // (4 if name == ONE_EACH else 1)  # it takes long enough
                    passes[name].append(await _pass(cloud, name, messages, Path(scratch)))
                    step()
    return Outcome(tuple(_figures(passes)))


async def _pass(cloud: LocalCloud, name: str, messages: int, scratch: Path) -> AdmittedCall:
    texts = (load.body(number % KEYS, number).decode() for number in range(messages))
    async for _ in cloud.send(UPDATES, texts):
        pass
    calls_before = (await cloud.control.counters()).custom_vision.calls
    async with asyncio.timeout(LONGEST_SECONDS), _contestant(cloud, name, scratch):
        seconds = await _until_empty(cloud, messages)
    calls = (await cloud.control.counters()).custom_vision.calls - calls_before
    return AdmittedCall((BEGIN - END) * messages / seconds, calls / messages)


@asynccontextmanager
async def _contestant(cloud: LocalCloud, name: str, scratch: Path) -> AsyncIterator[None]:
    async with AsyncExitStack() as stop:
        if name in APPS:
            await stop.enter_async_context(HostProcess(APPS[name], cloud.settings | SETTINGS, scratch / f"{name}.log"))
        else:
            process = _drain(cloud, scratch)
            await process.start(re.compile(READY), timeout_seconds=30)
            stop.push_async_callback(process.kill)
        yield


def _drain(cloud: LocalCloud, scratch: Path) -> ChildProcess:
    command = [sys.executable, "-m", "benchmarks.drain", UPDATES]
    env = {**os.environ, **cloud.settings}
    return ChildProcess(AZURITE, command, env=env, cwd=PROJECT, output=scratch / "drain.log")


async def _until_empty(cloud: LocalCloud, messages: int) -> float:
    """Wait for the queue to be empty; return the seconds from a tenth to nine tenths, interpolated between looks."""
    looks: list[tuple[float, int]] = []
    while not looks or looks[-1][1]:
        looks.append((time.perf_counter(), await cloud.count(UPDATES)))
        await asyncio.sleep(POLL_SECONDS)
    return _passed(looks, END * messages) - _passed(looks, BEGIN * messages)


def _passed(looks: list[tuple[float, int]], left: float) -> float:
    """When so many messages were left."""
    earlier_at, earlier = looks[0]
    for at, count in looks:
        if count <= left:
            share = (earlier - left) / (earlier - count) if earlier > count else 0.0
            return earlier_at + share * (at - earlier_at)
        earlier_at, earlier = at, count
    raise ValueError("the queue was never as empty as that")


def _figures(passes: dict[str, list[AdmittedCall]]) -> list[Figure]:
    speed = {name: tuple(one.messages_a_second for one in found) for name, found in passes.items()}
    calls = {name: tuple(one.calls_a_message for one in found) for name, found in passes.items()}
    share, their_share = (
        tuple(ours / azurite for ours, azurite in zip(speed[name], speed[AZURITE], strict=True))
        for name in (OURS, ONE_EACH)
    )
    return [
        Figure(
            NAME,
            "messages a second",
            "messages/s",
            speed[OURS],
            peers=(Peer(ONE_EACH, speed[ONE_EACH]), Peer(AZURITE, speed[AZURITE])),
        ),
        Figure(
            NAME,
            "messages a second ÷ Azurite alone",
            "ratio",
            share,
            at_least(0.8),
            (Peer(ONE_EACH, their_share),),
            noise=MEASURED_NOISE,
        ),
        Figure(
            NAME,
            "calls ÷ calls of one call per message",
            "ratio",
            tuple(ours / theirs for ours, theirs in zip(calls[OURS], calls[ONE_EACH], strict=True)),
            at_most(1 / 20),
            noise=MEASURED_NOISE,
        ),
    ]
