"""Which log records arrive: those of invocations that are executing.

The Python worker sends each record to the host with the id of the invocation whose task wrote it, or a task that this
one began, in however many steps. A record from anywhere else in the same thread, a timer or a callback say, gets the
id of the invocation that was started last. The host drops records whose invocation is not executing, and those of
none. (azure-functions-python-worker, `dispatcher.py`; the host's `GrpcWorkerChannel.Log`.)
"""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

# Ours, the SDK's and the worker's: not the app's, so they need no invocation.
SYSTEM_LOGGERS = ("host", "azure.functions", "azure_functions_worker")


class Invocation:
    """One call of a function, known by its identity."""


class InvocationTask(asyncio.Task[Any]):
    """A task that belongs to the invocation of the task that created it."""

    def __init__(self, coro: Coroutine[Any, Any, Any], **options: Any) -> None:
        super().__init__(coro, **options)
        creator = asyncio.current_task(self.get_loop())
        self.invocation: Invocation | None = getattr(creator, "invocation", None)


class InvocationLogs(logging.Filter):
    """Lets through what the host shows. With `show_dropped` the rest too, marked."""

    def __init__(self, *, show_dropped: bool = False) -> None:
        super().__init__()
        self.show_dropped = show_dropped
        self._executing: set[Invocation] = set()
        self._started_last = threading.local()

    @contextmanager
    def executing(self) -> Iterator[Invocation]:
        """An invocation, which is executing until the end of the block."""
        invocation = Invocation()
        self._executing.add(invocation)
        try:
            yield invocation
        finally:
            self._executing.discard(invocation)

    def start(self, invocation: Invocation) -> None:
        """Take note that the current task is this invocation's, and that this one was started last."""
        task = asyncio.current_task()
        if isinstance(task, InvocationTask):
            task.invocation = invocation
        self._started_last.invocation = invocation

    def run_in_thread(self, invocation: Invocation, call: Callable[[], object]) -> object:
        """Call a function in a thread that is this invocation's for so long."""
        self._started_last.invocation = invocation
        try:
            return call()
        finally:
            self._started_last.invocation = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record arrives."""
        if _is_system(record.name) or self._current() in self._executing:
            return True
        if self.show_dropped:
            record.msg, record.args = f"[dropped] {record.getMessage()}", None
        return self.show_dropped

    def _current(self) -> Invocation | None:
        return _of_current_task() or getattr(self._started_last, "invocation", None)


def attribute_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Let every task that is created from now on belong to its creator's invocation."""
    loop.set_task_factory(lambda loop, coro, **options: InvocationTask(coro, loop=loop, **options))


def _of_current_task() -> Invocation | None:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # a thread without a loop
        return None
    return task.invocation if isinstance(task, InvocationTask) else None


def _is_system(name: str) -> bool:
    return any(name == system or name.startswith(f"{system}.") for system in SYSTEM_LOGGERS)
