"""Where events are published."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.messages.event import to_structured

if TYPE_CHECKING:
    from shared.messages.event import Event
    from shared.services.queues import Queue


class EventPublisher:
    """Publishes events to the events queue. Raises `azure.core.exceptions.AzureError` where that fails."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def publish(self, event: Event) -> None:
        """Publish one event."""
        await self._queue.send(to_structured(event))
