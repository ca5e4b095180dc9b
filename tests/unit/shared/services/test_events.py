"""Where events go: what counts as published, and which events share a call to the topic."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import AzureError, HttpResponseError, ServiceRequestError
from azure.eventgrid import EventGridPublisherClient

from shared.errors import StorageTrouble
from shared.messages.cloud_event import Event, EventType, new_event
from shared.redaction import hide
from shared.services.events import (
    GATHER_SECONDS,
    MAX_PUBLISH_BYTES,
    PUBLISH_SECONDS,
    EventGridTopic,
    EventPublisher,
    _ForAudience,
    _size,
    call_size,
)
from tests.unit.shared.queues import FakeOutbox, unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
ACCESS = "THE_ENDPOINT and THE_KEY"


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
    closed: bool = False

    async def send(self, events: list[Event]) -> None:
        numbers = [(event.data or {})["number"] for event in events]
        self.calls.append(numbers)
        await asyncio.sleep(self.latency)
        error = self.refuses(numbers)
        if error is not None:
            raise error

    async def close(self) -> None:
        self.closed = True


def topic(client: FakeClient) -> EventGridTopic:
    return EventGridTopic(client, ACCESS)


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
        with pytest.raises(AzureError, match="the Event Grid topic has not taken an event"):
            await EventPublisher(queue, topic(client)).publish(event(1))

    async def test_it_is_not_where_the_queue_fails(self) -> None:
        client = FakeClient()
        with pytest.raises(StorageTrouble):
            await EventPublisher(FakeOutbox(fails=[unreachable()]), topic(client)).publish(event(1))
        assert client.calls == [[1]], "the topic has it nevertheless, and gets it again under the same id"


@pytest.mark.looptime
class TestCalls:
    async def test_who_publishes_at_the_same_time_shares_a_call(self) -> None:
        client = FakeClient()
        assert await publish_all(topic(client), *map(event, range(64))) == [None] * 64
        assert client.calls == [list(range(64))]

    async def test_so_does_who_publishes_within_a_second_and_nobody_waits_longer(self) -> None:
        client = FakeClient()
        target = topic(client)
        loop = asyncio.get_running_loop()

        async def publish(number: int) -> float:
            await asyncio.sleep(number * 0.13)
            began = loop.time()
            await target.publish(event(number))
            return loop.time() - began

        waits = await asyncio.gather(*map(publish, range(24)))
        assert [len(call) for call in client.calls] == [8, 8, 8]
        assert max(waits) <= GATHER_SECONDS + 0.01

    async def test_what_comes_while_a_call_is_on_its_way_goes_with_the_next(self) -> None:
        client = FakeClient(latency=1.0)
        target = topic(client)
        first = asyncio.create_task(target.publish(event(0)))
        await asyncio.sleep(GATHER_SECONDS + 0.5)
        others = [asyncio.create_task(target.publish(event(number))) for number in (1, 2, 3)]
        await asyncio.gather(first, *others)
        assert client.calls == [[0], [1, 2, 3]]

    async def test_a_topic_can_be_used_again_after_a_rest(self) -> None:
        client = FakeClient()
        target = topic(client)
        for number in range(3):
            await target.publish(event(number))
            await asyncio.sleep(100)
        assert client.calls == [[0], [1], [2]]

    async def test_a_call_is_no_larger_than_the_topic_takes(self) -> None:
        large = [event(number, "ü" * 10_000) for number in range(40)]
        client = FakeClient()
        assert await publish_all(topic(client), *large) == [None] * 40
        assert [number for call in client.calls for number in call] == list(range(40))
        sizes = [sum(_size(large[number]) for number in call) for call in client.calls]
        assert max(sizes) <= MAX_PUBLISH_BYTES
        assert len(client.calls) == 3

    async def test_a_failed_call_is_everybodys_who_shared_it(self) -> None:
        client = FakeClient(refuses=lambda _: ServiceRequestError("no route"))
        errors = await publish_all(topic(client), *map(event, range(3)))
        assert len(client.calls) == 1
        assert [type(error) for error in errors] == [AzureError] * 3

    @pytest.mark.parametrize("status", [400, 413])
    async def test_an_event_that_is_refused_does_not_cost_its_neighbours(self, status: int) -> None:
        client = FakeClient(refuses=lambda numbers: answered(status) if 5 in numbers else None)
        results = await publish_all(topic(client), *map(event, range(8)))
        assert [number for number, result in enumerate(results) if result is not None] == [5]

    @pytest.mark.parametrize(
        "error",
        [answered(500), OSError("reset"), UnicodeEncodeError("utf-8", "\udce9", 0, 1, "no"), ValueError(), KeyError()],
    )
    async def test_whatever_goes_wrong_the_topic_has_not_taken_it(self, error: Exception) -> None:
        with pytest.raises(AzureError):
            await topic(FakeClient(refuses=lambda _: error)).publish(event(1))

    async def test_a_call_that_takes_for_ever_ends(self) -> None:
        began = asyncio.get_running_loop().time()
        with pytest.raises(AzureError, match="TimeoutError"):
            await topic(FakeClient(latency=1e6)).publish(event(1))
        assert asyncio.get_running_loop().time() - began == GATHER_SECONDS + PUBLISH_SECONDS

    async def test_who_leaves_is_not_waited_for(self) -> None:
        client = FakeClient()
        target = topic(client)
        leaving = asyncio.create_task(target.publish(event(1)))
        staying = asyncio.create_task(target.publish(event(2)))
        await asyncio.sleep(0)
        leaving.cancel()
        await staying
        assert client.calls == [[2]]

    @pytest.mark.parametrize("status", [401, 403, 404])
    async def test_who_is_not_let_in_is_told_the_settings_and_no_key(self, status: int) -> None:
        hide("marked-key")
        with pytest.raises(AzureError, match=rf"; look at {ACCESS}: .*\[secret\] is not welcome") as caught:
            await topic(FakeClient(refuses=lambda _: answered(status))).publish(event(1))
        assert "marked-key" not in str(caught.value)

    async def test_it_closes_its_client(self) -> None:
        client = FakeClient()
        target = topic(client)
        await target.publish(event(1))
        await target.aclose()
        assert client.closed


class TestSizes:
    def test_all_that_fit_go_together(self) -> None:
        assert call_size([]) == 0
        assert call_size([event(1), event(2)]) == 2

    def test_one_that_is_too_large_goes_alone(self) -> None:
        huge = event(1, "x" * MAX_PUBLISH_BYTES)
        assert call_size([huge, event(2)]) == 1
        assert call_size([event(2), huge]) == 1

    def test_a_size_is_no_less_than_what_the_library_sends(self) -> None:
        from azure.eventgrid._legacy import _helpers

        library: Any = _helpers
        for text in ("", "x" * 1000, "ü⛰🌋" * 100, '"\\\n\x00' * 10):
            events = [event(number, text) for number in range(3)]
            generated = [library._cloud_event_to_generated(one) for one in events]
            request = library._build_request("https://topic.example", "application/cloudevents-batch+json", generated)
            assert len(request.data) <= sum(map(_size, events)) + 2 * len(events) + 2


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
