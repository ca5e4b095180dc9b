"""Storage queues, as this app uses them: bytes in, text out in the encoding of the settings, and leases.

A message holds 64 KiB at most, a receive takes 32 (Azure Storage, "Scalability and performance targets for Queue
Storage"). Messages that this app writes live until somebody deletes them: an expired one would be gone without a trace.
"""

from __future__ import annotations

import asyncio
import functools
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.queue.aio import QueueServiceClient

from shared.errors import QueueMissing, StorageTrouble
from shared.limits.rate_limit_shared import NEW_PERMIT
from shared.messages.encoding import encode
from shared.redaction import without_secrets
from shared.text import one_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from datetime import datetime

    from azure.core.credentials_async import AsyncTokenCredential
    from azure.storage.queue import QueueMessage
    from azure.storage.queue.aio import QueueClient

    from shared.messages.encoding import Encoding
    from shared.settings import Settings

MAX_RECEIVE = 32
FOREVER = -1

CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 20


AT_ONCE: dict[str, Any] = {"retry_total": 0, "connection_timeout": 2, "read_timeout": 2}
"""A request for a permit that is late is worth nothing: it is made anew, not repeated."""

QUEUE_NOT_FOUND = "QueueNotFound"
"""Storage's code for a missing queue. A 404 without it is a proxy's."""

NOT_OURS_ANY_MORE = (400, 404)
"""The pop receipt is not the last one, or the message is gone."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message that is ours until its lease ends."""

    id: str
    pop_receipt: str
    body: bytes
    dequeue_count: int
    expires_at: datetime | None


P = ParamSpec("P")
R = TypeVar("R")


