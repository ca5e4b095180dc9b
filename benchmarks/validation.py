"""The simulated clock against a real minute."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

from benchmarks import load, parts
from benchmarks.fleet import STARTED_WITHIN_SECONDS, WINDOW, Plan, Shift, View, work, work_for
from benchmarks.results import Figure, Outcome, Peer, at_most
from benchmarks.service import LIMIT, Network
from benchmarks.workers import run_all
from local.simulation.models import Api
from local.simulation.process import SimulationProcess
from shared.services.custom_vision import MAX_IMAGES_PER_CALL

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.sizes import Sizes
    from local.simulation.models import ApiCounters

NAME = "validation"
TITLE = "The virtual clock against a real one"
INSTANCES = 4
MANY_INSTANCES = 16
LEAST_GOODPUT = 0.97
LATENCY_SECONDS = 0.1
LOOPBACK = Network(shortest_way=0.0, longest_way=0.0, median_service=LATENCY_SECONDS, sigma=0.0)
ABOUT = f"""\
{INSTANCES} instances on one limit of ten calls a second, once in real time, over real HTTP to the simulation in
a process of its own, and several times in virtual time with the same latency of {LATENCY_SECONDS * 1000:g} ms
and no network. All from the first second on, when the instances look for their rate. The real run should lie
within the spread of the virtual ones, or close to it.
"""


def run(sizes: Sizes, step: Callable[[], None]) -> Outcome:
    """One real run, and a virtual one with every seed."""
    seconds = sizes.validation_seconds
    counters = asyncio.run(_real(seconds))
    step()
    plans = [
        Plan((Shift(INSTANCES, 0, seconds),), seconds, seed, network=LOOPBACK) for seed in range(max(5, sizes.samples))
    ]
    views = [View.of(fleet, 0, seconds) for fleet in run_all(work, plans, step)]
    real_images = sum(images * calls for images, calls in counters.images_per_call.items()) / counters.calls
    passed = 1 - counters.rate_limited / counters.calls
    figures = (
        Figure(
            NAME,
            "images a second, virtual",
            "images/s",
            tuple(view.images_a_second for view in views),
            peers=(Peer("real", (real_images * passed * counters.calls / seconds,)),),
        ),
        Figure(
            NAME,
            "calls answered 429, virtual",
            "% of calls",
            tuple(view.limited_percent for view in views),
            peers=(Peer("real", (100 * (1 - passed),)),),
        ),
        Figure(
            NAME,
            "calls, virtual",
            "calls",
            tuple(float(len(view.calls)) for view in views),
            peers=(Peer("real", (float(counters.calls),)),),
        ),
    )
    (took,) = run_all(_seconds_to_simulate, [sizes.simulated_messages], step)
    many = f"simulating {sizes.simulated_messages:,} messages over {MANY_INSTANCES} instances, on one core"
    return Outcome((*figures, Figure(NAME, many, "s", (took,), at_most(300))))


def steps(sizes: Sizes) -> int:
    """How many pieces of work there are."""
    return 2 + max(5, sizes.samples)


def _seconds_to_simulate(messages: int) -> float:
    """The real time that it takes to simulate so many messages."""
    seconds = messages / (LIMIT * MAX_IMAGES_PER_CALL * LEAST_GOODPUT)
    began = time.perf_counter()
    fleet = work(Plan((Shift(MANY_INSTANCES, 0, seconds),), seconds, seed=0))
    took = time.perf_counter() - began
    return took * messages / (View.of(fleet, 0, seconds).images_a_second * seconds)


async def _real(seconds: float) -> ApiCounters:
    rng = random.Random(0)  # noqa: S311 (repeatable on purpose)
    async with SimulationProcess() as simulation, simulation.control() as control:
        await control.set_latency(Api.CUSTOM_VISION, LATENCY_SECONDS)
        await load.add_images(control, int(seconds * 700) + INSTANCES * WINDOW)
        async with asyncio.TaskGroup() as instances:
            for _ in range(INSTANCES):
                begin = rng.uniform(0, STARTED_WITHIN_SECONDS)
                instances.create_task(_instance(simulation, rng, begin, seconds))
        return (await control.counters()).custom_vision


async def _instance(simulation: SimulationProcess, rng: random.Random, begin: float, end: float) -> None:
    await asyncio.sleep(begin)
    async with parts.real_http() as http:
        api = parts.new_api(http.exchange, simulation.address, simulation.credentials.custom_vision_key)
        await work_for(end - begin, api, parts.adaptive, rng)
