"""The app on real queues and the simulated services: what a producer, a consumer and an operator see."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import logging
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import azure.functions as func
import pytest
import pytest_asyncio

from functions import poll_training_status, update_image_metadata
from local.child_process import ChildFailedError
from local.cloud import EVENTS, UPDATES, UPDATES_POISON, WATCHES, WATCHES_POISON, LocalCloud, text_of
from local.host.process import HostProcess
from local.simulation.models import Api, Fault, FaultKind, GroupKind, MetadataLimits
from shared.app import App
from shared.errors import MaxWaitExceeded, MessageAbandoned, StorageTrouble
from shared.settings import Settings
from tests.integration.test_http import http, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

PROJECT = Path(__file__).parents[2]
METADATA = {"collection": "Harbour", "decade": "1950s"}

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_cloud() -> AsyncIterator[LocalCloud]:
    async with LocalCloud() as cloud:
        yield cloud


@pytest_asyncio.fixture(loop_scope="module")
async def cloud(running_cloud: LocalCloud) -> AsyncIterator[LocalCloud]:
    """The same cloud for all tests, as new for each."""
    yield running_cloud
    await running_cloud.control.reset()
    for queue in (UPDATES, UPDATES_POISON, WATCHES, WATCHES_POISON, EVENTS):
        await running_cloud.queues.get_queue_client(queue).clear_messages()


class Relay:
    """The app in this process: its two functions, called as the host calls them."""

    def __init__(self, app: App, cloud: LocalCloud) -> None:
        self._update = _user_function(update_image_metadata.blueprint(app.metadata_updates))
        self._poll = _user_function(poll_training_status.blueprint(app.training_watches, app.replenish_permits))
        self._cloud = cloud
        self._ids = itertools.count()

    async def update(self, body: str, message_id: str | None = None) -> None:
        message = func.QueueMessage(id=message_id or f"message-{next(self._ids)}", body=body.encode())
        await self._update(message)

    async def poll(self) -> None:
        await self._poll(None)

    async def dead_letters(self) -> list[dict[str, Any]]:
        return [json.loads(text_of(message)) for message in await self._cloud.drain(UPDATES_POISON)]

    async def events(self) -> list[dict[str, Any]]:
        return [json.loads(text_of(message)) for message in await self._cloud.drain(EVENTS)]


def _user_function(blueprint: func.Blueprint) -> Any:
    functions = func.FunctionApp()
    functions.register_functions(blueprint)
    return functions.get_functions()[0].get_user_function()


@asynccontextmanager
async def relay_with(cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch, **settings: str) -> AsyncIterator[Relay]:
    for name, value in {**cloud.settings, "LINGER_SECONDS": "0.05", **settings}.items():
        monkeypatch.setenv(name, value)
    app = App(Settings.load())
    try:
        yield Relay(app, cloud)
    finally:
        await app.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def relay(cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Relay]:
    async with relay_with(cloud, monkeypatch) as relay:
        yield relay


async def new_project(cloud: LocalCloud, images: int = 1) -> tuple[UUID, list[UUID]]:
    project_id, image_ids = uuid4(), [uuid4() for _ in range(images)]
    await cloud.control.add_images(project_id, image_ids)
    return project_id, image_ids


def update(project_id: UUID, image_ids: Sequence[UUID], **fields: Any) -> str:
    message = {"projectId": str(project_id), "imageIds": list(map(str, image_ids)), "metadata": METADATA}
    return json.dumps({**message, **fields})


async def applied(cloud: LocalCloud, project_id: UUID) -> set[UUID]:
    states = await cloud.control.images(project_id)
    return {image_id for image_id, state in states.items() if state.metadata == METADATA}


async def until_settled(cloud: LocalCloud) -> None:
    """Wait until both input queues are empty."""
    async with asyncio.timeout(30):
        while await cloud.count(UPDATES) + await cloud.count(WATCHES):
            await asyncio.sleep(0.1)


class TestUpdates:
    async def test_an_update_reaches_its_images(self, cloud: LocalCloud, relay: Relay) -> None:
        project_id, image_ids = await new_project(cloud, 3)
        await relay.update(update(project_id, image_ids))
        assert await applied(cloud, project_id) == set(image_ids)
        assert await relay.dead_letters() == await relay.events() == []

    @pytest.mark.parametrize("wrap", ["base64", "cloudevents", "event grid"])
    async def test_producers_may_wrap_their_message(self, cloud: LocalCloud, relay: Relay, wrap: str) -> None:
        project_id, image_ids = await new_project(cloud)
        data = update(project_id, image_ids)
        bodies = {
            "base64": base64.b64encode(data.encode()).decode(),
            "cloudevents": f'{{"specversion":"1.0","id":"1","source":"/p","type":"T","data":{data}}}',
            "event grid": f'{{"id":"1","subject":"s","eventType":"T","dataVersion":"1","data":{data}}}',
        }
        await relay.update(bodies[wrap])
        assert await applied(cloud, project_id) == set(image_ids)

    async def test_concurrent_updates_share_calls(self, cloud: LocalCloud, relay: Relay) -> None:
        project_id, image_ids = await new_project(cloud, 130)
        await asyncio.gather(*(relay.update(update(project_id, [image_id])) for image_id in image_ids))
        assert await applied(cloud, project_id) == set(image_ids)
        assert (await cloud.control.counters()).custom_vision.images_per_call == {64: 2, 2: 1}

    async def test_an_image_that_does_not_exist_is_dead_lettered_and_the_rest_applied(
        self, cloud: LocalCloud, relay: Relay
    ) -> None:
        project_id, image_ids = await new_project(cloud, 2)
        missing = uuid4()
        await relay.update(update(project_id, [missing, *image_ids], correlationId="scan 7"))
        assert await applied(cloud, project_id) == set(image_ids)
        [letter] = await relay.dead_letters()
        failure = letter.pop("failure")
        assert json.loads(update(project_id, [missing], correlationId="scan 7")) == letter
        assert failure["images"] == {str(missing): "ErrorImageNotFound"}
        [event] = await relay.events()
        assert event["type"] == "VisionRelay.ImageMetadata.Rejected"
        assert event["data"]["correlationId"] == "scan 7"

    async def test_a_message_that_is_not_valid_is_dead_lettered_as_it_came(self, relay: Relay) -> None:
        await relay.update('{"projectId": "harbour"}')
        [letter] = await relay.dead_letters()
        assert letter["body"] == '{"projectId": "harbour"}'
        assert letter["failure"]["reason"] == "invalid"
        assert "projectId" in letter["failure"]["message"]

    async def test_an_unknown_project_is_refused_at_once(self, cloud: LocalCloud, relay: Relay) -> None:
        image_ids = [uuid4(), uuid4()]
        await relay.update(update(uuid4(), image_ids))
        [letter] = await relay.dead_letters()
        assert letter["failure"]["code"] == "NotFoundProject"
        assert (await cloud.control.counters()).custom_vision.calls == 1

    async def test_one_bad_message_among_64_costs_only_itself_and_13_calls(
        self, cloud: LocalCloud, relay: Relay
    ) -> None:
        project_id, image_ids = await new_project(cloud, 64)
        await cloud.control.refuse_calls_with([image_ids[40]], "BadRequestInvalidIds")
        await asyncio.gather(*(relay.update(update(project_id, [image_id])) for image_id in image_ids))
        assert await applied(cloud, project_id) == set(image_ids) - {image_ids[40]}
        [letter] = await relay.dead_letters()
        assert letter["imageIds"] == [str(image_ids[40])]
        assert (await cloud.control.counters()).custom_vision.calls <= 14

    async def test_trouble_of_the_service_with_one_image_returns_its_message(
        self, cloud: LocalCloud, relay: Relay
    ) -> None:
        project_id, image_ids = await new_project(cloud, 2)
        await cloud.control.answer_images_with([image_ids[0]], "ErrorUnknown")
        with pytest.raises(MessageAbandoned, match="ErrorUnknown"):
            await relay.update(update(project_id, image_ids))
        assert await relay.dead_letters() == []

    async def test_the_dead_letters_of_the_largest_message_fit_a_queue(self, cloud: LocalCloud, relay: Relay) -> None:
        project_id, image_ids = await new_project(cloud)
        metadata = {f"<&{n}\u0001\u7740\uffff": "]]>&\u0000\u7740" * 20 for n in range(10)}
        missing = [uuid4() for _ in range(1500)]
        await relay.update(update(project_id, [*image_ids, *missing], metadata=metadata))
        letters = await relay.dead_letters()
        assert {one for letter in letters for one in letter["imageIds"]} == set(map(str, missing))
        assert all(letter["metadata"] == metadata for letter in letters)

    async def test_a_64_kib_message_of_markup_can_be_dead_lettered(self, relay: Relay) -> None:
        await relay.update("<&>" * (64 * 1024 // 3))
        [letter] = await relay.dead_letters()
        assert letter["failure"]["truncated"] is True
        assert letter["body"].startswith("<&><&>")

    async def test_an_event_tells_of_each_applied_message_if_asked_for(
        self, cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with relay_with(cloud, monkeypatch, PUBLISH_UPDATED_EVENTS="true") as relay:
            project_id, image_ids = await new_project(cloud)
            await relay.update(update(project_id, image_ids))
            [event] = await relay.events()
            assert event["type"] == "VisionRelay.ImageMetadata.Updated"
            assert event["subject"] == f"projects/{project_id}"


MOST_METADATA = {"k" * 256: "v" * 512, **{f"key {number}": "" for number in range(49)}}
RAISED = {"MAX_METADATA_PAIRS": "50", "MAX_METADATA_KEY_CHARACTERS": "256", "MAX_METADATA_VALUE_CHARACTERS": "512"}


class TestTopic:
    """Events that go to an Event Grid topic."""

    async def published(self, cloud: LocalCloud) -> list[dict[str, Any]]:
        return list((await cloud.control.published_events()).events)

    async def test_queue_and_topic_get_the_same_event(self, cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> None:
        async with relay_with(cloud, monkeypatch, **cloud.topic_settings) as relay:
            await relay.update("{")
            (queued,) = await relay.events()
        (event,) = await self.published(cloud)
        assert datetime.fromisoformat(event.pop("time")) == datetime.fromisoformat(queued.pop("time"))
        assert event == queued

    async def test_without_a_queue_the_topic_alone_has_it(
        self, cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with relay_with(cloud, monkeypatch, **cloud.topic_settings, EVENTS_QUEUE="") as relay:
            await relay.update("{")
            assert await relay.events() == []
        assert len(await self.published(cloud)) == 1

    async def test_a_message_stays_until_the_topic_has_its_event(
        self, cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with relay_with(cloud, monkeypatch, **cloud.topic_settings) as relay:
            async with cloud.control.outage(Api.EVENT_GRID, FaultKind.BAD_GATEWAY_EMPTY):
                with pytest.raises(StorageTrouble, match="the Event Grid topic has not taken an event"):
                    await relay.update("{", "message-1")
            assert await relay.dead_letters() == []
            await relay.update("{", "message-1")
            assert len(await relay.dead_letters()) == 1
            queued = await relay.events()
        (event,) = await self.published(cloud)
        assert {one["id"] for one in queued} == {event["id"]}

    async def test_a_watch_stays_until_the_topic_has_its_event(
        self, cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await cloud.control.train("staff", running_seconds=0)
        await cloud.queues.get_queue_client(WATCHES).send_message('{"kind": "personGroup", "id": "staff"}')
        settings = {**cloud.topic_settings, "WATCH_LEASE_SECONDS": "4", "API_TIMEOUT_SECONDS": "3"}
        async with relay_with(cloud, monkeypatch, **settings) as relay:
            async with cloud.control.outage(Api.EVENT_GRID, FaultKind.FORBIDDEN):
                await relay.poll()
            assert await cloud.count(WATCHES) == 1
            async with asyncio.timeout(20):
                while await cloud.count(WATCHES):
                    await relay.poll()
                    await asyncio.sleep(0.2)
            queued = await relay.events()
        (event,) = await self.published(cloud)
        assert event["type"] == "VisionRelay.Training.Succeeded"
        assert {one["id"] for one in queued} == {event["id"]}

    async def test_a_refused_key_is_told_with_the_settings(
        self, cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with relay_with(cloud, monkeypatch, **{**cloud.topic_settings, "EVENT_GRID_TOPIC_KEY": "wrong"}) as relay:
            with pytest.raises(StorageTrouble, match="look at EVENT_GRID_TOPIC_ENDPOINT and EVENT_GRID_TOPIC_KEY"):
                await relay.update("{")


class TestMetadataLimits:
    async def test_what_is_over_a_limit_is_refused_with_the_setting_that_raises_it(
        self, cloud: LocalCloud, relay: Relay
    ) -> None:
        project_id, image_ids = await new_project(cloud)
        await relay.update(update(project_id, image_ids, metadata=MOST_METADATA))
        (letter,) = await relay.dead_letters()
        assert letter["failure"]["message"] == "metadata: must have at most 10 pairs (MAX_METADATA_PAIRS)"
        assert (await cloud.control.counters()).custom_vision.calls == 0

    async def test_the_limits_can_be_raised_for_a_service_that_takes_more(
        self, cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await cloud.control.set_metadata_limits(MetadataLimits(pairs=50, key_characters=256, value_characters=512))
        async with relay_with(cloud, monkeypatch, **RAISED) as relay:
            project_id, image_ids = await new_project(cloud)
            await relay.update(update(project_id, image_ids, metadata=MOST_METADATA))
            states = await cloud.control.images(project_id)
            assert [state.metadata for state in states.values()] == [MOST_METADATA]

    async def test_a_service_that_takes_less_refuses_what_shares_the_metadata(
        self, cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with relay_with(cloud, monkeypatch, **RAISED) as relay:
            project_id, image_ids = await new_project(cloud)
            await relay.update(update(project_id, image_ids, metadata=MOST_METADATA))
            (letter,) = await relay.dead_letters()
            assert letter["failure"]["code"] == "BadRequestImageMetadataKey"


class TestWhoseFaultItIs:
    @pytest.mark.parametrize(
        "body",
        [
            {"error": {"code": "BadRequest", "message": "Please provide a custom subdomain for token authentication."}},
            {"code": "BadRequestCustomerManagedKeyRevoked", "message": "The key was revoked."},
        ],
        ids=["the gateway", "the resource"],
    )
    async def test_what_is_the_configurations_costs_no_message_and_is_told(
        self, cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, body: Any
    ) -> None:
        short = {"MAX_WAIT_SECONDS": "5", "API_TIMEOUT_SECONDS": "1"}  # a permit may take seconds on a busy machine
        async with (
            serving(http(json.dumps(body).encode(), b"400 Bad Request")) as service,
            relay_with(cloud, monkeypatch, **short, CUSTOM_VISION_ENDPOINT=service.address) as relay,
        ):
            project_id = uuid4()
            updates = [relay.update(update(project_id, [uuid4()])) for _ in range(64)]
            results = await asyncio.gather(*updates, return_exceptions=True)
            assert await relay.dead_letters() == []
        assert {type(result) for result in results} == {MaxWaitExceeded}
        assert len(service.heads) < 10, "it is probed, and nothing is searched for"
        message = body.get("error", body)["message"]
        assert f"look at CUSTOM_VISION_TRAINING_KEY and CUSTOM_VISION_ENDPOINT; it says: {message}" in caplog.text

    async def test_trouble_with_every_image_is_an_outage_and_waited_out(
        self, cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        project_id, image_ids = await new_project(cloud, 5)
        await cloud.control.answer_images_with(image_ids, "ErrorUnknown", times=2)
        async with relay_with(cloud, monkeypatch) as relay:
            await asyncio.gather(*(relay.update(update(project_id, [image_id])) for image_id in image_ids))
        assert await applied(cloud, project_id) == set(image_ids)


class TestSecrets:
    @pytest.mark.parametrize("status", [b"400 Bad Request", b"500 Server Error"])
    async def test_a_key_that_the_service_repeats_is_in_no_dead_letter_event_or_log(
        self, cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, status: bytes
    ) -> None:
        key = cloud.settings["CUSTOM_VISION_TRAINING_KEY"]
        body = json.dumps({"code": "BadRequestInvalidIds", "message": f"{key} may not do that"}).encode()
        async with (
            serving(http(body, status)) as service,
            relay_with(cloud, monkeypatch, CUSTOM_VISION_ENDPOINT=service.address) as relay,
        ):
            with caplog.at_level(logging.DEBUG, "shared"):
                await relay.update(update(uuid4(), [uuid4()]))
            letters, events = await relay.dead_letters(), await relay.events()
        assert service.heads
        assert letters[0]["failure"]["message"] == "[secret] may not do that"
        assert events[0]["data"]["message"] == "[secret] may not do that"
        assert key not in json.dumps([letters, events]) + caplog.text

    async def test_who_is_not_let_in_reads_the_services_sentence_in_the_log(
        self, cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        key = cloud.settings["CUSTOM_VISION_TRAINING_KEY"]
        sentence = "missing approval for one or more features: Identification,Verification. " * 2
        body = json.dumps({"error": {"code": "403", "message": f"{sentence}({key})"}}).encode()
        async with serving(http(body, b"403 Forbidden")) as service:
            settings = {
                "MAX_WAIT_SECONDS": "5",
                "API_TIMEOUT_SECONDS": "1",
                "CUSTOM_VISION_ENDPOINT": service.address,
            }
            async with relay_with(cloud, monkeypatch, **settings) as relay:
                with pytest.raises(MaxWaitExceeded):
                    await relay.update(update(uuid4(), [uuid4()]))
        assert f"{sentence}([secret])" in caplog.text
        assert "CUSTOM_VISION_TRAINING_KEY and CUSTOM_VISION_ENDPOINT" in caplog.text
        assert key not in caplog.text


class TestOutages:
    async def test_messages_wait_for_a_service_that_is_down_and_it_is_logged_once(
        self, cloud: LocalCloud, relay: Relay, caplog: pytest.LogCaptureFixture
    ) -> None:
        project_id, image_ids = await new_project(cloud, 20)
        await cloud.control.begin_outage(Api.CUSTOM_VISION, FaultKind.UNAVAILABLE_HTML, seconds=1.0)
        with caplog.at_level(logging.INFO):
            await asyncio.gather(*(relay.update(update(project_id, [image_id])) for image_id in image_ids))
        assert await applied(cloud, project_id) == set(image_ids)
        told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert len(told) == 2
        assert "suspended" in told[0]
        assert "resumed" in told[1]

    async def test_a_wrong_key_costs_no_message_and_names_the_setting(
        self, cloud: LocalCloud, relay: Relay, caplog: pytest.LogCaptureFixture
    ) -> None:
        project_id, image_ids = await new_project(cloud)
        await cloud.control.change_key(Api.CUSTOM_VISION, seconds=1.5)
        await relay.update(update(project_id, image_ids))
        assert await applied(cloud, project_id) == set(image_ids)
        [error] = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert "CUSTOM_VISION_TRAINING_KEY" in error.getMessage()

    async def test_a_message_goes_back_to_its_queue_when_it_has_waited_too_long_in_vain(
        self, cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with relay_with(cloud, monkeypatch, MAX_WAIT_SECONDS="1.5", API_TIMEOUT_SECONDS="1") as relay:
            project_id, image_ids = await new_project(cloud)
            async with cloud.control.outage(Api.CUSTOM_VISION):
                with pytest.raises(MaxWaitExceeded):
                    await relay.update(update(project_id, image_ids))

    async def test_an_answer_that_cannot_be_read_is_asked_for_again(self, cloud: LocalCloud, relay: Relay) -> None:
        project_id, image_ids = await new_project(cloud)
        await cloud.control.set_faults(Api.CUSTOM_VISION, Fault(kind=FaultKind.TRUNCATED_JSON, times=1))
        await relay.update(update(project_id, image_ids))
        assert (await cloud.control.counters()).custom_vision.calls == 2


class TestWatches:
    async def watch(self, cloud: LocalCloud, *watches: dict[str, Any] | str) -> None:
        texts = [watch if isinstance(watch, str) else json.dumps(watch) for watch in watches]
        async for _ in cloud.send(WATCHES, texts):
            pass

    @pytest.mark.parametrize(
        ("watched", "kind"),
        [
            ("personGroup", GroupKind.PERSON_GROUP),
            ("largePersonGroup", GroupKind.LARGE_PERSON_GROUP),
            ("largeFaceList", GroupKind.LARGE_FACE_LIST),
        ],
    )
    async def test_a_completed_training_is_told_once(
        self, cloud: LocalCloud, relay: Relay, watched: str, kind: GroupKind
    ) -> None:
        await cloud.control.train("staff", kind, running_seconds=0)
        await self.watch(cloud, {"kind": watched, "id": "staff", "correlationId": "c-1"})
        await relay.poll()
        await relay.poll()
        [event] = await relay.events()
        assert event["type"] == "VisionRelay.Training.Succeeded"
        assert event["subject"] == f"{kind}/staff"
        assert event["data"] | {"kind": watched, "id": "staff", "correlationId": "c-1"} == event["data"]
        assert await cloud.count(WATCHES) == 0

    async def test_a_failed_training_tells_why(self, cloud: LocalCloud, relay: Relay) -> None:
        await cloud.control.train("press", running_seconds=0, failure="no face")
        await self.watch(cloud, {"kind": "personGroup", "id": "press"})
        await relay.poll()
        [event] = await relay.events()
        assert (event["type"], event["data"]["message"]) == ("VisionRelay.Training.Failed", "no face")

    async def test_a_group_that_does_not_exist_ends_its_watch(self, cloud: LocalCloud, relay: Relay) -> None:
        await self.watch(cloud, {"kind": "personGroup", "id": "nobody"})
        await relay.poll()
        assert [event["type"] for event in await relay.events()] == ["VisionRelay.Training.NotFound"]
        assert await cloud.count(WATCHES) == 0

    async def test_a_training_that_runs_is_looked_at_again(self, cloud: LocalCloud, relay: Relay) -> None:
        await cloud.control.train("staff", running_seconds=60)
        await self.watch(cloud, {"kind": "personGroup", "id": "staff"})
        await relay.poll()
        await cloud.control.train("staff", running_seconds=0)
        await relay.poll()
        assert len(await relay.events()) == 1

    async def test_a_watch_expires(self, cloud: LocalCloud, relay: Relay) -> None:
        await cloud.control.add_group("staff")
        past = datetime.now(UTC) - timedelta(seconds=1)
        await self.watch(cloud, {"kind": "personGroup", "id": "staff", "expiresAt": past.isoformat()})
        await relay.poll()
        assert [event["type"] for event in await relay.events()] == ["VisionRelay.Training.WatchExpired"]

    async def test_a_repeating_watch_tells_each_training_once(self, cloud: LocalCloud, relay: Relay) -> None:
        await self.watch(cloud, {"kind": "personGroup", "id": "staff", "repeat": True})
        for _ in range(2):
            await cloud.control.train("staff", running_seconds=0)
            await relay.poll()
            await relay.poll()
        assert len({event["id"] for event in await relay.events()}) == 2
        assert await cloud.count(WATCHES) == 1

    async def test_many_watches_of_one_group_cost_one_poll(self, cloud: LocalCloud, relay: Relay) -> None:
        await cloud.control.train("staff", running_seconds=0)
        watches = [{"kind": "personGroup", "id": "staff", "correlationId": f"c-{n}"} for n in range(40)]
        await self.watch(cloud, *watches)
        await relay.poll()
        events = await relay.events()
        assert {event["data"]["correlationId"] for event in events} == {watch["correlationId"] for watch in watches}
        assert len({event["id"] for event in events}) == 40
        assert (await cloud.control.counters()).face.calls == 1

    @pytest.mark.parametrize("fails", [False, True])
    async def test_the_training_of_an_iteration_is_told(self, cloud: LocalCloud, relay: Relay, fails: bool) -> None:
        project_id, iteration_id = uuid4(), uuid4()
        await cloud.control.train_iteration(project_id, iteration_id, running_seconds=0.5, fails=fails)
        about = {"kind": "customVisionIteration", "projectId": str(project_id), "id": str(iteration_id)}
        await self.watch(cloud, {**about, "correlationId": "c"})
        async with asyncio.timeout(10):
            while await cloud.count(WATCHES):
                await relay.poll()
        [event] = await relay.events()
        assert event["type"] == f"VisionRelay.Training.{'Failed' if fails else 'Succeeded'}"
        assert event["source"] == cloud.settings["CUSTOM_VISION_ENDPOINT"]
        assert event["subject"] == f"projects/{project_id}/iterations/{iteration_id}"
        data = event["data"]
        assert about.items() <= data.items()
        assert data["status"] == ("failed" if fails else "succeeded")
        completed = data["lastActionDateTime" if fails else "lastSuccessfulTrainingDateTime"]
        assert datetime.fromisoformat(event["time"]) == datetime.fromisoformat(completed)

    async def test_an_iteration_that_does_not_exist_is_told(self, cloud: LocalCloud, relay: Relay) -> None:
        project_id, _ = await new_project(cloud)
        await self.watch(cloud, {"kind": "customVisionIteration", "projectId": str(project_id), "id": str(uuid4())})
        await relay.poll()
        [event] = await relay.events()
        assert event["type"] == "VisionRelay.Training.NotFound"

    async def test_polls_of_iterations_share_the_limit_of_the_updates(
        self, cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        project_id, image_ids = await new_project(cloud, 10)
        await cloud.control.set_rate(Api.CUSTOM_VISION, 4, burst=1.5)
        iterations = [uuid4() for _ in range(4)]
        for iteration_id in iterations:
            await cloud.control.train_iteration(project_id, iteration_id, running_seconds=0)
        watch = {"kind": "customVisionIteration", "projectId": str(project_id)}
        await self.watch(cloud, *({**watch, "id": str(iteration_id)} for iteration_id in iterations))
        async with relay_with(cloud, monkeypatch, CUSTOM_VISION_CALLS_PER_SECOND="4") as relay:
            updates = (
                relay.update(update(project_id, [image_id], metadata={"n": str(n)}))
                for n, image_id in enumerate(image_ids)
            )
            await asyncio.gather(relay.poll(), *updates)
            assert len(await relay.events()) == 4
        counters = (await cloud.control.counters()).custom_vision
        assert counters.calls - counters.rate_limited == 14
        assert counters.max_calls_per_second <= 6

    async def test_a_malformed_watch_is_dead_lettered(self, cloud: LocalCloud, relay: Relay) -> None:
        await self.watch(cloud, '{"kind": "personGroup", "id": "Staff!"}')
        await relay.poll()
        [message] = await cloud.drain(WATCHES_POISON)
        assert "id" in json.loads(text_of(message))["failure"]["message"]
        assert await cloud.count(WATCHES) == 0

    async def test_watches_stay_while_the_service_is_down(self, cloud: LocalCloud, relay: Relay) -> None:
        await cloud.control.train("staff", running_seconds=0)
        await self.watch(cloud, {"kind": "personGroup", "id": "staff"})
        async with cloud.control.outage(Api.FACE):
            await relay.poll()
        await relay.poll()
        assert len(await relay.events()) == 1

    async def test_two_pollers_at_once_do_not_handle_a_watch_twice(
        self, cloud: LocalCloud, relay: Relay, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        groups = [f"group-{n}" for n in range(5)]
        for group in groups:
            await cloud.control.train(group, running_seconds=0)
        await self.watch(cloud, *({"kind": "personGroup", "id": group} for group in groups))
        async with relay_with(cloud, monkeypatch) as other:
            await asyncio.gather(relay.poll(), other.poll())
        assert len(await relay.events()) == 5


class TestTheWholeApp:
    async def test_the_host_runs_the_app_and_no_secret_is_written_anywhere(
        self, cloud: LocalCloud, tmp_path: Path
    ) -> None:
        """Through trouble of every kind that puts something into a log, a dead letter or an event."""
        project_id, image_ids = await new_project(cloud, 3)
        await cloud.control.refuse_calls_with([image_ids[1]], "BadRequestInvalidIds")
        await cloud.control.train("staff", running_seconds=0)
        await cloud.control.change_key(Api.CUSTOM_VISION, seconds=1.5)
        settings = {**cloud.settings, "LINGER_SECONDS": "0.05", "TRAINING_POLL_SCHEDULE": "* * * * * *"}
        secrets = [settings["CUSTOM_VISION_TRAINING_KEY"], settings["FACE_KEY"]]
        secrets += [settings["AzureWebJobsStorage"].split("AccountKey=")[1].split(";")[0]]
        bodies = [update(project_id, [image_id]) for image_id in image_ids] + ["{", update(uuid4(), [uuid4()])]
        async with HostProcess(PROJECT, settings, tmp_path / "host.log"):
            async for _ in cloud.send(UPDATES, bodies):
                pass
            async for _ in cloud.send(WATCHES, ['{"kind":"personGroup","id":"staff"}', "{"]):
                pass
            await until_settled(cloud)
        assert await applied(cloud, project_id) == {image_ids[0], image_ids[2]}
        written = [(tmp_path / "host.log").read_text()]
        for queue, count in ((UPDATES_POISON, 3), (WATCHES_POISON, 1), (EVENTS, 5)):
            messages = await cloud.drain(queue)
            assert len(messages) == count
            written += map(text_of, messages)
        assert not [secret for secret in secrets if any(secret in text for text in written)]

    async def test_a_wrong_setting_stops_the_start_and_is_named(self, cloud: LocalCloud, tmp_path: Path) -> None:
        settings = {**cloud.settings, "CUSTOM_VISION_ENDPOINT": "http://example.com"}
        with pytest.raises(ChildFailedError, match="CUSTOM_VISION_ENDPOINT"):
            await HostProcess(PROJECT, settings, tmp_path / "host.log").start()
