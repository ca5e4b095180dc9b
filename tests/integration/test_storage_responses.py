"""What storage, or a proxy before it, may answer: the queue clients raise one error for all of it, and go on."""

from __future__ import annotations

import asyncio
import gzip
import logging
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from azure.core.exceptions import AzureError
from azure.storage.queue.aio import QueueServiceClient

from ops.storage import OpsQueue, Seen
from shared.errors import QueueMissing, StorageTrouble
from shared.limits.admission import Admission
from shared.limits.distributed_rate_limit import Permits
from shared.permit_replenishment import replenish_permits
from shared.services.permit_queue import PermitQueue, SharedLimit
from shared.services.queues import Queue, Received

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

CONNECTION = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=bm8ga2V5;"
    "QueueEndpoint=http://127.0.0.1:{port}/devstoreaccount1;"
)
DATE = b"Fri, 09 Oct 2026 21:04:30 GMT"
PERMIT = (
    b'<?xml version="1.0" encoding="utf-8"?><QueueMessagesList><QueueMessage><MessageId>m1</MessageId><InsertionTime>'
    + DATE
    + b"</InsertionTime><ExpirationTime>"
    + DATE
    + b"</ExpirationTime><PopReceipt>p</PopReceipt><TimeNextVisible>"
    + DATE
    + b"</TimeNextVisible><DequeueCount>1</DequeueCount><MessageText>{}</MessageText></QueueMessage>"
    + b"</QueueMessagesList>"
)
MISSING = b"<Error><Code>QueueNotFound</Code><Message>The specified queue does not exist.</Message></Error>"


