"""Carries out a schedule, and counts what really happened."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from local.chaos.faults import KILL, OUTAGE, STORAGE_CUT, TERMINATION, TOPIC_FAILURE, WORKER_LOSS, WRONG_KEY
from local.chaos.schedule import HostFault, Outage, ServiceFault, Stop, StorageCut, Storm, TopicFailure, WrongKey
from local.simulation.counters import OUTAGE as SIMULATED_OUTAGE
from local.simulation.faults import IMAGE_FAULTS
from local.simulation.models import Api, Fault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

    from local.chaos.tcp_proxy import Relay
    from local.host.process import HostProcess
    from local.simulation.control import SimulationControl

POLL_SECONDS = 0.05
LONGEST_WAIT_SECONDS = 60.0
"""For something to strike: the app's back-off may have grown as long as that."""


GET_BUSY_SECONDS = 3.0
"""For a host that has just started to have messages in hand, before the next one is stopped."""


class Injector:
    """Strikes the services, the way to storage and the hosts. `tell` is told of each fault as it begins and ends.

    `crashes` counts the hosts that ended by themselves, or not cleanly when they were asked to.
    """

    def __init__(
        self,
        control: SimulationControl,
        relay: Relay,
        hosts: Sequence[HostProcess],
        seed: int,
        tell: Callable[[str], None],
    ) -> None:
        self._control = control
        self._relay = relay
        self._hosts = hosts
        self._seed = seed
        self._tell = tell
        self._stops: Counter[str] = Counter()
        self.crashes = 0

    async def faults(self) -> Counter[str]:
        """How often each kind of fault has struck: counted by the simulation, by the relay, and at each kill."""
        counters = await self._control.counters()
        failed = counters.event_grid.faults.get(SIMULATED_OUTAGE, 0)
        found = self._stops + Counter({STORAGE_CUT: self._relay.resets, TOPIC_FAILURE: failed})
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
            await self._stop_and_restart(self._hosts[fault.host], f"host {fault.host + 1}", fault)

    def look_after_hosts(self) -> None:
        """Count the hosts that do not run although nobody stopped them."""
        self.crashes += sum(not host.is_running for host in self._hosts)

    async def _stop_and_restart(self, host: HostProcess, name: str, fault: HostFault) -> None:
        is_mid_batch = await _until(self._calls_are_in_flight)
        self._tell(f"{fault.stop.value} to {name}")
        if not host.is_running:
            self.crashes += 1
        else:
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
            case StorageCut():
                async with self._relay.cut():
                    yield
            case TopicFailure():
                async with control.outage(Api.EVENT_GRID, fault.how):
                    yield

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
        case StorageCut():
            return STORAGE_CUT, f"storage cut off for {fault.seconds:g} s"
        case TopicFailure():
            return TOPIC_FAILURE, f"the topic takes no event ({fault.how}) for {fault.seconds:g} s"


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
