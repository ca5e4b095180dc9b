"""Every log record arrives, once, and no error leaves with a secret.

Which records arrive is decided by the rule of the host, as `local/host` has it.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from functions import invocation
from functions.invocation import Invocations
from functions.poll_training_status import _replenish_and_tick
from local.host.invocation_logs import InvocationLogs, attribute_tasks
from shared.redaction import RedactedError, hide

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

SECRET = "marked-secret"

log = logging.getLogger("shared.anything")


class Host(logging.Handler):
    """What the worker's handler and the host make of the records: those that arrive, as text."""

    def __init__(self) -> None:
        super().__init__()
        self._logs = InvocationLogs()
        self.addFilter(self._logs)
        self.invocations = Invocations()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    async def invoke(self, work: Coroutine[None, None, None]) -> None:
        attribute_tasks(asyncio.get_running_loop())
        await asyncio.create_task(self._invoke(work))

    async def _invoke(self, work: Coroutine[None, None, None]) -> None:
        with self._logs.executing() as mine:
            self._logs.start(mine)
            await self.invocations.run(work)


@pytest.fixture
def host() -> Iterator[Host]:
    handler, root = Host(), logging.getLogger()
    root.addHandler(handler)
    handler.invocations.install()
    log.setLevel(logging.DEBUG)
    yield handler
    log.setLevel(logging.NOTSET)
    root.removeHandler(handler)
    for other in root.handlers:
        other.removeFilter(handler.invocations)


async def nothing() -> None:
    pass


async def wait_for(event: asyncio.Event) -> None:
    await event.wait()


async def say(text: str) -> None:
    log.info(text)


async def in_a_task_of_an_invocation_that_is_over(host: Host, write: Callable[[], None]) -> None:
    async def later() -> None:
        await asyncio.sleep(1)
        write()

    async def leave_a_task() -> None:
        tasks.append(asyncio.create_task(later()))

    tasks: list[asyncio.Task[None]] = []
    await host.invoke(leave_a_task())
    await tasks[0]


async def in_a_callback(host: Host, write: Callable[[], None]) -> None:
    async def leave_a_callback() -> None:
        asyncio.get_running_loop().call_later(1, write)

    await host.invoke(leave_a_callback())
    await asyncio.sleep(2)


async def in_a_thread(host: Host, write: Callable[[], None]) -> None:
    await asyncio.to_thread(write)


async def at_the_import(host: Host, write: Callable[[], None]) -> None:
    write()


async def in_a_task_of_the_invocation(host: Host, write: Callable[[], None]) -> None:
    async def with_a_child() -> None:
        async def child() -> None:
            write()

        await asyncio.create_task(child())

    await host.invoke(with_a_child())


async def in_an_invocation(host: Host, write: Callable[[], None]) -> None:
    async def work() -> None:
        write()

    await host.invoke(work())


EVERYWHERE = [
    in_a_task_of_an_invocation_that_is_over,
    in_a_callback,
    in_a_thread,
    at_the_import,
    in_a_task_of_the_invocation,
    in_an_invocation,
]
Written = Callable[[Host, Callable[[], None]], Awaitable[None]]


