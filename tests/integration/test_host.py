"""The local host on real queues: what happens to messages and timers."""

import asyncio
import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueClient

from local.azurite import Azurite
from local.child_process import ChildFailedError
from local.host.process import HostProcess
from tests.integration.waiting import becomes_true

PROJECT = Path(__file__).parents[2]

# Each app writes a line per invocation into the file CALLS, so that a test sees what was called and when.
PREAMBLE = """
    import asyncio, os, time
    import azure.functions as func

    app = func.FunctionApp()

    def note(text):
        with open(os.environ["CALLS"], "a") as file:
            file.write(text + "\\n")
"""


class TinyApp:
    """An app in a folder of its own, with a queue of its own."""

    def __init__(self, folder: Path, connection_string: str) -> None:
        self.folder = folder
        self.queue_name = f"q-{uuid4().hex}"
        self.connection_string = connection_string
        self.calls_file = folder / "calls.txt"
        self.settings = {
            "AzureWebJobsStorage": connection_string,
            "QUEUE": self.queue_name,
            "CALLS": str(self.calls_file),
        }
        self.queue = QueueClient.from_connection_string(connection_string, self.queue_name)
        self.poison = QueueClient.from_connection_string(connection_string, f"{self.queue_name}-poison")
        self.queue.create_queue()

    def write(self, source: str, **queues: object) -> None:
        config: dict[str, object] = {
            "batchSize": 32,
            "newBatchThreshold": 992,
            "visibilityTimeout": "00:00:00",
            "maxPollingInterval": "00:00:00.2",
            "messageEncoding": "none",
            **queues,
        }
        document = {"version": "2.0", "extensions": {"queues": config}}
        (self.folder / "host.json").write_text(json.dumps(document))
        (self.folder / "function_app.py").write_text(textwrap.dedent(PREAMBLE) + textwrap.dedent(source))

    def host(self, **settings: str) -> HostProcess:
        return HostProcess(self.folder, {**self.settings, **settings}, self.folder / "host.log")

    def send(self, *texts: str) -> None:
        for text in texts:
            self.queue.send_message(text)

    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []

    def log(self) -> str:
        return (self.folder / "host.log").read_text()

    def left(self) -> int:
        return self.queue.get_queue_properties().approximate_message_count or 0

    def poisoned(self) -> list[str]:
        try:
            return [str(message.content) for message in self.poison.peek_messages(max_messages=32)]
        except ResourceNotFoundError:
            return []

    def close(self) -> None:
        self.queue.close()
        self.poison.close()


@pytest.fixture
def tiny(tmp_path: Path, azurite: str) -> Iterator[TinyApp]:
    app = TinyApp(tmp_path, azurite)
    yield app
    app.close()


TAKE = '@app.queue_trigger(arg_name="message", queue_name="%QUEUE%", connection="AzureWebJobsStorage")\n'

TAKE_BINARY = TAKE.replace(")\n", ", data_type=func.DataType.BINARY)\n")

RETURNS = f"""
{TAKE}
async def take(message: func.QueueMessage) -> None:
    note(message.get_body().decode())
"""

NOTES_IDS = f"""
import json
{TAKE}
async def take(message: func.QueueMessage) -> None:
    note(json.dumps(message.id))
"""

RAISES = f"""
{TAKE}
async def take(message: func.QueueMessage) -> None:
    note(str(message.dequeue_count))
    raise ValueError("not this one")
"""

HANGS = f"""
{TAKE}
async def take(message: func.QueueMessage) -> None:
    note("begun")
    try:
        await asyncio.sleep(60)
    finally:
        note("ended")
"""


async def test_each_message_is_one_invocation_and_is_deleted(tiny: TinyApp) -> None:
    tiny.write(RETURNS)
    sent = [f"é {number}" for number in range(50)]
    tiny.send(*sent)
    async with tiny.host():
        assert await becomes_true(lambda: tiny.left() == 0)
    assert sorted(tiny.calls()) == sorted(sent)


async def test_a_function_sees_its_message_as_in_azure(tiny: TinyApp) -> None:
    tiny.write(f"""
{TAKE}
def take(message: func.QueueMessage) -> None:
    lives = message.expiration_time - message.insertion_time
    has_receipt = bool(message.pop_receipt)
    note(f"{{message.id}} {{message.dequeue_count}} {{lives.days}} {{has_receipt}} {{message.get_json()}}")
""")
    sent = tiny.queue.send_message('{"a": 1}')
    async with tiny.host():
        assert await becomes_true(lambda: tiny.left() == 0)
    assert tiny.calls() == [f"{sent.id} 1 7 True {{'a': 1}}"]


