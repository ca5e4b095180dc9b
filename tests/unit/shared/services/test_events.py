"""Where events go: what counts as published."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.eventgrid import EventGridPublisherClient
from pydantic import SecretStr

from shared.errors import StorageTrouble
from shared.messages.cloud_event import Event, EventType, new_event
from shared.redaction import hide
from shared.services.events import ACCESS, EventGridTopic, EventPublisher, _ForAudience, new_topic
from shared.telemetry import Telemetry
from tests.unit.shared.queues import FakeOutbox, unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

PUBLISH_SECONDS = 60.0
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def event(number: int, text: str = "") -> Event:
    return new_event(
        EventType.TRAINING_SUCCEEDED,
        source="https://face.example",
        subject=f"persongroups/{number}",
        identity=str(number),
        time=NOON,
        data={"number": number, "text": text},
    )


def answered(status: int) -> HttpResponseError:
    error = HttpResponseError("marked-key is not welcome")
    error.status_code = status
    return error


@dataclass
class FakeClient:
    """The library's client: refuses calls that `refuses` says, and keeps the rest."""

    latency: float = 0.0
    refuses: Callable[[list[int]], Exception | None] = lambda _: None
    calls: list[list[int]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    async def send(self, events: list[Event]) -> None:
        self.events += events
        numbers = [(event.data or {})["number"] for event in events]
        self.calls.append(numbers)
        await asyncio.sleep(self.latency)
        error = self.refuses(numbers)
        if error is not None:
            raise error


def topic(client: FakeClient) -> EventGridTopic:
    return EventGridTopic(client, "topic.example")  # type: ignore[arg-type]


async def publish_all(target: EventGridTopic, *events: Event) -> list[BaseException | None]:
    return await asyncio.gather(*map(target.publish, events), return_exceptions=True)


class TestPublisher:
    async def test_an_event_is_published_when_queue_and_topic_have_taken_it(self) -> None:
        queue, client = FakeOutbox(), FakeClient()
        await EventPublisher(queue, topic(client)).publish(event(1))
        assert [document["id"] for document in queue.documents] == [event(1).id]
        assert client.calls == [[1]]

    async def test_either_alone_will_do(self) -> None:
        queue, client = FakeOutbox(), FakeClient()
        await EventPublisher(queue).publish(event(1))
        await EventPublisher(None, topic(client)).publish(event(2))
        assert len(queue.sent) == 1
        assert client.calls == [[2]]

    async def test_it_is_not_where_the_topic_fails(self) -> None:
        queue, client = FakeOutbox(), FakeClient(refuses=lambda _: answered(503))
        with pytest.raises(StorageTrouble, match="the Event Grid topic has not taken an event"):
            await EventPublisher(queue, topic(client)).publish(event(1))

    async def test_it_is_not_where_the_queue_fails(self) -> None:
        client = FakeClient()
        with pytest.raises(StorageTrouble):
            await EventPublisher(FakeOutbox(fails=[unreachable()]), topic(client)).publish(event(1))
        assert client.calls == [[1]], "the topic has it nevertheless, and gets it again under the same id"


@pytest.mark.looptime
class TestCalls:
    async def test_an_event_that_is_refused_does_not_cost_its_neighbours(self) -> None:
        client = FakeClient(refuses=lambda numbers: answered(400) if 5 in numbers else None)
        results = await publish_all(topic(client), *map(event, range(8)))
        assert [number for number, result in enumerate(results) if result is not None] == [5]

    @pytest.mark.parametrize(
        "error",
        [answered(500), OSError("reset"), UnicodeEncodeError("utf-8", "\udce9", 0, 1, "no"), ValueError(), KeyError()],
    )
    async def test_whatever_goes_wrong_the_topic_has_not_taken_it(self, error: Exception) -> None:
        with pytest.raises(StorageTrouble):
            await topic(FakeClient(refuses=lambda _: error)).publish(event(1))

    async def test_a_call_that_takes_for_ever_ends(self) -> None:
        began = asyncio.get_running_loop().time()
        with pytest.raises(StorageTrouble, match="TimeoutError"):
            await topic(FakeClient(latency=1e6)).publish(event(1))
        assert asyncio.get_running_loop().time() - began == PUBLISH_SECONDS

    @pytest.mark.parametrize("status", [401, 403, 404])
    async def test_who_is_not_let_in_is_told_the_settings_and_no_key(self, status: int) -> None:
        hide("marked-key")
        with pytest.raises(StorageTrouble, match=rf"; look at {ACCESS}: .*\[secret\] is not welcome") as caught:
            await topic(FakeClient(refuses=lambda _: answered(status))).publish(event(1))
        assert "marked-key" not in str(caught.value)


class TestIdentity:
    async def test_its_tokens_are_for_the_topics_cloud(self) -> None:
        asked: list[tuple[str, ...]] = []

        class Credential:
            async def get_token(self, *scopes: str, **_: Any) -> str:
                asked.append(scopes)
                return "token"

        access = _ForAudience(Credential(), "https://eventgrid.azure.us")  # type: ignore[arg-type]
        assert await access.get_token("https://eventgrid.azure.net/.default") == "token"
        assert asked == [("https://eventgrid.azure.us/.default",)]
        assert EventGridPublisherClient("https://topic.example", access)  # type: ignore[arg-type]


async def test_a_call_to_the_topic_is_tried_four_times_and_waits_20_seconds_for_each_response() -> None:
    made = new_topic("https://topic.example/api/events", SecretStr("key"), "https://eventgrid.azure.net")
    assert made.host == "topic.example"
    generated: Any = made.client._client._client  # type: ignore[attr-defined]
    retry, transport = generated._config.retry_policy, generated._client._pipeline._transport
    assert (retry.total_retries, retry.backoff_factor) == (3, 0.5)
    assert (transport.connection_config.timeout, transport.connection_config.read_timeout) == (5, 20)
    await made.client.close()


class TestLog:
    @pytest.mark.parametrize(
        ("kind", "level"), [(EventType.METADATA_UPDATED, "DEBUG"), (EventType.TRAINING_SUCCEEDED, "INFO")]
    )
    async def test_an_event_is_a_line_but_those_of_updates_are_too_many(
        self, kind: EventType, level: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("DEBUG", "shared.services.events")
        told = new_event(kind, source="https://x", subject="projects/1", identity="1", time=NOON, data={})
        await EventPublisher(FakeOutbox()).publish(told)
        assert [(line.levelname, line.getMessage()) for line in caplog.records] == [
            (level, f"published {kind} of projects/1")
        ]


async def test_neither_destination_gets_a_secret() -> None:
    hide("marked-secret")
    queue, client = FakeOutbox(), FakeClient()
    await EventPublisher(queue, topic(client)).publish(event(1, "it said marked-secret"))
    (published,) = client.events
    assert published.data == {"number": 1, "text": "it said [secret]"}
    assert (published.id, published.time) == (event(1).id, NOON)
    assert queue.documents[0]["data"] == published.data


@dataclass
class Counting(Telemetry):
    """Keeps what counts as sent, and what does not."""

    told: list[tuple[str, str, BaseException | None]] = field(default_factory=list)

    def sent(self, system: str, destination: str, error: BaseException | None) -> None:
        self.told.append((system, destination, error))


async def test_telemetry_counts_a_sending_to_each_destination_and_which_of_them_failed() -> None:
    error = answered(503)
    counting = Counting()
    published = EventPublisher(FakeOutbox(name="events"), topic(FakeClient(refuses=lambda _: error)), counting)
    with pytest.raises(StorageTrouble) as raised:
        await published.publish(event(1))
    assert counting.told == [("azure_storage_queue", "events", None), ("eventgrid", "topic.example", raised.value)]
    counting.told.clear()
    await EventPublisher(FakeOutbox(name="events"), None, counting).publish(event(1))
    assert counting.told == [("azure_storage_queue", "events", None)]
