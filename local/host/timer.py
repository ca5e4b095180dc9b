"""A timer trigger: one run after the other, in one host only."""

import asyncio
import fcntl
import functools
import hashlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from local.host.app_model import AppFunction, TimerTrigger
from local.host.binding_data import timer_request
from local.host.invoker import Invoker
from local.host.schedule import Run, next_run
from local.host.waiting import is_set_within

LOCK_POLL_SECONDS = 0.5
# A sleep is bounded, so that a clock that was set or a machine that slept is noticed.
MAX_SLEEP_SECONDS = 10.0

log = logging.getLogger("host")


def lock_file(app_root: Path, function_name: str, storage: str) -> Path:
    """Where hosts of one app on one storage account agree which of them runs the timer.

    `storage` is hashed: it may be a connection string.
    """
    account = hashlib.sha256(storage.encode()).hexdigest()[:16]
    return app_root / ".local" / "timers" / f"{function_name}-{account}.lock"


class TimerListener:
    """Runs one function by the clock until it is told to stop.

    Of several hosts only the one that holds the lock runs it. The lock is the operating system's, which gives it
    back however the host ends. (The Azure host leases a blob instead.)
    """

    def __init__(self, function: AppFunction, trigger: TimerTrigger, lock: Path, invoker: Invoker) -> None:
        self._function = function
        self._trigger = trigger
        self._lock = lock
        self._invoker = invoker
        self._stopping = asyncio.Event()
        self._runs = False

    @property
    def in_process(self) -> int:
        """1 while the function runs."""
        return int(self._runs)

    async def run(self) -> None:
        """Run on schedule until `stop`, then return when the run under way has ended."""
        async with self._sole_runner():
            last = datetime.now(UTC)
            if self._trigger.run_on_startup and not self._stopping.is_set():
                await self._invoke(Run(last, is_past_due=False))
            while await self._sleep_until(run := next_run(self._trigger.schedule, last, datetime.now(UTC))):
                last = run.at
                await self._invoke(run)

    def stop(self) -> None:
        """Start no more runs; the one under way goes on."""
        self._stopping.set()

    async def _invoke(self, run: Run) -> None:
        request = functools.partial(timer_request, is_past_due=run.is_past_due)
        about = "past due" if run.is_past_due else "on schedule"
        self._runs = True
        await self._invoker.succeeds(self._function, request, about)
        self._runs = False

    async def _sleep_until(self, run: Run) -> bool:
        """Sleep until the run is due and return True, or False as soon as the host stops."""
        while (left := (run.at - datetime.now(UTC)).total_seconds()) > 0:
            if await is_set_within(self._stopping, min(left, MAX_SLEEP_SECONDS)):
                return False
        return not self._stopping.is_set()

    @asynccontextmanager
    async def _sole_runner(self) -> AsyncIterator[None]:
        """Hold the lock; without it if the host stops before it was free."""
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        with self._lock.open("w") as file:
            waits = False
            while not _try_lock(file.fileno()):
                if not waits:
                    log.info("%s: another host runs this timer", self._function.name)
                waits = True
                if await is_set_within(self._stopping, LOCK_POLL_SECONDS):
                    break
            yield


def _try_lock(file_descriptor: int) -> bool:
    try:
        fcntl.flock(file_descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