CLOUD_EVENTS = {
    "two events of one id": [{"id": "1"}, {"id": "1"}],
    "a long id": [{"id": "x" * 40_000}],
    "an id with a line break": [{"id": "a\nWARNING forged: line"}],
}


@pytest.mark.parametrize("events", CLOUD_EVENTS.values(), ids=CLOUD_EVENTS)
async def test_a_producers_id_becomes_the_messages_if_the_body_is_a_string(tiny: TinyApp, events: list[Any]) -> None:
    tiny.write(NOTES_IDS)
    sent = {tiny.queue.send_message(json.dumps({"specversion": "1.0", **event})).id for event in events}
    async with tiny.host():
        assert await becomes_true(lambda: tiny.left() == 0)
    ids = [json.loads(line) for line in tiny.calls()]
    assert ids == [event["id"] for event in events]
    assert not sent & set(ids)


@pytest.mark.parametrize("events", CLOUD_EVENTS.values(), ids=CLOUD_EVENTS)
async def test_bound_as_binary_a_message_keeps_its_own_id(tiny: TinyApp, events: list[Any]) -> None:
    tiny.write(NOTES_IDS.replace(TAKE, TAKE_BINARY))
    sent = {tiny.queue.send_message(json.dumps({"specversion": "1.0", **event})).id for event in events}
    async with tiny.host():
        assert await becomes_true(lambda: tiny.left() == 0)
    assert {json.loads(line) for line in tiny.calls()} == sent


@pytest.mark.parametrize(
    "field", [{"dequeueCount": "abc"}, {"expirationtime": "soon"}], ids=lambda field: next(iter(field))
)
async def test_a_producers_field_can_keep_a_message_from_its_function_if_the_body_is_a_string(
    tiny: TinyApp, field: dict[str, str]
) -> None:
    tiny.write(RETURNS, maxDequeueCount=2)
    tiny.send(json.dumps({"specversion": "1.0", **field}))
    async with tiny.host():
        assert await becomes_true(lambda: len(tiny.poisoned()) == 1)
    assert tiny.calls() == []
    assert tiny.log().count("failed: ValueError") == 2


@pytest.mark.parametrize(
    "field", [{"dequeueCount": "abc"}, {"expirationtime": "soon"}], ids=lambda field: next(iter(field))
)
async def test_bound_as_binary_it_reaches_its_function(tiny: TinyApp, field: dict[str, str]) -> None:
    body = json.dumps({"specversion": "1.0", **field})
    tiny.write(RETURNS.replace(TAKE, TAKE_BINARY), maxDequeueCount=2)
    tiny.send(body)
    async with tiny.host():
        assert await becomes_true(lambda: tiny.left() == 0)
    assert tiny.calls() == [body]


async def test_a_log_line_arrives_only_while_its_invocation_is_executing(tiny: TinyApp) -> None:
    tiny.write(f"""
import logging
log = logging.getLogger("shared.x")
log.warning("at the import")

async def later():
    await asyncio.sleep(0.5)
    log.warning("after the invocation")
    note("later")

tasks = []

{TAKE}
async def take(message: func.QueueMessage) -> None:
    log.warning("in the invocation")
    tasks.append(asyncio.create_task(later()))
""")
    tiny.send("x")
    async with tiny.host():
        assert await becomes_true(lambda: tiny.calls() == ["later"])
    said = [line.partition("shared.x: ")[2] for line in tiny.log().splitlines() if "shared.x" in line]
    assert said == ["in the invocation"]


async def test_what_azure_would_drop_can_be_shown(tiny: TinyApp) -> None:
    tiny.write('import logging\nlogging.getLogger("shared.x").warning("at the import")\n' + RETURNS)
    async with tiny.host(LOCAL_HOST_SHOW_DROPPED="true"):
        pass
    assert "shared.x: [dropped] at the import" in tiny.log()


async def test_base64_is_decoded_and_what_is_none_is_poison_at_once(tiny: TinyApp) -> None:
    tiny.write(RETURNS, messageEncoding="base64")
    tiny.send("aMOp", "not base64!")
    async with tiny.host():
        assert await becomes_true(lambda: tiny.left() == 0)
    assert tiny.calls() == ["hé"]
    assert tiny.poisoned() == ["not base64!"]


