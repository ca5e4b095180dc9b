"""Publishes events to a queue, an Event Grid topic, or both.

An event is published when both have accepted it. If one fails, the caller publishes it again later under the same id,
so the other may get it twice.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from azure.core.credentials_async import AsyncTokenCredential
from pydantic import SecretStr

from shared.errors import StorageTrouble
from shared.messages.cloud_event import Event, EventType, to_structured
from shared.redaction import hide, without_secrets
from shared.services.queues import Queue
from shared.telemetry import EVENT_GRID, OFF, STORAGE_QUEUE, Telemetry
from shared.text import error_line, one_line

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from azure.eventgrid.aio import EventGridPublisherClient  # loaded if a topic is set

PUBLISH_SECONDS = 60.0  # for one call with its retries
CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 20
ACCESS = "EVENT_GRID_TOPIC_ENDPOINT and EVENT_GRID_TOPIC_KEY"  # to look at if the topic refuses the app

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EventGridTopic:
    """An Event Grid topic with the CloudEvents schema. `host` is what metrics call it."""

    client: "EventGridPublisherClient"
    host: str

    async def publish(self, event: Event) -> None:
        """Publish one event. Raises `StorageTrouble` if the topic has not taken it, whatever the reason."""
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                await self.client.send([event])
        except Exception as error:
            look = f"; look at {ACCESS}" if getattr(error, "status_code", None) in (401, 403, 404) else ""
            cause = error_line(error)
            raise StorageTrouble(f"the Event Grid topic has not taken an event{look}: {cause}") from None


@dataclass(frozen=True, slots=True)
class EventPublisher:
    """Publishes events to the queue and the topic, as far as they are configured."""

    queue: Queue | None
    topic: EventGridTopic | None = None
    telemetry: Telemetry = OFF

    async def publish(self, event: Event) -> None:
        """Publish one event. Raises `StorageTrouble` if the queue or the topic has not accepted it."""
        text = to_structured(event)
        if (clean := without_secrets(text)) != text:
            event = Event.from_json(clean)
        sendings: dict[tuple[str, str], Awaitable[None]] = {}
        if self.queue is not None:
            sendings[STORAGE_QUEUE, self.queue.name] = self.queue.send(clean)
        if self.topic is not None:
            sendings[EVENT_GRID, self.topic.host] = self.topic.publish(event)
        # a failure of one must not interrupt the other
        errors = await asyncio.gather(*sendings.values(), return_exceptions=True)
        for (system, destination), error in zip(sendings, errors, strict=True):
            self.telemetry.sent(system, destination, error)
        if failed := [error for error in errors if error is not None]:
            raise failed[0]
        # events of updated metadata are too many for the log
        level = logging.DEBUG if event.type == EventType.METADATA_UPDATED else logging.INFO
        log.log(level, "published %s of %s", event.type, one_line(event.subject))


@dataclass(frozen=True, slots=True)
class _ForAudience:
    """A credential whose tokens are for this audience. The library asks for the public cloud's."""

    credential: AsyncTokenCredential
    audience: str

    async def get_token(self, *_: str, **options: Any) -> Any:
        """A token for the audience, whatever the library asks for."""
        return await self.credential.get_token(f"{self.audience}/.default", **options)


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
    return EventGridTopic(client, urlsplit(endpoint).hostname or "")
