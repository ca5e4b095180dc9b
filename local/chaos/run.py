"""One run, from the start of the local cloud to the account."""

from __future__ import annotations

import asyncio
import random
import re
import time
from contextlib import AsyncExitStack
from itertools import accumulate, pairwise
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from local.account.account import Account, settle
from local.account.evidence import collect, prepare, queued
from local.chaos.faults import Faults
from local.chaos.injector import Injector, Storage
from local.chaos.schedule import HOSTS, build_schedule
from local.chaos.storage_proxy import StorageProxy
from local.chaos.tcp_proxy import Relay
from local.chaos.workload import GROUPS, NEVER_TRAINED, chaos_workload
from local.cloud import EVENTS, UPDATES, WATCHES, LocalCloud
from local.host.process import HostProcess
from local.simulation.models import Api, GroupKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from rich.console import Console

PROJECT = Path(__file__).parents[2]
BUILD = PROJECT / "build"

LONGEST_SECONDS = 480.0
LONGEST_TAIL_SECONDS = 100.0
"""After the last fault, for the queues to become empty."""

BURST_SECONDS = 1.5
KEPT_BACK_SHARE = 0.1
LAST_BURSTS = 30
"""In which the share of updates is sent that was kept back until the other faults are over."""

POLL_SECONDS = 0.5
LATENCY_SECONDS = 0.2
LATENCY_JITTER_SECONDS = 0.4

TRACEBACK = "Traceback (most recent call last)"
STORAGE = "AzureWebJobsStorage"
PERMITS = "chaos-permits"
LONE_IMAGES = 12
_PORT = re.compile(r"(?<=//127\.0\.0\.1:)\d+")

CALLS_PER_SECOND = 40.0
SHORTENED = {
    "CUSTOM_VISION_CALLS_PER_SECOND": f"{CALLS_PER_SECOND}",
    "MAX_WAIT_SECONDS": "12",
    "API_TIMEOUT_SECONDS": "3",
    "WATCH_LEASE_SECONDS": "15",
    "LOCAL_HOST_LEASE_SECONDS": "10",
    "LOCAL_HOST_DRAIN_SECONDS": "1",
    "LOCAL_HOST_SHOW_DROPPED": "true",
    "AzureFunctionsJobHost__extensions__queues__visibilityTimeout": "00:00:02",
    "AzureFunctionsJobHost__extensions__queues__maxDequeueCount": "60",
}
"""Waits, all shortened, also the one from call to call. Hold is shorter than the outage, so that messages go back to
their queue. The drain is shorter than what an invocation may take, so that a stop cuts some off. As with the app's own
settings, `maxDequeueCount` deliveries of hold and visibility timeout outlast what messages have to survive: here the
whole run, there a day. Log lines that Azure would drop are kept, since tracebacks are looked for in them."""


