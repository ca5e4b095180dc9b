"""Memory of messages that wait."""

from __future__ import annotations

import asyncio
import json
import random
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import load, parts
from benchmarks.results import MEASURED_NOISE, Figure, Outcome, Peer, at_most
from benchmarks.workers import run_alone

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from benchmarks.sizes import Sizes
    from shared.batching.outcomes import ImageOutcome
    from shared.messages.ids import ImageId
    from shared.messages.update import BatchKey
    from shared.metadata_updates import Delivery

NAME = "memory"
TITLE = "Memory per waiting message"
WAITING_BEFORE = 5_000
ABOUT = f"""\
Growth of the process's resident memory ÷ messages that were added, all of them waiting in the batcher: body,
task, coroutine, ids and place in line. {WAITING_BEFORE:,} messages wait already, so that what start-up left free
is used up. One image a message, 16 keys. Each sample is a process of its own. Beside it: a task that parses the
body with `json.loads`, keeps the result and awaits a future.
"""

KIB = 1024
STATM = Path("/proc/self/statm")
MAXRSS_UNIT = 1 if sys.platform == "darwin" else KIB


@dataclass(frozen=True, slots=True)
class Job:
    """Measure with so many messages, of us or of a bare task."""

    messages: int
    ours: bool


def run(sizes: Sizes, step: Callable[[], None]) -> Outcome:
    """Measure as often as there are samples."""

    def samples(*, ours: bool) -> tuple[float, ...]:
        return tuple(run_alone(measure, [Job(sizes.waiting, ours)] * sizes.real_samples, step))

    peers = (Peer("a task with its parsed body", samples(ours=False)),)
    figure = Figure(NAME, "waiting message", "KiB", samples(ours=True), at_most(3), peers, noise=MEASURED_NOISE)
    return Outcome((figure,))


def steps(sizes: Sizes) -> int:
    """How many pieces of work there are."""
    return 2 * sizes.real_samples


def measure(job: Job) -> float:
    """KiB a message."""
    return asyncio.run(_ours(job.messages) if job.ours else _bare(job.messages))


async def _ours(messages: int) -> float:
    rng = random.Random(0)  # noqa: S311 (repeatable on purpose)
    timing = parts.Timing(linger_seconds=3600.0)
    batcher = parts.new_batcher(_never, rng, timing)
    handler = parts.new_handler(batcher)
    grown = await _growth(handler.handle, messages)
    await batcher.aclose()
    return grown


async def _never(_: BatchKey, __: Sequence[ImageId]) -> Mapping[ImageId, ImageOutcome]:
    """Leave every call unanswered."""
    answer: asyncio.Future[Mapping[ImageId, ImageOutcome]] = asyncio.get_running_loop().create_future()
    return await answer


async def _bare(messages: int) -> float:
    async def handle(delivery: Delivery) -> None:
        update = json.loads(delivery.body)
        await asyncio.get_running_loop().create_future()
        del update

    return await _growth(handle, messages)


async def _growth(handle: Callable[[Delivery], Coroutine[Any, Any, None]], messages: int) -> float:
    waiting: list[asyncio.Task[None]] = []
    await _let_wait(handle, waiting, WAITING_BEFORE)
    before = _resident_kib()
    await _let_wait(handle, waiting, messages)
    grown = _resident_kib() - before
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    return grown / messages


async def _let_wait(
    handle: Callable[[Delivery], Coroutine[Any, Any, None]], waiting: list[asyncio.Task[None]], messages: int
) -> None:
    first = len(waiting)
    waiting += [
        asyncio.create_task(handle(load.delivery(number % 16, number))) for number in range(first, first + messages)
    ]
    await asyncio.sleep(0)


def _resident_kib() -> float:
    """What is resident now. Where the system does not tell, the most so far: nothing is freed in between."""
    if STATM.exists():
        return int(STATM.read_text().split()[1]) * resource.getpagesize() / KIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_UNIT / KIB
