"""Storage queues, as far as no storage is needed: what is asked of the service's client, and what its errors mean."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
)
from azure.storage.queue import QueueMessage
from pydantic import SecretStr

from shared.errors import StorageTrouble
from shared.redaction import hide
from shared.services import queues as queues_module
from shared.services.queues import Queue, Received, new_queue_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.messages.encoding import Encoding

MAX_RECEIVE, FOREVER = 32, -1
EXPIRY = datetime(2026, 2, 7, tzinfo=UTC)


def missing() -> ResourceNotFoundError:
    error = ResourceNotFoundError("The specified queue does not exist.")
    error.error_code = "QueueNotFound"  # type: ignore[attr-defined]  # as the library's storage clients do
    return error


@dataclass
class Pages:
    """What the service's client returns for a receive."""

    messages: tuple[QueueMessage, ...]
    error: Exception | None

    async def by_page(self) -> AsyncIterator[AsyncIterator[QueueMessage]]:
        if self.error is not None:
            raise self.error
        yield self._page()

    async def _page(self) -> AsyncIterator[QueueMessage]:
        for message in self.messages:
            yield message


class FakeClient:
    """Stands in for the service's client: knows whether the queue exists, and keeps what it is asked."""

    queue_name = "training-watches"

    def __init__(self, *messages: QueueMessage, exists: bool = True, others_create: bool = False) -> None:
        self._messages = messages
        self._exists = exists
        self._others_create = others_create
        self.asked: list[Any] = []

    async def send_message(self, text: str, **options: Any) -> None:
        self.asked.append(("send", text, options))
        if not self._exists:
            raise missing()

    async def create_queue(self) -> None:
        self.asked.append("create")
        self._exists = True
        if self._others_create:
            raise ResourceExistsError("QueueAlreadyExists")

    def receive_messages(self, **options: Any) -> Pages:
        self.asked.append(("receive", options))
        return Pages(self._messages, None if self._exists else missing())

    async def update_message(self, *message: str, **options: Any) -> None:
        self.asked.append(("update", *message, options))

    async def delete_message(self, *message: str) -> None:
        self.asked.append(("delete", *message))


def queue_of(client: FakeClient, encoding: Encoding = "none") -> Queue:
    return Queue(client, encoding)  # type: ignore[arg-type]


def message(content: Any, **fields: Any) -> QueueMessage:
    made = QueueMessage(content=content)
    made.id, made.pop_receipt, made.dequeue_count, made.expires_on = "id-1", "receipt-1", 3, EXPIRY
    for name, value in fields.items():
        setattr(made, name, value)
    return made


RECEIVED = Received("id-1", "receipt-1", b"text", 3, EXPIRY)


class TestSend:
    async def test_a_message_lives_until_it_is_deleted(self) -> None:
        client = FakeClient()
        await queue_of(client).send("text")
        assert client.asked == [("send", "text", {"time_to_live": FOREVER})]

    @pytest.mark.parametrize("others_create", [False, True], ids=["alone", "others create it just now"])
    async def test_a_queue_that_does_not_exist_is_created(self, others_create: bool) -> None:
        client = FakeClient(exists=False, others_create=others_create)
        await queue_of(client).send("text")
        send = ("send", "text", {"time_to_live": FOREVER})
        assert client.asked == [send, "create", send]


class TestReceive:
    async def test_messages_are_taken_under_a_lease(self) -> None:
        client = FakeClient(message("text"), message(b"text"))
        received = await queue_of(client).receive(32, 600)
        assert received == [RECEIVED, RECEIVED]
        assert client.asked == [("receive", {"messages_per_page": MAX_RECEIVE, "visibility_timeout": 600})]
        assert queues_module.MAX_RECEIVE == MAX_RECEIVE

    async def test_no_more_than_wanted_are_asked_for(self) -> None:
        client = FakeClient()
        assert await queue_of(client).receive(7, 600) == []
        assert client.asked[0][1]["messages_per_page"] == 7

    async def test_what_the_service_leaves_out_is_made_up_for(self) -> None:
        client = FakeClient(message("\ud800", pop_receipt=None, dequeue_count=None, expires_on=None))
        (received,) = await queue_of(client).receive(1, 600)
        assert received == Received("id-1", "", b"\xed\xa0\x80", 1, None)

    async def test_a_queue_that_does_not_exist_is_empty(self) -> None:
        assert await queue_of(FakeClient(exists=False)).receive(1, 600) == []


