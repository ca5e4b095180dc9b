"""Instances that share one limit and know nothing of one another, each with all the work it can do, in virtual time.

`work` lets calls of one image go as soon as the deployed admission and limiter allow it, which is all that sharing a
limit depends on; `work_batching` has everything above the socket, from messages to the HTTP client, and takes a
hundred times as long.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import load, parts
from benchmarks.gateways import GATEWAYS, LOW_LIMITS
from benchmarks.peers import AdditiveIncrease
from benchmarks.permits import Ends, PermitStore, SimulatedPermitQueue
from benchmarks.service import INTERNET, LIMIT, Calls, Limit, Network, Transport, all_ok
from benchmarks.sizes import OURS
from benchmarks.virtual import run_virtual
from shared.errors import RateLimited
from shared.limits.admission import Admission, Admitted
from shared.limits.circuit_breaker import CircuitBreaker
from shared.limits.rate_limit_shared import MAX_PERMITS, permits_for
from shared.permit_count import PermitCount

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from shared.limits.admission import Limiter
    from shared.services.custom_vision import CustomVisionClient

WINDOW = 1024
STARTED_WITHIN_SECONDS = 1.0
"""Instances that start together do so at random times within this."""
BUCKET = next(iter(GATEWAYS))
ONE_IMAGE = "http://127.0.0.1/?imageIds=10000000-0000-4000-8000-000000000000"
TOO_MANY_REQUESTS = 429
TICK_SECONDS = 15.0
"""How often the timer counts the permits, as in the sample settings."""

PEERS: Mapping[str, Callable[[float], Limiter]] = {"additive increase": AdditiveIncrease}


@dataclass(frozen=True, slots=True)
class Shift:
    """When instances work: so many of them, from one second to another. At its end they are killed."""

    instances: int
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Accidents:
    """What happens to the permits, in seconds from the start: one is lost, there is one too many, storage is away."""

    lost_at: float | None = None
    surplus_at: float | None = None
    away: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What is simulated: shifts of instances with one way to keep to the limit, and a seed.

    gateway    how the API counts, by name
    rate       calls a second that are configured, which are those that the gateway allows: ten, or a low limit
    foreign    calls a second of somebody who does not take part
    ends       when an invisibility ends
    """

    shifts: tuple[Shift, ...]
    seconds: float
    seed: int
    pace: str = OURS
    network: Network = INTERNET
    gateway: str = BUCKET
    rate: float = LIMIT
    foreign: float = 0.0
    ends: Ends = Ends.EXACTLY
    accidents: Accidents = Accidents()
    started_within: float = STARTED_WITHIN_SECONDS


@dataclass(frozen=True, slots=True)
class Done:
    """What the gateway saw of each instance, and of the foreign client, and how many permits were counted when."""

    fleet: list[Calls]
    foreign: Calls
    permits: list[tuple[float, int]]


def work(plan: Plan) -> Done:
    """Let the instances call for as long as their shifts are."""
    return run_virtual(_work(plan, _call))


def work_batching(plan: Plan) -> Done:
    """The same with everything above the socket."""
    return run_virtual(_work(plan, _batch))


async def _work(plan: Plan, instance: Callable[[float, Transport, Limiter, random.Random], Awaitable[None]]) -> Done:
    rng = random.Random(plan.seed)  # noqa: S311 (repeatable on purpose)
    limit = Limit(LOW_LIMITS.get(plan.rate, GATEWAYS)[plan.gateway]())
    permits, _ = permits_for(plan.rate)
    store = PermitStore(permits, rng, plan.ends, plan.accidents.away)
    done = Done([], Calls(), [])

    async def work_from(begin: float, end: float, transport: Transport) -> None:
        await asyncio.sleep(begin)
        queue = SimulatedPermitQueue(store)
        ours = plan.pace == OURS
        limiter = parts.shared_limit(plan.rate, queue, rng) if ours else PEERS[plan.pace](plan.rate)
        await instance(end - begin, transport, limiter, rng)
        transport.calls.operations = queue.operations

    others = [
        asyncio.create_task(other)
        for other in (_foreign(plan, limit, rng, done.foreign), _upset(plan, store), _count(store, permits, done))
    ]
    async with asyncio.TaskGroup() as instances:
        for shift in plan.shifts:
            for _ in range(shift.instances):
                transport = Transport(limit, all_ok, rng, plan.network)
                done.fleet.append(transport.calls)
                begin = shift.begin + rng.uniform(0, plan.started_within)
                instances.create_task(work_from(begin, shift.end, transport))
    for other in others:
        other.cancel()
    return done


