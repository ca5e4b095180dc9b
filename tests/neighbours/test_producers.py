"""Updates that real libraries serialise and send reach their images."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import azure.core.messaging
import pytest
import pytest_asyncio
from aiohttp import web
from azure.core.credentials import AzureKeyCredential
from azure.eventgrid import EventGridEvent
from azure.eventgrid.aio import EventGridPublisherClient
from azure.storage.queue import BinaryBase64EncodePolicy, TextBase64EncodePolicy
from azure.storage.queue.aio import QueueServiceClient
from cloudevents.core.bindings.http import to_structured_event
from cloudevents.core.v1.event import CloudEvent

from local.cloud import UPDATES
from tests.npm import node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from local.cloud import LocalCloud

METADATA = {"collection": "Harbour, Ålesund", "decade": "1950s"}
TYPE, SOURCE = "Archive.ImageDescribed", "/archive"
WAIT_SECONDS = 30.0
JAVASCRIPT_WAYS = (
    "plain",
    "base64",
    "cloudevents",
    "cloudevents, base64",
    "cloudevents, data as bytes",
    "cloudevents, data as text",
    "nulls",
    "cloudevents, nulls",
)

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.usefixtures("app")]


class Producer:
    """Makes updates of new images, and waits for what becomes of them."""

    def __init__(self, cloud: LocalCloud, project_id: UUID) -> None:
        self.cloud = cloud
        self._project_id = project_id

    async def new_update(self) -> dict[str, Any]:
        image_id = uuid4()
        await self.cloud.control.add_images(self._project_id, [image_id])
        return {"projectId": str(self._project_id), "imageIds": [str(image_id)], "metadata": METADATA}

    async def until_applied(self, *updates: Mapping[str, Any]) -> None:
        """Wait until the images of these updates have their metadata."""
        missing = {UUID(image_id) for update in updates for image_id in update["imageIds"]}
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while missing:
                    await asyncio.sleep(0.1)
                    states = await self.cloud.control.images(self._project_id)
                    missing = {image_id for image_id in missing if states[image_id].metadata != METADATA}
        except TimeoutError:
            lost = [update for update in updates if UUID(update["imageIds"][0]) in missing]
            pytest.fail(f"not applied within {WAIT_SECONDS:g} s: {lost}")


@pytest.fixture
def producer(cloud: LocalCloud) -> Producer:
    return Producer(cloud, uuid4())


@pytest_asyncio.fixture(loop_scope="package")
async def topic() -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """An endpoint that keeps the events posted to it, as a topic that delivers them to a queue would."""
    events: list[dict[str, Any]] = []

    async def take(request: web.Request) -> web.Response:
        events.extend(await request.json())
        return web.Response()

    server = web.Application()
    server.router.add_post("/api/events", take)
    runner = web.AppRunner(server)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}/api/events", events
    finally:
        await runner.cleanup()


class TestPython:
    async def test_azure_storage_queue_sends_plain_text(self, cloud: LocalCloud, producer: Producer) -> None:
        update = await producer.new_update()
        await cloud.queues.get_queue_client(UPDATES).send_message(json.dumps(update), time_to_live=-1)
        await producer.until_applied(update)

    @pytest.mark.parametrize("policy", [TextBase64EncodePolicy, BinaryBase64EncodePolicy])
    async def test_azure_storage_queue_sends_base64(
        self, cloud: LocalCloud, producer: Producer, policy: type[Any]
    ) -> None:
        update = await producer.new_update()
        text = json.dumps(update, ensure_ascii=False)
        async with QueueServiceClient.from_connection_string(cloud.settings["AzureWebJobsStorage"]) as service:
            queue = service.get_queue_client(UPDATES, message_encode_policy=policy())
            await queue.send_message(text if policy is TextBase64EncodePolicy else text.encode(), time_to_live=-1)
        await producer.until_applied(update)

    @pytest.mark.parametrize("in_base64", [False, True])
    @pytest.mark.parametrize("data", ["object", "text", "bytes"])
    async def test_cloudevents_wraps_an_update(
        self, cloud: LocalCloud, producer: Producer, data: str, *, in_base64: bool
    ) -> None:
        update = await producer.new_update()
        shapes: dict[str, Any] = {"object": update, "text": json.dumps(update), "bytes": json.dumps(update).encode()}
        body = to_structured_event(CloudEvent({"type": TYPE, "source": SOURCE}, shapes[data])).body
        text = base64.b64encode(body).decode() if in_base64 else body.decode()
        await cloud.queues.get_queue_client(UPDATES).send_message(text, time_to_live=-1)
        await producer.until_applied(update)

    @pytest.mark.parametrize("schema", ["event grid", "cloudevents", "cloudevents, data as bytes"])
    async def test_azure_eventgrid_publishes_an_update(
        self, cloud: LocalCloud, producer: Producer, topic: tuple[str, list[dict[str, Any]]], schema: str
    ) -> None:
        """Event Grid delivers what was published, one event a message, in Base64."""
        update = await producer.new_update()
        address, published = topic
        events: dict[str, Any] = {
            "event grid": EventGridEvent("images/1", TYPE, update, "1.0"),
            "cloudevents": azure.core.messaging.CloudEvent(source=SOURCE, type=TYPE, data=update),
            "cloudevents, data as bytes": azure.core.messaging.CloudEvent(
                source=SOURCE, type=TYPE, data=json.dumps(update).encode()
            ),
        }
        async with EventGridPublisherClient(address, AzureKeyCredential("none")) as client:
            await client.send(events[schema])
        [event] = published
        delivered = base64.b64encode(json.dumps(event).encode()).decode()
        await cloud.queues.get_queue_client(UPDATES).send_message(delivered, time_to_live=-1)
        await producer.until_applied(update)


class TestJavaScript:
    async def test_every_way_of_sending_an_update_is_read(self, cloud: LocalCloud, producer: Producer) -> None:
        updates = [{**await producer.new_update(), "correlationId": way} for way in JAVASCRIPT_WAYS]
        messages = [{"way": update["correlationId"], "update": update} for update in updates]
        await node.run("producer.mjs", {"queue": UPDATES, "messages": messages}, cloud.settings)
        await producer.until_applied(*updates)
