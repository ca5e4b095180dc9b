"""Carries out a schedule, and counts what really happened."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from azure.core.exceptions import ResourceNotFoundError

from local.chaos.faults import (
    HOST_ENDS,
    KILL,
    LONE_FAILURES,
    ODD_ANSWERS,
    OUTAGE,
    PERMIT_TEXT,
    QUEUES_CUT,
    STORAGE_CUT,
    SURPLUS,
    TERMINATION,
    TOPIC_FAILURE,
    WORKER_LOSS,
    WRONG_KEY,
)
from local.chaos.schedule import (
    HostFault,
    LoneFailures,
    OddAnswers,
    Outage,
    PermitText,
    QueuesCut,
    ServiceFault,
    Stop,
    StorageCut,
    StorageFault,
    Storm,
    SurplusPermits,
    TopicFailure,
    WrongKey,
)
from local.simulation.counters import OUTAGE as SIMULATED_OUTAGE
from local.simulation.faults import IMAGE_FAULTS
from local.simulation.models import Api, Fault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
    from uuid import UUID

    from azure.storage.queue.aio import QueueClient

    from local.chaos.storage_proxy import StorageProxy
    from local.chaos.tcp_proxy import Relay
    from local.host.process import HostProcess
    from local.simulation.control import SimulationControl

POLL_SECONDS = 0.05
LONGEST_WAIT_SECONDS = 120.0
"""For something to strike: the app's back-off may have grown to a minute, and no host is at work without storage."""


RESTART_SECONDS = 1.0
GET_BUSY_SECONDS = 3.0
"""For a host that has just started to have messages in hand, before the next one is stopped."""


FORGIVEN_SECONDS = 90.0
"""After storage came back, a host may still end for want of it: its last try may just have failed."""

OVER_LIMIT_SECONDS = 120.0
"""So long the rate may be over the limit after a surplus of permits."""

STRANGE_PERMIT = '{"doublings": 0, "meanWaitSeconds": 3600}'
PERMIT_LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Storage:
    """What is between the hosts and storage, and the queue of permits itself. One relay and one proxy for each host."""

    relays: Sequence[Relay]
    proxies: Sequence[StorageProxy]
    permits: QueueClient
    app_queues: frozenset[str]


