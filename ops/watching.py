"""`watch --wait`: decides when a watch has come to its end.

Storage tells a leased message from a deleted one, so it is certain whether the watch is settled. Its event is seen only
if a peek at the queue shows it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ops.event_tail import Event, Tail
from shared.errors import ApiError, NotFound

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ops.apis import Poll
    from ops.storage import OpsQueue
    from shared.messages.watch import TrainingWatch

POLL_SECONDS = 1.0
SERVICE_POLL_SECONDS = 3.0
GRACE_LOOKS = 3
"""An event is published before its watch is deleted. If it is visible, this many further looks find it."""


async def until_settled(
    watch: TrainingWatch,
    is_waiting: Callable[[], Awaitable[bool]],
    events: OpsQueue | None,
    poll: Poll | None,
    on_state: Callable[[str, bool], None],
    on_event: Callable[[Event], None],
) -> tuple[Event | None, str]:
    """Wait for the end; a repeating watch has none. Return the event (None if only the watch is gone) and the status.

    `is_waiting` says whether the watch's message still exists. `events` and `poll` are None if the settings do not name
    them. `on_state` gets the status of the training and whether the watch waits, `on_event` each event of this watch.
    """
    tail = Tail(events) if events is not None else None
    clock = asyncio.get_running_loop().time
    looks_left, poll_at, training = GRACE_LOOKS, clock(), ""
    while True:
        if clock() >= poll_at:
            training = await _status(watch, poll)
            poll_at = clock() + SERVICE_POLL_SECONDS
        new = await tail.new() if tail is not None else []
        ours = [event for event in new if _is_about(event, watch)]
        for event in ours:
            on_event(event)
        if ours and not watch.repeat:
            return ours[-1], training
        waits = await is_waiting()
        on_state(training, waits)
        looks_left -= not waits
        if looks_left == 0:
            return None, await _status(watch, poll)
        await asyncio.sleep(POLL_SECONDS)


def _is_about(event: Event, watch: TrainingWatch) -> bool:
    about = tuple(event.data.get(name) for name in ("kind", "id", "correlationId"))
    return about == (watch.kind, watch.id, watch.correlation_id)


async def _status(watch: TrainingWatch, poll: Poll | None) -> str:
    """The service's status of the training, or why it is unknown."""
    if poll is None:
        return f"unknown: the settings have no endpoint of {watch.target.api}"
    try:
        return str((await poll(watch.target)).status.value)
    except NotFound:
        return "not found"
    except ApiError as error:
        return f"unknown: {error}"
