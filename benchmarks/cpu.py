"""CPU per message inside the app, without network."""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks import load, parts
from benchmarks.results import MEASURED_NOISE, Figure, Outcome, Peer, at_most
from benchmarks.workers import run_alone
from shared.batching.outcomes import APPLIED
from shared.metadata_updates import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from benchmarks.sizes import Sizes
    from shared.batching.outcomes import ImageOutcome
    from shared.messages.ids import ImageId
    from shared.messages.update import BatchKey

NAME = "cpu"
TITLE = "CPU per message"
ABOUT = """\
Processor time from the body's bytes to the message's outcome: parsing, validation, batching, limits, outcome, the
task of the invocation and the closed loop that starts the next one. Everything is the deployed code but `send`,
which returns at once. One image a message, one key. Each sample is a process of its own. Beside it: the least
that any asyncio solution does, which is a task that parses the body with `json.loads` and awaits a future that
is set with 63 others. Where other machines share the processor, both take up to twice as long at one time as at
another, so what counts is the ratio of the two in one process. A large window costs more because ten thousand
waiting messages do not fit the processor's caches as a hundred do: the least possible grows as well, and what counts
is how much more than that we grow.
"""

WINDOWS = (100, 1_024, 10_000)
SMALL, _, LARGE = WINDOWS
MAX_RATIO = 3.0
MAX_GROWTH = 1.1
FLOOR = "least possible"


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds a message by window, for us and for the least possible."""

    ours: dict[int, float]
    least: dict[int, float]

    def ratio(self, window: int) -> float:
        """What we cost ÷ the least possible."""
        return self.ours[window] / self.least[window]


def run(sizes: Sizes, step: Callable[[], None]) -> Outcome:
    """Measure as often as there are samples."""
    costs = run_alone(measure, [sizes.cpu_messages] * sizes.real_samples, step)

    def samples(value: Callable[[Cost], float]) -> tuple[float, ...]:
        return tuple(map(value, costs))

    absolute = (
        Figure(
            NAME,
            f"window {window:,}",
            "µs a message",
            samples(lambda cost, window=window: cost.ours[window]),  # type: ignore[misc]
            peers=(Peer(FLOOR, samples(lambda cost, window=window: cost.least[window])),),  # type: ignore[misc]
        )
        for window in WINDOWS
    )
    relative = (
        Figure(
            NAME,
            f"window {window:,} ÷ {FLOOR}",
            "ratio",
            samples(lambda cost, window=window: cost.ratio(window)),  # type: ignore[misc]
            at_most(MAX_RATIO),
            noise=MEASURED_NOISE,
        )
        for window in WINDOWS[1:]
    )
    growth = Figure(
        NAME,
        f"growth from {SMALL:,} to {LARGE:,} ÷ that of the {FLOOR}",
        "ratio",
        samples(lambda cost: cost.ratio(LARGE) / cost.ratio(SMALL)),
        at_most(MAX_GROWTH),
        noise=MEASURED_NOISE,
    )
    return Outcome((*absolute, *relative, growth))


def steps(sizes: Sizes) -> int:
    """How many pieces of work there are."""
    return sizes.real_samples


def measure(messages: int) -> Cost:
    """Measure all, in turn, in one process."""
    ours, least = {}, {}
    for window in WINDOWS:
        ours[window] = asyncio.run(_ours(window, messages))
        least[window] = asyncio.run(_least(window, messages))
    return Cost(ours, least)


async def _ours(window: int, messages: int) -> float:
    rng = random.Random(0)  # noqa: S311 (repeatable on purpose)
    batcher = parts.new_batcher(_send, rng, parts.Timing(parts.UNLIMITED, linger_seconds=0.01))
    handler = parts.new_handler(batcher)
    cost = await _cost_of(handler.handle, window, messages)
    await batcher.aclose()
    return cost


async def _send(_: BatchKey, image_ids: Sequence[ImageId]) -> Mapping[ImageId, ImageOutcome]:
    return dict.fromkeys(image_ids, APPLIED)


async def _least(window: int, messages: int) -> float:
    waiting: list[asyncio.Future[None]] = []
    loop = asyncio.get_running_loop()

    async def handle(delivery: Delivery) -> None:
        json.loads(delivery.body)
        future: asyncio.Future[None] = loop.create_future()
        waiting.append(future)
        if len(waiting) == 64:
            loop.call_soon(_set_all, waiting.copy())
            waiting.clear()
        await future

    return await _cost_of(handle, window, messages - messages % 64)


def _set_all(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        future.set_result(None)


async def _cost_of(handle: Callable[[Delivery], Coroutine[Any, Any, None]], window: int, messages: int) -> float:
    """Processor microseconds a message, with so many in process all the time."""
    loop = asyncio.get_running_loop()
    bodies = [load.body(0, number) for number in range(messages)]
    deliveries = (loop.create_task(handle(Delivery("message", body, 1))) for body in bodies)
    began = time.process_time()
    await load.keep_full(window, load.starter(deliveries))
    return (time.process_time() - began) / messages * 1e6