def _raising_storage_trouble(
    method: Callable[Concatenate[Q, P], Awaitable[R]],
) -> Callable[Concatenate[Q, P], Coroutine[Any, Any, R]]:
    """Make a method of a queue raise `StorageTrouble`, whatever goes wrong, and end in time.

    The Azure library raises its own errors only for what it foresees. An empty 200, a proxy's page of HTML, a body that
    is not the gzip it claims to be or a malformed redirect raise errors of XML, zlib or urllib.
    """

    @functools.wraps(method)
    async def call(self: Q, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            async with asyncio.timeout(self.timeout_seconds):
                return await method(self, *args, **kwargs)
        except StorageTrouble:
            raise
        except Exception as error:
            raise self.described(error) from None

    return call


class _Queue:
    """What both kinds of queues have in common."""

    timeout_seconds: float
    """What one operation may take, its retries included. Storage may send a response a byte at a time for ever."""

    def __init__(self, client: QueueClient) -> None:
        self._client = client
        self.name: str = client.queue_name

    def described(self, error: Exception) -> StorageTrouble:
        """What the app raises for an error of the library. It carries no secret."""
        cause = one_line(f"{type(error).__name__} {error}".rstrip())
        return (QueueMissing if _is_queue_missing(error) else StorageTrouble)(f"queue {self.name}: {cause}")

    async def _receive(self, most: int, lease_seconds: int, **options: Any) -> list[Received]:
        pages = self._client.receive_messages(
            messages_per_page=most, visibility_timeout=lease_seconds, **options
        ).by_page()
        async for page in pages:
            return [_received(message) async for message in page]
        return []


Q = TypeVar("Q", bound=_Queue)


class Queue(_Queue):
    """One queue. Its methods raise `StorageTrouble` where storage fails in spite of retries."""

    timeout_seconds = 120.0

    def __init__(self, client: QueueClient, encoding: Encoding = "none") -> None:
        super().__init__(client)
        self._encoding = encoding

    @_raising_storage_trouble
    async def send(self, text: str) -> None:
        """Put a message of at most 64 KiB, which lives until it is deleted. Creates the queue if need be."""
        content = encode(without_secrets(text), self._encoding)
        try:
            await self._client.send_message(content, time_to_live=FOREVER)
        except ResourceNotFoundError as error:
            if not _is_queue_missing(error):
                raise
            await self._create()
            await self._client.send_message(content, time_to_live=FOREVER)

    @_raising_storage_trouble
    async def receive(self, most: int, lease_seconds: int) -> list[Received]:
        """Take up to `most` (at most 32) visible messages; nobody else sees them for `lease_seconds`.

        A queue that does not exist is an empty one.
        """
        try:
            return await self._receive(most, lease_seconds)
        except ResourceNotFoundError as error:
            if not _is_queue_missing(error):
                raise
            return []

    @_raising_storage_trouble
    async def put_back(self, message: Received, text: str | None = None) -> None:
        """Make a message visible again at once, with new content if any is given. Its expiry stays what it was."""
        content = None if text is None else encode(without_secrets(text), self._encoding)
        await self._client.update_message(message.id, message.pop_receipt, visibility_timeout=0, content=content)

    @_raising_storage_trouble
    async def rewrite(self, message: Received, text: str, lease_seconds: int) -> Received:
        """Give a message new content and keep it for so long; only what is returned can be put back or deleted."""
        content = encode(without_secrets(text), self._encoding)
        written = await self._client.update_message(
            message.id, message.pop_receipt, visibility_timeout=lease_seconds, content=content
        )
        return replace(message, pop_receipt=written.pop_receipt or "")

    @_raising_storage_trouble
    async def delete(self, message: Received) -> None:
        """Delete a message."""
        await self._client.delete_message(message.id, message.pop_receipt)

    async def _create(self) -> None:
        try:
            await self._client.create_queue()
        except ResourceExistsError:
            return


def _is_queue_missing(error: Exception) -> bool:
    return isinstance(error, ResourceNotFoundError) and getattr(error, "error_code", None) == QUEUE_NOT_FOUND


def _received(message: QueueMessage) -> Received:
    content = message.content or ""
    return Received(
        id=message.id,
        pop_receipt=message.pop_receipt or "",
        body=content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"),
        dequeue_count=message.dequeue_count or 1,
        expires_at=message.expires_on,
    )


class PermitQueue(_Queue):
    """The queue of permits. Methods raise `StorageTrouble`, which is `QueueMissing` where there is no queue."""

    timeout_seconds = 10.0

    @_raising_storage_trouble
    async def receive(self, most: int, lease_seconds: int) -> list[Received]:
        """Take up to `most` of the permits that are visible, in one request."""
        return await self._receive(most, lease_seconds, **AT_ONCE)

    @_raising_storage_trouble
    async def put_back(self, message: Received, text: str, unseen_seconds: int) -> bool:
        """Put a permit back with this text, visible after so many seconds; False if it was not ours any more."""
        try:
            await self._client.update_message(
                message.id, message.pop_receipt, visibility_timeout=unseen_seconds, content=text, **AT_ONCE
            )
        except HttpResponseError as error:
            if error.status_code in NOT_OURS_ANY_MORE:
                return False
            raise
        return True

    @_raising_storage_trouble
    async def count(self) -> int:
        """How many there are, held ones included: not fewer than it says, and for a while perhaps more."""
        count = (await self._client.get_queue_properties()).approximate_message_count
        if count is None:  # a proxy's page: taken for 0, it would double the permits
            raise StorageTrouble(f"queue {self.name}: the response does not say how many messages there are")
        return count

    @_raising_storage_trouble
    async def create(self, number: int) -> bool:
        """Create the queue with so many permits. Returns False if somebody else has created it."""
        try:
            await self._client.create_queue(metadata={"creator": uuid.uuid4().hex})
        except ResourceExistsError:  # with another creator's metadata: so only one of us gets to the next line
            return False
        await self.add(number)
        return True

    @_raising_storage_trouble
    async def add(self, number: int) -> None:
        """Put so many new permits."""
        for _ in range(number):
            await self._client.send_message(NEW_PERMIT, time_to_live=FOREVER)

    @_raising_storage_trouble
    async def clear(self) -> None:
        """Delete all permits, held ones included."""
        await self._client.clear_messages()


class Queues:
    """The queue service. Connections are made at first use."""

    def __init__(self, settings: Settings, credential: AsyncTokenCredential | None) -> None:
        options: dict[str, Any] = {
            "connection_timeout": CONNECT_TIMEOUT_SECONDS,
            "read_timeout": READ_TIMEOUT_SECONDS,
            "initial_backoff": 1,
            "increment_base": 2,
            "random_jitter_range": 1,
            "retry_total": 3,
        }
        self._encoding = settings.message_encoding
        if settings.storage_connection_string is not None:
            secret = settings.storage_connection_string.get_secret_value()
            self._service = QueueServiceClient.from_connection_string(secret, **options)
        else:
            self._service = QueueServiceClient(settings.storage_endpoint or "", credential=credential, **options)

    def __getitem__(self, name: str) -> Queue:
        """The queue of this name, whether it exists or not."""
        return Queue(self._service.get_queue_client(name), self._encoding)

    def permits(self, name: str) -> PermitQueue:
        """The queue of permits of this name, whether it exists or not."""
        return PermitQueue(self._service.get_queue_client(name))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._service.close()