async def _foreign(plan: Plan, limit: Limit, rng: random.Random, calls: Calls) -> None:
    """Call at even intervals, whatever the answer."""
    if not plan.foreign:
        return
    loop = asyncio.get_running_loop()
    await asyncio.sleep(rng.uniform(0, 1 / plan.foreign))
    while True:
        calls.add(loop.time(), 0 if limit.refuse(loop.time()) else 1)
        await asyncio.sleep(1 / plan.foreign)


async def _upset(plan: Plan, store: PermitStore) -> None:
    accidents = plan.accidents
    if accidents.lost_at is not None:
        await asyncio.sleep(accidents.lost_at)
        store.lose()
    if accidents.surplus_at is not None:
        await asyncio.sleep(accidents.surplus_at)
        store.add(1)


async def _count(store: PermitStore, permits: int, done: Done) -> None:
    """Be the timer function."""
    count = PermitCount(SimulatedPermitQueue(store), permits)
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(TICK_SECONDS)
        await count.keep()
        done.permits.append((loop.time(), store.count()))


async def _call(seconds: float, transport: Transport, limiter: Limiter, rng: random.Random) -> None:
    """Be an instance that always has more calls to make than it may."""
    admission = Admission("API", limiter, CircuitBreaker(uniform=rng.uniform))
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    changed = asyncio.Event()
    admission.on_change = changed.set
    calls: set[asyncio.Task[None]] = set()

    async def call(admitted: Admitted) -> None:
        answer = await transport.exchange("POST", ONE_IMAGE, {}, None)
        is_limited = answer.status == TOO_MANY_REQUESTS
        error = RateLimited("429", retry_after_seconds=answer.retry_after_seconds) if is_limited else None
        admission.report(admitted, error, loop.time())
        changed.set()

    while (now := loop.time()) < end:
        admission.want(MAX_PERMITS, now)
        ready_at = admission.ready_at(now)
        if ready_at <= now:
            task = loop.create_task(call(admission.admit(now)))
            calls.add(task)
            task.add_done_callback(calls.discard)
            continue
        changed.clear()
        try:
            async with asyncio.timeout_at(min(ready_at, end)):
                await changed.wait()
        except TimeoutError:
            continue
    for task in list(calls):
        task.cancel()
    await admission.aclose()


async def _batch(seconds: float, transport: Transport, limiter: Limiter, rng: random.Random) -> None:
    """Be an instance as it is deployed."""
    await work_for(seconds, parts.new_api(transport.exchange), limiter, rng)


async def work_for(seconds: float, api: CustomVisionClient, limiter: Limiter, rng: random.Random) -> None:
    """Be an instance for so long: updates of one key go straight to the batcher, always as many as the window holds.

    It stops as a process that is killed does: what is on the wire is nobody's any more.
    """
    batcher = parts.new_batcher(api.update_image_metadata, rng, limiter=limiter)
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
    """What all instances together did within a time. `calls`: of each the images that it updated, 0 for a 429."""

    calls: Sequence[int]
    seconds: float

    @classmethod
    def of(cls, fleet: Sequence[Calls], begin: float, end: float) -> View:
        """Look at the time from one second to another."""
        return cls([images for calls in fleet for images in calls.between(begin, end)], end - begin)

    @property
    def passed_a_second(self) -> float:
        """Calls that were not answered 429."""
        return (len(self.calls) - self.calls.count(0)) / self.seconds

    @property
    def images_a_second(self) -> float:
        """Images that were updated."""
        return sum(self.calls) / self.seconds

    @property
    def limited_percent(self) -> float:
        """Calls that were answered 429, of all calls."""
        return 100 * self.calls.count(0) / max(1, len(self.calls))
