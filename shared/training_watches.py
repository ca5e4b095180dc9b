"""Training watches: the queue is the to-do list, and each tick of the timer works through it once.

`decide` says what becomes of a watch, and is pure; `TrainingWatches` collects, looks and settles. An event is published
before its watch is deleted or changed: a crash in between repeats the event, under the same id.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from azure.core.exceptions import AzureError

from shared.errors import ApiError, InvalidMessage, NotFound, RateLimited
from shared.messages import dead_letter
from shared.messages.dead_letter import Failure, Reason
from shared.messages.event import EventType, new_event
from shared.messages.watch import GroupKind, Reported, TrainingWatch, parse_watch
from shared.services.face import PATHS, TrainingResult, TrainingStatus
from shared.text import one_line, to_json

if TYPE_CHECKING:
    from shared.limits.admission import Admission
    from shared.services.events import EventPublisher
    from shared.services.queues import Queue, Received

log = logging.getLogger(__name__)

RENEW_BELOW = timedelta(days=1)
"""A watch that its queue would drop sooner than this is written anew when it is put back."""

COMPLETIONS = (EventType.TRAINING_SUCCEEDED, EventType.TRAINING_FAILED)

STORAGE_CALLS = 32
"""Calls to the queue service at the same time."""


class Group(NamedTuple):
    """What is looked at once, however many watches it has."""

    kind: GroupKind
    id: str


Finding = TrainingResult | NotFound | None
"""What a look found; None where the service could not be asked."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a watch: the event to publish first, if any, and the watch as it goes on, if it does."""

    event: EventType | None
    next: TrainingWatch | None


def decide(watch: TrainingWatch, finding: Finding, now: datetime) -> Decision:
    """Say what becomes of a watch after a look.

    One training is told from the next by its status and completion time; a state in between seen by a look separates
    them too. A failure whose time Face does not know counts as later than `after`: told twice is better than never.
    """
    if finding is None:
        return Decision(None, watch)
    if isinstance(finding, NotFound):
        return Decision(EventType.TRAINING_NOT_FOUND, None)
    if _is_news(watch, finding):
        succeeded = finding.status is TrainingStatus.SUCCEEDED
        event = EventType.TRAINING_SUCCEEDED if succeeded else EventType.TRAINING_FAILED
        return Decision(event, _noted(watch, finding, _times_reported(watch) + 1) if watch.repeat else None)
    if watch.expires_at is not None and watch.expires_at <= now:
        return Decision(EventType.WATCH_EXPIRED, None)
    if watch.reported is not None and not finding.is_complete:
        return Decision(None, _noted(watch, finding, watch.reported.times))
    return Decision(None, watch)


def _is_news(watch: TrainingWatch, result: TrainingResult) -> bool:
    if not result.is_complete or _is_reported(watch, result):
        return False
    completed_at = result.completed_at
    return watch.after is None or completed_at is None or completed_at > watch.after


def _is_reported(watch: TrainingWatch, result: TrainingResult) -> bool:
    last = watch.reported
    return last is not None and (last.status, last.completed_at) == (result.status, result.completed_at)


def _times_reported(watch: TrainingWatch) -> int:
    return watch.reported.times if watch.reported is not None else 0


def _noted(watch: TrainingWatch, result: TrainingResult, times: int) -> TrainingWatch:
    """The watch with what was seen, so that the next look can tell what is new."""
    seen = Reported(status=result.status, completed_at=result.completed_at, times=times)
    return watch.model_copy(update={"reported": seen})


class Looking(Protocol):
    """What is needed of the Face client."""

    async def training(self, kind: GroupKind, group_id: str) -> TrainingResult:
        """Ask how the training of one group stands."""
        ...