class TestEncoding:
    async def test_all_that_is_written_is_base64_if_told_so(self) -> None:
        client = FakeClient()
        queue = queue_of(client, "base64")
        await queue.send('{"name":"Jürg"}')
        await queue.put_back(RECEIVED, '{"name":"Jürg"}')
        await queue.put_back(RECEIVED)
        encoded = base64.b64encode('{"name":"Jürg"}'.encode()).decode()
        assert client.asked[0] == ("send", encoded, {"time_to_live": FOREVER})
        assert [asked[-1]["content"] for asked in client.asked[1:]] == [encoded, None]


class TestSettle:
    @pytest.mark.parametrize("text", [None, "changed"])
    async def test_a_message_put_back_is_visible_at_once(self, text: str | None) -> None:
        client = FakeClient()
        await queue_of(client).put_back(RECEIVED, text)
        assert client.asked == [("update", "id-1", "receipt-1", {"visibility_timeout": 0, "content": text})]

    async def test_a_message_is_deleted_by_its_receipt(self) -> None:
        client = FakeClient()
        await queue_of(client).delete(RECEIVED)
        assert client.asked == [("delete", "id-1", "receipt-1")]


class Failing(FakeClient):
    """Fails whatever it is asked."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    async def send_message(self, text: str, **options: Any) -> None:
        raise self._error

    def receive_messages(self, **options: Any) -> Pages:
        return Pages((), self._error)

    async def update_message(self, *message: str, **options: Any) -> None:
        raise self._error

    async def delete_message(self, *message: str) -> None:
        raise self._error


async def use(queue: Queue, how: str) -> None:
    match how:
        case "send":
            await queue.send("text")
        case "receive":
            await queue.receive(1, 600)
        case "put back":
            await queue.put_back(RECEIVED)
        case "delete":
            await queue.delete(RECEIVED)


class TestTrouble:
    @pytest.mark.parametrize("how", ["send", "receive", "put back", "delete"])
    @pytest.mark.parametrize(
        "error",
        [
            HttpResponseError("ServerBusy"),
            ServiceRequestError("no route"),
            ClientAuthenticationError("key"),
            OSError("reset"),
            RuntimeError("Session is closed"),
            UnicodeEncodeError("utf-8", "\udce9", 0, 1, "no"),
        ],
        ids=lambda error: type(error).__name__,
    )
    async def test_whatever_goes_wrong_is_an_error_of_storage(self, how: str, error: Exception) -> None:
        with pytest.raises(StorageTrouble, match=f"^queue training-watches: {type(error).__name__}"):
            await use(queue_of(Failing(error)), how)

    @pytest.mark.parametrize("how", ["send", "receive", "put back", "delete"])
    async def test_no_error_tells_a_secret(self, how: str) -> None:
        error = HttpResponseError("the signature marked-key is wrong")
        hide("marked-key")
        queue = queue_of(Failing(error))
        with pytest.raises(StorageTrouble, match=r"the signature \[secret\] is wrong") as caught:
            await use(queue, how)
        assert "marked-key" not in f"{caught.value!r}{caught.value.__cause__!r}"
        assert caught.value.__suppress_context__

    async def test_who_cancels_is_obeyed(self) -> None:
        with pytest.raises(asyncio.CancelledError):
            await use(queue_of(Failing(asyncio.CancelledError())), "send")  # type: ignore[arg-type]


async def test_an_operation_is_tried_four_times_and_waits_20_seconds_for_each_response() -> None:
    name = "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=YQ==;EndpointSuffix=core.windows.net"
    settings: Any = SimpleNamespace(storage_connection_string=SecretStr(name))
    service: Any = new_queue_service(settings, None)
    retry, connection = service._config.retry_policy, service._pipeline._transport.connection_config
    assert (retry.total_retries, retry.initial_backoff, retry.increment_base, retry.random_jitter_range) == (3, 1, 2, 1)
    assert (connection.timeout, connection.read_timeout) == (5, 20)
    await service.close()


@pytest.mark.looptime
async def test_an_operation_ends_after_two_minutes_whatever_storage_does() -> None:
    client = FakeClient()

    async def hang(*_: Any) -> None:
        await asyncio.sleep(1e9)

    client.delete_message = hang  # type: ignore[method-assign]
    with pytest.raises(StorageTrouble):
        await queue_of(client).delete(Received("id", "receipt", b"", 1, None))
    assert asyncio.get_running_loop().time() == 120
