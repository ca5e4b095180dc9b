"""The project's promises on Microsoft's own Functions host, where Core Tools are installed.

`python -m pytest tests/functions_host` takes about three minutes: the host needs its time to start, and an invocation
that fails to be released.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from local.cloud import EVENTS, UPDATES, UPDATES_POISON, WATCHES, LocalCloud, text_of
from local.core_tools import HOW_TO_GET, FunctionsHost, core_tools, package
from local.simulation.models import Api, FaultKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

PROJECT = Path(__file__).parents[2]
METADATA = {"collection": "Harbour"}
IMAGES_PER_CALL = 64
VISIBILITY = {"AzureFunctionsJobHost__extensions__queues__visibilityTimeout": "00:00:05"}
"""Instead of a minute, so that nobody waits as long for a message that is delivered again."""

pytestmark = [
    pytest.mark.skipif(core_tools() is None, reason=HOW_TO_GET),
    pytest.mark.asyncio(loop_scope="session"),
]


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return package(PROJECT, tmp_path_factory.mktemp("package") / "app")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cloud() -> AsyncIterator[LocalCloud]:
    async with LocalCloud(whole_storage=True) as cloud:
        yield cloud


@asynccontextmanager
async def new_host(app: Path, cloud: LocalCloud, output: Path, **settings: str) -> AsyncIterator[FunctionsHost]:
    values = {**cloud.settings, **VISIBILITY, "PERMITS_QUEUE": f"permits-{uuid4().hex[:8]}", **settings}
    async with FunctionsHost(app, values, output) as host:
        yield host


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def host(app: Path, cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FunctionsHost]:
    """One host for the tests that leave it as it was."""
    output = tmp_path_factory.mktemp("host") / "host.log"
    async with new_host(app, cloud, output, LINGER_SECONDS="5") as host:  # however slowly this machine sends
        yield host
        keys = (cloud.settings["CUSTOM_VISION_TRAINING_KEY"], cloud.settings["FACE_KEY"])
        account = re.search("AccountKey=([^;]+)", cloud.settings["AzureWebJobsStorage"])
        assert account is not None
        assert not any(key in host.text for key in (*keys, account[1])), "a key stands in what the host prints"


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "it did not come so far in time"
        await asyncio.sleep(0.1)


async def new_images(cloud: LocalCloud, count: int) -> tuple[UUID, list[UUID]]:
    project, images = uuid4(), [uuid4() for _ in range(count)]
    await cloud.control.add_images(project, images)
    return project, images


def update(project: UUID, *images: UUID, **fields: Any) -> str:
    return json.dumps({"projectId": str(project), "imageIds": list(map(str, images)), "metadata": METADATA} | fields)


async def send(cloud: LocalCloud, queue: str, *texts: str) -> None:
    async for _ in cloud.send(queue, texts):
        pass


async def applied(cloud: LocalCloud, project: UUID) -> int:
    states = await cloud.control.images(project)
    return sum(state.metadata == METADATA for state in states.values())


async def received(cloud: LocalCloud, queue: str, count: int = 1) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    async def is_there() -> bool:
        found.extend(json.loads(text_of(message)) for message in await cloud.drain(queue))
        return len(found) >= count

    await until(is_there)
    return found


async def test_the_host_finds_both_functions(host: FunctionsHost) -> None:
    assert "update_image_metadata" in host.text
    assert "poll_training_status" in host.text
    assert "No job functions found" not in host.text


async def test_the_host_writes_the_line_that_the_alert_on_silence_looks_for(host: FunctionsHost) -> None:
    alerts = (PROJECT / "infra/app/alerts.bicep").read_text()
    [line] = re.findall(r'message startswith "(Executed .+)"', alerts)

    async def is_written() -> bool:
        return line in host.text

    await until(is_written, 20)


async def test_calls_are_full(host: FunctionsHost, cloud: LocalCloud) -> None:
    project, images = await new_images(cloud, 1000)
    before = (await cloud.control.counters()).custom_vision.images_per_call
    await send(cloud, UPDATES, *(update(project, image) for image in images))

    async def is_done() -> bool:
        return await applied(cloud, project) == len(images)

    await until(is_done)
    after = (await cloud.control.counters()).custom_vision.images_per_call
    calls = sum(after.values()) - sum(before.values())
    assert calls == -(-len(images) // IMAGES_PER_CALL)


async def test_what_cannot_be_applied_becomes_a_dead_letter_with_its_reason(
    host: FunctionsHost, cloud: LocalCloud
) -> None:
    project, [image] = await new_images(cloud, 1)
    missing = uuid4()
    await send(cloud, UPDATES, update(project, image, missing, correlationId="scan-1"))
    [letter] = await received(cloud, UPDATES_POISON)
    assert letter["imageIds"] == [str(missing)]
    assert letter["correlationId"] == "scan-1"
    assert (letter["failure"]["reason"], letter["failure"]["code"]) == ("refused", "ErrorImageNotFound")
    assert await applied(cloud, project) == 1


async def test_fields_named_as_the_triggers_own_hide_nothing(host: FunctionsHost, cloud: LocalCloud) -> None:
    fields = {"id": "mine", "Id": "mine", "dequeueCount": 77, "expirationTime": "never", "PopReceipt": "mine"}
    await send(cloud, UPDATES, update(uuid4(), uuid4(), **fields))
    [letter] = await received(cloud, UPDATES_POISON)
    assert letter["failure"]["reason"] == "invalid"
    assert letter["failure"]["deliveries"] == 1
    assert "dequeueCount" in letter["failure"]["message"]


async def test_a_watch_leads_to_its_event(host: FunctionsHost, cloud: LocalCloud) -> None:
    await cloud.drain(EVENTS)
    await cloud.control.train("employees", running_seconds=0.5)
    await send(cloud, WATCHES, json.dumps({"kind": "personGroup", "id": "employees", "correlationId": "nightly"}))
    [event] = await received(cloud, EVENTS)
    assert event["type"] == "VisionRelay.Training.Succeeded"
    assert event["data"]["correlationId"] == "nightly"


async def test_an_outage_is_told_once_each_way_and_nothing_is_given_up(host: FunctionsHost, cloud: LocalCloud) -> None:
    project, images = await new_images(cloud, 200)
    printed = len(host.text)
    async with cloud.control.outage(Api.CUSTOM_VISION, FaultKind.UNAVAILABLE_EMPTY):
        await send(cloud, UPDATES, *(update(project, image) for image in images))

        async def is_told() -> bool:
            return "suspended" in host.text[printed:]

        await until(is_told, 20)  # while it lasts, and while nothing is completed
        await asyncio.sleep(3)

    async def is_done() -> bool:
        return await applied(cloud, project) == len(images) and "resumed" in host.text[printed:]

    await until(is_done, 90)
    told = host.text[printed:]
    assert len(re.findall("calls .*are suspended", told)) == 1
    assert len(re.findall("resumed", told)) == 1
    assert await cloud.count(UPDATES_POISON) == 0


async def test_a_lost_worker_loses_nothing(app: Path, cloud: LocalCloud, tmp_path: Path) -> None:
    of_other_tests = await cloud.count(UPDATES)
    project, images = await new_images(cloud, 50)
    async with new_host(app, cloud, tmp_path / "host.log") as host:
        async with cloud.control.outage(Api.CUSTOM_VISION):
            await send(cloud, UPDATES, *(update(project, image) for image in images))

            async def is_told() -> bool:
                return "suspended" in host.text

            await until(is_told, 30)
            host.kill_worker()

        async def is_done() -> bool:
            return await applied(cloud, project) == len(images) and await cloud.count(UPDATES) <= of_other_tests

        await until(is_done, 120)
        assert await cloud.count(UPDATES_POISON) == 0


async def test_sigterm_under_load_ends_it_and_loses_nothing(app: Path, cloud: LocalCloud, tmp_path: Path) -> None:
    project, images = await new_images(cloud, 300)
    async with new_host(app, cloud, tmp_path / "host.log") as host, cloud.control.outage(Api.CUSTOM_VISION):
        await send(cloud, UPDATES, *(update(project, image) for image in images))

        async def is_told() -> bool:
            return "suspended" in host.text

        await until(is_told, 30)
        assert await host.terminate(30) == 0
    assert await cloud.count(UPDATES) == len(images), "each is delivered again when its invisibility ends"
    assert await cloud.count(UPDATES_POISON) == 0


async def test_a_wrong_setting_is_told_where_people_look(app: Path, cloud: LocalCloud, tmp_path: Path) -> None:
    async with new_host(app, cloud, tmp_path / "host.log", LINGER_SECONDS="soon") as host:

        async def is_told() -> bool:
            return "LINGER_SECONDS" in host.text

        await until(is_told, 30)
