"""The simulated clock against a real minute."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from azure.storage.queue.aio import QueueServiceClient

from benchmarks import load, parts
from benchmarks.fleet import WINDOW, Plan, Shift, View, work_batching, work_for
from benchmarks.results import Figure, Outcome, Peer, at_most
from benchmarks.service import LIMIT, Network
from benchmarks.workers import run_all
from local.cloud import LocalCloud
from local.simulation.models import Api
from shared.services.custom_vision import MAX_IMAGES_PER_CALL
from shared.services.queues import PermitQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.sizes import Sizes
    from local.simulation.models import ApiCounters

NAME = "validation"
TITLE = "The virtual clock against a real one"
INSTANCES = 4
MANY_INSTANCES = 16
LEAST_GOODPUT = 0.97
LATENCY_SECONDS = 0.1
PERMITS = "custom-vision-permits"
START_SECONDS = 8.0
"""For the processes to have started."""
LOOPBACK = Network(shortest_way=0.0, longest_way=0.0, median_service=LATENCY_SECONDS, sigma=0.0)
ABOUT = f"""\
{INSTANCES} processes on one limit of ten calls a second, once in real time, over real HTTP to the simulation in
a process of its own, with their permits in Azurite, and several times in virtual time with the same latency of
{LATENCY_SECONDS * 1000:g} ms and no network. All from the first second on, when nobody has a permit and, in the real
run, the queue is still to be created. The real run should lie within the spread of the virtual ones, or close to it.
"""


def run(sizes: Sizes, step: Callable[[], None]) -> Outcome:
    """One real run, and a virtual one with every seed."""
    seconds = sizes.validation_seconds
    counters = asyncio.run(_real(seconds, step))
    plans = [
        Plan((Shift(INSTANCES, 0, seconds),), seconds, seed, network=LOOPBACK, started_within=0.0)
        for seed in range(max(5, sizes.samples))
    ]
    views = [View.of(done.fleet, 0, seconds) for done in run_all(work_batching, plans, step)]
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
    return INSTANCES + 1 + max(5, sizes.samples)


def _seconds_to_simulate(messages: int) -> float:
    """The real time that it takes to simulate so many messages."""
    seconds = messages / (LIMIT * MAX_IMAGES_PER_CALL * LEAST_GOODPUT)
    began = time.perf_counter()
    fleet = work_batching(Plan((Shift(MANY_INSTANCES, 0, seconds),), seconds, seed=0)).fleet
    took = time.perf_counter() - began
    return took * messages / (View.of(fleet, 0, seconds).images_a_second * seconds)


@dataclass(frozen=True, slots=True)
class Job:
    """What a process needs to be an instance, from one time of the clock (`time.time`) to another."""

    settings: Mapping[str, str]
    begins_at: float
    ends_at: float
    seed: int


async def _real(seconds: float, step: Callable[[], None]) -> ApiCounters:
    async with LocalCloud() as cloud:
        await cloud.control.set_latency(Api.CUSTOM_VISION, LATENCY_SECONDS)
        await load.add_images(cloud.control, int(seconds * 700) + INSTANCES * WINDOW)
        begins_at = time.time() + START_SECONDS
        jobs = [Job(cloud.settings, begins_at, begins_at + seconds, seed) for seed in range(INSTANCES)]
        await asyncio.to_thread(run_all, _be_an_instance, jobs, step, INSTANCES)
        return (await cloud.control.counters()).custom_vision


def _be_an_instance(job: Job) -> None:
    asyncio.run(_instance(job))


async def _instance(job: Job) -> None:
    rng = random.Random(job.seed)  # noqa: S311 (repeatable on purpose)
    storage = QueueServiceClient.from_connection_string(job.settings["AzureWebJobsStorage"])
    async with parts.real_http() as http, storage:
        endpoint, key = job.settings["CUSTOM_VISION_ENDPOINT"], job.settings["CUSTOM_VISION_TRAINING_KEY"]
        limiter = parts.shared_limit(LIMIT, PermitQueue(storage.get_queue_client(PERMITS)), rng)
        await asyncio.sleep(max(0.0, job.begins_at - time.time()))
        await work_for(job.ends_at - time.time(), parts.new_api(http.exchange, endpoint, key), limiter, rng)
