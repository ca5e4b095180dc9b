"""The examples of the pages for producers and consumers, run as they are printed there."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from azure.core.exceptions import ResourceExistsError
from azure.storage.queue.aio import QueueServiceClient

from local.host.process import HostProcess
from shared.messages.cloud_event import EventType, new_event, to_structured
from shared.messages.encoding import Encoding, encode
from shared.messages.update import parse_update
from shared.messages.watch import parse_watch
from tests.contracts import problems
from tests.npm.node import HERE as LIBRARIES
from tests.npm.node import NODE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from azure.storage.queue.aio import QueueClient

ROOT = Path(__file__).parents[2]
TIMEOUT_SECONDS = 60


def examples(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@asynccontextmanager
async def queue_of(azurite: str, name: str) -> AsyncIterator[QueueClient]:
    """An empty queue."""
    async with QueueServiceClient.from_connection_string(azurite) as service:
        queue = service.get_queue_client(name)
        try:
            await queue.create_queue()
        except ResourceExistsError:
            await queue.clear_messages()
        yield queue


async def run(command: list[str], azurite: str, folder: Path) -> str:
    """What a command prints. It must end well, and soon."""
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        cwd=folder,
        env={**os.environ, "AZURE_STORAGE_CONNECTION_STRING": azurite},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def run_python(code: str, azurite: str, folder: Path) -> str:
    return await run([sys.executable, "-c", code], azurite, folder)


async def run_typescript(code: str, azurite: str) -> str:
    return await run([str(NODE), "--input-type=module-typescript", "--eval", code], azurite, LIBRARIES)


def an_event(number: int) -> str:
    event = new_event(
        EventType.TRAINING_SUCCEEDED,
        source="https://face.example",
        subject=f"persongroups/group-{number}",
        identity=str(number),
        time=datetime.now(UTC),
        data={"kind": "personGroup", "id": f"group-{number}", "correlationId": f"c-{number}"},
    )
    return to_structured(event)


async def put_events(queue: QueueClient, *numbers: int, encoding: Encoding = "base64") -> None:
    for number in numbers:
        await queue.send_message(encode(an_event(number), encoding))


class TestProducing:
    @pytest.mark.parametrize("language", ["python", "ts"])
    async def test_an_update_is_sent(self, azurite: str, tmp_path: Path, language: str) -> None:
        [code] = examples("docs/producing.md", language)
        async with queue_of(azurite, "image-metadata-updates") as queue:
            await (run_python(code, azurite, tmp_path) if language == "python" else run_typescript(code, azurite))
            [message] = [one async for one in queue.receive_messages()]
        sent = parse_update(message.content.encode())
        [readme] = [one for one in map(json.loads, examples("README.md", "json")) if "imageIds" in one]
        assert sent == parse_update(json.dumps(readme).encode())
        assert message.expires_on is not None
        assert message.expires_on.year == 9999

    def test_so_say_the_examples_in_other_languages(self) -> None:
        [cli] = examples("docs/producing.md", "sh")
        content = re.search(r"--content '(.*?)'", cli, re.DOTALL)
        assert content is not None
        assert parse_update(content[1].encode())
        [csharp] = examples("docs/producing.md", "csharp")
        update = parse_update(content[1].encode())
        assert all(id_ in csharp for id_ in (update.project_id, *update.image_ids))
        assert all(f'["{key}"] = "{value}"' in csharp for key, value in update.metadata.items())

    def test_the_watch_keeps_to_its_contract(self) -> None:
        [watch] = examples("docs/producing.md", "json")
        assert parse_watch(watch.encode()).kind == "customVisionIteration"
        assert not problems("training-watch", json.loads(watch))


class TestConsuming:
    async def test_each_event_is_handled_once_however_often_it_comes(self, azurite: str, tmp_path: Path) -> None:
        [code] = [one for one in examples("docs/events.md", "python") if "sqlite3" in one]
        async with queue_of(azurite, "training-events") as queue:
            await put_events(queue, 1, 2, 1)
            first = await run_python(code, azurite, tmp_path)
            await put_events(queue, 2, 3)
            second = await run_python(code, azurite, tmp_path)
            assert (await queue.get_queue_properties()).approximate_message_count == 0
        lines = [f"VisionRelay.Training.Succeeded persongroups/group-{number} c-{number}" for number in (1, 2, 3)]
        assert sorted(first.splitlines()) == lines[:2]
        assert second.splitlines() == lines[2:]

    async def test_typescript_reads_events(self, azurite: str) -> None:
        [code] = examples("docs/events.md", "ts")
        async with queue_of(azurite, "training-events") as queue:
            await put_events(queue, 1, 2)
            said = await run_typescript(code, azurite)
            assert (await queue.get_queue_properties()).approximate_message_count == 0
        assert len(said.splitlines()) == 2
        assert "VisionRelay.Training.Succeeded persongroups/group-1 c-1" in said

    @pytest.mark.parametrize("encoding", ["base64", "none"])
    async def test_a_functions_app_with_default_settings_reads_events_in_base64(
        self, azurite: str, tmp_path: Path, encoding: Encoding
    ) -> None:
        [code] = [one for one in examples("docs/events.md", "python") if "queue_trigger" in one]
        app = tmp_path / "consumer"
        app.mkdir()
        (app / "function_app.py").write_text(code)
        (app / "host.json").write_text(json.dumps({"version": "2.0"}))
        log = tmp_path / "host.log"
        async with (
            queue_of(azurite, "training-events-poison") as poison,
            queue_of(azurite, "training-events") as queue,
            HostProcess(app, {"AzureWebJobsStorage": azurite}, log),
        ):
            await put_events(queue, 1, 2, encoding=encoding)

            async def settled() -> bool:
                left = (await queue.get_queue_properties()).approximate_message_count
                return left == 0

            async with asyncio.timeout(TIMEOUT_SECONDS):
                while not await settled():
                    await asyncio.sleep(0.2)
            poisoned = (await poison.get_queue_properties()).approximate_message_count
        assert poisoned == (0 if encoding == "base64" else 2)
        read = re.findall(r"VisionRelay.Training.Succeeded persongroups/group-\d c-\d", log.read_text())
        assert len(read) == (2 if encoding == "base64" else 0)
