"""Which log lines of an app arrive: those of invocations that are executing."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from local.host.app_model import AppFunction, QueueTrigger
from local.host.invocation_logs import InvocationLogs, attribute_tasks
from local.host.invoker import Invoker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

app_log = logging.getLogger("shared.something")


class Host:
    """The part of the host that executes invocations, and the lines that arrive."""

    def __init__(self) -> None:
        self.logs = InvocationLogs()
        self.lines: list[str] = []
        self.invoker = Invoker(None, 2, self.logs, tracebacks=False)

    def run(self, call: Callable[[object], object]) -> asyncio.Task[bool]:
        function = AppFunction("f", call, "message", QueueTrigger("q", "STORAGE"))
        return asyncio.create_task(self.invoker.succeeds(function, lambda: None, "a test"))


class _Lines(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())


@pytest.fixture
async def host() -> Iterator[Host]:  # type: ignore[misc]
    attribute_tasks(asyncio.get_running_loop())
    host = Host()
    handler = _Lines(host.lines)
    handler.addFilter(host.logs)
    logger = logging.getLogger("shared")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield host
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


def says(text: str) -> Callable[[object], Awaitable[None]]:
    async def call(message: object) -> None:
        app_log.info(text)

    return call


async def test_what_an_invocation_logs_arrives(host: Host) -> None:
    await host.run(says("here"))
    assert host.lines == ["here"]


async def test_what_its_tasks_log_arrives_in_however_many_steps(host: Host) -> None:
    async def grandchild() -> None:
        app_log.info("grandchild")

    async def child() -> None:
        await asyncio.create_task(grandchild())

    async def call(message: object) -> None:
        await asyncio.gather(child())

    await host.run(call)
    assert host.lines == ["grandchild"]


async def test_what_a_task_logs_after_its_invocation_is_over_is_dropped(host: Host) -> None:
    over = asyncio.Event()
    children: list[asyncio.Task[None]] = []

    async def child() -> None:
        await over.wait()
        app_log.info("too late")

    async def call(message: object) -> None:
        children.append(asyncio.create_task(child()))

    await host.run(call)
    waits = asyncio.Event()

    async def other(message: object) -> None:
        await waits.wait()

    running = host.run(other)
    await asyncio.sleep(0)
    over.set()
    await children[0]
    waits.set()
    await running
    assert host.lines == []


async def test_a_callback_speaks_for_the_invocation_that_was_started_last(host: Host) -> None:
    """Although it is a longer one's that began before."""
    waits = asyncio.Event()
    loop = asyncio.get_running_loop()
    heard = asyncio.Event()

    def callback(text: str) -> None:
        app_log.info(text)
        heard.set()

    async def first(message: object) -> None:
        await waits.wait()

    running = host.run(first)
    await asyncio.sleep(0)
    loop.call_soon(callback, "the first runs")
    await heard.wait()
    await host.run(says("second"))
    heard.clear()
    loop.call_soon(callback, "the first still runs, but the second is over")
    await heard.wait()
    waits.set()
    await running
    assert host.lines == ["the first runs", "second"]


async def test_what_belongs_to_no_invocation_is_dropped(host: Host) -> None:
    app_log.info("while the app is imported")
    assert host.lines == []


async def test_what_a_function_logs_in_its_thread_arrives(host: Host) -> None:
    def call(message: object) -> None:
        app_log.info("in a thread")

    await host.run(call)
    assert host.lines == ["in a thread"]


@pytest.mark.parametrize("name", ["host", "azure.functions", "azure.functions.decorators"])
def test_the_hosts_own_lines_and_the_workers_need_no_invocation(name: str) -> None:
    assert InvocationLogs().filter(logging.makeLogRecord({"name": name}))


@pytest.mark.parametrize("name", ["azure", "azure.core", "azure.functions_of_mine", "hostess"])
def test_no_other_lines_do_without_one(name: str) -> None:
    assert not InvocationLogs().filter(logging.makeLogRecord({"name": name}))


def test_what_is_dropped_can_be_shown_and_is_marked() -> None:
    record = logging.makeLogRecord({"name": "shared", "msg": "%s lost", "args": ("a line",)})
    assert InvocationLogs(show_dropped=True).filter(record)
    assert record.getMessage() == "[dropped] a line lost"
