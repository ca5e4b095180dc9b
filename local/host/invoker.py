"""Calls functions: `async def` on the host's loop, `def` in a pool of threads."""

import asyncio
import contextvars
import functools
import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, cast

from local.host.app_model import AppFunction
from local.host.errors import one_line

if TYPE_CHECKING:
    from collections.abc import Awaitable

log = logging.getLogger("host")


class Invoker:
    """Runs invocations under one time limit and tells how they ended.

    A `def` function that outlasts its time counts as failed, but its thread cannot be stopped and goes on. (The
    Azure host restarts the whole worker process then.)
    """

    def __init__(self, timeout_seconds: float | None, threads: int | None, *, tracebacks: bool) -> None:
        self._timeout_seconds = timeout_seconds
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="function")
        self._in_threads: set[Future[object]] = set()
        self._tracebacks = tracebacks

    async def succeeds(self, function: AppFunction, argument: object, about: str) -> bool:
        """Call the function and return whether it returned.

        Whatever it raises is logged in one line with `about`, which says what the call was for. Cancelling this
        ends the invocation as failed; the caller goes on.
        """
        started = time.monotonic()
        limit = asyncio.timeout(self._timeout_seconds)
        try:
            async with limit:
                await self._call(function, argument)
        except TimeoutError as error:
            reason = f"no end within {self._timeout_seconds:g} s" if limit.expired() else one_line(error)
            self._log_failure(function, about, reason, error)
            return False
        except asyncio.CancelledError as error:
            # The caller has a message to release, so the cancellation ends here.
            if task := asyncio.current_task():
                task.uncancel()
            self._log_failure(function, about, "cancelled", error)
            return False
        except Exception as error:
            self._log_failure(function, about, one_line(error), error)
            return False
        log.debug("%s (%s): returned after %.3f s", function.name, about, time.monotonic() - started)
        return True

    def close(self) -> bool:
        """Start no more threads and return whether none is busy."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        return not self._in_threads

    async def _call(self, function: AppFunction, argument: object) -> None:
        call = functools.partial(function.call, **{function.argument: argument})
        if function.is_async:
            await cast("Awaitable[object]", call())
            return
        future = self._pool.submit(contextvars.copy_context().run, call)
        self._in_threads.add(future)
        future.add_done_callback(self._in_threads.discard)
        await asyncio.wrap_future(future)

    def _log_failure(self, function: AppFunction, about: str, reason: str, error: BaseException) -> None:
        trace = error if self._tracebacks else None
        log.error("%s (%s): failed: %s", function.name, about, reason, exc_info=trace)
