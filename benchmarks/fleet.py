"""Instances that share one limit and know nothing of one another, each with all the work it can do, in virtual time.

Calls of one image go as soon as the deployed admission and limiter allow it, which is all that sharing a limit depends
on.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

from benchmarks import parts
from benchmarks.permits import PermitStore, SimulatedPermitQueue
from benchmarks.service import GATEWAYS, LIMIT, Calls, Limit, Transport, all_ok
from benchmarks.virtual import run_virtual
from shared.errors import RateLimited
from shared.limits.admission import Admission, Admitted, Limiter
from shared.limits.distributed_rate_limit import MAX_PERMITS, Permits, permits_for
from shared.limits.local_pacing import EvenSpacing
from shared.permit_replenishment import replenish_permits
from shared.services.http import retry_after_seconds

STARTED_WITHIN_SECONDS = 1.0
"""Instances that start together do so at random times within this."""
ONE_IMAGE = "http://127.0.0.1/?imageIds=10000000-0000-4000-8000-000000000000"
TOO_MANY_REQUESTS = 429
TICK_SECONDS = 15.0
"""How often the timer counts the permits, as in the sample settings."""

Shift = tuple[int, float, float]
"""When instances work: so many of them, from one second to another. At its end they are killed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is simulated.

    gateway    how the API counts, by name
    increase   instances increase and decrease their rate instead of sharing permits
    rate       calls a second that are configured, which are those that the gateway allows: ten, or a low limit
    foreign    calls a second of somebody who does not take part
    late       seconds that calls come later to the gateway on average, by chance (exponential)
    lost_at    when a permit is lost; `surplus_at`: when there is one too many
    away       from when to when storage does not answer
    """

    shifts: tuple[Shift, ...]
    seconds: float
    seed: int = 0
    increase: bool = False
    late: float = 0.0
    gateway: str = "bucket of 10"
    rate: float = LIMIT
    foreign: float = 0.0
    lost_at: float | None = None
    surplus_at: float | None = None
    away: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """What the gateway saw of each instance, and of the foreign client, and how many permits were counted when."""

    fleet: list[Calls] = field(default_factory=list)
    foreign: Calls = field(default_factory=Calls)
    permits: list[tuple[float, int]] = field(default_factory=list)


class _AdditiveIncrease(EvenSpacing):
    """Additive increase, multiplicative decrease (Chiu and Jain, 1989): +0.1 calls/s each second, half at a 429."""

    def __init__(self, calls_per_second: float) -> None:
        super().__init__(calls_per_second)
        self._least_interval = self._interval

    def succeeded(self, permit: object) -> None:  # noqa: ARG002 (the interface)
        self._interval = max(self._least_interval, 1 / (1 / self._interval + 0.1 * self._interval))

    def limited(self, permit: object, retry_after_seconds: float | None, now: float) -> None:
        self._interval = min(100.0, self._interval * 2)
        super().limited(permit, retry_after_seconds, now)


def work(plan: Plan) -> Done:
    """Let the instances call for as long as their shifts are."""
    return run_virtual(_work(plan))


async def _work(plan: Plan) -> Done:
    rng = Random(plan.seed)  # noqa: S311 (repeatable on purpose)
    limit = Limit(GATEWAYS[plan.rate][plan.gateway]())
    store = PermitStore(permits_for(plan.rate)[0], rng, plan.away)
    done = Done()

    async def work_from(begin: float, end: float, transport: Transport) -> None:
        await asyncio.sleep(begin)
        queue = SimulatedPermitQueue(store)
        limiter = _AdditiveIncrease(plan.rate) if plan.increase else parts.shared_limit(plan.rate, queue, rng)
        await _call(end - begin, transport, limiter, rng)
        transport.calls.operations = queue.operations

    others = [asyncio.create_task(_count(store, plan.rate, done))]
    if plan.foreign:
        others.append(asyncio.create_task(_foreign(plan, limit, rng, done.foreign)))
    loop = asyncio.get_running_loop()
    if plan.lost_at:
        loop.call_later(plan.lost_at, store.lose)
    if plan.surplus_at:
        loop.call_later(plan.surplus_at, store.add, 1)
    async with asyncio.TaskGroup() as group:
        for instances, begin, end in plan.shifts:
            for _ in range(instances):
                transport = Transport(limit, all_ok, rng, plan.late)
                done.fleet.append(transport.calls)
                group.create_task(work_from(begin + rng.uniform(0, STARTED_WITHIN_SECONDS), end, transport))
    for other in others:
        other.cancel()
    return done


async def _foreign(plan: Plan, limit: Limit, rng: Random, calls: Calls) -> None:
    """Call at even intervals, whatever the answer."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(rng.uniform(0, 1 / plan.foreign))
    while True:
        calls.passed.append((loop.time(), not limit.refuse(loop.time())))
        await asyncio.sleep(1 / plan.foreign)


async def _count(store: PermitStore, rate: float, done: Done) -> None:
    """Be the timer function."""
    queue, permits = SimulatedPermitQueue(store), Permits(rate)
    while True:
        await asyncio.sleep(TICK_SECONDS)
        await replenish_permits(queue, permits.number, permits.lease_seconds)
        done.permits.append((asyncio.get_running_loop().time(), len(store.messages)))


async def _call(seconds: float, transport: Transport, limiter: Limiter, rng: Random) -> None:
    """Be an instance that always has more calls to make than it may."""
    admission = Admission("API", limiter, uniform=rng.uniform)
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    changed = asyncio.Event()
    admission.on_change = changed.set
    calls: set[asyncio.Task[None]] = set()

    async def call(admitted: Admitted) -> None:
        answer = await transport.exchange("POST", ONE_IMAGE, {}, None)
        error = RateLimited("429", retry_after_seconds=retry_after_seconds(answer))
        admission.report(admitted, error if answer.status_code == TOO_MANY_REQUESTS else None, loop.time())
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


def seen(fleet: Iterable[Calls], begin: float, end: float) -> tuple[float, float]:
    """Calls a second of all instances that passed from one time to another, and 429s in % of calls."""
    calls = [passed for calls in fleet for at, passed in calls.passed if begin <= at < end]
    return calls.count(True) / (end - begin), 100 * calls.count(False) / max(1, len(calls))
