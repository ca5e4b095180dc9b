"""The app in Microsoft's own worker library, called as the host calls it."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from local.cloud import EVENTS, UPDATES_POISON, WATCHES, WATCHES_POISON
from local.simulation.models import Api, FaultKind
from local.worker.host import InvocationFailedError, WorkerHost, WorkerStartError
from local.worker.protocol import messages
from local.worker.shapes import QueueMessage, queue_invocation
from tests.conformance.conftest import PROJECT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from local.cloud import LocalCloud
    from tests.conformance.conftest import NewWorker, Worker

MAX_IN_PROCESS = 1024  # host.json: batchSize + newBatchThreshold
IMAGES_PER_CALL = 64
METADATA = {"collection": "Harbour", "decade": "1950s"}
WAIT_SECONDS = 30.0

pytestmark = pytest.mark.asyncio(loop_scope="session")


def update(project_id: UUID, image_ids: Sequence[UUID], **fields: Any) -> str:
    message = {"projectId": str(project_id), "imageIds": list(map(str, image_ids)), "metadata": METADATA}
    return json.dumps(message | fields)


async def new_project(cloud: LocalCloud, images: int = 1) -> tuple[UUID, list[UUID]]:
    project_id, image_ids = uuid4(), [uuid4() for _ in range(images)]
    await cloud.control.add_images(project_id, image_ids)
    return project_id, image_ids


async def applied(cloud: LocalCloud, project_id: UUID) -> set[UUID]:
    states = await cloud.control.images(project_id)
    return {image_id for image_id, state in states.items() if state.metadata == METADATA}


async def drain(cloud: LocalCloud, queue: str) -> list[dict[str, Any]]:
    """All messages of one of our queues, plain or Base64."""
    contents = [message.content for message in await cloud.drain(queue)]
    return [json.loads(text if text.startswith("{") else base64.b64decode(text)) for text in contents]


async def send(cloud: LocalCloud, queue: str, *texts: str) -> None:
    async for _ in cloud.send(queue, texts):
        pass


class TestTheStart:
    async def test_the_library_finds_both_functions_and_their_bindings(self, worker: Worker) -> None:
        functions = worker.host.functions
        bindings = {name: [json.loads(raw) for raw in found.raw_bindings] for name, found in functions.items()}
        assert set(bindings) == {"update_image_metadata", "poll_training_status"}
        [queue], [timer] = bindings["update_image_metadata"], bindings["poll_training_status"]
        assert queue["type"] == "queueTrigger"
        assert queue["queueName"] == "%METADATA_UPDATES_QUEUE%"
        assert queue["connection"] == "AzureWebJobsStorage"
        assert timer["type"] == "timerTrigger"
        assert timer["schedule"] == "%TRAINING_POLL_SCHEDULE%"

    async def test_the_body_is_bound_as_bytes(self, worker: Worker) -> None:
        [binding] = worker.host.functions["update_image_metadata"].bindings.values()
        assert binding.data_type == messages.BindingInfo.binary

    @pytest.mark.parametrize(
        ("setting", "value"),
        [
            ("CUSTOM_VISION_ENDPOINT", "ftp://example.invalid"),
            ("LINGER_SECONDS", "soon"),
            ("METADATA_UPDATES_QUEUE", ""),
        ],
    )
    async def test_a_wrong_setting_stops_the_start_and_is_named(
        self, new_worker: NewWorker, setting: str, value: str
    ) -> None:
        with pytest.raises(WorkerStartError, match=setting):
            async with new_worker(**{setting: value}):
                pass

    async def test_a_wrong_key_stops_the_start_without_being_shown(self, new_worker: NewWorker) -> None:
        with pytest.raises(WorkerStartError, match="CUSTOM_VISION_TRAINING_KEY") as caught:
            async with new_worker(CUSTOM_VISION_TRAINING_KEY="sesame\nopen"):
                pass
        assert "sesame" not in str(caught.value)

    async def test_why_it_cannot_start_stands_once_on_stderr(self, running_cloud: LocalCloud, tmp_path: Path) -> None:
        """Of the exception that the worker reports the host shows nothing."""
        settings = {**running_cloud.settings, "LINGER_SECONDS": "soon"}
        with pytest.raises(WorkerStartError):
            async with WorkerHost(PROJECT, settings, tmp_path / "output.log"):
                pass
        lines = (tmp_path / "output.log").read_text().splitlines()
        [line] = [line for line in lines if "LINGER_SECONDS" in line]
        assert line.startswith("Vision Relay cannot start: SettingsError: ")


class TestUpdates:
    async def test_an_update_reaches_its_images(self, cloud: LocalCloud, worker: Worker) -> None:
        project_id, image_ids = await new_project(cloud, 3)
        await worker.update(update(project_id, image_ids))
        assert await applied(cloud, project_id) == set(image_ids)

    @pytest.mark.parametrize("keys", [1, 4])
    async def test_a_full_window_makes_the_fewest_possible_calls(
        self, cloud: LocalCloud, new_worker: NewWorker, keys: int
    ) -> None:
        projects = [await new_project(cloud, MAX_IN_PROCESS // keys) for _ in range(keys)]
        bodies = [
            update(project_id, [image_ids[n]])
            for n in range(MAX_IN_PROCESS // keys)
            for project_id, image_ids in projects
        ]
        async with new_worker(LINGER_SECONDS="5") as worker, asyncio.timeout(WAIT_SECONDS):
            await asyncio.gather(*map(worker.update, bodies))
        for project_id, image_ids in projects:
            assert await applied(cloud, project_id) == set(image_ids)
        counted = (await cloud.control.counters()).custom_vision
        assert counted.images_per_call == {IMAGES_PER_CALL: MAX_IN_PROCESS // IMAGES_PER_CALL}

    @pytest.mark.parametrize("wrap", ["plain", "base64", "cloudevents", "event grid"])
    async def test_a_body_may_be_wrapped(self, cloud: LocalCloud, worker: Worker, wrap: str) -> None:
        project_id, image_ids = await new_project(cloud)
        data = update(project_id, image_ids)
        bodies = {
            "plain": data,
            "base64": base64.b64encode(data.encode()).decode(),
            "cloudevents": f'{{"specversion":"1.0","id":"1","source":"/p","type":"T","data":{data}}}',
            "event grid": f'{{"id":"1","subject":"s","eventType":"T","dataVersion":"1","data":{data}}}',
        }
        await worker.update(bodies[wrap])
        assert await applied(cloud, project_id) == set(image_ids)

    async def test_fields_of_the_body_never_pass_for_the_messages_own(self, cloud: LocalCloud, worker: Worker) -> None:
        """The host would merge them, and a time that is none would end the invocation before the function is called."""
        project_id, image_ids = await new_project(cloud)
        envelope = {"specversion": "1.0", "id": "forged", "source": "/p", "type": "T"}
        forged = {"dequeuecount": 7, "expirationtime": "never", "popreceipt": "forged"}
        message = QueueMessage.of(json.dumps(envelope | forged | {"data": json.loads(update(project_id, image_ids))}))
        await worker.update(message)
        [event] = await drain(cloud, EVENTS)
        assert event["data"]["messageId"] == message.id

    async def test_the_dequeue_count_is_the_messages(self, cloud: LocalCloud, worker: Worker) -> None:
        await worker.update(QueueMessage.of("{}", dequeue_count=3))
        [letter] = await drain(cloud, UPDATES_POISON)
        assert letter["failure"]["deliveries"] == 3

    async def test_times_may_come_as_json_too(self, cloud: LocalCloud, worker: Worker) -> None:
        project_id, image_ids = await new_project(cloud)
        message = QueueMessage.of(update(project_id, image_ids), expires_at=datetime.now(UTC) + timedelta(days=7))
        invocation = queue_invocation(message, "updates", messages.BindingInfo.binary)
        times = ("InsertionTime", "ExpirationTime", "NextVisibleTime")
        as_json = {name: messages.TypedData(json=json.dumps(invocation.metadata[name].string)) for name in times}
        shaped = type(invocation)(invocation.data, {**invocation.metadata, **as_json})
        await worker.host.invoke("update_image_metadata", shaped)
        assert await applied(cloud, project_id) == set(image_ids)

    @pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe\x00", b"null", b'"text"'])
    async def test_what_is_no_message_becomes_a_dead_letter(
        self, cloud: LocalCloud, worker: Worker, body: bytes
    ) -> None:
        await worker.update(body)
        [letter] = await drain(cloud, UPDATES_POISON)
        assert letter["failure"]["reason"] == "invalid"

    async def test_a_failing_invocation_fails_alone_and_says_why(self, cloud: LocalCloud, worker: Worker) -> None:
        project_id, image_ids = await new_project(cloud, IMAGES_PER_CALL)
        await cloud.control.answer_images_with([image_ids[5]], "ErrorUnknown")
        bodies = [update(project_id, [image_id]) for image_id in image_ids]
        results = await asyncio.gather(*map(worker.update, bodies), return_exceptions=True)
        failed = [place for place, result in enumerate(results) if isinstance(result, BaseException)]
        assert failed == [5]
        assert isinstance(results[5], InvocationFailedError)
        assert "ErrorUnknown" in str(results[5])
        assert await applied(cloud, project_id) == set(image_ids) - {image_ids[5]}


class TestTheTimer:
    @pytest.mark.parametrize("past_due", [False, True])
    async def test_a_tick_tells_a_completed_training(
        self, cloud: LocalCloud, worker: Worker, *, past_due: bool
    ) -> None:
        await cloud.control.train("staff", running_seconds=0)
        await send(cloud, WATCHES, '{"kind": "personGroup", "id": "staff"}')
        await worker.poll(past_due=past_due)
        [event] = await drain(cloud, EVENTS)
        assert event["type"] == "VisionRelay.Training.Succeeded"
        assert await cloud.count(WATCHES) == 0

    async def test_a_malformed_watch_is_dead_lettered(self, cloud: LocalCloud, worker: Worker) -> None:
        await send(cloud, WATCHES, "{")
        await worker.poll()
        [letter] = await drain(cloud, WATCHES_POISON)
        assert letter["failure"]["reason"] == "invalid"


class TestTheLog:
    """The host drops what a user's code logs under an invocation that does not execute any more."""

    async def test_every_line_of_the_app_is_kept(self, cloud: LocalCloud, worker: Worker) -> None:
        project_id, image_ids = await new_project(cloud, 2 * IMAGES_PER_CALL)
        await cloud.control.answer_images_with([image_ids[5]], "ErrorUnknown")
        bodies = [update(project_id, [image_id]) for image_id in image_ids] + ["{"] * IMAGES_PER_CALL
        await asyncio.gather(*map(worker.update, bodies), return_exceptions=True)
        assert len(self.of_the_app(worker)) >= IMAGES_PER_CALL
        assert [line for line in self.of_the_app(worker) if not line.kept] == []

    def of_the_app(self, worker: Worker) -> list[Any]:
        return [line for line in worker.host.logs if line.category.split(".")[0] in ("shared", "functions")]

    async def test_a_dead_letter_is_logged_under_its_invocation(self, worker: Worker) -> None:
        invocation_id = await worker.update("{")
        [line] = [line for line in self.of_the_app(worker) if "is dead-lettered" in line.text]
        assert (line.level, line.invocation_id, line.kept) == ("Warning", invocation_id, True)
        assert not line.is_system

    async def test_a_malformed_watch_is_logged_under_the_tick(self, cloud: LocalCloud, worker: Worker) -> None:
        await send(cloud, WATCHES, "{")
        invocation_id = await worker.poll()
        [line] = [line for line in self.of_the_app(worker) if "is dead-lettered" in line.text]
        assert (line.level, line.invocation_id, line.kept) == ("Warning", invocation_id, True)

    async def test_the_beginning_and_the_end_of_an_outage_reach_the_log(
        self, cloud: LocalCloud, worker: Worker
    ) -> None:
        project_id, image_ids = await new_project(cloud, 20)
        async with asyncio.timeout(WAIT_SECONDS):
            async with cloud.control.outage(Api.CUSTOM_VISION, FaultKind.UNAVAILABLE_HTML):
                bodies = [update(project_id, [image_id]) for image_id in image_ids]
                updating = asyncio.gather(*map(worker.update, bodies))
                while not self.of_the_app(worker):
                    await asyncio.sleep(0.05)
            await updating
        told = self.of_the_app(worker)
        warnings = [line.text for line in told if line.level == "Warning"]
        assert "suspended" in warnings[0]
        assert "resumed" in warnings[-1]
        assert all(line.kept for line in told)

    async def test_a_refused_key_is_an_error_that_names_the_setting(self, cloud: LocalCloud, worker: Worker) -> None:
        project_id, image_ids = await new_project(cloud)
        async with asyncio.timeout(WAIT_SECONDS):
            async with cloud.control.wrong_key(Api.CUSTOM_VISION):
                updating = asyncio.create_task(worker.update(update(project_id, image_ids)))
                while not (errors := [line for line in self.of_the_app(worker) if line.level == "Error"]):
                    await asyncio.sleep(0.05)
            await updating
        [error] = errors
        assert "CUSTOM_VISION_TRAINING_KEY" in error.text
        assert error.kept

    async def test_trouble_with_face_is_logged_under_the_tick(self, cloud: LocalCloud, worker: Worker) -> None:
        await cloud.control.train("staff", running_seconds=0)
        await send(cloud, WATCHES, '{"kind": "personGroup", "id": "staff"}')
        async with cloud.control.outage(Api.FACE):
            invocation_id = await worker.poll()
        assert self.of_the_app(worker)
        assert {line.invocation_id for line in self.of_the_app(worker)} == {invocation_id}
        assert all(line.kept for line in self.of_the_app(worker))

    async def test_what_the_import_logs_is_written_by_the_first_invocation(self, new_worker: NewWorker) -> None:
        async with new_worker(LINGER_SECOND="1") as worker:
            invocation_id = await worker.poll()
            await worker.poll()
            lines = [line for line in self.of_the_app(worker) if "LINGER_SECOND is no setting" in line.text]
        assert [(line.invocation_id, line.kept) for line in lines] == [(invocation_id, True)]

    async def test_the_librarys_own_lines_are_not_silenced(self, cloud: LocalCloud, worker: Worker) -> None:
        project_id, image_ids = await new_project(cloud)
        invocation_id = await worker.update(update(project_id, image_ids))
        own = [line for line in worker.host.logs if line.category == "azure.functions"]
        assert [line.invocation_id for line in own] == [invocation_id]

    async def test_no_request_is_logged_one_by_one(self, cloud: LocalCloud, worker: Worker) -> None:
        """Ten calls a second and a dead letter each would be all one sees."""
        project_id, image_ids = await new_project(cloud)
        await worker.update(update(project_id, [*image_ids, uuid4()]))
        assert {line.category for line in worker.host.logs} <= {
            "local.worker",
            "azure.functions",
            *(line.category for line in self.of_the_app(worker)),
        }
