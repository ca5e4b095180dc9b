"""Calls functions: `async def` on the host's loop, `def` in a pool of threads."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, cast

from local.host.errors import one_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from local.host.app_model import AppFunction
    from local.host.invocation_logs import Invocation, InvocationLogs

log = logging.getLogger("host")


class WorkerLostError(Exception):
    """The process that executes invocations has ended, and with it all that were executing."""


class Invoker:
    """Runs invocations under one time limit and tells how they ended.

    Nothing is ever cancelled. As in Azure, an invocation that outlasts its time costs the whole worker: all that are
    executing have failed, `worker_lost` is set, and the process has to be replaced. (What they do goes on until then,
    since host and worker are one process here.)
    """

    def __init__(
        self, timeout_seconds: float | None, threads: int | None, logs: InvocationLogs, *, tracebacks: bool
    ) -> None:
        self.worker_lost = asyncio.Event()
        self._timeout_seconds = timeout_seconds
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="function")
        self._logs = logs
        self._tracebacks = tracebacks
        self._answers: set[asyncio.Future[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def succeeds(self, function: AppFunction, argument: Callable[[], object], about: str) -> bool:
        """Call the function with what `argument` makes, and return whether it returned.

        Whatever either raises is logged in one line with `about`, which says what the call was for.
        """
        loop = asyncio.get_running_loop()
        started = time.monotonic()
        answer: asyncio.Future[None] = loop.create_future()
        self._answers.add(answer)
        limit = self._timeout_seconds
        timer = None if limit is None else loop.call_later(limit, self._time_out, answer)
        try:
            with self._logs.executing() as invocation:
                self._start(self._execute(function, argument, invocation, answer))
                await answer
        except Exception as error:
            trace = error if self._tracebacks else None
            log.error("%s (%s): failed: %s", function.name, about, one_line(error), exc_info=trace)  # noqa: TRY400
            return False
        finally:
            self._answers.discard(answer)
            if timer is not None:
                timer.cancel()
        log.debug("%s (%s): returned after %.3f s", function.name, about, time.monotonic() - started)
        return True

    def lose_worker(self, why: str) -> None:
        """Let every invocation that is executing have failed, as when the worker's process ends."""
        for answer in self._answers:
            if not answer.done():
                answer.set_exception(WorkerLostError(why))
        self.worker_lost.set()

    def _time_out(self, answer: asyncio.Future[None]) -> None:
        if not answer.done():
            answer.set_exception(TimeoutError(f"no end within {self._timeout_seconds:g} s"))
        self.lose_worker("another invocation did not end in time, which costs the whole worker")

    def _start(self, execution: Awaitable[None]) -> None:
        task = asyncio.ensure_future(execution)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _execute(
        self,
        function: AppFunction,
        argument: Callable[[], object],
        invocation: Invocation,
        answer: asyncio.Future[None],
    ) -> None:
        """Call the function and answer. As the worker, answer nothing where a `CancelledError` comes out of it."""
        self._logs.start(invocation)
        try:
            await self._call(function, argument(), invocation)
        except asyncio.CancelledError:
            log.error("%s: CancelledError, which the worker never answers: its time limit ends it", function.name)  # noqa: TRY400
            raise
        except Exception as error:
            if not answer.done():
                answer.set_exception(error)
        else:
            if not answer.done():
                answer.set_result(None)

    async def _call(self, function: AppFunction, argument: object, invocation: Invocation) -> None:
        call = functools.partial(function.call, **{function.argument: argument})
        if function.is_async:
            await cast("Awaitable[object]", call())
            return
        context = contextvars.copy_context()
        await asyncio.get_running_loop().run_in_executor(
            self._pool, context.run, self._logs.run_in_thread, invocation, call
        )
