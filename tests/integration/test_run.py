"""`make run`: what it prints, and what the documents say, can be typed, and what then happens is shown."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueClient

from local.child_process import ChildFailedError, ChildProcess
from local.cloud import text_of
from local.instructions import FROM_MAKE_RUN, GROUP, IMAGES, PROJECT
from local.run import SAMPLE_FILE, SHELL_FILE
from local.simulation.control import SimulationControl
from local.terminal import WIDTH
from tests.integration.local_ports import own_data
from tests.integration.waiting import becomes_true

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FOLDER = Path(__file__).parents[2]
README = "README.md"
QUICK_START = "docs/how-to/quick-start.md"
OUTCOMES = "docs/outcomes.md"
UP = re.compile(r"In another terminal.*?\n(?P<commands>\. .*)\n# the Azure CLI.*host ready", re.DOTALL)
NOT_THERE = "0f2b8b4e-8f0e-4b7e-9a53-ffffffffffff"

# Stands for the Azure CLI, which is too large to be installed for a test: the same options, the same calls.
AZ = f"""#!{sys.executable}
import argparse, os
from azure.storage.queue import QueueClient
parser = argparse.ArgumentParser(prog="az")
for word, only in (("group", "storage"), ("kind", "message"), ("command", "put")):
    parser.add_argument(word, choices=[only])
parser.add_argument("--queue-name", required=True)
parser.add_argument("--content", required=True)
parser.add_argument("--time-to-live", type=int)
told = parser.parse_args()
with QueueClient.from_connection_string(os.environ["AZURE_STORAGE_CONNECTION_STRING"], told.queue_name) as queue:
    queue.send_message(told.content, time_to_live=told.time_to_live)
"""


class Running:
    """A `make run`, with its data in a folder of the test's own."""

    def __init__(self, data: Path, process: ChildProcess, commands: str) -> None:
        self.data = data
        self.commands = commands
        self.shell_file = (data / SHELL_FILE).read_text()
        self.simulation = re.findall(r"http://127\.0\.0\.1:\d+(?=/_control)", self.shell_file)[0]
        self._process = process

    @property
    def shown(self) -> str:
        return self._process.output.read_text()

    async def type(self, script: str, **environment: str) -> str:
        """Run commands as typed into a terminal; returns what they print."""
        (self.data / SHELL_FILE).write_text(self.shell_file.replace(".venv/bin/python", sys.executable))
        done = await asyncio.to_thread(
            subprocess.run,
            ["sh", "-ec", f". {self.data / SHELL_FILE}\n{script}"],
            check=True,
            cwd=FOLDER,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            text=True,
            timeout=120,
        )
        return done.stdout

    def queue(self, name: str) -> QueueClient:
        [account] = re.findall("^export AZURE_STORAGE_CONNECTION_STRING='(.*)'$", self.shell_file, re.MULTILINE)
        return QueueClient.from_connection_string(account, name)

    def send(self, queue: str, message: dict[str, Any]) -> None:
        with self.queue(queue) as client:
            client.send_message(json.dumps(message), time_to_live=-1)

    def peek(self, queue: str) -> list[dict[str, Any]]:
        """What the first messages say, in either encoding. A queue that does not exist is empty."""
        with self.queue(queue) as client:
            try:
                return [json.loads(text_of(message)) for message in client.peek_messages(32)]
            except ResourceNotFoundError:
                return []

    def is_visible(self, queue: str) -> bool:
        """Whether the queue has a message that nobody works on."""
        return bool(self.peek(queue))

    def metadata(self) -> dict[str, str]:
        """What the simulated Custom Vision has of the sample's first image."""
        images = httpx.get(f"{self.simulation}/_control/projects/{PROJECT}/images").json()
        found: dict[str, str] = images[IMAGES[0]]["metadata"]
        return found

    async def complete_training(self) -> None:
        async with SimulationControl(self.simulation) as control:
            await control.train(GROUP, running_seconds=0)


