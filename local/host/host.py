"""Runs an app's functions until it is asked to stop, or its worker is lost."""

import asyncio
import functools
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any, NoReturn, Protocol

from local.host.app_model import AppFunction, QueueTrigger
from local.host.errors import one_line
from local.host.host_config import HostConfig
from local.host.invocation_logs import attribute_tasks
from local.host.invoker import Invoker
from local.host.queue_listener import QueueListener
from local.host.queues import QueueServices, TriggerQueue, open_queue_services
from local.host.settings import LocalOptions
from local.host.timer import TimerListener, lock_file

READY = "host ready"
WORKER_LOST = "the worker is lost"
EXIT_FAILED = 1
# When the worker is lost, for releasing the messages of all that it executed.
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


@dataclass(frozen=True)
class App:
    """Everything that is known of an app before it runs."""

    root: Path
    settings: Mapping[str, str]
    config: HostConfig
    options: LocalOptions
    functions: Sequence[AppFunction]


class End(Enum):
    """Why the host does not go on."""

    ASKED = auto()
    FAILED = auto()
    WORKER_LOST = auto()


async def run_app(app: App, invoker: Invoker, restart: Callable[[], NoReturn]) -> NoReturn:
    """Run the app and end the process: with code 0 after SIGTERM or SIGINT, 1 after a failure, such as of storage.

    What still runs when the drain is over is not told and not answered: the process is gone, as in Azure. If the worker
    is lost, by an invocation that outlasts its time or by SIGUSR1, all its invocations have failed, their messages are
    released, and `restart` replaces the process.

    Raises HostStartError if a connection is not set.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    failure: asyncio.Future[None] = loop.create_future()
    attribute_tasks(loop)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, invoker.lose_worker, "the worker has ended")
    async with open_queue_services(app.settings) as services:
        fail = functools.partial(_fail, failure)
        listeners = [_listener(app, function, services, invoker, fail) for function in app.functions]
        runs = [asyncio.create_task(listener.run()) for listener in listeners]
        log.info("%s: %s", READY, ", ".join(_describe(function) for function in app.functions))
        end = await _end(stop, invoker.worker_lost, failure, runs)
        if end is End.WORKER_LOST:
            await _release(listeners, runs)
            if not stop.is_set():
                restart()
        await _drain(listeners, runs, app.options.drain_seconds)
        end_process(EXIT_FAILED if end is End.FAILED else 0)


def end_process(code: int) -> NoReturn:
    """End at once: no task is cancelled, no thread waited for, nothing closed."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


def _fail(failure: asyncio.Future[None], error: Exception) -> None:
    """Have the host end for this error, unless it ends for another."""
    if not failure.done():
        failure.set_exception(error)


async def _end(
    stop: asyncio.Event,
    worker_lost: asyncio.Event,
    failure: asyncio.Future[None],
    runs: Sequence[asyncio.Task[None]],
) -> End:
    waits = [asyncio.create_task(event.wait()) for event in (stop, worker_lost)]
    ends: list[asyncio.Future[Any]] = [*waits, failure, *runs]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    failures = [error for end in (failure, *runs) if end.done() and (error := end.exception())]
    for error in failures:
        log.error("an unhandled exception has occurred, the host is shutting down: %s", one_line(error))
    if failures:
        return End.FAILED
    return End.WORKER_LOST if worker_lost.is_set() else End.ASKED


async def _release(listeners: Sequence[Listener], runs: Sequence[asyncio.Task[None]]) -> None:
    """Let the messages of all failed invocations go back to their queues."""
    for listener in listeners:
        listener.stop()
    log.error("%s: what it executed has failed; it is started again", WORKER_LOST)
    if not await _ended(runs, SETTLE_SECONDS):
        log.error("some messages cannot be released; they come back when their leases end")


async def _drain(listeners: Sequence[Listener], runs: Sequence[asyncio.Task[None]], drain_seconds: float) -> None:
    for listener in listeners:
        listener.stop()
    log.info("stopping: %d invocations run", sum(listener.in_process for listener in listeners))
    if await _ended(runs, drain_seconds):
        log.info("stopped")
    else:
        left = sum(listener.in_process for listener in listeners)
        log.warning(
            "stopped: %d invocations did not end within %g s; their messages come back when their leases end",
            left,
            drain_seconds,
        )


async def _ended(runs: Sequence[asyncio.Task[None]], within_seconds: float) -> bool:
    if not runs:  # all functions are disabled
        return True
    _, running = await asyncio.wait(runs, timeout=within_seconds)
    return not running


def _listener(
    app: App, function: AppFunction, services: QueueServices, invoker: Invoker, fail: Callable[[Exception], None]
) -> Listener:
    trigger = function.trigger
    if isinstance(trigger, QueueTrigger):
        queue = TriggerQueue(services.service(trigger.connection), trigger.queue_name)
        return QueueListener(function, trigger, queue, app.config.queues, app.options.lease_seconds, invoker, fail)
    lock = lock_file(app.root, function.name, app.settings.get("AzureWebJobsStorage", ""))
    return TimerListener(function, trigger, lock, invoker)


def _describe(function: AppFunction) -> str:
    trigger = function.trigger
    if isinstance(trigger, QueueTrigger):
        return f"{function.name} (queue {trigger.queue_name})"
    return f"{function.name} (timer {trigger.schedule.expression})"
