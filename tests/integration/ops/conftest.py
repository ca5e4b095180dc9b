"""The command line as it is typed, on Azurite and the simulated services, with queues of its own for each test."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from azure.storage.queue import QueueClient
from typer.testing import CliRunner

from local.simulation.models import Api
from local.simulation.process import SimulationProcess
from ops.cli import app
from shared.settings import poison_of
from tests.integration.ops.typed import start

PROJECT_ROOT = Path(__file__).parents[3]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def simulation() -> AsyncIterator[SimulationProcess]:
    """One simulation for all tests."""
    async with SimulationProcess() as process:
        yield process


class Control:
    """The simulation's control, for tests that are not async: commands have an event loop of their own."""

    def __init__(self, simulation: SimulationProcess) -> None:
        self._simulation = simulation

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            async def do() -> Any:
                async with self._simulation.control() as control:
                    return await getattr(control, name)(*arguments, **options)

            return asyncio.run(do())

        return call


@pytest.fixture
def control(simulation: SimulationProcess) -> Control:
    control = Control(simulation)
    for api in Api:
        control.set_rate(api, None)
    return control


@dataclass
class Result:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Bench:
    """A folder to type commands in, with the settings of queues that nobody else uses."""

    folder: Path
    settings: dict[str, str]
    project_id: UUID = field(default_factory=uuid4)

    def __post_init__(self) -> None:
        self.updates = self.queue("METADATA_UPDATES_QUEUE")
        self.watches = self.queue("TRAINING_WATCHES_QUEUE")
        self.events = self.queue("EVENTS_QUEUE")
        self.letters = self.queue("METADATA_UPDATES_QUEUE", poison_of)
        for queue in self.queues:
            queue.create_queue()
        self.write_settings()

    @property
    def queues(self) -> tuple[QueueClient, ...]:
        return self.updates, self.watches, self.events, self.letters

    def queue(self, setting: str, name: Any = str) -> QueueClient:
        return QueueClient.from_connection_string(self.settings["AzureWebJobsStorage"], name(self.settings[setting]))

    def write_settings(self, **changes: str) -> None:
        self.settings.update(changes)
        (self.folder / "local.settings.json").write_text(json.dumps({"IsEncrypted": False, "Values": self.settings}))

    def write(self, name: str, *lines: str) -> Path:
        path = self.folder / name
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    def environment(self, changes: Mapping[str, str] | None = None) -> dict[str, str]:
        passed = {name: value for name, value in os.environ.items() if name not in self.settings}
        state = {"VISION_RELAY_STATE": str(self.folder / "state"), "PYTHONPATH": str(PROJECT_ROOT)}
        return {**passed, **state, **(changes or {})}

    def run(self, *arguments: str, stdin: str | None = None, environment: Mapping[str, str] | None = None) -> Result:
        """Do what a command does, in this process."""
        with chdir(self.folder), mock.patch.dict(os.environ, self.environment(environment), clear=True):
            done = CliRunner().invoke(app, arguments, input=stdin, catch_exceptions=False)
        return Result(done.exit_code, done.stdout, done.stderr)

    def start(self, *arguments: str) -> ForkServerProcess:
        """Start a command in a process of its own, which can be killed."""
        return start(arguments, self.folder, self.environment())

    @property
    def stderr(self) -> str:
        """What the command that was started last has printed to standard error."""
        return self._printed("stderr")

    @property
    def stdout(self) -> str:
        """What it has printed to standard output."""
        return self._printed("stdout")

    def _printed(self, name: str) -> str:
        path = self.folder / name
        return path.read_text() if path.exists() else ""

    def ids(self, count: int) -> list[UUID]:
        return [uuid4() for _ in range(count)]

    def catalogue(self, image_ids: Sequence[UUID], name: str = "catalogue.csv", sets: int = 1) -> Path:
        """A CSV file that gives the images one of so many sets of metadata."""
        rows = (f"{image},{self.project_id},Collection {n % sets}" for n, image in enumerate(image_ids))
        return self.write(name, "image_id,project_id,collection", *rows)


def taken(queue: QueueClient) -> list[str]:
    """All visible messages of a queue, which are gone from it then."""
    texts = []
    for message in queue.receive_messages(messages_per_page=32, visibility_timeout=60):
        texts.append(str(message.content))
        queue.delete_message(message)
    return texts


@pytest.fixture
def bench(tmp_path: Path, azurite: str, simulation: SimulationProcess) -> Iterator[Bench]:
    name = uuid4().hex[:16]
    bench = Bench(
        tmp_path,
        {
            "AzureWebJobsStorage": azurite,
            "METADATA_UPDATES_QUEUE": f"updates-{name}",
            "TRAINING_WATCHES_QUEUE": f"watches-{name}",
            "EVENTS_QUEUE": f"events-{name}",
            "PERMITS_QUEUE": f"permits-{name}",
            "TRAINING_POLL_SCHEDULE": "* * * * * *",
            "CUSTOM_VISION_ENDPOINT": simulation.address,
            "CUSTOM_VISION_TRAINING_KEY": simulation.credentials.custom_vision_key,
            "CUSTOM_VISION_CALLS_PER_SECOND": "100",
            "FACE_ENDPOINT": simulation.address,
            "FACE_KEY": simulation.credentials.face_key,
        },
    )
    yield bench
    for queue in bench.queues:
        queue.close()
