"""Runs each invocation so that all log records reach the host, and no secret does.

The host drops a log record unless the task that wrote it belongs to an invocation that is still running. An invocation
that waits for its images writes the records of other tasks at once. If none is running, they are kept for the next.
"""

import asyncio
import logging
import traceback
from collections import deque
from collections.abc import Coroutine

from shared.redaction import redacted, redacted_error

MAX_HELD = 1000  # only if nothing is invoked for a long time; beyond that the oldest are dropped
ALWAYS_ARRIVE = ("azure.functions", "azure_functions_worker")  # the worker's own loggers


class Invocations(logging.Filter):
    """Does the work of each invocation. As a filter of the worker's log handler it sees each record first."""

    def __init__(self) -> None:
        super().__init__()
        self._held: deque[logging.LogRecord] = deque(maxlen=MAX_HELD)
        self._arriving: set[asyncio.Task[None] | None] = set()  # whose records arrive: two tasks for each invocation
        self._waiting: dict[asyncio.Event, None] = {}  # one for each, set when there is something to do for it
        self._loop: asyncio.AbstractEventLoop | None = None

    def install(self) -> None:
        """Attach to all handlers of the root logger, before their other filters."""
        for handler in logging.getLogger().handlers:
            handler.filters.insert(0, self)

    async def run(self, work: Coroutine[None, None, None]) -> None:
        """Do the work of the current invocation. Raises what the work raises, without secrets."""
        self._loop = asyncio.get_running_loop()
        task = self._loop.create_task(work)
        wake = asyncio.Event()
        task.add_done_callback(lambda _: wake.set())
        own = {task, asyncio.current_task()}
        self._arriving |= own
        self._waiting[wake] = None
        try:
            self._write_held()
            while not task.done():
                await wake.wait()
                wake.clear()
                self._write_held()
        finally:
            del self._waiting[wake]
            self._arriving -= own
            task.cancel()
        if not task.cancelled() and (error := task.exception()) is not None:
            raise redacted_error(error)
        task.result()

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact a record; hold it if it would not arrive."""
        arrives = self._arrives() or record.name.startswith(ALWAYS_ARRIVE)
        if hasattr(record, _SEEN) or (not arrives and record.levelno <= logging.DEBUG):
            return arrives
        setattr(record, _SEEN, True)
        _redact(record)
        if not arrives:
            self._held.append(record)
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._wake_one)
        return arrives

    def _arrives(self) -> bool:
        try:
            return asyncio.current_task() in self._arriving
        except RuntimeError:  # a thread without a loop
            return False

    def _wake_one(self) -> None:
        if self._held and self._waiting:
            next(iter(self._waiting)).set()

    def _write_held(self) -> None:
        """Write what is held, through the handlers that would have dropped it."""
        while self._held:
            record = self._held.popleft()
            for handler in logging.getLogger().handlers:
                if self in handler.filters and record.levelno >= handler.level:
                    handler.handle(record)


invocations = Invocations()

_SEEN = "seen_by_vision_relay"


def _redact(record: logging.LogRecord) -> None:
    """Make the record's text final: whatever it was made of may change, or hold much memory, until it is written."""
    try:
        message = record.getMessage()
    except Exception:  # the handler would have told it, and not raised
        message = f"{record.msg} {record.args}"
    record.msg, record.args = redacted(message), None
    if record.exc_info:
        record.exc_text = redacted("".join(traceback.format_exception(record.exc_info[1])).rstrip())
        record.exc_info = None
