"""The queues: peeks at messages, leases them, and sends them in two steps so that none is sent twice.

Every method raises `azure.core.exceptions.AzureError` if storage fails in spite of retries, and describes it in words
that say what to do (`describe_storage`).
"""

from __future__ import annotations

import asyncio
import functools
import re
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)

from ops.output import Exit
from shared.messages.encoding import encode, read_object
from shared.messages.placeholder import PLACEHOLDER
from shared.services.authentication import new_credential
from shared.services.permit_queue import PermitQueue
from shared.services.queues import FOREVER, MAX_RECEIVE, new_queue_service
from shared.text import error_line, one_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from azure.storage.queue import QueueMessage
    from azure.storage.queue.aio import QueueClient, QueueServiceClient

    from ops.settings import OpsSettings
    from shared.messages.encoding import Encoding

POP_RECEIPT_MISMATCH = "PopReceiptMismatch"
MESSAGE_NOT_FOUND = "MessageNotFound"
QUEUE_NOT_FOUND = "QueueNotFound"

REFUSED = (401, 403)
_ON_THIS_MACHINE = re.compile(r"\b(127\.0\.0\.1|localhost)\b")

BACKOFF_SECONDS = 0.2
"""A person waits: a missing connection is reported within 7 s."""

RESERVED_FOR = timedelta(days=7)
"""The longest visibility timeout that Storage allows."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A message after a peek or a lease. A peek leaves `pop_receipt` empty."""

    id: str
    body: bytes
    inserted_at: datetime
    dequeue_count: int
    pop_receipt: str = ""

    def json_object(self) -> dict[str, Any] | None:
        """The JSON object that it is, in either encoding; None if it is something else."""
        _, found = read_object(self.body)
        return found if isinstance(found, dict) else None


P = ParamSpec("P")
R = TypeVar("R")


