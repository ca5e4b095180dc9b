"""Instances that share one limit and know nothing of one another, each with all the work it can do, in virtual time."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import load, parts
from benchmarks.peers import additive_increase, fixed_rate
from benchmarks.service import INTERNET, Calls, Limit, Network, Transport, all_ok
from benchmarks.sizes import OURS
from benchmarks.virtual import run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shared.limits.pace import Pace
    from shared.services.custom_vision import CustomVisionClient

WINDOW = 1024
STARTED_WITHIN_SECONDS = 1.0
"""Instances that start together do so at random times within this."""

PACES: dict[str, Callable[[float, random.Random], Pace]] = {
    OURS: parts.adaptive,
    "additive increase": additive_increase,
    "fixed rate": fixed_rate,
}


@dataclass(frozen=True, slots=True)
class Shift:
    """When instances work: so many of them, from one second to another."""

    instances: int
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What is simulated: shifts of instances with one way to keep to the limit, and a seed."""

    shifts: tuple[Shift, ...]
    seconds: float
    seed: int
    pace: str = OURS
    network: Network = INTERNET


def work(plan: Plan) -> list[Calls]:
    """Let the instances work; return what the gateway saw of each."""
    return run_virtual(_work(plan))


async def _work(plan: Plan) -> list[Calls]:
    rng = random.Random(plan.seed)  # noqa: S311 (repeatable on purpose)
    limit = Limit()
    transports = []
    async with asyncio.TaskGroup() as instances:
        for shift in plan.shifts:
            for _ in range(shift.instances):
                transport = Transport(limit, all_ok, rng, plan.network)
                transports.append(transport)
                begin = shift.begin + rng.uniform(0, STARTED_WITHIN_SECONDS)
                instances.create_task(_instance(transport, rng, plan, begin, shift.end))
    return [transport.calls for transport in transports]


async def _instance(transport: Transport, rng: random.Random, plan: Plan, begin: float, end: float) -> None:
    await asyncio.sleep(begin)
    await work_for(end - begin, parts.new_api(transport.exchange), PACES[plan.pace], rng)


async def work_for(
    seconds: float, api: CustomVisionClient, pace: Callable[[float, random.Random], Pace], rng: random.Random
) -> None:
    """Be an instance for so long: updates of one key go straight to the batcher, always as many as the window holds.

    It stops as a process that is killed does: what is on the wire is nobody's any more.
    """
    batcher = parts.new_batcher(api.update_image_metadata, rng, pace=pace)
    key = load.batch_key(0)
    images = load.images()
    working = asyncio.create_task(
        load.keep_full(WINDOW, lambda: asyncio.ensure_future(batcher.submit(key, (next(images),))))
    )
    await asyncio.wait([working], timeout=seconds)
    working.cancel()
    await batcher.aclose()


@dataclass(frozen=True, slots=True)
class View:
    """What all instances together did within a time."""

    calls: Sequence[int]
    seconds: float

    @classmethod
    def of(cls, fleet: Sequence[Calls], begin: float, end: float) -> View:
        """Look at the time from one second to another."""
        return cls([images for calls in fleet for images in calls.between(begin, end)], end - begin)

    @property
    def images_a_second(self) -> float:
        """Images that were updated."""
        return sum(self.calls) / self.seconds

    @property
    def limited_percent(self) -> float:
        """Calls that were answered 429, of all calls."""
        return 100 * self.calls.count(0) / max(1, len(self.calls))
