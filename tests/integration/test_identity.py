"""The app without any key: every token comes from the token endpoint of App Service, for the cloud that it is in."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from local.child_process import ChildFailedError
from local.cloud import EVENTS, UPDATES, WATCHES
from local.host.process import HostProcess
from local.keyless.cloud import CHINA, PUBLIC, US_GOVERNMENT, KeylessCloud, Names
from local.simulation.models import Api, IdentitySetting
from shared.services.authentication import identity_authentication, new_credential

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

PROJECT = Path(__file__).parents[2]
METADATA = {"collection": "Harbour"}
STORAGE_AUDIENCE = "https://storage.azure.com"
CLIENT = "0c11e0d5-0000-4000-8000-000000000001"
FOR_STORAGE = "0c11e0d5-0000-4000-8000-000000000002"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_cloud() -> AsyncIterator[KeylessCloud]:
    async with KeylessCloud(PUBLIC) as cloud:
        yield cloud


@pytest_asyncio.fixture(loop_scope="module")
async def cloud(running_cloud: KeylessCloud) -> AsyncIterator[KeylessCloud]:
    """The same cloud for all tests, as new for each."""
    yield running_cloud
    await running_cloud.control.reset()
    for queue in (UPDATES, WATCHES, EVENTS):
        await running_cloud.queues.get_queue_client(queue).clear_messages()


async def becomes_true(condition: Callable[[], Awaitable[bool]], within_seconds: float = 30.0) -> None:
    async with asyncio.timeout(within_seconds):
        while not await condition():
            await asyncio.sleep(0.1)


async def send(cloud: KeylessCloud, queue: str, message: object) -> None:
    await cloud.queues.get_queue_client(queue).send_message(json.dumps(message), time_to_live=-1)


async def send_update(cloud: KeylessCloud) -> UUID:
    """Send an update of an image that exists, and return its project."""
    project_id, image_id = uuid4(), uuid4()
    await cloud.control.add_images(project_id, [image_id])
    update = {"projectId": str(project_id), "imageIds": [str(image_id)], "metadata": METADATA}
    await send(cloud, UPDATES, update)
    return project_id


async def is_applied(cloud: KeylessCloud, project_id: UUID) -> bool:
    return all(state.metadata == METADATA for state in (await cloud.control.images(project_id)).values())


async def work_is_done(cloud: KeylessCloud) -> None:
    """Have an update applied and a training told, to the queue and to the topic."""
    await cloud.control.train("staff", running_seconds=0)
    project_id = await send_update(cloud)
    await send(cloud, WATCHES, {"kind": "personGroup", "id": "staff"})

    async def done() -> bool:
        published = await cloud.control.published_events()
        return bool(published.events) and await is_applied(cloud, project_id)

    await becomes_true(done)
    (event,) = (await cloud.control.published_events()).events
    assert event["type"] == "VisionRelay.Training.Succeeded"
    queued = [message async for message in cloud.queues.get_queue_client(EVENTS).receive_messages()]
    assert len(queued) == 1
    assert event["id"] in as_text(queued[0].content)


def as_text(content: object) -> str:
    text = str(content)
    return text if text.startswith("{") else base64.b64decode(text).decode()


async def audiences(cloud: KeylessCloud) -> Counter[tuple[str, str | None]]:
    requests = await cloud.control.token_requests()
    return Counter((request.resource, request.client_id) for request in requests if request.status == 200)


class TestKeyless:
    async def test_the_app_works_without_any_key_and_asks_for_each_token_once(
        self, cloud: KeylessCloud, tmp_path: Path
    ) -> None:
        assert not [name for name in cloud.settings if "KEY" in name]
        assert "AzureWebJobsStorage" not in cloud.settings
        async with HostProcess(PROJECT, cloud.settings, tmp_path / "host.log"):
            await work_is_done(cloud)
            for _ in range(3):  # as time goes by
                await becomes_true(partial(is_applied, cloud, await send_update(cloud)))
        asked = await audiences(cloud)
        assert asked[PUBLIC.cognitive_services_audience, None] == 1, "Custom Vision and Face share one"
        assert asked[PUBLIC.event_grid_audience, None] == 1
        assert asked[STORAGE_AUDIENCE, None] <= 2, "the app's and the host's"
        assert set(cloud.proxy.connections) == {
            "vision.cognitiveservices.azure.com",
            "face.cognitiveservices.azure.com",
            "topic.westeurope-1.eventgrid.azure.net",
            "localaccount.queue.core.windows.net",
        }
        assert cloud.settings["IDENTITY_HEADER"] not in (tmp_path / "host.log").read_text()

    async def test_storage_is_found_by_the_accounts_name(self, cloud: KeylessCloud, tmp_path: Path) -> None:
        settings = {**cloud.settings, "AzureWebJobsStorage__accountName": "localaccount"}
        del settings["AzureWebJobsStorage__queueServiceUri"]
        async with HostProcess(PROJECT, settings, tmp_path / "host.log"):
            await work_is_done(cloud)

    async def test_user_assigned_identities_are_asked_for_by_their_settings(
        self, cloud: KeylessCloud, tmp_path: Path
    ) -> None:
        await cloud.control.set_identity(IdentitySetting(system_assigned=False, user_assigned=(CLIENT, FOR_STORAGE)))
        settings = {
            **cloud.settings,
            "AZURE_CLIENT_ID": CLIENT,
            "AzureWebJobsStorage__credential": "managedidentity",
            "AzureWebJobsStorage__clientId": FOR_STORAGE,
        }
        async with HostProcess(PROJECT, settings, tmp_path / "host.log"):
            await work_is_done(cloud)
        assert set(await audiences(cloud)) == {
            (PUBLIC.cognitive_services_audience, CLIENT),
            (PUBLIC.event_grid_audience, CLIENT),
            (STORAGE_AUDIENCE, FOR_STORAGE),
        }

    async def test_a_refused_identity_is_told_with_the_setting_and_costs_no_message(
        self, cloud: KeylessCloud, tmp_path: Path
    ) -> None:
        log = tmp_path / "host.log"
        await cloud.control.set_identity(IdentitySetting(system_assigned=False, user_assigned=(FOR_STORAGE,)))
        settings = {**cloud.settings, "AZURE_CLIENT_ID": CLIENT, "AzureWebJobsStorage__clientId": FOR_STORAGE}
        async with HostProcess(PROJECT, settings, log):
            project_id = await send_update(cloud)

            async def told() -> bool:
                return "no token for the app's identity" in log.read_text()

            await becomes_true(told)
            await cloud.control.set_identity(IdentitySetting(user_assigned=(CLIENT, FOR_STORAGE)))
            await becomes_true(partial(is_applied, cloud, project_id), within_seconds=60)
        text = log.read_text()
        assert "AZURE_CLIENT_ID names a user-assigned one" in text
        assert "or set CUSTOM_VISION_TRAINING_KEY" in text
        assert "No User Assigned or Delegated Managed Identity found" in text
        assert settings["IDENTITY_HEADER"] not in text

    async def test_a_token_for_another_audience_is_refused_and_the_setting_told(
        self, cloud: KeylessCloud, tmp_path: Path
    ) -> None:
        log = tmp_path / "host.log"
        await cloud.control.set_audience(Api.CUSTOM_VISION, "https://audience.example")
        host = HostProcess(PROJECT, cloud.settings, log)
        await host.start()
        await send_update(cloud)

        async def told() -> bool:
            return "CUSTOM_VISION_TRAINING_KEY and CUSTOM_VISION_ENDPOINT" in log.read_text()

        await becomes_true(told)
        await host.kill()  # a stop would wait for the message
        settings = {**cloud.settings, "COGNITIVE_SERVICES_AUDIENCE": "https://audience.example"}
        async with HostProcess(PROJECT, settings, log):
            project_id = await send_update(cloud)
            await becomes_true(partial(is_applied, cloud, project_id))

    async def test_what_takes_no_token_over_http_stops_the_start(self, cloud: KeylessCloud, tmp_path: Path) -> None:
        settings = {**cloud.settings, "EVENT_GRID_TOPIC_ENDPOINT": "http://127.0.0.1:1/api/events"}
        with pytest.raises(ChildFailedError, match="EVENT_GRID_TOPIC_ENDPOINT: must be https"):
            await HostProcess(PROJECT, settings, tmp_path / "host.log").start()


class TestTokens:
    async def test_a_token_is_kept_and_renewed_before_it_expires(
        self, cloud: KeylessCloud, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in cloud.settings.items():
            if name != "SSL_CERT_FILE":
                monkeypatch.setenv(name, value)
        credential = new_credential(None)
        headers = identity_authentication(credential, PUBLIC.cognitive_services_audience, "FACE_KEY")
        lifetime = IdentitySetting().lifetime_seconds
        clock = time.time
        try:
            tokens = [await headers() for _ in range(3)]
            for passed, requests in ((lifetime / 4, 1), (lifetime - 60, 2)):
                monkeypatch.setattr(time, "time", lambda passed=passed: clock() + passed)
                tokens.append(await headers())
                assert len(await cloud.control.token_requests()) == requests
        finally:
            await credential.close()
        assert len({token["Authorization"] for token in tokens}) == 2


@pytest.mark.parametrize("names", [US_GOVERNMENT, CHINA], ids=["Azure Government", "Azure China"])
async def test_in_another_cloud_the_tokens_are_for_its_services(names: Names, tmp_path: Path) -> None:
    async with KeylessCloud(names) as cloud:
        async with HostProcess(PROJECT, cloud.settings, tmp_path / "host.log"):
            await work_is_done(cloud)
        assert set(await audiences(cloud)) == {
            (names.cognitive_services_audience, None),
            (names.event_grid_audience, None),
            (STORAGE_AUDIENCE, None),
        }
