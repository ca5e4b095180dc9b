"""Where events are published."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from shared.messages.event import EventType, to_structured
from shared.text import one_line

if TYPE_CHECKING:
    from shared.messages.event import Event
    from shared.services.queues import Queue


log = logging.getLogger(__name__)


class EventPublisher:
    """Publishes events to the events queue. Raises `azure.core.exceptions.AzureError` where that fails."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def publish(self, event: Event) -> None:
        """Publish one event, and log it unless it tells of a message that went well, of which there are too many."""
        await self._queue.send(to_structured(event))
        level = logging.DEBUG if event.type == EventType.METADATA_UPDATED else logging.INFO
        log.log(level, "published %s of %s", event.type, one_line(event.subject))
