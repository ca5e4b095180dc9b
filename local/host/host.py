"""Runs an app's functions from start to graceful stop."""

import asyncio
import logging
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from local.host.app_model import AppFunction, QueueTrigger
from local.host.errors import one_line
from local.host.host_config import HostConfig
from local.host.invoker import Invoker
from local.host.queue_listener import QueueListener
from local.host.queues import QueueServices, TriggerQueue, open_queue_services
from local.host.settings import LocalOptions
from local.host.timer import TimerListener, lock_file

READY = "host ready"
# After cancelled invocations, for releasing their messages.
SETTLE_SECONDS = 10.0

log = logging.getLogger("host")


class Listener(Protocol):
    """What calls a function: a queue or a timer."""

    @property
    def in_process(self) -> int:
        """How many invocations are not over."""

    async def run(self) -> None:
        """Call the function until `stop`, then return when all invocations are over."""

    def stop(self) -> None:
        """Begin no more invocations."""

    def cancel_invocations(self) -> None:
        """Cancel the invocations that still run."""


@dataclass(frozen=True)
class App:
    """Everything that is known of an app before it runs."""

    root: Path
    settings: Mapping[str, str]
    config: HostConfig
    options: LocalOptions
    functions: Sequence[AppFunction]


async def run_app(app: App, invoker: Invoker) -> bool:
    """Run the app until SIGTERM or SIGINT and return whether it ended as asked.

    Raises HostStartError if a connection is not set.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with open_queue_services(app.settings) as services:
        listeners = [_listener(app, function, services, invoker) for function in app.functions]
        runs = [asyncio.create_task(listener.run()) for listener in listeners]
        log.info("%s: %s", READY, ", ".join(_describe(function) for function in app.functions))
        fine = await _until_stop_or_crash(stop, runs)
        await _stop(listeners, runs, app.options.drain_seconds)
    return fine


async def _until_stop_or_crash(stop: asyncio.Event, runs: Sequence[asyncio.Task[None]]) -> bool:
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([stopped, *runs], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    crashes = [error for run in runs if run.done() and (error := run.exception())]
    for error in crashes:
        log.error("host failed: %s", one_line(error), exc_info=error)
    return not crashes


async def _stop(listeners: Sequence[Listener], runs: Sequence[asyncio.Task[None]], drain_seconds: float) -> None:
    for listener in listeners:
        listener.stop()
    log.info("stopping: %d invocations run", sum(listener.in_process for listener in listeners))
    if not await _ended(runs, drain_seconds):
        left = sum(listener.in_process for listener in listeners)
        log.warning("stopping: %d invocations still run after %g s, cancelling", left, drain_seconds)
        for listener in listeners:
            listener.cancel_invocations()
        if not await _ended(runs, SETTLE_SECONDS):
            log.error("stopping: some invocations do not end; their messages come back when their leases end")
    log.info("stopped")


async def _ended(runs: Sequence[asyncio.Task[None]], within_seconds: float) -> bool:
    if not runs:  # all functions are disabled
        return True
    _, running = await asyncio.wait(runs, timeout=within_seconds)
    return not running


def _listener(app: App, function: AppFunction, services: QueueServices, invoker: Invoker) -> Listener:
    trigger = function.trigger
    if isinstance(trigger, QueueTrigger):
        queue = TriggerQueue(services.service(trigger.connection), trigger.queue_name)
        return QueueListener(function, queue, app.config.queues, app.options.lease_seconds, invoker)
    lock = lock_file(app.root, function.name, app.settings.get("AzureWebJobsStorage", ""))
    return TimerListener(function, trigger, lock, invoker)


def _describe(function: AppFunction) -> str:
    trigger = function.trigger
    if isinstance(trigger, QueueTrigger):
        return f"{function.name} (queue {trigger.queue_name})"
    return f"{function.name} (timer {trigger.schedule.expression})"