class Chaos:
    """One run of so many updates, which the seed repeats."""

    def __init__(
        self, messages: int, seed: int, console: Console, *, groups: int = GROUPS, polls_per_second: float | None = None
    ) -> None:
        self._seed = seed
        self._console = console
        self._workload = chaos_workload(messages, seed, groups)
        self._polls_per_second = polls_per_second or CALLS_PER_SECOND
        self._schedule = build_schedule(seed)
        self._began = time.monotonic()
        self._sent = 0
        self._kept_back = ceil(len(self._workload.texts) * KEPT_BACK_SHARE)

    async def run(self) -> tuple[Account, Faults]:
        """Start everything, let the faults strike, wait until nothing moves any more, and account for it.

        Raises `TimeoutError` if it takes too long. Whatever was started is stopped again.
        """
        self._tell("starting Azurite, the simulated services and two hosts")
        async with asyncio.timeout(LONGEST_SECONDS), LocalCloud() as cloud:
            await self._prepare(cloud)
            async with AsyncExitStack() as between, AsyncExitStack() as running:
                storage = await self._way_to_storage(cloud, between)
                hosts = [self._host(cloud, relay, number) for number, relay in enumerate(storage.relays)]
                injector = Injector(cloud.control, storage, hosts, self._lone_images(), self._seed, self._tell)
                for host in hosts:
                    await host.start()
                    running.push_async_callback(host.kill)  # also after Ctrl-C, when a stop would take its time
                await self._work(cloud, injector)
                await running.aclose()
                evidence = await collect(cloud, self._workload, time.monotonic() - self._began)
                return settle(self._workload, evidence), await self._faults(injector)

    async def _way_to_storage(self, cloud: LocalCloud, between: AsyncExitStack) -> Storage:
        """Put a relay and a proxy between each host and storage."""
        port = _port(cloud.settings[STORAGE])
        proxies = [
            await between.enter_async_context(StorageProxy(port, UPDATES, self._seed + number))
            for number in range(HOSTS)
        ]
        relays = [await between.enter_async_context(Relay(proxy.port)) for proxy in proxies]
        permits = cloud.queues.get_queue_client(PERMITS)
        return Storage(relays, proxies, permits, frozenset({PERMITS, EVENTS}))

    def _host(self, cloud: LocalCloud, relay: Relay, number: int) -> HostProcess:
        own = {
            STORAGE: _through(relay, cloud.settings[STORAGE]),
            "PERMITS_QUEUE": PERMITS,
            "FACE_CALLS_PER_SECOND": f"{self._polls_per_second:g}",
        }
        settings = cloud.settings | cloud.topic_settings | SHORTENED | own
        return HostProcess(PROJECT, settings, _fresh_log(number))

    def _lone_images(self) -> list[UUID]:
        """Images of the first updates that are kept back to the end: they come back until their failures end."""
        applicable = [image for update in self._workload.updates for image in update.applicable]
        return random.Random(f"lone {self._seed}").sample(applicable, LONE_IMAGES)  # noqa: S311 - repeatable

    def _tell(self, what: str) -> None:
        self._console.print(f"{time.monotonic() - self._began:6.1f} s  {what}", highlight=False, soft_wrap=True)

    async def _prepare(self, cloud: LocalCloud) -> None:
        for kind in GroupKind:
            await cloud.control.add_group(NEVER_TRAINED, kind)
        for api in Api:
            await cloud.control.set_rate(api, self._polls_per_second if api is Api.FACE else CALLS_PER_SECOND)
            await cloud.control.set_latency(api, LATENCY_SECONDS, LATENCY_JITTER_SECONDS, seed=self._seed)

    async def _work(self, cloud: LocalCloud, injector: Injector) -> None:
        await prepare(cloud, self._workload)
        columns = (TextColumn("{task.description:<17}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console) as progress:
            async with asyncio.TaskGroup() as tasks:
                following = tasks.create_task(self._follow(cloud, progress))
                stops = tasks.create_task(injector.stop_hosts(self._schedule.host_faults))
                beside = [tasks.create_task(injector.keep_running()), tasks.create_task(injector.watch_limit())]
                await self._strike(cloud, injector)
                await self._keep_busy(cloud, stops)
                self._tell("no more faults; waiting until the queues are empty")
                await self._until_empty(cloud)
                for task in (following, *beside):
                    task.cancel()

    async def _strike(self, cloud: LocalCloud, injector: Injector) -> None:
        """Let each fault strike, while its share of the messages is sent."""
        seconds = [fault.seconds for fault in self._schedule.service_faults]
        updates = _divide(self._workload.texts[: -self._kept_back], seconds)
        watches = _divide(self._workload.watch_texts, seconds)
        for fault, some_updates, some_watches in zip(self._schedule.service_faults, updates, watches, strict=True):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._send(cloud, UPDATES, some_updates, fault.seconds))
                tasks.create_task(self._send(cloud, WATCHES, some_watches, fault.seconds))
                await injector.strike(fault)

    async def _keep_busy(self, cloud: LocalCloud, stops: asyncio.Task[None]) -> None:
        """Send what was kept back, a little at a time as long as hosts are still to be stopped in the midst of work."""
        for some in _divide(self._workload.texts[-self._kept_back :], [1.0] * LAST_BURSTS):
            await self._send(cloud, UPDATES, some, 0.0 if stops.done() else BURST_SECONDS)
        await stops

    async def _send(self, cloud: LocalCloud, queue: str, texts: Sequence[str], seconds: float) -> None:
        """Send in bursts, so that batches have something to fill up with."""
        bursts = max(1, round(seconds / BURST_SECONDS))
        for burst in _divide(texts, [1.0] * bursts):
            async for _ in cloud.send(queue, burst):
                self._sent += 1
            await asyncio.sleep(seconds / bursts)

    async def _follow(self, cloud: LocalCloud, progress: Progress) -> None:
        """Move the bars."""
        sent = progress.add_task("messages sent", total=self._workload.messages)
        settled = progress.add_task("messages settled", total=self._workload.messages)
        while True:
            progress.update(sent, completed=self._sent)
            progress.update(settled, completed=max(0, self._sent - await queued(cloud)))
            await asyncio.sleep(POLL_SECONDS)

    async def _until_empty(self, cloud: LocalCloud) -> None:
        """Wait, but not for ever: what is left is told by the account."""
        give_up_at = time.monotonic() + LONGEST_TAIL_SECONDS
        while time.monotonic() < give_up_at:
            if not await queued(cloud):
                return
            await asyncio.sleep(POLL_SECONDS)

    async def _faults(self, injector: Injector) -> Faults:
        return Faults(
            faults=dict(await injector.faults()),
            crashes=injector.crashes,
            tracebacks=sum(_log(number).read_text().count(TRACEBACK) for number in range(HOSTS)),
            over_limit=await injector.over_limit(),
        )


def _divide(texts: Sequence[str], weights: Sequence[float]) -> list[Sequence[str]]:
    """Cut into parts of these relative sizes, in order."""
    total = sum(weights)
    ends = [round(len(texts) * done / total) for done in accumulate(weights, initial=0.0)]
    return [texts[start:end] for start, end in pairwise(ends)]


def _port(connection_string: str) -> int:
    match = _PORT.search(connection_string)
    if match is None:
        raise ValueError("the connection string names no port on loopback")
    return int(match[0])


def _through(relay: Relay, connection_string: str) -> str:
    return _PORT.sub(str(relay.port), connection_string)


def _log(number: int) -> Path:
    return BUILD / f"chaos-host-{number + 1}.log"


def _fresh_log(number: int) -> Path:
    log = _log(number)
    log.unlink(missing_ok=True)
    return log
