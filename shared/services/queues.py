"""Storage queues: sends, receives, puts back and deletes messages.

Whatever goes wrong in storage, or in a library on the way, becomes `StorageTrouble`. Messages that the app writes
have the encoding of the settings, and live until somebody deletes them: an expired one would be gone without a trace.
A message holds 64 KiB at most, a receive takes 32 (Azure Storage, "Scalability and performance targets for Queue
Storage").
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import ResourceExistsError
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from shared.errors import MessageLost, QueueMissing, StorageTrouble
from shared.messages.encoding import Encoding, encode
from shared.redaction import without_secrets
from shared.settings import Settings
from shared.text import error_line

MAX_RECEIVE = 32
FOREVER = -1
CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 20

MEANING: Mapping[str, type[StorageTrouble]] = {  # of storage's codes; a status alone can be made by a proxy
    "QueueNotFound": QueueMissing,
    "MessageNotFound": MessageLost,
    "PopReceiptMismatch": MessageLost,
}


@dataclass(frozen=True, slots=True)
class Received:
    """A message that is ours until its lease ends."""

    id: str
    pop_receipt: str
    body: bytes
    dequeue_count: int
    expires_at: datetime | None


class Queue:
    """One queue. Its methods raise `StorageTrouble` where storage fails in spite of retries."""

    timeout_seconds = 120.0
    """What one operation may take, its retries included. Storage may send a response a byte at a time for ever."""
    options: ClassVar[Mapping[str, Any]] = {}
    """How the library makes a request, if not as `new_queue_service` says."""

    def __init__(self, client: QueueClient, encoding: Encoding = "none") -> None:
        self._client = client
        self._encoding = encoding
        self.name: str = client.queue_name

    async def send(self, text: str) -> None:
        """Put a message of at most 64 KiB, which lives until it is deleted. Creates the queue if need be."""
        try:
            await self._send(text)
        except QueueMissing:
            await self._create()
            await self._send(text)

    async def receive(self, most: int, lease_seconds: int) -> list[Received]:
        """Take up to `most` (at most 32) messages for so long. A queue that does not exist is an empty one."""
        try:
            return await self._receive(most, lease_seconds)
        except QueueMissing:
            return []

    async def put_back(self, message: Received, text: str | None = None, unseen_seconds: int = 0) -> None:
        """Make a message visible again, with new content if any is given. Its expiry stays what it was."""
        async with self._operation():
            content = None if text is None else self._encoded(text)
            await self._client.update_message(
                message.id, message.pop_receipt, visibility_timeout=unseen_seconds, content=content, **self.options
            )

    async def rewrite(self, message: Received, text: str, lease_seconds: int) -> Received:
        """Give a message new content and keep it for so long; only what is returned can be put back or deleted."""
        async with self._operation():
            written = await self._client.update_message(
                message.id, message.pop_receipt, visibility_timeout=lease_seconds, content=self._encoded(text)
            )
            return replace(message, pop_receipt=written.pop_receipt or "")

    async def delete(self, message: Received) -> None:
        """Delete a message."""
        async with self._operation():
            await self._client.delete_message(message.id, message.pop_receipt)

    @asynccontextmanager
    async def _operation(self) -> AsyncIterator[None]:
        """Raise `StorageTrouble` whatever goes wrong, and end in time. Every request is made within one.

        The Azure library raises its own errors only for what it foresees. An empty 200, a proxy's page of HTML, a body
        that is not the gzip it claims to be or a malformed redirect raise errors of XML, zlib or urllib.
        """
        try:
            async with asyncio.timeout(self.timeout_seconds):
                yield
        except Exception as error:
            kind = MEANING.get(getattr(error, "error_code", None) or "", StorageTrouble)
            raise kind(f"queue {self.name}: {error_line(error)}") from None

    def _encoded(self, text: str) -> str:
        return encode(without_secrets(text), self._encoding)

    async def _send(self, text: str) -> None:
        async with self._operation():
            await self._client.send_message(self._encoded(text), time_to_live=FOREVER, **self.options)

    async def _receive(self, most: int, lease_seconds: int) -> list[Received]:
        async with self._operation():
            pages = self._client.receive_messages(
                messages_per_page=most, visibility_timeout=lease_seconds, **self.options
            ).by_page()
            async for page in pages:
                return [_received(message) async for message in page]
        return []

    async def _create(self, **options: Any) -> bool:
        """Create the queue. Returns False if it exists."""
        async with self._operation():
            try:
                await self._client.create_queue(**options)
            except ResourceExistsError:
                return False
            return True


def _received(message: QueueMessage) -> Received:
    content = message.content or ""
    return Received(
        id=message.id,
        pop_receipt=message.pop_receipt or "",
        body=content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"),
        dequeue_count=message.dequeue_count or 1,
        expires_at=message.expires_on,
    )


def new_queue_service(
    settings: Settings, credential: AsyncTokenCredential | None, backoff_seconds: float = 1
) -> QueueServiceClient:
    """The library's client of the storage account. It connects when it is first used, and has to be closed."""
    options: dict[str, Any] = {
        "connection_timeout": CONNECT_TIMEOUT_SECONDS,
        "read_timeout": READ_TIMEOUT_SECONDS,
        "initial_backoff": backoff_seconds,
        "increment_base": 2,
        "random_jitter_range": backoff_seconds,
        "retry_total": 3,
    }
    if settings.storage_connection_string is not None:
        secret = settings.storage_connection_string.get_secret_value()
        return QueueServiceClient.from_connection_string(secret, **options)
    return QueueServiceClient(settings.storage_endpoint or "", credential=credential, **options)