async def test_a_message_that_keeps_failing_is_poison_after_its_last_delivery(tiny: TinyApp) -> None:
    tiny.write(RAISES, maxDequeueCount=3)
    tiny.send("<bad> & \n worse")
    async with tiny.host():
        assert await becomes_true(lambda: tiny.left() == 0)
    assert tiny.calls() == ["1", "2", "3"]
    assert tiny.poisoned() == ["<bad> & \n worse"]
    [poison] = tiny.poison.peek_messages()
    assert poison.expires_on is not None
    assert poison.inserted_on is not None
    assert poison.expires_on - poison.inserted_on == timedelta(days=7)
    assert tiny.log().count("failed: ValueError: not this one") == 3
    assert "Traceback" not in tiny.log()


async def test_a_message_that_came_too_often_is_poison_without_an_invocation(tiny: TinyApp) -> None:
    tiny.write(RETURNS, maxDequeueCount=1)
    tiny.send("seen before")
    tiny.queue.receive_message(visibility_timeout=1)
    async with tiny.host():
        assert await becomes_true(lambda: tiny.left() == 0)
    assert tiny.calls() == []
    assert tiny.poisoned() == ["seen before"]


async def test_a_failed_message_comes_back_after_the_visibility_timeout(tiny: TinyApp) -> None:
    tiny.write(
        f"""
{TAKE}
def take(message: func.QueueMessage) -> None:
    note(str(time.time()))
    if message.dequeue_count == 1:
        raise RuntimeError
""",
        visibilityTimeout="00:00:02",
    )
    tiny.send("again")
    async with tiny.host():
        assert await becomes_true(lambda: tiny.left() == 0)
    first, second = map(float, tiny.calls())
    assert 1.5 < second - first < 5


async def test_messages_are_processed_at_the_same_time_up_to_the_threshold_and_a_batch(tiny: TinyApp) -> None:
    tiny.write(HANGS, batchSize=4, newBatchThreshold=3)
    tiny.send(*["x"] * 20)
    async with tiny.host(LOCAL_HOST_DRAIN_SECONDS="0"):
        # 4 fill the threshold of 3, so nothing more is fetched.
        assert await becomes_true(lambda: len(tiny.calls()) >= 4)
        assert not await becomes_true(lambda: len(tiny.calls()) > 4, within_seconds=0.7)


async def test_below_the_threshold_the_next_batch_is_fetched_at_once(tiny: TinyApp) -> None:
    tiny.write(HANGS, batchSize=4, newBatchThreshold=8)
    tiny.send(*["x"] * 20)
    async with tiny.host(LOCAL_HOST_DRAIN_SECONDS="0"):
        assert await becomes_true(lambda: len(tiny.calls()) >= 12)
        assert not await becomes_true(lambda: len(tiny.calls()) > 12, within_seconds=0.7)


async def test_a_message_stays_invisible_while_its_invocation_outlasts_the_lease(tiny: TinyApp) -> None:
    tiny.write(f"""
{TAKE}
async def take(message: func.QueueMessage) -> None:
    note(str(message.dequeue_count))
    await asyncio.sleep(3)
""")
    tiny.send("slow")
    async with tiny.host(LOCAL_HOST_LEASE_SECONDS="1"):
        assert await becomes_true(lambda: tiny.left() == 0)
    assert tiny.calls() == ["1"]


async def test_after_a_kill_the_message_comes_back_when_its_lease_ends(tiny: TinyApp) -> None:
    tiny.write(HANGS)
    tiny.send("x")
    host = tiny.host(LOCAL_HOST_LEASE_SECONDS="2")
    await host.start()
    assert await becomes_true(lambda: tiny.calls() == ["begun"])
    await host.kill()
    tiny.write(RETURNS)
    async with host:
        assert await becomes_true(lambda: tiny.left() == 0)
    assert tiny.calls() == ["begun", "x"]


@pytest.mark.parametrize("ask", [HostProcess.stop, HostProcess.interrupt])
async def test_a_stop_lets_running_invocations_end(tiny: TinyApp, ask: Callable[[HostProcess], Awaitable[int]]) -> None:
    tiny.write(f"""
{TAKE}
async def take(message: func.QueueMessage) -> None:
    note("begun")
    await asyncio.sleep(1)
    note("ended")
""")
    tiny.send("x")
    host = tiny.host()
    await host.start()
    assert await becomes_true(lambda: tiny.calls() == ["begun"])
    assert await ask(host) == 0
    assert tiny.calls() == ["begun", "ended"]
    assert tiny.left() == 0


