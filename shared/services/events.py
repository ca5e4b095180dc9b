"""Where events are published: a queue, an Event Grid topic, or both.

An event is published when all of them have taken it. Where one fails, the event is published again later, under the
same id: who has it already gets it twice.
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from azure.core.exceptions import AzureError, HttpResponseError
from pydantic import SecretStr

from shared.messages.cloud_event import Event, EventType, to_structured
from shared.redaction import hide, without_secrets
from shared.telemetry import EVENT_GRID, OFF, STORAGE_QUEUE, Telemetry
from shared.text import one_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from azure.core.credentials_async import AsyncTokenCredential

    from shared.services.queues import Queue

MAX_PUBLISH_BYTES = 1_000_000
"""What one call may carry (Event Grid, "Quotas and limits": 1 MB for an event and for an array of them)."""

GATHER_SECONDS = 1.0
"""So long a topic's event waits for others to share its call: those of the same batch, and those of the same tick,
whose polls come at the API's pace. It is nothing to who waits for a training."""

PUBLISH_SECONDS = 60.0
"""What one call may take, its repetitions included."""

CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 20

_BETWEEN_EVENTS = 2

log = logging.getLogger(__name__)


class EventPublisher:
    """Publishes events to all that there are. Raises `StorageTrouble` or `AzureError` where one of them fails."""

    def __init__(self, queue: Queue | None, topic: EventGridTopic | None = None, telemetry: Telemetry = OFF) -> None:
        self._queue = queue
        self._topic = topic
        self._telemetry = telemetry

    async def publish(self, event: Event) -> None:
        """Publish one event. Return when the queue and the topic, as far as they are set, have taken it.

        It is logged, unless it tells of a message that went well, of which there are too many.
        """
        text = to_structured(event)
        if (clean := without_secrets(text)) != text:
            event = Event.from_json(clean)
        takers = []
        if self._queue is not None:
            takers.append(self._sent(STORAGE_QUEUE, self._queue.name, self._queue.send(clean)))
        if self._topic is not None:
            takers.append(self._sent(EVENT_GRID, self._topic.host, self._topic.publish(event)))
        results = await asyncio.gather(*takers, return_exceptions=True)  # none is left half done
        for result in results:
            if isinstance(result, BaseException):
                raise result
        level = logging.DEBUG if event.type == EventType.METADATA_UPDATED else logging.INFO
        log.log(level, "published %s of %s", event.type, one_line(event.subject))

    async def _sent(self, system: str, destination: str, sending: Awaitable[None]) -> None:
        try:
            await sending
        except Exception as error:
            self._telemetry.sent(system, destination, error)
            raise
        self._telemetry.sent(system, destination, None)


class SendEvents(Protocol):
    """What is needed of the library's client: one call with these events."""

    def send(self, events: list[Event]) -> Awaitable[None]:
        """Raise whatever goes wrong."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An event, the future of who publishes it, and the time of the event loop at which it need not wait any longer."""

    event: Event
    taken: asyncio.Future[None]
    goes_at: float


class EventGridTopic:
    """An Event Grid topic with the CloudEvents schema.

    Who publishes within a second shares a call, as far as sizes allow. One call is on its way at a time, and what comes
    meanwhile goes with the next. `host` is what metrics call it.
    """

    def __init__(self, client: SendEvents, access: str, host: str = "") -> None:
        self.host = host
        self._client = client
        self._access = access
        self._waiting: list[_Waiting] = []
        self._sending: asyncio.Task[None] | None = None

    async def publish(self, event: Event) -> None:
        """Publish one event. Raises `AzureError` where the topic has not taken it."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(event, loop.create_future(), loop.time() + GATHER_SECONDS)
        self._waiting.append(waiting)
        if self._sending is None:
            self._sending = loop.create_task(self._send_waiting(loop))
        await waiting.taken

    async def aclose(self) -> None:
        """Close the connections. Who still waits is not told: cancel them first."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
        await self._client.close()

    async def _send_waiting(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(self._waiting[0].goes_at - loop.time())
                waiting = [one for one in self._waiting if not one.taken.done()]
                size = call_size([one.event for one in waiting])
                call, self._waiting = waiting[:size], waiting[size:]
                await self._send(call)
        finally:
            self._sending = None

    async def _send(self, call: Sequence[_Waiting]) -> None:
        if not call:
            return
        error = await self._try([one.event for one in call])
        if isinstance(error, HttpResponseError) and error.status_code in (400, 413) and len(call) > 1:
            # Something is wrong with one of them, or they are too many: none must cost the others.
            middle = len(call) // 2
            await self._send(call[:middle])
            await self._send(call[middle:])
            return
        for one in call:
            if one.taken.done():
                continue
            if error is None:
                one.taken.set_result(None)
            else:
                one.taken.set_exception(self._described(error))

    async def _try(self, events: list[Event]) -> Exception | None:
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                await self._client.send(events)
        except Exception as error:  # in whichever library: the topic has not said that it has the events
            return error
        return None

    def _described(self, error: Exception) -> AzureError:
        """Who publishes logs it or lets the host do that: the service may repeat a key."""
        status = error.status_code if isinstance(error, HttpResponseError) else None
        look = f"; look at {self._access}" if status in (401, 403, 404) else ""
        cause = one_line(f"{type(error).__name__} {error}".rstrip())
        return AzureError(f"the Event Grid topic has not taken an event{look}: {cause}")


def call_size(events: Sequence[Event]) -> int:
    """How many of these events, from the first on, fit one call; at least one, which then is too large."""
    total = _BETWEEN_EVENTS
    for number, event in enumerate(events):
        total += _size(event) + _BETWEEN_EVENTS
        if total > MAX_PUBLISH_BYTES:
            return max(number, 1)
    return len(events)


def _size(event: Event) -> int:
    """Bytes on the wire: the library escapes what is not ASCII."""
    return len(json.dumps(json.loads(to_structured(event))))


class _ForAudience:
    """A credential whose tokens are for this audience. The library would ask for the public cloud's."""

    def __init__(self, credential: AsyncTokenCredential, audience: str) -> None:
        self._credential = credential
        self._scope = f"{audience}/.default"

    async def get_token(self, *_: str, **options: Any) -> Any:
        """Raises what the credential raises."""
        return await self._credential.get_token(self._scope, **options)


def new_topic(endpoint: str, access: SecretStr | AsyncTokenCredential, audience: str) -> EventGridTopic:
    """A topic that is let in with its key, or with the app's identity, which needs the role EventGrid Data Sender."""
    from azure.core.credentials import AzureKeyCredential
    from azure.eventgrid.aio import EventGridPublisherClient

    credential: Any
    if isinstance(access, SecretStr):
        hide(access.get_secret_value())
        credential = AzureKeyCredential(access.get_secret_value())
    else:
        credential = _ForAudience(access, audience)
    client = EventGridPublisherClient(
        endpoint,
        credential,
        connection_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=READ_TIMEOUT_SECONDS,
        retry_total=3,
        retry_backoff_factor=0.5,
    )
    return EventGridTopic(
        client, "EVENT_GRID_TOPIC_ENDPOINT and EVENT_GRID_TOPIC_KEY", urlsplit(endpoint).hostname or ""
    )
