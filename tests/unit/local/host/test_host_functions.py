"""Which functions the local host finds in an app, and what becomes of their messages."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import azure.functions as func
import pytest

from local.host.app_model import AppFunction, QueueTrigger, TimerTrigger, import_app, index
from local.host.errors import HostStartError
from local.host.host_config import MessageEncoding
from local.host.invocation_logs import InvocationLogs
from local.host.invoker import Invoker
from local.host.queue_listener import Disposition, decode_body, disposition
from local.host.queues import open_queue_services
from local.host.timer import lock_file

SETTINGS = {"QUEUE": "orders", "SCHEDULE": "*/5 * * * * *"}


def test_functions_are_found_with_their_triggers_and_settings_filled_in() -> None:
    app = func.FunctionApp()
    blueprint = func.Blueprint()

    @blueprint.queue_trigger(arg_name="message", queue_name="%QUEUE%", connection="STORAGE")
    async def take(message: func.QueueMessage) -> None: ...

    @app.function_name("renamed")
    @app.timer_trigger(arg_name="timer", schedule="%SCHEDULE%", run_on_startup=True)
    def tick(timer: func.TimerRequest) -> None: ...

    app.register_functions(blueprint)
    by_name = {function.name: function for function in index(app, SETTINGS)}

    assert by_name["take"].trigger == QueueTrigger("orders", "STORAGE")
    assert by_name["take"].argument == "message"
    assert by_name["take"].is_async
    timer = by_name["renamed"].trigger
    assert isinstance(timer, TimerTrigger)
    assert timer.schedule.expression == "*/5 * * * * *"
    assert timer.run_on_startup
    assert not by_name["renamed"].is_async


def test_a_disabled_function_is_left_out() -> None:
    app = func.FunctionApp()

    @app.timer_trigger(arg_name="timer", schedule="%SCHEDULE%")
    def tick(timer: func.TimerRequest) -> None: ...

    assert index(app, {"AzureWebJobs.tick.Disabled": "true"}) == []


def with_http(app: func.FunctionApp) -> None:
    @app.route("x")
    def f(req: func.HttpRequest) -> str:
        return ""


def with_output(app: func.FunctionApp) -> None:
    @app.timer_trigger(arg_name="timer", schedule="%SCHEDULE%")
    @app.queue_output(arg_name="out", queue_name="x", connection="STORAGE")
    def f(timer: func.TimerRequest, out: func.Out[str]) -> None: ...


def with_retry(app: func.FunctionApp) -> None:
    @app.timer_trigger(arg_name="timer", schedule="%SCHEDULE%")
    @app.retry(strategy="fixed_delay", max_retry_count="3", delay_interval="00:00:01")
    def f(timer: func.TimerRequest) -> None: ...


def with_other_parameter(app: func.FunctionApp) -> None:
    @app.timer_trigger(arg_name="timer", schedule="%SCHEDULE%")
    def f(clock: func.TimerRequest) -> None: ...


def with_bad_schedule(app: func.FunctionApp) -> None:
    @app.timer_trigger(arg_name="timer", schedule="00:00:05")
    def f(timer: func.TimerRequest) -> None: ...


def with_nothing(app: func.FunctionApp) -> None: ...


@pytest.mark.parametrize(
    ("declare", "problem"),
    [
        (with_http, "function f .*http"),
        (with_output, "function f .*binding.*queue"),
        (with_retry, "function f .*retry policy"),
        (with_other_parameter, "function f .*'timer'"),
        (with_bad_schedule, "function f: .*time span"),
        (with_nothing, "registers no function"),
    ],
)
def test_what_the_local_host_cannot_run_is_told(declare: Callable[[func.FunctionApp], None], problem: str) -> None:
    app = func.FunctionApp()
    declare(app)
    with pytest.raises(HostStartError, match=problem):
        index(app, SETTINGS)


def test_a_folder_without_function_app_is_told(tmp_path: Path) -> None:
    with pytest.raises(HostStartError, match=r"no function_app\.py"):
        import_app(tmp_path)


@pytest.mark.parametrize(
    ("succeeded", "dequeue_count", "has_poison_queue", "expected"),
    [
        (True, 1, True, Disposition.DELETE),
        (True, 9, True, Disposition.DELETE),
        (False, 1, True, Disposition.RELEASE),
        (False, 4, True, Disposition.RELEASE),
        (False, 5, True, Disposition.POISON),
        (False, 6, True, Disposition.POISON),
        (False, 9, False, Disposition.LEAVE),
    ],
)
def test_what_becomes_of_a_message(
    succeeded: bool, dequeue_count: int, has_poison_queue: bool, expected: Disposition
) -> None:
    decided = disposition(
        succeeded=succeeded,
        dequeue_count=dequeue_count,
        max_dequeue_count=5,
        has_poison_queue=has_poison_queue,
    )
    assert decided is expected


def test_the_body_is_decoded_as_host_json_says() -> None:
    assert decode_body("aMOp", MessageEncoding.NONE) == b"aMOp"
    assert decode_body("aMOp", MessageEncoding.BASE64) == "hé".encode()
    assert decode_body(" aM\r\nOp\t", MessageEncoding.BASE64) == "hé".encode(), "as .NET reads it"
    with pytest.raises(ValueError, match="not Base64"):
        decode_body("{}", MessageEncoding.BASE64)


def a_function(call: Callable[..., object]) -> AppFunction:
    return AppFunction("f", call, "message", QueueTrigger("q", "STORAGE"))


def an_invoker(timeout_seconds: float | None = 1.0) -> Invoker:
    return Invoker(timeout_seconds, 1, InvocationLogs(), tracebacks=False)


async def hang(message: object) -> None:
    await asyncio.Event().wait()


async def test_an_invocation_succeeds_if_the_function_returns() -> None:
    received: list[object] = []

    async def coroutine(message: object) -> None:
        received.append(message)

    def plain(message: object) -> None:
        received.append(message)

    invoker = an_invoker()
    assert await invoker.succeeds(a_function(coroutine), lambda: 1, "a test")
    assert await invoker.succeeds(a_function(plain), lambda: 2, "a test")
    assert received == [1, 2]


async def test_a_failure_is_logged_in_one_line_and_goes_no_further(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(message: object) -> None:
        raise ValueError("no\nsuch thing")

    assert not await an_invoker().succeeds(a_function(fail), lambda: 1, "message 7")
    assert caplog.messages == ["f (message 7): failed: ValueError: no such thing"]


async def test_an_argument_that_cannot_be_made_is_a_failed_invocation(caplog: pytest.LogCaptureFixture) -> None:
    called: list[object] = []

    def unreadable() -> object:
        raise ValueError("no such date")

    assert not await an_invoker().succeeds(a_function(called.append), unreadable, "message 7")
    assert not called
    assert caplog.messages == ["f (message 7): failed: ValueError: no such date"]


async def test_a_function_that_outlasts_its_time_has_failed_and_with_it_all_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    invoker = an_invoker(0.05)
    first = asyncio.create_task(invoker.succeeds(a_function(hang), lambda: 1, "message 7"))
    await asyncio.sleep(0.02)
    second = asyncio.create_task(invoker.succeeds(a_function(hang), lambda: 1, "message 8"))
    assert not any(await asyncio.gather(first, second))
    assert caplog.messages[0] == "f (message 7): failed: TimeoutError: no end within 0.05 s"
    assert "message 8" in caplog.messages[1]
    assert "the whole worker" in caplog.messages[1]
    assert invoker.worker_lost.is_set()


async def test_nothing_is_cancelled_when_the_worker_is_lost() -> None:
    lost = asyncio.Event()
    after: list[str] = []

    async def goes_on(message: object) -> None:
        await lost.wait()
        after.append("went on")

    invoker = an_invoker(None)
    invocation = asyncio.create_task(invoker.succeeds(a_function(goes_on), lambda: 1, "a test"))
    await asyncio.sleep(0)
    invoker.lose_worker("a test")
    assert await invocation is False
    lost.set()
    await asyncio.sleep(0)
    assert after == ["went on"]


async def test_a_cancellation_of_the_functions_own_is_never_answered(caplog: pytest.LogCaptureFixture) -> None:
    async def cancelled(message: object) -> None:
        raise asyncio.CancelledError

    invoker = an_invoker(0.05)
    assert not await invoker.succeeds(a_function(cancelled), lambda: 1, "message 7")
    assert "never answers" in caplog.messages[0]
    assert "no end within 0.05 s" in caplog.messages[1]


async def test_a_connection_is_a_string_or_an_identity() -> None:
    settings = {"A__queueServiceUri": "https://a.queue.core.windows.net", "B__accountName": "b", "C": "nonsense"}
    async with open_queue_services(settings) as services:
        assert services.service("A").url.startswith("https://a.queue.core.windows.net")
        assert services.service("B").url.startswith("https://b.queue.core.windows.net")
        with pytest.raises(HostStartError, match="C is not a valid connection string"):
            services.service("C")
        with pytest.raises(HostStartError, match="D__queueServiceUri is missing"):
            services.service("D")


def test_timers_of_different_storage_accounts_have_nothing_to_do_with_one_another(tmp_path: Path) -> None:
    first = lock_file(tmp_path, "tick", "AccountKey=secret")
    assert first == lock_file(tmp_path, "tick", "AccountKey=secret")
    assert first != lock_file(tmp_path, "tick", "AccountKey=other")
    assert "secret" not in str(first)