def process(tmp_path: Path, number: int = 1, **settings: str) -> ChildProcess:
    data = own_data(tmp_path)
    command = [sys.executable, "-m", "local.run", "--settings", str(SAMPLE_FILE), "--data", str(data)]
    environment = {**os.environ, "LINGER_SECONDS": "0.1", "TRAINING_POLL_SCHEDULE": "*/2 * * * * *", **settings}
    return ChildProcess("make run", command, env=environment, cwd=FOLDER, output=tmp_path / f"terminal-{number}.txt")


@asynccontextmanager
async def running(tmp_path: Path, number: int = 1, **settings: str) -> AsyncIterator[Running]:
    run = process(tmp_path, number, **settings)
    match = await run.start(UP, 30)
    try:
        yield Running(tmp_path / "data", run, match["commands"])
    finally:
        code = await run.interrupt(30)
    assert code == 0
    assert "Traceback" not in run.output.read_text()


def examples(page: str, language: str) -> list[str]:
    text = (FOLDER / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def json_example(page: str, *names: str) -> dict[str, Any]:
    """The one example of the page with these fields and no others that tell one kind from the next."""
    kinds = {"imageIds", "kind", "specversion", "failure"}
    [found] = [e for e in map(json.loads, examples(page, "json")) if kinds & set(e) == set(names)]
    return dict(found)


UPDATE = json_example(README, "imageIds")
WATCH = json_example(README, "kind")


async def test_the_printed_commands_work(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        printed = await run.type(run.commands)
        assert "no dead letters" in printed
        assert await becomes_true(lambda: run.metadata() == UPDATE["metadata"])
        assert '"decade":"1950s"' in (await run.type("images")).replace(" ", "")


async def test_the_readmes_own_commands_send_the_readmes_messages(tmp_path: Path) -> None:
    commands = [code for code in examples(README, "sh") if re.match("vision-relay (put|watch)", code)]
    assert len(commands) == 2
    async with running(tmp_path, TRAINING_POLL_SCHEDULE="0 0 3 1 1 *") as run:
        await run.type("".join(commands))
        assert await becomes_true(lambda: run.metadata() == UPDATE["metadata"])
        assert run.peek("training-watches") == [{**WATCH, "repeat": False}]


async def test_the_readmes_messages_work_as_printed(tmp_path: Path) -> None:
    (tmp_path / "az").write_text(AZ)
    (tmp_path / "az").chmod(0o755)
    (tmp_path / "update.json").write_text(json.dumps(UPDATE))
    begin = f"cd {tmp_path}"
    commands = [code for code in examples(README, "sh") if code.startswith("az storage message put")]
    assert len(commands) == 2
    async with running(tmp_path) as run:
        for command in commands:
            await run.type(f"{begin}\n{command}", PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        assert await becomes_true(lambda: run.metadata() == UPDATE["metadata"])
        await run.complete_training()
        assert await becomes_true(lambda: "VisionRelay.Training.Succeeded" in run.shown)
        for queue in ("image-metadata-updates-poison", "training-watches-poison"):
            assert run.peek(queue) == []


async def test_the_quick_start_can_be_typed_from_top_to_bottom(tmp_path: Path) -> None:
    run_it, source, update, images, wrong_update, letters, watch = examples(QUICK_START, "sh")
    assert (run_it, source) == ("make run\n", ". .local/terminal.sh\n")  # `running` does the one, `type` the other
    async with running(tmp_path) as run:
        await run.type(update)
        assert await becomes_true(lambda: run.metadata() == UPDATE["metadata"])
        shown = await run.type(images)
        assert IMAGES[0] in shown
        assert max(map(len, shown.splitlines())) <= 80
        await run.type(wrong_update)
        assert await becomes_true(lambda: "dead-lettered" in run.shown)
        assert "ErrorImageNotFound" in await run.type(letters)
        assert "Training.Succeeded persongroups/employees" in await run.type(watch)


async def test_the_readmes_watch_leads_to_the_readmes_event(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        run.send("training-watches", WATCH)
        await run.complete_training()
        assert await becomes_true(lambda: "VisionRelay.Training.Succeeded" in run.shown)
        [event] = run.peek("training-events")
    example = json_example(README, "specversion")
    same = ("specversion", "type", "subject", "datacontenttype")
    assert {name: event[name] for name in same} == {name: example[name] for name in same}
    assert set(event) == set(example)
    assert set(event["data"]) == set(example["data"])
    assert event["data"]["correlationId"] == WATCH["correlationId"]


async def test_the_printed_dead_letter_is_what_comes_of_an_image_that_is_not_there_and_is_an_update_again(
    tmp_path: Path,
) -> None:
    example = json_example(OUTCOMES, "imageIds", "failure")
    failure = example.pop("failure")
    async with running(tmp_path) as run:
        run.send("image-metadata-updates", {**UPDATE, "imageIds": [NOT_THERE]})
        assert await becomes_true(lambda: "dead-lettered" in run.shown)
        [letter] = run.peek("image-metadata-updates-poison")
        assert {**letter["failure"], "images": {}}.keys() >= failure.keys()
        assert letter["failure"]["code"] == failure["code"]
        run.send("image-metadata-updates", example)
        assert await becomes_true(lambda: run.metadata() == example["metadata"])


async def test_what_happens_is_shown_in_80_columns(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        run.send("image-metadata-updates", UPDATE)
        assert await becomes_true(lambda: "1 of 1 images applied in" in _joined(run.shown))
        run.send("image-metadata-updates", {**UPDATE, "imageIds": [NOT_THERE]})
        told = "(correlation id scan-0815) is dead-lettered, refused: ErrorImageNotFound"
        assert await becomes_true(lambda: told in _joined(run.shown))
        run.send("training-watches", WATCH)
        await run.complete_training()
        told = f"published VisionRelay.Training.Succeeded of persongroups/{GROUP}"
        assert await becomes_true(lambda: told in _joined(run.shown))
        after = run.shown[run.shown.index("host ready") :]
    assert max(map(len, after.splitlines())) <= WIDTH


async def test_an_open_terminal_goes_on_working_after_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as first:
        first.send("training-events", {"still": "here"})
    async with running(tmp_path, 2) as second:
        assert second.shell_file == first.shell_file
        assert second.peek("training-events") == [{"still": "here"}]
        assert "Kept in" in second.shown
        assert "New in each run" in second.shown


async def test_a_message_that_was_in_work_at_the_end_is_applied_by_the_next_run(tmp_path: Path) -> None:
    shorter = {"LOCAL_HOST_LEASE_SECONDS": "4", "LOCAL_HOST_DRAIN_SECONDS": "1"}
    async with running(tmp_path, 1, LINGER_SECONDS="30", **shorter) as first:
        first.send("image-metadata-updates", UPDATE)
        assert await becomes_true(lambda: not first.is_visible("image-metadata-updates"))
    assert "did not end within 1 s" in _joined(first.shown)
    async with running(tmp_path, 2, **shorter) as second:
        assert await becomes_true(lambda: second.metadata() == UPDATE["metadata"])


async def test_a_run_begun_in_an_open_terminal_starts_everything_itself(tmp_path: Path) -> None:
    async with running(tmp_path) as first:
        exported = await first.type("env")
        variables = ("AzureWebJobsStorage", "CUSTOM_VISION_ENDPOINT", "FACE_ENDPOINT", FROM_MAKE_RUN)
        lines = (line.partition("=") for line in exported.splitlines())
        inherited = {name: value for name, _, value in lines if name in variables}
    assert set(inherited) == set(variables)
    async with running(tmp_path, 2, **inherited) as second:
        assert second.shell_file == first.shell_file
        second.send("image-metadata-updates", UPDATE)
        assert await becomes_true(lambda: second.metadata() == UPDATE["metadata"])
        assert "is no setting of this app" not in second.shown


async def test_a_second_run_on_the_same_data_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        with pytest.raises(ChildFailedError, match=re.escape(f"uses {run.data}")):
            await process(tmp_path, 2).start(UP, 30)


def _joined(shown: str) -> str:
    """Lines that were broken for the terminal, whole again."""
    return " ".join(shown.split())
