"""Training watches: the queue is the to-do list, and each tick of the timer works through it once.

What is news to a watch says `training_news`; here watches are collected, polled and settled. An event is written into
its watch before it is published, and then the watch is deleted, or goes on without it. So whatever happens in between,
whoever finds the watch publishes the same event, with the same id, although the training may be another by then.

Every watch has its turn, whatever their number. A queue gives first what has been visible longest (Storage promises no
order, but keeps this one). So a tick collects a page once the polls of the last have gone out, and puts back at its
end what it has collected: the longest not polled is the first of the next tick.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from azure.core.exceptions import AzureError

from shared.errors import ApiError, InvalidMessage, NotFound, RateLimited
from shared.messages import dead_letter
from shared.messages.dead_letter import Failure, Reason
from shared.messages.envelope import origin_of
from shared.messages.event import Event, EventType, new_event
from shared.messages.event_data import TrainingData
from shared.messages.training import TrainingResult
from shared.messages.watch import Api, Target, TrainingWatch, parse_watch
from shared.services.queues import MAX_RECEIVE
from shared.telemetry import OFF, Telemetry
from shared.text import one_line, to_json
from shared.training_news import COMPLETIONS, UNANSWERED, Episodes, Finding, decide, known_by

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping, Sequence

    from shared.limits.admission import Admission
    from shared.services.events import EventPublisher
    from shared.services.queues import Queue, Received

log = logging.getLogger(__name__)

RENEW_BELOW = timedelta(days=1)
"""A watch that its queue would drop sooner than this is written anew when it is settled."""

STORAGE_CALLS = 32
"""Calls to the queue service at the same time."""

PATIENCE_SECONDS = 5.0
"""How long a tick that has nothing else to do waits for a service whose calls are suspended."""

TELLING_SECONDS = 60.0
"""How long a tick goes on publishing after the last poll had its turn. Where a topic hangs, many events would otherwise
take a tick beyond `functionTimeout`, which costs the worker and all that it executes."""

NO_NEWS, INVALID = "no-news", "invalid"
"""What telemetry calls watches of which no event tells; the others have their event's name."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service that trains: how it is asked, when and how often it may be, and its URL, the source of its events.

    `scope_of`: what a poll is about, as far as trouble with it need not be trouble with others; as in the batcher.
    `afterwards` is called after each poll, for those who share the admission and have none of their calls under way.
    """

    poll: Callable[[Target], Awaitable[TrainingResult]]
    admission: Admission
    calls_per_second: float
    source: str
    scope_of: Callable[[Target], Hashable] = lambda target: None  # noqa: ARG005
    afterwards: Callable[[], object] = lambda: None

    def is_suspended(self, target: Target) -> bool:
        """Whether calls about this target wait for the service to be well again."""
        return self.admission.next_is_probe(self.scope_of(target))


Poll = tuple[Finding | None, datetime | None]
"""What a poll found, None if there was no turn for it in its tick; and when that training was first seen under way."""

Group = list[tuple["Received", TrainingWatch]]
"""Watches of one target, each with the message that it came in."""


@dataclass(slots=True)
class _Tick:
    """What one tick works on. Times are of the event loop's clock.

    `waiting`: the polls that still wait for their turn, and for whose; `moved` is set when one has it or gives up.
    `had_no_turn` and `polled` are put back at the end, the latter with new content where there is any.
    """

    collects_until: float
    deadline: float
    left: int
    polls: dict[Target, asyncio.Task[Poll]] = field(default_factory=dict)
    settling: list[asyncio.Task[None]] = field(default_factory=list)
    waiting: dict[asyncio.Timeout, tuple[Service, Target]] = field(default_factory=dict)
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    had_no_turn: dict[Target, list[Received]] = field(default_factory=lambda: defaultdict(list))
    polled: list[tuple[Received, str | None]] = field(default_factory=list)

    @property
    def is_suspended(self) -> bool:
        """Whether all that waits waits for a service whose calls are suspended."""
        return all(service.is_suspended(target) for service, target in self.waiting.values())

    async def has_moved(self) -> bool:
        """Wait for a change, but not for ever; return whether there was one."""
        self.moved.clear()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await self.moved.wait()
        except TimeoutError:
            return False


class TrainingWatches:
    """Works through the watches queue.

    Args:
        queue: the watches.
        poison: where a malformed watch goes.
        services: who is asked.
        events: where completions are published.
        lease_seconds: how long a collected watch is nobody else's; longer than a tick takes.
        max_wait_seconds: how long a poll waits for its turn at most; then its watches are put back. Half of it is how
            long a tick collects.
        most: watches collected in one tick at most.
        telemetry: counts the watches, and traces those whose producer does.
    """

    def __init__(
        self,
        queue: Queue,
        poison: Queue,
        services: Mapping[Api, Service],
        events: EventPublisher,
        *,
        lease_seconds: int,
        max_wait_seconds: float,
        most: int,
        telemetry: Telemetry = OFF,
    ) -> None:
        self._queue = queue
        self._poison = poison
        self._services = services
        self._events = events
        self._lease_seconds = lease_seconds
        self._max_wait_seconds = max_wait_seconds
        self._most = most
        self._telemetry = telemetry
        slowest = min(service.calls_per_second for service in services.values())
        self._page = min(MAX_RECEIVE, max(1, int(slowest * max_wait_seconds / 2)))
        self._storage = asyncio.Semaphore(STORAGE_CALLS)
        self._episodes = Episodes()

    async def tick(self) -> None:
        """Collect watches, poll each of their targets once, and settle each watch.

        Raises `AzureError` if the queue cannot be read. Trouble with one watch stays with it: its lease ends and it is
        handled again.
        """
        now = asyncio.get_running_loop().time()
        tick = _Tick(now + self._max_wait_seconds / 2, now + self._max_wait_seconds, self._most)
        while watches := await self._collect(tick):
            for target, group in watches.items():
                self._begin_poll(tick, target, group)
                tick.settling.append(asyncio.create_task(self._settle(tick, target, group)))
            await asyncio.sleep(0)  # lets the polls begin
            while tick.waiting and not tick.is_suspended:
                await tick.has_moved()
        await _finish(tick)
        await asyncio.gather(*tick.settling)
        await self._put_back([(message, None) for target in tick.polls for message in tick.had_no_turn.get(target, ())])
        await self._put_back(tick.polled)

    async def _collect(self, tick: _Tick) -> dict[Target, Group]:
        """Take a page of watches, as many as can be polled in time; none if it is time to come to an end."""
        watches: dict[Target, Group] = defaultdict(list)
        while not watches and asyncio.get_running_loop().time() < tick.collects_until:
            page = await self._receive(tick, min(self._page, tick.left))
            if not page:
                break
            tick.left -= len(page)
            for message in page:
                watch = await self._read(message)
                if watch is not None and watch.event is not None:
                    self._episodes.recall(watch)
                    telling = self._tell_again(tick, message, watch, watch.event.to_event())
                    tick.settling.append(asyncio.create_task(telling))
                elif watch is not None:
                    watches[watch.target].append((message, watch))
        return watches

    async def _receive(self, tick: _Tick, most: int) -> list[Received]:
        if most == 0:
            return []
        try:
            return [message async for message in self._queue.receive(most, self._lease_seconds)]
        except AzureError as trouble:
            if not tick.settling:
                raise
            log.warning("no more watches are collected now: %s", one_line(trouble))
            return []

    async def _read(self, message: Received) -> TrainingWatch | None:
        try:
            return parse_watch(message.body)
        except InvalidMessage as error:
            self._telemetry.watch(self._queue.name, INVALID, error.traceparent)
            await self._dead_letter(message, error)
            return None

    async def _dead_letter(self, message: Received, error: InvalidMessage) -> None:
        redrives = origin_of(message.body).redrives
        failure = Failure(
            Reason.INVALID,
            "InvalidMessage",
            str(error),
            datetime.now(UTC),
            message.dequeue_count,
            redrives=redrives,
        )
        try:
            await self._poison.send(dead_letter.of_body(message.body, failure))
            correlation_id = one_line(error.correlation_id)
            log.warning("watch %s (correlation id %s) is dead-lettered: %s", message.id, correlation_id, error)
            await self._queue.delete(message)
        except AzureError as trouble:
            log.warning("watch %s stays in its queue: %s", message.id, one_line(trouble))

    def _begin_poll(self, tick: _Tick, target: Target, group: Group) -> None:
        """Begin the one poll of a target in this tick, unless it has begun."""
        if target not in tick.polls:
            poll = self._poll(tick, target, [watch for _, watch in group])
            tick.polls[target] = asyncio.get_running_loop().create_task(poll)

    async def _poll(self, tick: _Tick, target: Target, watches: Sequence[TrainingWatch]) -> Poll:
        finding = await self._find(tick, target)
        if not isinstance(finding, TrainingResult):
            return finding, None
        return finding, self._episodes.note(target, finding, watches, datetime.now(UTC))

    async def _find(self, tick: _Tick, target: Target) -> Finding | None:
        service = self._services[target.api]
        try:
            return await self._ask(tick, service, target)
        except NotFound as error:
            return error
        except TimeoutError:
            return UNANSWERED if service.is_suspended(target) else None
        except ApiError as error:
            log.info("%s %s will be polled again: %s", target.kind, target.id, error)
        except Exception:  # trouble with one target must not end the tick for all others
            log.exception("%s %s will be polled again", target.kind, target.id)
        return UNANSWERED

    async def _ask(self, tick: _Tick, service: Service, target: Target) -> TrainingResult:
        """Ask when it is our turn, and again when the answer is only that it was too early.

        Raises `TimeoutError` where that turn does not come.
        """
        while True:
            async with asyncio.timeout_at(tick.deadline) as patience:
                tick.waiting[patience] = service, target
                try:
                    async with service.admission.turn(service.scope_of(target)):
                        del tick.waiting[patience]
                        tick.moved.set()
                        patience.reschedule(None)
                        return await service.poll(target)
                except RateLimited:
                    continue
                finally:
                    tick.waiting.pop(patience, None)
                    tick.moved.set()
                    service.afterwards()

    async def _settle(self, tick: _Tick, target: Target, group: Group) -> None:
        finding, since = await tick.polls[target]
        if finding is None:
            tick.had_no_turn[target] += [message for message, _ in group]
        else:
            await asyncio.gather(*(self._settle_one(tick, message, watch, finding, since) for message, watch in group))

    async def _settle_one(
        self, tick: _Tick, message: Received, watch: TrainingWatch, finding: Finding, since: datetime | None
    ) -> None:
        async with self._settling(message):
            decision = decide(watch, finding, datetime.now(UTC), since)
            if decision.event is None:
                self._telemetry.watch(self._queue.name, NO_NEWS, None)
                await self._keep(tick, message, watch, decision.next or watch)
                return
            event = self._new_event(decision.event, message.id, watch, finding, since)
            telling = (decision.next or watch).telling(event)
            text = _to_text(telling)
            if not await self._is_renewed(message, text):
                written = await self._queue.rewrite(message, text, self._lease_seconds)
                await self._tell(tick, written, telling, event)

    async def _tell_again(self, tick: _Tick, message: Received, watch: TrainingWatch, event: Event) -> None:
        """Publish the event that was written into a watch: perhaps only some of those who take events have it."""
        async with self._settling(message):
            if not await self._is_renewed(message, _to_text(watch)):
                await self._tell(tick, message, watch, event)

    @asynccontextmanager
    async def _settling(self, message: Received) -> AsyncIterator[None]:
        """Keep trouble with one watch from ending the tick for all others."""
        async with self._storage:
            try:
                yield
            except AzureError as trouble:
                log.warning("watch %s will be settled again: %s", message.id, one_line(trouble))
            except Exception:
                log.exception("watch %s will be settled again", message.id)

    async def _is_renewed(self, message: Received, text: str) -> bool:
        """Whether a watch had to be written anew, as this text, since its queue would drop it soon; it is met again."""
        if message.expires_at is None or message.expires_at - datetime.now(UTC) >= RENEW_BELOW:
            return False
        await self._queue.send(text)
        await self._queue.delete(message)
        return True

    async def _tell(self, tick: _Tick, message: Received, watch: TrainingWatch, event: Event) -> None:
        """Publish the event of a watch. If it is too late for that in this tick, its lease ends and it is met again."""
        if asyncio.get_running_loop().time() > tick.deadline + TELLING_SECONDS:
            return
        await self._events.publish(event)
        if watch.repeat and event.type in COMPLETIONS:
            await self._queue.put_back(message, _to_text(watch.telling(None)))
        else:
            await self._queue.delete(message)

    async def _keep(self, tick: _Tick, message: Received, watch: TrainingWatch, following: TrainingWatch) -> None:
        """Let a watch go on: it is put back at the end of the tick, with new content if it has any."""
        text = _to_text(following)
        if not await self._is_renewed(message, text):
            tick.polled.append((message, None if following == watch else text))

    async def _put_back(self, messages: Sequence[tuple[Received, str | None]]) -> None:
        """Make watches visible again, so many at a time, in this order."""
        for start in range(0, len(messages), STORAGE_CALLS):
            batch = messages[start : start + STORAGE_CALLS]
            await asyncio.gather(*(self._put_one_back(message, text) for message, text in batch))

    async def _put_one_back(self, message: Received, text: str | None) -> None:
        try:
            await self._queue.put_back(message, text)
        except AzureError as trouble:
            log.warning("watch %s will be settled again: %s", message.id, one_line(trouble))

    def _new_event(
        self, kind: EventType, message_id: str, watch: TrainingWatch, finding: Finding, since: datetime | None
    ) -> Event:
        target = watch.target
        result = finding if isinstance(finding, TrainingResult) else None
        is_completion = result is not None and kind in COMPLETIONS
        time = result.completed_at if result is not None and is_completion else None
        if kind is EventType.WATCH_EXPIRED:
            time = watch.expires_at
        fact = known_by(result, since) if result is not None and is_completion else message_id
        traceparent = self._telemetry.watch(self._queue.name, kind, watch.traceparent)
        return new_event(
            kind,
            source=self._services[target.api].source,
            subject=target.path,
            identity=f"{fact}\n{watch.correlation_id or ''}",
            time=time or datetime.now(UTC),
            data=TrainingData.of(watch, result).to_dict(),
            traceparent=traceparent,
        )


async def _finish(tick: _Tick) -> None:
    """Wait until nothing waits for its turn any more, but not long for a service whose calls are suspended."""
    while tick.waiting:
        if not await tick.has_moved() and tick.is_suspended:
            for patience in list(tick.waiting):
                patience.reschedule(asyncio.get_running_loop().time())


def _to_text(watch: TrainingWatch) -> str:
    return to_json(watch.to_dict())