class TrainingWatches:
    """Works through the watches queue.

    Args:
        queue: the watches.
        poison: where a malformed watch goes.
        face: asks for the state of a training.
        admission: says when it may be asked.
        events: where completions are published.
        source: the Face resource's URL, for events.
        lease_seconds: how long a collected watch is nobody else's; longer than a tick takes.
        max_wait_seconds: how long a look waits for the service at most; then its watches are put back.
        most: watches collected in one tick at most.
    """

    def __init__(
        self,
        queue: Queue,
        poison: Queue,
        face: Looking,
        admission: Admission,
        events: EventPublisher,
        *,
        source: str,
        lease_seconds: int,
        max_wait_seconds: float,
        most: int,
    ) -> None:
        self._queue = queue
        self._poison = poison
        self._face = face
        self._admission = admission
        self._events = events
        self._source = source
        self._lease_seconds = lease_seconds
        self._hold_seconds = max_wait_seconds
        self._most = most
        self._storage = asyncio.Semaphore(STORAGE_CALLS)

    async def tick(self) -> None:
        """Collect the visible watches, look at each of their groups once, and settle each watch.

        Raises `AzureError` if the queue cannot be read. Trouble with one watch stays with it: its lease ends and it is
        handled again.
        """
        watched = await self._collect()
        async with asyncio.TaskGroup() as looks:
            for group, watches in watched.items():
                looks.create_task(self._look_and_settle(group, watches))

    async def _collect(self) -> dict[Group, list[tuple[Received, TrainingWatch]]]:
        watched: dict[Group, list[tuple[Received, TrainingWatch]]] = defaultdict(list)
        async for message in self._queue.receive(self._most, self._lease_seconds):
            try:
                watch = parse_watch(message.body)
            except InvalidMessage as error:
                await self._dead_letter(message, error)
            else:
                watched[Group(watch.kind, watch.id)].append((message, watch))
        return watched

    async def _dead_letter(self, message: Received, error: InvalidMessage) -> None:
        failure = Failure(Reason.INVALID, "InvalidMessage", str(error), datetime.now(UTC), message.dequeue_count)
        try:
            await self._poison.send(dead_letter.of_body(message.body, failure))
            log.warning(
                "watch %s (correlation id %s) is dead-lettered: %s", message.id, one_line(error.correlation_id), error
            )
            await self._queue.delete(message)
        except AzureError as trouble:
            log.warning("watch %s stays in its queue: %s", message.id, one_line(trouble))

    async def _look_and_settle(self, group: Group, watches: list[tuple[Received, TrainingWatch]]) -> None:
        finding = await self._look(group)
        await asyncio.gather(*(self._settle(message, watch, finding) for message, watch in watches))

    async def _look(self, group: Group) -> Finding:
        try:
            async with asyncio.timeout(self._hold_seconds):
                return await self._ask(group)
        except NotFound as error:
            return error
        except TimeoutError:
            return None
        except ApiError as error:
            log.info("%s %s will be looked at again: %s", group.kind, group.id, error)
            return None
        except Exception:  # trouble with one group must not end the tick for all others
            log.exception("%s %s will be looked at again", group.kind, group.id)
            return None

    async def _ask(self, group: Group) -> TrainingResult:
        """Ask when it is our turn, and again when the answer is only that it was too early."""
        while True:
            try:
                async with self._admission.turn():
                    return await self._face.training(group.kind, group.id)
            except RateLimited:
                continue

    async def _settle(self, message: Received, watch: TrainingWatch, finding: Finding) -> None:
        async with self._storage:
            try:
                decision = decide(watch, finding, datetime.now(UTC))
                if decision.event is not None:
                    await self._publish(decision.event, message.id, watch, finding)
                await self._keep(message, watch, decision.next)
            except AzureError as trouble:
                log.warning("watch %s will be settled again: %s", message.id, one_line(trouble))
            except Exception:  # trouble with one watch must not end the tick for all others
                log.exception("watch %s will be settled again", message.id)

    async def _keep(self, message: Received, watch: TrainingWatch, following: TrainingWatch | None) -> None:
        if following is None:
            await self._queue.delete(message)
        elif message.expires_at is not None and message.expires_at - datetime.now(UTC) < RENEW_BELOW:
            await self._queue.send(_to_text(following))
            await self._queue.delete(message)
        else:
            await self._queue.put_back(message, None if following == watch else _to_text(following))

    async def _publish(self, kind: EventType, message_id: str, watch: TrainingWatch, finding: Finding) -> None:
        result = finding if isinstance(finding, TrainingResult) else None
        completed_at = result.completed_at if result and kind in COMPLETIONS else None
        # A training is known by its completion time. Where there is none, all that is known is whose watch it was, and
        # which event of it: two failures are two facts although Face says the same of both.
        identity = completed_at or f"{message_id} {_times_reported(watch)}"
        time = watch.expires_at if kind is EventType.WATCH_EXPIRED else completed_at
        state = result.model_dump(mode="json", by_alias=True, exclude_none=True) if result else {}
        data: dict[str, Any] = {"kind": watch.kind, "id": watch.id, **state}
        if watch.correlation_id is not None:
            data["correlationId"] = watch.correlation_id
        event = new_event(
            kind,
            source=self._source,
            subject=f"{PATHS[watch.kind]}/{watch.id}",
            identity=str(identity),
            time=time or datetime.now(UTC),
            data=data,
        )
        await self._events.publish(event)


def _to_text(watch: TrainingWatch) -> str:
    return to_json(watch.to_dict())