async def test_what_does_not_end_in_time_is_told_nothing_and_comes_back_when_its_lease_ends(tiny: TinyApp) -> None:
    tiny.write(HANGS)
    tiny.send("x")
    host = tiny.host(LOCAL_HOST_DRAIN_SECONDS="1", LOCAL_HOST_LEASE_SECONDS="3")
    await host.start()
    assert await becomes_true(lambda: tiny.calls() == ["begun"])
    assert await host.stop() == 0
    assert tiny.calls() == ["begun"]
    assert "1 invocations did not end within 1 s" in tiny.log()
    assert tiny.queue.receive_message() is None
    tiny.write(RETURNS)
    async with host:
        assert await becomes_true(lambda: tiny.left() == 0)
    assert tiny.calls() == ["begun", "x"]


async def test_a_stop_fetches_nothing_more(tiny: TinyApp) -> None:
    tiny.write(f"""
{TAKE}
async def take(message: func.QueueMessage) -> None:
    note(message.get_body().decode())
    await asyncio.sleep(1.5)
""")
    tiny.send("before")
    host = tiny.host()
    await host.start()
    assert await becomes_true(lambda: tiny.calls() == ["before"])
    stopping = asyncio.create_task(host.stop())
    assert await becomes_true(lambda: "stopping: 1 invocations run" in tiny.log())
    tiny.send("after")
    assert await stopping == 0
    assert tiny.calls() == ["before"]
    assert tiny.left() == 1


async def test_a_task_of_the_app_is_not_cancelled_by_a_stop(tiny: TinyApp) -> None:
    tiny.write(f"""
async def background():
    note("begun")
    try:
        await asyncio.sleep(60)
    finally:
        note("ended")

tasks = []

{TAKE}
async def take(message: func.QueueMessage) -> None:
    tasks.append(asyncio.create_task(background()))
""")
    tiny.send("x")
    host = tiny.host()
    await host.start()
    assert await becomes_true(lambda: tiny.calls() == ["begun"] and tiny.left() == 0)
    assert await host.stop() == 0
    assert tiny.calls() == ["begun"]


async def test_when_the_worker_is_lost_what_it_executed_comes_back_and_the_app_starts_again(tiny: TinyApp) -> None:
    tiny.write(
        f"""
note(f"started in {{os.getcwd()}}")

{TAKE}
async def take(message: func.QueueMessage) -> None:
    note(str(message.dequeue_count))
    try:
        await asyncio.sleep(60 if message.dequeue_count == 1 else 0)
    finally:
        note("ended")
""",
        visibilityTimeout="00:00:01",
    )
    started = f"started in {tiny.folder.resolve()}"
    tiny.send("x")
    async with tiny.host() as host:
        assert await becomes_true(lambda: tiny.calls() == [started, "1"])
        await host.lose_worker()
        assert await becomes_true(lambda: tiny.left() == 0)
        assert await host.stop() == 0
    assert tiny.calls() == [started, "1", started, "2", "ended"]


async def test_a_thread_that_does_not_end_does_not_keep_the_host(tiny: TinyApp) -> None:
    tiny.write(f"""
{TAKE}
def take(message: func.QueueMessage) -> None:
    note("begun")
    time.sleep(60)
""")
    tiny.send("x")
    host = tiny.host(LOCAL_HOST_DRAIN_SECONDS="0")
    await host.start()
    assert await becomes_true(lambda: tiny.calls() == ["begun"])
    started = time.monotonic()
    assert await host.stop() == 0
    assert time.monotonic() - started < 10


async def test_an_invocation_over_its_function_timeout_costs_the_worker_and_all_that_it_executes(tiny: TinyApp) -> None:
    tiny.write(HANGS, maxDequeueCount=1)
    tiny.send("x", "y")
    async with tiny.host(AzureFunctionsJobHost__functionTimeout="00:00:01"):
        assert await becomes_true(lambda: sorted(tiny.poisoned()) == ["x", "y"])
        assert await becomes_true(lambda: tiny.log().count("host ready") == 2)
    assert tiny.calls() == ["begun", "begun"]
    assert "no end within 1 s" in tiny.log()


async def test_a_queue_that_does_not_exist_yet_is_waited_for(tiny: TinyApp) -> None:
    tiny.write(RETURNS)
    tiny.queue.delete_queue()
    async with tiny.host():
        tiny.queue.create_queue()
        tiny.send("late")
        assert await becomes_true(lambda: tiny.calls() == ["late"])