def response(body: bytes = b"", status: bytes = b"200 OK", *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 " + status, b"Content-Type: application/xml", *headers, b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*lines, b"", body])


ODD = {
    "an empty 200": response(),
    "a page of HTML": response(b"<html><body><br>blocked</body></html>"),
    "JSON": response(b'{"a":1}'),
    "a date that is none": response(PERMIT.replace(DATE, b"soon")),
    "a number that is none": response(PERMIT.replace(b"Count>1", b"Count>x")),
    "bytes that are not UTF-8": response(PERMIT.replace(b"{}", b"\xff\xfe")),
    "a cut body": response(PERMIT)[:-50],
    "nothing": b"",
    "no HTTP": b"\x00\x01garbage\r\n\r\n",
    "broken chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nfoo\r\n",
    "broken gzip": response(b"not gzip", b"200 OK", b"Content-Encoding: gzip"),
    "cut gzip": response(gzip.compress(PERMIT)[:-20], b"200 OK", b"Content-Encoding: gzip"),
    "403 with HTML": response(b"<html>no</html>", b"403 Forbidden"),
    "502 in Latin-1": response(b"<p>Passerelle d\xe9faillante</p>", b"502 D\xe9faillante"),
    "503": response(b"", b"503 Server Busy"),
    "503 with a Retry-After that is none": response(b"", b"503 Busy", b"Retry-After: Fri, 99 Foo 2026"),
    "404 of a proxy": response(b"<html>not here</html>", b"404 Not Found"),
    "404 of another code": response(b"<Error><Code>Weird</Code><Message>m</Message></Error>", b"404 Not Found"),
    "400 with cut XML": response(b"<Error><Code>", b"400 Bad"),
    "a redirect to a malformed URL": response(b"", b"302 Found", b"Location: http://[::bad/x"),
    "a redirect to a port that is none": response(b"", b"307 Temporary", b"Location: http://h:99999/x"),
    "a redirect to nowhere": response(b"", b"302 Found"),
    "a header that is too long": response(b"", b"200 OK", b"X-A: " + b"a" * 20_000),
    "a Date that is none": response(PERMIT, b"200 OK", b"Date: soon"),
    "an unknown encoding": response(PERMIT, b"200 OK", b"Content-Encoding: br"),
}
MESSAGE = Received("m1", "p", b"{}", 1, None)


class Storage:
    """Answers each request with the next of `responses`, and with the last one for ever."""

    def __init__(self, *responses: bytes) -> None:
        self._responses = list(responses)
        self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.requests += 1
            answer = self._responses.pop(0) if len(self._responses) > 1 else self._responses[0]
            writer.write(PUT_BACK if head.startswith(b"PUT") and answer == response(PERMIT) else answer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


PUT_BACK = response(b"", b"204 No Content", b"x-ms-popreceipt: p", b"x-ms-time-next-visible: " + DATE)


@asynccontextmanager
async def storage(*responses: bytes) -> AsyncIterator[QueueServiceClient]:
    server = await asyncio.start_server(Storage(*responses).serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connection = CONNECTION.format(port=port)
    async with server, QueueServiceClient.from_connection_string(connection, retry_total=0, read_timeout=2) as service:
        yield service


def queue_of(service: QueueServiceClient) -> Queue:
    return Queue(service.get_queue_client("training-watches"))


def permits_of(service: QueueServiceClient) -> PermitQueue:
    return PermitQueue(service.get_queue_client("custom-vision-permits"))


READS: dict[str, Callable[[QueueServiceClient], Coroutine[object, object, object]]] = {
    "receive": lambda service: queue_of(service).receive(1, 30),
    "receive permits": lambda service: permits_of(service).receive(1, 30),
}
WRITES: dict[str, Callable[[QueueServiceClient], Coroutine[object, object, object]]] = {
    "send": lambda service: queue_of(service).send("text"),
    "put back": lambda service: queue_of(service).put_back(MESSAGE),
    "rewrite": lambda service: queue_of(service).rewrite(MESSAGE, "text", 30),
    "delete": lambda service: queue_of(service).delete(MESSAGE),
    "add a permit": lambda service: permits_of(service).add(1),
    "clear permits": lambda service: permits_of(service).clear(),
    "create permits": lambda service: permits_of(service).create(1),
}
SEEN = Seen("m1", b"{}", datetime.now(UTC), 1, "p")
OF_THE_COMMAND_LINE: dict[str, Callable[[OpsQueue], Awaitable[object]]] = {
    "create": lambda queue: queue.create(),
    "time": lambda queue: queue.server_time(),
    "peek": lambda queue: queue.peek(),
    "lease": lambda queue: queue.lease(30),
    "put": lambda queue: queue.put("text"),
    "put as it is": lambda queue: queue.put_as_is(b"text"),
    "reserve": lambda queue: queue.reserve(),
    "release": lambda queue: queue.release("m1", "p", "text"),
    "cancel": lambda queue: queue.cancel("m1", "p"),
    "give back": lambda queue: queue.give_back(SEEN),
    "delete": lambda queue: queue.delete(SEEN),
    "is there": lambda queue: queue.is_there("m1", "p"),
}


@pytest.mark.parametrize("odd", ODD)
class TestOddResponses:
    async def test_each_operation_does_its_work_or_raises_trouble_with_storage(self, odd: str) -> None:
        """Nothing else comes out. What is harmless in one response may be taken for what it says."""
        async with storage(ODD[odd]) as service:
            operations = [operation(service) for operation in (*READS.values(), *WRITES.values())]
            results = await asyncio.gather(*operations, return_exceptions=True)
        for trouble in [result for result in results if isinstance(result, BaseException)]:
            assert type(trouble) is StorageTrouble
            assert str(trouble).startswith("queue ")

    async def test_the_command_line_has_one_kind_of_error_for_it(self, odd: str) -> None:
        async with storage(ODD[odd]) as service:
            queue = OpsQueue(service.get_queue_client("queue"), "none")
            operations = [operation(queue) for operation in OF_THE_COMMAND_LINE.values()]
            results = await asyncio.gather(*operations, return_exceptions=True)
            with pytest.raises(AzureError):
                await queue.count()
        assert all(isinstance(one, AzureError) for one in results if isinstance(one, BaseException))

    async def test_permits_are_not_counted_by_it(self, odd: str) -> None:
        async with storage(ODD[odd]) as service:
            with pytest.raises(StorageTrouble):
                await permits_of(service).count()

    async def test_the_timer_goes_on_although_permits_cannot_be_counted(
        self, odd: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with storage(ODD[odd]) as service:
            with caplog.at_level(logging.WARNING, "shared"):
                await replenish_permits(permits_of(service), 10, lease_seconds=10)
        assert "permits in custom-vision-permits could not be counted" in caplog.text

    async def test_whoever_asks_for_permits_asks_again(self, odd: str) -> None:
        async with storage(ODD[odd], response(PERMIT)) as service, asyncio.timeout(20):
            admission = Admission("API", SharedLimit(Permits(10), permits_of(service)))
            async with admission.turn():
                pass
            await admission.aclose()


async def test_a_message_without_a_text_is_an_empty_one() -> None:
    async with storage(response(PERMIT.replace(b"<MessageText>{}</MessageText>", b"<MessageText />"))) as service:
        (message,) = await permits_of(service).receive(1, 30)
    assert message.body == b""


async def test_a_missing_queue_is_told_from_other_trouble() -> None:
    missing = response(MISSING, b"404 The specified queue does not exist.", b"x-ms-error-code: QueueNotFound")
    async with storage(missing) as service:
        with pytest.raises(QueueMissing):
            await permits_of(service).receive(1, 30)
        with pytest.raises(QueueMissing):
            await permits_of(service).count()
        assert await queue_of(service).receive(1, 30) == []


async def test_a_response_that_comes_a_byte_at_a_time_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for place in range(20):
            writer.write(response(PERMIT)[place : place + 1])
            await asyncio.sleep(0.05)
        writer.close()
        closed.set()

    monkeypatch.setattr(PermitQueue, "timeout_seconds", 0.3)
    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        connection = CONNECTION.format(port=server.sockets[0].getsockname()[1])
        async with QueueServiceClient.from_connection_string(connection) as service:
            with pytest.raises(StorageTrouble, match="TimeoutError"):
                await permits_of(service).receive(1, 30)
        await closed.wait()