@pytest.mark.looptime
class TestRecords:
    @pytest.mark.parametrize("written", EVERYWHERE, ids=lambda written: written.__name__)
    async def test_an_invocation_that_waits_writes_them_at_once(self, host: Host, written: Written) -> None:
        """Also in an outage, in which no invocation ends."""
        until = asyncio.Event()
        waiting = asyncio.create_task(host.invoke(wait_for(until)))
        await asyncio.sleep(0)
        await written(host, lambda: log.warning("calls are suspended"))
        await asyncio.sleep(0.1)
        assert host.lines == ["calls are suspended"]
        until.set()
        await waiting
        assert host.lines == ["calls are suspended"]

    @pytest.mark.parametrize("written", EVERYWHERE, ids=lambda written: written.__name__)
    async def test_the_next_invocation_writes_them_if_none_is_running(self, host: Host, written: Written) -> None:
        await written(host, lambda: log.warning("calls are suspended"))
        await host.invoke(nothing())
        assert host.lines == ["calls are suspended"]

    async def test_one_invocation_after_the_other_writes(self, host: Host) -> None:
        ends = [asyncio.Event() for _ in range(5)]
        waiting = [asyncio.create_task(host.invoke(wait_for(end))) for end in ends]
        await asyncio.sleep(0)
        for number, (end, one) in enumerate(zip(ends, waiting, strict=True)):
            log.info("%d", number)
            await asyncio.sleep(0.1)
            end.set()
            await one
        assert host.lines == ["0", "1", "2", "3", "4"]

    async def test_many_at_once_keep_their_order(self, host: Host) -> None:
        until = asyncio.Event()
        waiting = [asyncio.create_task(host.invoke(wait_for(until))) for _ in range(10)]
        await asyncio.sleep(0)
        for number in range(100):
            log.info("%d", number)
        await asyncio.sleep(0.1)
        assert host.lines == [str(number) for number in range(100)]
        until.set()
        await asyncio.gather(*waiting)

    async def test_what_an_invocation_says_at_its_very_end_arrives(self, host: Host) -> None:
        async def work() -> None:
            asyncio.get_running_loop().call_soon(log.info, "at the end")

        await host.invoke(work())
        await host.invoke(nothing())
        assert host.lines == ["at the end"]

    async def test_of_too_many_the_newest_are_kept(self, host: Host) -> None:
        for number in range(invocation.MAX_HELD + 5):
            log.info("%d", number)
        log.debug("for nobody")
        await host.invoke(nothing())
        assert host.lines == [str(number) for number in range(5, invocation.MAX_HELD + 5)]

    async def test_a_handler_that_wants_warnings_gets_no_more(self, host: Host) -> None:
        host.setLevel(logging.WARNING)
        log.info("for others")
        log.warning("for all")
        await host.invoke(nothing())
        assert host.lines == ["for all"]

    async def test_several_handlers_get_each_once(self, host: Host) -> None:
        other = Host()
        other.invocations = host.invocations
        other._logs = host._logs
        other.filters = [host.invocations, host._logs]
        logging.getLogger().addHandler(other)
        log.info("once")
        await host.invoke(say("twice"))
        logging.getLogger().removeHandler(other)
        assert host.lines == other.lines == ["once", "twice"]

    def test_the_workers_own_pass(self, host: Host) -> None:
        logging.getLogger("azure_functions_worker").warning("of the worker")
        assert host.lines == ["of the worker"]

    @pytest.mark.parametrize("written", EVERYWHERE, ids=lambda written: written.__name__)
    async def test_none_has_a_secret(self, host: Host, written: Written) -> None:
        def write() -> None:
            try:
                int(SECRET)
            except ValueError:
                log.exception("key %s", SECRET)

        hide(SECRET)
        await written(host, write)
        await host.invoke(nothing())
        [line] = host.lines
        assert line.startswith("key [secret]\nTraceback")
        assert line.endswith("ValueError: invalid literal for int() with base 10: '[secret]'")

    async def test_a_record_that_cannot_be_formatted_raises_nothing(self, host: Host) -> None:
        async def work() -> None:
            log.info("%d images", "no number")

        await host.invoke(work())
        assert host.lines == ["%d images ('no number',)"]


def chained() -> Exception:
    error = RuntimeError("no secret here")
    error.__cause__ = OSError(SECRET)
    return error


def noted() -> Exception:
    error = RuntimeError("no secret here")
    error.add_note(SECRET)
    return error


class TestErrors:
    @pytest.mark.parametrize(
        "error", [ValueError(SECRET), chained(), noted(), ExceptionGroup("several", [KeyError(1), OSError(SECRET)])]
    )
    async def test_none_leaves_with_a_secret(self, host: Host, error: Exception) -> None:
        async def fail() -> None:
            raise error

        hide(SECRET)
        with pytest.raises(RedactedError, match=type(error).__name__) as caught:
            await host.invoke(fail())
        assert SECRET not in "".join(traceback.format_exception(caught.value))
        assert caught.value.__context__ is None

    async def test_any_other_leaves_as_it_is(self, host: Host) -> None:
        error = LookupError("plain")

        async def fail() -> None:
            raise error

        with pytest.raises(LookupError) as caught:
            await host.invoke(fail())
        assert caught.value is error

    async def test_who_cancels_ends_the_work(self, host: Host) -> None:
        ended = asyncio.Event()

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        invoked = asyncio.create_task(host.invoke(work()))
        await asyncio.sleep(0.01)
        invoked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await invoked
        await asyncio.sleep(0)
        assert ended.is_set()
        assert not host.invocations._waiting
        assert not host.invocations._arriving


class Works:
    """Stands in for both works of the timer."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self.done = 0

    async def tick(self) -> None:
        if self._error is not None:
            raise self._error
        await asyncio.sleep(0)
        self.done += 1


class TestTheTimer:
    @pytest.mark.parametrize("fails", ["watches", "permits"])
    async def test_the_works_do_not_depend_on_one_another(self, fails: str) -> None:
        watches = Works(KeyError("bug") if fails == "watches" else None)
        permits = Works(KeyError("bug") if fails == "permits" else None)
        with pytest.raises(KeyError):
            await _replenish_and_tick(watches, permits.tick)  # type: ignore[arg-type]
        assert watches.done + permits.done == 1

    async def test_of_two_errors_none_is_lost(self) -> None:
        with pytest.raises(ExceptionGroup) as caught:
            await _replenish_and_tick(Works(KeyError()), Works(OSError()).tick)  # type: ignore[arg-type]
        assert [type(error) for error in caught.value.exceptions] == [OSError, KeyError]