@pytest.mark.parametrize("is_refused", [False, True], ids=["no answer", "another key"])
async def test_the_host_ends_where_storage_goes_away_and_does_its_work_when_started_again(
    tmp_path: Path, is_refused: bool
) -> None:
    data = tmp_path / "azurite"
    async with Azurite(data=data) as azurite:
        port, connection_string = azurite.port, azurite.connection_string
        tiny = TinyApp(tmp_path, connection_string)
        tiny.write(RETURNS)
        host = tiny.host()
        await host.start()
    try:
        if is_refused:  # at once; a connection that is not there is tried for half a minute
            async with Azurite(queue_port=port, data=data):
                assert await host.wait() == 1
        else:
            assert await host.wait() == 1
        assert tiny.log().count("the host is shutting down") == 1
        async with Azurite(queue_port=port, data=data, key=azurite.key):
            tiny.send("x")
            await host.start()
            assert await becomes_true(lambda: tiny.calls() == ["x"])
            assert await host.stop() == 0
    finally:
        if host.is_running:
            await host.kill()
        tiny.close()


async def test_runs_of_a_timer_never_overlap_and_a_late_one_is_past_due(tiny: TinyApp) -> None:
    tiny.write("""
@app.timer_trigger(arg_name="timer", schedule="%SCHEDULE%")
async def tick(timer: func.TimerRequest) -> None:
    note(f"begun {timer.past_due}")
    await asyncio.sleep(1.3)
    note("ended")
""")
    async with tiny.host(SCHEDULE="* * * * * *"):
        assert await becomes_true(lambda: len(tiny.calls()) >= 5)
    assert tiny.calls()[:4] == ["begun False", "ended", "begun True", "ended"]
    assert tiny.calls()[1::2] == ["ended"] * (len(tiny.calls()) // 2)


async def test_a_timer_runs_in_one_host_only_and_another_takes_over(tiny: TinyApp, tmp_path: Path) -> None:
    tiny.write("""
@app.timer_trigger(arg_name="timer", schedule="* * * * * *")
async def tick(timer: func.TimerRequest) -> None:
    note(os.environ["NAME"])
""")
    first = HostProcess(tmp_path, {**tiny.settings, "NAME": "first"}, tmp_path / "first.log")
    second = HostProcess(tmp_path, {**tiny.settings, "NAME": "second"}, tmp_path / "second.log")
    await first.start()
    async with second:
        assert await becomes_true(lambda: tiny.calls().count("first") >= 2)
        assert "second" not in tiny.calls()
        await first.kill()
        assert await becomes_true(lambda: "second" in tiny.calls())


async def test_settings_are_in_the_environment_before_the_app_is_imported(tiny: TinyApp) -> None:
    tiny.write('note(os.environ["FROM_FILE"])\n' + RETURNS)
    (tiny.folder / "local.settings.json").write_text(json.dumps({"Values": {"FROM_FILE": "there", "QUEUE": "other"}}))
    tiny.send("x")
    async with tiny.host():
        assert await becomes_true(lambda: tiny.calls() == ["there", "x"])


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("import no_such_module\n", "function_app.py cannot be imported: ModuleNotFoundError"),
        ("raise SystemExit('set KEY')\n", "function_app.py cannot be imported: SystemExit: set KEY"),
        (RETURNS.replace("%QUEUE%", "%NO_SUCH_SETTING%"), "function take: the setting NO_SUCH_SETTING"),
        (RETURNS.replace("AzureWebJobsStorage", "Elsewhere"), "the setting Elsewhere"),
    ],
)
async def test_an_app_that_cannot_run_is_told_in_one_line_with_exit_code_2(
    tiny: TinyApp, source: str, problem: str
) -> None:
    tiny.write(source)
    with pytest.raises(ChildFailedError, match="ended with code 2") as failure:
        await tiny.host().start()
    [line] = str(failure.value).splitlines()[1:]
    assert problem in line


async def test_a_host_whose_functions_are_all_disabled_stops_as_any_other(tiny: TinyApp) -> None:
    tiny.write(RETURNS)
    host = tiny.host(**{"AzureWebJobs.take.Disabled": "true"})
    await host.start()
    assert await host.stop() == 0


async def test_no_key_is_ever_logged(tiny: TinyApp) -> None:
    tiny.write(RAISES, maxDequeueCount=2)
    tiny.send("x")
    async with tiny.host():
        assert await becomes_true(lambda: tiny.left() == 0)
    key = tiny.connection_string.partition("AccountKey=")[2].partition(";")[0]
    assert key not in tiny.log()


def test_help_names_the_options_and_the_hosts_own_settings() -> None:
    command = [sys.executable, "-m", "local.host", "--help"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True, env=os.environ)
    options = ("--app-root", "--settings", "--verbose")
    settings = ("LOCAL_HOST_LEASE_SECONDS", "LOCAL_HOST_DRAIN_SECONDS", "LOCAL_HOST_SHOW_DROPPED")
    for name in (*options, *settings):
        assert name in done.stdout
