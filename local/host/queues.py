"""Storage queues as the host uses them, on the SDK's async client."""

import math
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any
from urllib.request import getproxies

import aiohttp
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.core.pipeline.transport import AioHttpTransport
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from local.host.errors import HostStartError

POISON_SUFFIX = "-poison"
MAX_QUEUE_NAME_CHARACTERS = 63
POISON_TIME_TO_LIVE_SECONDS = 7 * 24 * 3600
CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 100
"""A request that is never answered is given up after so long, as by the Azure host's client."""

RETRIES = {"retry_total": 5, "initial_backoff": 0.5, "increment_base": 1.8, "random_jitter_range": 0.5}
"""Six tries within 21 to 28 s, as the Azure host's client makes them."""

NOT_FOUND = 404
CONFLICT = 409
POP_RECEIPT_MISMATCH = "PopReceiptMismatch"

# What a call to the service may raise when the service, or the way to it, is in trouble.
StorageTrouble = (AzureError, aiohttp.ClientError, OSError)


class MessageGoneError(Exception):
    """The message was deleted, has expired or was received by somebody else after its lease ended."""


class TriggerQueue:
    """The queue of one trigger and the poison queue beside it. Calls raise StorageTrouble."""

    def __init__(self, service: QueueServiceClient, name: str) -> None:
        self.name = name
        self._queue = service.get_queue_client(name)
        self._poison = _poison_queue(service, name)

    @property
    def has_poison_queue(self) -> bool:
        """A poison queue has none of its own, nor has a queue whose name is too long for one."""
        return self._poison is not None

    async def receive(self, at_most: int, lease_seconds: int) -> list[QueueMessage]:
        """Receive messages and make them invisible for the lease. A queue that does not exist is empty."""
        pages = self._queue.receive_messages(
            messages_per_page=at_most,
            visibility_timeout=lease_seconds,
        ).by_page()
        try:
            async for page in pages:
                return [message async for message in page]
        except ResourceNotFoundError:
            pass
        return []

    async def delete(self, message_id: str, pop_receipt: str) -> None:
        """Delete a message. Raises MessageGoneError."""
        with _told_if_gone():
            await self._queue.delete_message(message_id, pop_receipt)

    async def hide(self, message_id: str, pop_receipt: str, seconds: float) -> str:
        """Make a message visible again after so long from now; returns its new pop receipt.

        Raises MessageGoneError.
        """
        with _told_if_gone():
            updated = await self._queue.update_message(message_id, pop_receipt, visibility_timeout=math.ceil(seconds))
        return str(updated.pop_receipt)

    async def copy_to_poison(self, text: str) -> None:
        """Put a message's text, as it is on the wire, into the poison queue, which is created if need be."""
        if self._poison is None:
            raise ValueError(f"queue {self.name} has no poison queue")
        try:
            await self._poison.send_message(text, time_to_live=POISON_TIME_TO_LIVE_SECONDS)
        except ResourceNotFoundError:
            await _create(self._poison)
            await self._poison.send_message(text, time_to_live=POISON_TIME_TO_LIVE_SECONDS)


def is_polled_over(error: Exception) -> bool:
    """Whether the listener goes on after a receive that failed so.

    That is while a queue is being deleted, and after an error of the service's own. After anything else the host ends.
    """
    status = error.status_code if isinstance(error, HttpResponseError) else None
    return status is not None and (status == CONFLICT or status >= 500)


@contextmanager
def _told_if_gone() -> Iterator[None]:
    """Raise MessageGoneError where storage does not know the message by its pop receipt.

    It says 404 if the message is not there and 400 if somebody else has received it.
    """
    try:
        yield
    except HttpResponseError as error:
        if error.status_code == NOT_FOUND or getattr(error, "error_code", None) == POP_RECEIPT_MISMATCH:
            raise MessageGoneError from error
        raise


def _poison_queue(service: QueueServiceClient, name: str) -> QueueClient | None:
    poison = name + POISON_SUFFIX
    if name.endswith(POISON_SUFFIX) or len(poison) > MAX_QUEUE_NAME_CHARACTERS:
        return None
    return service.get_queue_client(poison)


async def _create(queue: QueueClient) -> None:
    try:
        await queue.create_queue()
    except ResourceExistsError:
        return


class QueueServices:
    """The storage accounts of an app's triggers, one client each, on one pool of connections."""

    def __init__(self, settings: Mapping[str, str], transport: AioHttpTransport, resources: AsyncExitStack) -> None:
        self._settings = settings
        self._transport = transport
        self._resources = resources
        self._services: dict[str, QueueServiceClient] = {}

    def service(self, connection: str) -> QueueServiceClient:
        """The account that the settings of this name describe. Raises HostStartError."""
        if connection not in self._services:
            self._services[connection] = self._open(connection)
        return self._services[connection]

    def _open(self, connection: str) -> QueueServiceClient:
        options: dict[str, Any] = {"transport": self._transport, **RETRIES}
        if connection_string := self._settings.get(connection):
            try:
                return QueueServiceClient.from_connection_string(connection_string, **options)
            except ValueError:
                # The SDK's words are not repeated: they may quote the string.
                raise HostStartError(f"the setting {connection} is not a valid connection string") from None
        client_id = self._settings.get(f"{connection}__clientId")
        return QueueServiceClient(self._identity_endpoint(connection), self._identity(client_id), **options)

    def _identity_endpoint(self, connection: str) -> str:
        if uri := self._settings.get(f"{connection}__queueServiceUri"):
            return uri
        if account := self._settings.get(f"{connection}__accountName"):
            return f"https://{account}.queue.core.windows.net"
        raise HostStartError(
            f"the setting {connection} (a connection string) or {connection}__queueServiceUri is missing"
        )

    def _identity(self, client_id: str | None) -> AsyncTokenCredential:
        from azure.identity.aio import DefaultAzureCredential

        credential = DefaultAzureCredential(**({"managed_identity_client_id": client_id} if client_id else {}))
        self._resources.push_async_callback(credential.close)
        return credential


@asynccontextmanager
async def open_queue_services(settings: Mapping[str, str]) -> AsyncIterator[QueueServices]:
    """Open the pool of connections; it and all clients on it are closed at the end."""
    async with AsyncExitStack() as resources:
        # As the SDK makes its own sessions, but for the limit.
        session = await resources.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),  # a receive must not wait until all that ended is deleted
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=bool(getproxies()),  # asking for each request takes a millisecond
            )
        )
        transport = AioHttpTransport(
            session=session,
            session_owner=False,
            connection_timeout=CONNECT_TIMEOUT_SECONDS,
            read_timeout=READ_TIMEOUT_SECONDS,
        )
        yield QueueServices(settings, transport, resources)
