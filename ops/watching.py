"""`watch --wait`: follows a watched training until its event arrives.

It knows for sure when the watch is settled, since storage distinguishes a leased message from a deleted one. It sees
the event only if a peek at the queue shows it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops.event_tail import Event, Tail
from shared.errors import ApiError, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from ops.apis import Poll
    from ops.storage import OpsQueue
    from shared.messages.watch import TrainingWatch

POLL_SECONDS = 1.0
SERVICE_POLL_SECONDS = 3.0
GRACE_LOOKS = 3
"""An event is published before its watch is deleted. If it is visible, this many further looks find it."""


@dataclass(frozen=True, slots=True)
class State:
    """The service's status of the training, or why there is none, and whether the watch still waits."""

    training: str
    is_waiting: bool


@dataclass(frozen=True, slots=True)
class Ending:
    """The end: the event, or None if only the watch is gone; and the last status of the training."""

    event: Event | None
    training: str


@dataclass(slots=True)
class Place:
    """The message of a watch."""

    queue: OpsQueue
    message_id: str
    pop_receipt: str

    async def is_settled(self) -> bool:
        """Whether the watch is gone."""
        return not await self.queue.is_there(self.message_id, self.pop_receipt)


class Waiting:
    """Waits for the events of one watch. `poll` and `events` are None if the settings do not name them."""

    def __init__(self, watch: TrainingWatch, place: Place, events: OpsQueue | None, poll: Poll | None) -> None:
        self._watch = watch
        self._place = place
        self._tail = Tail(events) if events is not None else None
        self._poll = poll
        self._training = f"unknown: the settings have no endpoint of {watch.target.api}"

    async def until_settled(self, on_state: Callable[[State], None], on_event: Callable[[Event], None]) -> Ending:
        """Wait for the end; a repeating watch has none. `on_event` gets each event of this watch."""
        looks_left = GRACE_LOOKS
        poll_at = 0.0
        while True:
            clock = asyncio.get_running_loop().time()
            if clock >= poll_at:
                self._training = await self._look()
                poll_at = clock + SERVICE_POLL_SECONDS
            event = await self._event(on_event)
            if event is not None and not self._watch.repeat:
                return Ending(event, self._training)
            is_settled = await self._place.is_settled()
            on_state(State(self._training, not is_settled))
            if is_settled:
                looks_left -= 1
            if looks_left == 0:
                return Ending(None, await self._look())
            await asyncio.sleep(POLL_SECONDS)

    async def _event(self, on_event: Callable[[Event], None]) -> Event | None:
        found = None
        for event in await self._tail.new() if self._tail is not None else ():
            if self._is_ours(event):
                on_event(event)
                found = event
        return found

    def _is_ours(self, event: Event) -> bool:
        data = event.data
        about = (data.get("kind"), data.get("id"), data.get("correlationId"))
        return about == (self._watch.kind, self._watch.id, self._watch.correlation_id)

    async def _look(self) -> str:
        if self._poll is None:
            return self._training
        try:
            result = await self._poll(self._watch.target)
        except NotFound:
            return "not found"
        except ApiError as error:
            return f"unknown: {error}"
        return str(result.status.value)
