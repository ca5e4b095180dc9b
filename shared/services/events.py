"""Publishes events to a queue, an Event Grid topic, or both.

An event is published when all of them have accepted it. If one fails, the event is published again later under the same
id, so the other may get it twice.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from shared.errors import StorageTrouble
from shared.messages.cloud_event import Event, EventType, to_structured
from shared.redaction import hide, without_secrets
from shared.telemetry import EVENT_GRID, OFF, STORAGE_QUEUE, Telemetry
from shared.text import error_line, one_line

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from azure.core.credentials_async import AsyncTokenCredential
    from azure.eventgrid.aio import EventGridPublisherClient

    from shared.services.queues import Queue

PUBLISH_SECONDS = 60.0
"""Limit for one call with its retries."""

CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 20

log = logging.getLogger(__name__)


class EventPublisher:
    """Publishes events to the queue and the topic, as far as they are configured."""

    def __init__(self, queue: Queue | None, topic: EventGridTopic | None = None, telemetry: Telemetry = OFF) -> None:
        self._queue = queue
        self._topic = topic
        self._telemetry = telemetry

    async def publish(self, event: Event) -> None:
        """Publish one event, and return when all have accepted it. Raises `StorageTrouble` if one has not.

        Logs it, except for updated metadata, whose events are too many.
        """
        text = to_structured(event)
        if (clean := without_secrets(text)) != text:
            event = Event.from_json(clean)
        takers = []
        if self._queue is not None:
            takers.append(self._sent(STORAGE_QUEUE, self._queue.name, self._queue.send(clean)))
        if self._topic is not None:
            takers.append(self._sent(EVENT_GRID, self._topic.host, self._topic.publish(event)))
        results = await asyncio.gather(*takers, return_exceptions=True)  # a failure of one must not interrupt the other
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


class EventGridTopic:
    """An Event Grid topic with the CloudEvents schema. `access` names the settings to look at if it refuses us."""

    def __init__(self, client: EventGridPublisherClient, access: str, host: str = "") -> None:
        self.host = host
        """What metrics call it."""
        self._client = client
        self._access = access

    async def publish(self, event: Event) -> None:
        """Publish one event. Raises `StorageTrouble` if the topic has not taken it, whatever the reason."""
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                await self._client.send([event])
        except Exception as error:
            status = getattr(error, "status_code", None)
            look = f"; look at {self._access}" if status in (401, 403, 404) else ""
            cause = error_line(error)
            raise StorageTrouble(f"the Event Grid topic has not taken an event{look}: {cause}") from None

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()


class _ForAudience:
    """A credential whose tokens are for this audience. The library asks for the public cloud's."""

    def __init__(self, credential: AsyncTokenCredential, audience: str) -> None:
        self._credential = credential
        self._scope = f"{audience}/.default"

    async def get_token(self, *_: str, **options: Any) -> Any:
        """Raises what the credential raises."""
        return await self._credential.get_token(self._scope, **options)


def new_topic(endpoint: str, access: SecretStr | AsyncTokenCredential, audience: str) -> EventGridTopic:
    """A topic that is called with its key, or with the app's identity, which needs the role EventGrid Data Sender."""
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