def _request(method: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """Let a method raise `AzureError` whatever goes wrong.

    An empty 200, a proxy's page of HTML or a malformed redirect raise errors of XML, zlib or urllib.
    """

    @functools.wraps(method)
    async def request(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await method(*args, **kwargs)
        except AzureError:
            raise
        except Exception as error:
            raise ServiceResponseError(error_line(error)) from None

    return request


class OpsQueue:
    """One queue. Messages are written in `encoding`, and read in both encodings."""

    def __init__(self, client: QueueClient, encoding: Encoding) -> None:
        self._client = client
        self._encoding = encoding
        self.name: str = client.queue_name

    @_request
    async def create(self) -> None:
        """Create the queue, unless it exists."""
        try:
            await self._client.create_queue()
        except ResourceExistsError:
            return

    @_request
    async def count(self) -> int | None:
        """Roughly the number of messages, with the invisible ones; None if the queue does not exist."""
        try:
            properties = await self._client.get_queue_properties()
        except ResourceNotFoundError as error:
            return _if_missing(error, None)
        if properties.approximate_message_count is None:
            raise ServiceResponseError("the response has no number of messages")
        return properties.approximate_message_count

    @_request
    async def server_time(self) -> datetime:
        """Storage's time, to the second. Raises `ResourceNotFoundError` if the queue does not exist."""
        told: list[str] = []
        await self._client.get_queue_properties(
            raw_response_hook=lambda response: told.append(response.http_response.headers.get("Date", ""))
        )
        return parsedate_to_datetime(told[0]) if told and told[0] else datetime.now(UTC)

    @_request
    async def peek(self) -> list[Seen]:
        """Peek at the first visible messages, at most 32. A queue that does not exist is empty."""
        try:
            return [_seen(message) for message in await self._client.peek_messages(max_messages=MAX_RECEIVE)]
        except ResourceNotFoundError as error:
            return _if_missing(error, [])

    @_request
    async def lease(self, seconds: int) -> list[Seen]:
        """Receive the first visible messages, at most 32, and hide them for so many seconds."""
        pages = self._client.receive_messages(
            messages_per_page=MAX_RECEIVE, max_messages=MAX_RECEIVE, visibility_timeout=seconds
        )
        try:
            return [_seen(message) async for message in pages]
        except ResourceNotFoundError as error:
            return _if_missing(error, [])

    @_request
    async def put(self, text: str) -> tuple[str, str]:
        """Send a message that does not expire; return its id and pop receipt."""
        message = await self._client.send_message(self._encoded(text), time_to_live=FOREVER)
        return message.id, message.pop_receipt or ""

    @_request
    async def put_as_is(self, body: bytes) -> None:
        """Send the body of another message, unchanged."""
        await self._client.send_message(body.decode("utf-8", "surrogatepass"), time_to_live=FOREVER)

    @_request
    async def reserve(self) -> tuple[str, str]:
        """Send an invisible placeholder; return its id and pop receipt, which `release` needs."""
        place = await self._client.send_message(
            self._encoded(PLACEHOLDER), time_to_live=FOREVER, visibility_timeout=int(RESERVED_FOR.total_seconds())
        )
        return place.id, place.pop_receipt or ""

    @_request
    async def release(self, message_id: str, pop_receipt: str, text: str) -> bool:
        """Give a placeholder this text and make it visible. False if that was done before."""
        return not await _refusal(
            self._client.update_message(message_id, pop_receipt, visibility_timeout=0, content=self._encoded(text))
        )

    @_request
    async def cancel(self, message_id: str, pop_receipt: str) -> None:
        """Delete a placeholder."""
        await self._client.delete_message(message_id, pop_receipt)

    @_request
    async def give_back(self, message: Seen) -> None:
        """Make a leased message visible again, unless its lease has ended."""
        await _refusal(self._client.update_message(message.id, message.pop_receipt, visibility_timeout=0))

    @_request
    async def delete(self, message: Seen) -> bool:
        """Delete a leased message. False if its lease has ended."""
        return not await _refusal(self._client.delete_message(message.id, message.pop_receipt))

    @_request
    async def is_there(self, message_id: str, pop_receipt: str) -> bool:
        """Whether a message still exists; the receipt may be an old one."""
        update = self._client.update_message(message_id, pop_receipt, visibility_timeout=0)
        return await _refusal(update) != MESSAGE_NOT_FOUND

    def _encoded(self, text: str) -> str:
        return encode(text, self._encoding)


def _if_missing(error: ResourceNotFoundError, found: R) -> R:
    """What a queue holds that does not exist. Raises the error if it came from a proxy."""
    if error_code(error) != QUEUE_NOT_FOUND:
        raise error
    return found


async def _refusal(request: Awaitable[object]) -> str:
    """Make a request with a pop receipt. Return storage's error code if the receipt is no longer valid, else "".

    It is no longer valid if somebody has received or changed the message since, or if the message is gone.
    """
    try:
        await request
    except HttpResponseError as error:
        if error_code(error) not in (POP_RECEIPT_MISMATCH, MESSAGE_NOT_FOUND):
            raise
        return error_code(error)
    return ""


def error_code(error: AzureError) -> str:
    """The queue service's error code; empty if there is none."""
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def _seen(message: QueueMessage) -> Seen:
    content = message.content
    return Seen(
        id=message.id,
        body=content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"),
        inserted_at=message.inserted_on or datetime.now(UTC),
        dequeue_count=message.dequeue_count or 0,
        pop_receipt=message.pop_receipt or "",
    )


def describe_storage(error: AzureError) -> tuple[str, Exit]:
    """Describe an error, with what to do, and choose the exit code."""
    said = one_line(error.message)
    if isinstance(error, ClientAuthenticationError) or (
        isinstance(error, HttpResponseError) and error.status_code in REFUSED
    ):
        return (
            f"storage refuses access ({error_code(error) or said}): check AzureWebJobsStorage, "
            "or give the identity the role Storage Queue Data Contributor",
            Exit.SETTINGS,
        )
    if isinstance(error, ServiceRequestError):
        advice = "start `make run`, or Azurite" if _ON_THIS_MACHINE.search(said) else "check the network"
        return f"storage cannot be reached ({said}): {advice}, or correct AzureWebJobsStorage", Exit.UNREACHABLE
    return f"storage responded with an error: {error_code(error) or said}", Exit.UNREACHABLE


async def finish_all(work: Iterable[Awaitable[R]]) -> tuple[list[R], list[AzureError]]:
    """Finish everything. Return the results and the errors of storage; raise any other error."""
    done: list[R] = []
    failed: list[AzureError] = []
    for result in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(result, AzureError):
            failed.append(result)
        elif isinstance(result, BaseException):
            raise result
        else:
            done.append(result)
    return done, failed


class Storage:
    """The queues that the settings name."""

    def __init__(self, service: QueueServiceClient, settings: OpsSettings) -> None:
        self._service = service
        self._settings = settings
        self.address: str = f"{service.primary_hostname}/{service.account_name}"

    def queue(self, name: str) -> OpsQueue:
        """The queue with this name, whether it exists or not."""
        return OpsQueue(self._service.get_queue_client(name), self._settings.message_encoding)

    def permits(self, name: str) -> PermitQueue:
        """The queue with this name, as the permits of the shared limit."""
        return PermitQueue(self._service.get_queue_client(name))


@asynccontextmanager
async def open_storage(settings: OpsSettings) -> AsyncIterator[Storage]:
    """Connect to the storage account of the settings, by its connection string or by identity."""
    by_key = settings.storage_connection_string is not None
    async with AsyncExitStack() as stop:
        credential = None if by_key else await stop.enter_async_context(new_credential(settings.storage_client_id))
        service = await stop.enter_async_context(new_queue_service(settings, credential, BACKOFF_SECONDS))
        yield Storage(service, settings)
