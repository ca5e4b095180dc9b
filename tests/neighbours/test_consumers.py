"""Real libraries read and validate every type of event."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import azure.core.messaging
import pytest
import pytest_asyncio
from azure.storage.queue import TextBase64DecodePolicy
from azure.storage.queue.aio import QueueServiceClient
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event

from local.cloud import EVENTS, UPDATES, WATCHES
from local.host.process import HostProcess
from tests.npm import node

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.cloud import LocalCloud

ENCODING = "base64"
"""As the app writes by default, and as Functions consumers expect it."""

TYPES = {
    "VisionRelay.Training.Succeeded",
    "VisionRelay.Training.Failed",
    "VisionRelay.Training.NotFound",
    "VisionRelay.Training.WatchExpired",
    "VisionRelay.Training.WatchRejected",
    "VisionRelay.ImageMetadata.Rejected",
    "VisionRelay.ImageMetadata.Updated",
}
WAIT_SECONDS = 60.0

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.usefixtures("app")]


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def events(cloud: LocalCloud, app: None) -> list[dict[str, Any]]:
    """One event of each type is in the queue, which nobody empties."""
    await cloud.queues.get_queue_client(EVENTS).clear_messages()
    project_id, image_id = uuid4(), uuid4()
    await cloud.control.add_images(project_id, [image_id])
    await cloud.control.train("staff", running_seconds=0)
    await cloud.control.train("press", running_seconds=0, failure="no face")
    await cloud.control.add_group("idle")
    watches: tuple[dict[str, Any], ...] = (
        {"id": "staff"},
        {"id": "press"},
        {"id": "nobody"},
        {"id": "idle", "expiresAt": "0001-01-01T00:00:00+00:00"},
        {"id": "idle", "after": "2026-11-28T06:00:00", "correlationId": "run-6"},
    )
    texts = [json.dumps({"kind": "personGroup", **watch}) for watch in watches]
    updates = [
        json.dumps({"projectId": str(project_id), "imageIds": [str(image)], "metadata": {"place": "Ålesund"}})
        for image in (image_id, uuid4())
    ]
    for queue, messages in ((WATCHES, texts), (UPDATES, updates)):
        async for _ in cloud.send(queue, messages):
            pass
    async with asyncio.timeout(WAIT_SECONDS):
        while await cloud.count(EVENTS) < len(TYPES):
            await asyncio.sleep(0.1)
    return [json.loads(text) for text in await texts_of(cloud, EVENTS)]


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def at_topic(cloud: LocalCloud, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same events, as the Event Grid topic has taken them."""
    ids = {event["id"] for event in events}
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            published = {event["id"]: event for event in (await cloud.control.published_events()).events}
            if ids <= published.keys():
                return [published[event["id"]] for event in events]
            await asyncio.sleep(0.1)


async def texts_of(cloud: LocalCloud, queue: str) -> list[str]:
    """What azure-storage-queue makes of the messages, which stay where they are."""
    policy = {"message_decode_policy": TextBase64DecodePolicy()} if ENCODING == "base64" else {}
    async with QueueServiceClient.from_connection_string(cloud.settings["AzureWebJobsStorage"]) as service:
        messages = await service.get_queue_client(queue, **policy).peek_messages(32)
    return [message.content for message in messages]


def read_by_cloudevents(text: str) -> dict[str, Any]:
    headers = {"content-type": "application/cloudevents+json"}
    event = from_structured_event(HTTPMessage(headers, text.encode()))
    return {**event.get_attributes(), "data": event.get_data()}


def read_by_azure_core(text: str) -> dict[str, Any]:
    """The class that azure-eventgrid takes and gives too."""
    event: azure.core.messaging.CloudEvent[Any] = azure.core.messaging.CloudEvent.from_json(text)
    names = ("id", "type", "source", "subject", "time", "data")
    return {name: getattr(event, name) for name in names}


def assert_understood(understood: dict[str, Any], event: dict[str, Any]) -> None:
    for name in ("id", "type", "source", "subject", "data"):
        assert understood[name] == event[name]
    time = understood["time"]
    if isinstance(time, str):  # from JavaScript, whose dates have three digits
        time = datetime.fromisoformat(time)
    assert abs(time - datetime.fromisoformat(event["time"])) < timedelta(milliseconds=1)


async def test_every_type_of_event_is_there(events: list[dict[str, Any]]) -> None:
    assert {event["type"] for event in events} == TYPES


@pytest.mark.parametrize("read", [read_by_cloudevents, read_by_azure_core])
async def test_a_python_library_understands_every_event(
    events: list[dict[str, Any]], read: Callable[[str], dict[str, Any]]
) -> None:
    for event in events:
        assert_understood(read(json.dumps(event)), event)


@pytest.mark.parametrize("read", [read_by_cloudevents, read_by_azure_core])
async def test_a_python_library_understands_every_event_of_the_topic(
    events: list[dict[str, Any]], at_topic: list[dict[str, Any]], read: Callable[[str], dict[str, Any]]
) -> None:
    for event, published in zip(events, at_topic, strict=True):
        assert_understood(read(json.dumps(published)), event)


async def test_the_javascript_library_understands_every_event_of_the_topic(
    cloud: LocalCloud, events: list[dict[str, Any]], at_topic: list[dict[str, Any]]
) -> None:
    told = {"bodies": [json.dumps(published) for published in at_topic]}
    understood = json.loads(await node.run("consumer.mjs", told, cloud.settings))
    for event, read in zip(events, understood, strict=True):
        assert_understood(read, event)


async def test_the_javascript_libraries_understand_every_event(cloud: LocalCloud, events: list[dict[str, Any]]) -> None:
    told = {"queue": EVENTS, "encoding": ENCODING}
    understood = {event["id"]: event for event in json.loads(await node.run("consumer.mjs", told, cloud.settings))}
    assert len(understood) == len(events)
    for event in events:
        assert_understood(understood[event["id"]], event)


async def test_a_functions_app_with_default_settings_understands_every_event(
    cloud: LocalCloud, events: list[dict[str, Any]], tmp_path: Path
) -> None:
    """It reads copies, so that the others find theirs."""
    copies, output = "events-copied", tmp_path / "consumer.log"
    await cloud.queues.create_queue(copies)
    messages = await cloud.queues.get_queue_client(EVENTS).peek_messages(32)
    async for _ in cloud.send(copies, [message.content for message in messages]):
        pass
    consumer = Path(__file__).parent / "consumer_app"
    async with HostProcess(consumer, cloud.settings | {"EVENTS_TO_READ": copies}, output):
        async with asyncio.timeout(WAIT_SECONDS):
            while await cloud.count(copies):
                await asyncio.sleep(0.1)
    assert await cloud.count(f"{copies}-poison") == 0
    log = output.read_text()
    assert [event for event in events if f"understood {event['type']} {event['id']}" not in log] == []