class Injector:
    """Strikes the services, the way to storage and the hosts. `tell` is told of each fault as it begins and ends.

    `crashes` counts the hosts that ended by themselves although storage could be reached, or not cleanly when they were
    asked to. `lone_images` are those that fail alone.
    """

    def __init__(
        self,
        control: SimulationControl,
        storage: Storage,
        hosts: Sequence[HostProcess],
        lone_images: Sequence[UUID],
        seed: int,
        tell: Callable[[str], None],
    ) -> None:
        self._control = control
        self._storage = storage
        self._hosts = hosts
        self._lone_images = lone_images
        self._stopping = [asyncio.Lock() for _ in hosts]
        self._seed = seed
        self._tell = tell
        self._stops: Counter[str] = Counter()
        self._cut_until = -math.inf
        self._refused_before_surplus = 0
        self._refused_after_surplus: int | None = None
        self.crashes = 0

    async def faults(self) -> Counter[str]:
        """How often each kind of fault has struck: counted by the simulation, by the relay, and at each kill."""
        counters = await self._control.counters()
        failed = counters.event_grid.faults.get(SIMULATED_OUTAGE, 0)
        cuts = sum(relay.resets for relay in self._storage.relays)
        odd = sum(proxy.odd for proxy in self._storage.proxies)
        refused = sum(proxy.refused for proxy in self._storage.proxies)
        found = self._stops + Counter({STORAGE_CUT: cuts, TOPIC_FAILURE: failed, ODD_ANSWERS: odd, QUEUES_CUT: refused})
        for api in (counters.custom_vision, counters.face):
            found.update(api.faults)
        return found

    async def strike(self, fault: ServiceFault) -> None:
        """Let one fault of the services hold as long as it says, and on until it has struck."""
        kind, about = _describe(fault)
        before = (await self.faults())[kind]

        async def has_struck() -> bool:
            return (await self.faults())[kind] > before

        async with self._holding(fault):
            self._tell(f"begins: {about}")
            await asyncio.sleep(fault.seconds)
            await _until(has_struck)
        times = (await self.faults())[kind] - before
        self._tell(f"ends:   {about}, which struck {times} times")

    async def stop_hosts(self, faults: Iterable[HostFault]) -> None:
        """Stop the hosts by the clock, while they work, and start them again."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for fault in faults:
            await asyncio.sleep(began + fault.at_seconds - loop.time())
            await self._stop_and_restart(fault)

    async def keep_running(self) -> None:
        """Start hosts again that end by themselves, as a platform does."""
        while True:
            for number, host in enumerate(self._hosts):
                if not host.is_running and not self._stopping[number].locked():
                    await self._restart(number)
            await asyncio.sleep(RESTART_SECONDS)

    async def _restart(self, number: int) -> None:
        async with self._stopping[number]:
            if asyncio.get_running_loop().time() < self._cut_until + FORGIVEN_SECONDS:
                self._stops[HOST_ENDS] += 1
                self._tell(f"host {number + 1} has ended for want of storage, and is started again")
            else:
                self.crashes += 1
                self._tell(f"host {number + 1} has ended by itself")
            await self._hosts[number].start()

    async def watch_limit(self) -> None:
        """Note how many calls were over the limit when those after a surplus of permits count no more."""
        await asyncio.sleep(OVER_LIMIT_SECONDS)
        self._refused_after_surplus = await self._refused()

    async def over_limit(self) -> int:
        """How many calls were over the limit, but for those soon after a surplus of permits."""
        refused = await self._refused()
        after = refused if self._refused_after_surplus is None else self._refused_after_surplus
        return self._refused_before_surplus + refused - after

    async def _refused(self) -> int:
        return (await self._control.counters()).custom_vision.rate_limited

    async def _stop_and_restart(self, fault: HostFault) -> None:
        host, name = self._hosts[fault.host], f"host {fault.host + 1}"

        async def is_at_work() -> bool:
            return host.is_running and await self._calls_are_in_flight()

        is_mid_batch = await _until(is_at_work)
        async with self._stopping[fault.host]:
            self._tell(f"{fault.stop.value} to {name}")
            if host.is_running:
                await self._stop(host, fault.stop, is_mid_batch=is_mid_batch)
            if not host.is_running:
                await asyncio.sleep(fault.down_seconds)
                await host.start()
            self._tell(f"{name} is back")
        await asyncio.sleep(GET_BUSY_SECONDS)

    async def _stop(self, host: HostProcess, stop: Stop, *, is_mid_batch: bool) -> None:
        match stop:
            case Stop.KILL:
                self._stops[KILL] += is_mid_batch
                await host.kill()
            case Stop.TERMINATE:
                self._stops[TERMINATION] += is_mid_batch
                self.crashes += await host.stop() != 0
            case Stop.LOSE_WORKER:
                self._stops[WORKER_LOSS] += is_mid_batch
                await host.lose_worker()

    async def _calls_are_in_flight(self) -> bool:
        return (await self._control.counters()).custom_vision.in_flight > 0

    @asynccontextmanager
    async def _holding(self, fault: ServiceFault) -> AsyncIterator[None]:
        control = self._control
        match fault:
            case Storm():
                async with self._storm(fault):
                    yield
            case Outage():
                async with control.outage(Api.CUSTOM_VISION, fault.how), control.outage(Api.FACE, fault.how):
                    yield
            case WrongKey():
                async with control.wrong_key(Api.CUSTOM_VISION), control.wrong_key(Api.FACE):
                    yield
            case TopicFailure():
                async with control.outage(Api.EVENT_GRID, fault.how):
                    yield
            case LoneFailures():
                await control.answer_images_with(self._lone_images, "ErrorUnknown", fault.times)
                yield
            case _:
                async with self._holding_of_storage(fault):
                    yield

    @asynccontextmanager
    async def _holding_of_storage(self, fault: StorageFault) -> AsyncIterator[None]:
        match fault:
            case StorageCut():
                async with AsyncExitStack() as cuts:
                    for relay in self._storage.relays:
                        await cuts.enter_async_context(relay.cut())
                    self._cut_until = math.inf
                    yield
                self._cut_until = asyncio.get_running_loop().time()
            case OddAnswers():
                for proxy in self._storage.proxies:
                    proxy.odd_share = fault.share
                yield
                for proxy in self._storage.proxies:
                    proxy.odd_share = 0.0
            case QueuesCut():
                self._storage.proxies[fault.host].cut_queues = self._storage.app_queues
                yield
                self._storage.proxies[fault.host].cut_queues = frozenset()
            case PermitText():
                await self._write_into_a_permit()
                yield
            case SurplusPermits():
                await _until(self._permits_are_there)
                self._refused_before_surplus = await self._refused()
                await asyncio.gather(*(self._storage.permits.send_message("{}") for _ in range(fault.number)))
                self._stops[SURPLUS] += 1
                yield

    async def _permits_are_there(self) -> bool:
        try:
            properties = await self._storage.permits.get_queue_properties()
        except ResourceNotFoundError:
            return False
        return bool(properties.approximate_message_count)

    async def _write_into_a_permit(self) -> None:
        async def is_written() -> bool:
            message = await self._storage.permits.receive_message(visibility_timeout=1)
            if message is None:
                return False
            await self._storage.permits.update_message(
                message.id, message.pop_receipt, content=STRANGE_PERMIT, visibility_timeout=0
            )
            return True

        self._stops[PERMIT_TEXT] += await _until(is_written)

    @asynccontextmanager
    async def _storm(self, storm: Storm) -> AsyncIterator[None]:
        apis = [Api.CUSTOM_VISION] if storm.kind in IMAGE_FAULTS else [Api.CUSTOM_VISION, Api.FACE]
        for api in apis:
            await self._control.set_faults(api, Fault(kind=storm.kind, share=storm.share), seed=self._seed)
        try:
            yield
        finally:
            for api in apis:
                await self._control.set_faults(api)


def _describe(fault: ServiceFault) -> tuple[str, str]:
    """The kind under which a fault is counted, and what it is."""
    match fault:
        case Storm():
            return fault.kind.value, f"storm of {fault.kind} in {fault.share:.0%} of the calls"
        case Outage():
            return OUTAGE, f"outage of both APIs ({fault.how}) of {fault.seconds:g} s"
        case WrongKey():
            return WRONG_KEY, f"both APIs refuse the key for {fault.seconds:g} s"
        case LoneFailures():
            return LONE_FAILURES, "some images fail in every call, also alone"
        case TopicFailure():
            return TOPIC_FAILURE, f"the topic takes no event ({fault.how}) for {fault.seconds:g} s"
        case _:
            return _describe_of_storage(fault)


def _describe_of_storage(fault: StorageFault) -> tuple[str, str]:
    match fault:
        case StorageCut():
            return STORAGE_CUT, f"storage cut off for {fault.seconds:g} s"
        case OddAnswers():
            return ODD_ANSWERS, f"odd answers of storage to {fault.share:.0%} of the app's requests"
        case QueuesCut():
            return QUEUES_CUT, f"host {fault.host + 1} is cut off from permits and events for {fault.seconds:g} s"
        case PermitText():
            return PERMIT_TEXT, "a permit gets another text"
        case SurplusPermits():
            return SURPLUS, f"{fault.number} permits too many"


async def _until(condition: Callable[[], Awaitable[bool]]) -> bool:
    """Wait until the condition holds, and return whether it does: the wait is bounded."""
    try:
        async with asyncio.timeout(LONGEST_WAIT_SECONDS):
            while True:
                if await condition():
                    return True
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        return False
