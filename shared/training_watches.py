"""Training watches: the queue is the to-do list, and each tick of the timer works through it once.

What is news to a watch says `new_completions`; here watches are collected, polled and settled. An event is written into
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
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from shared.errors import ApiError, InvalidMessage, NotFound, RateLimited, StorageTrouble
from shared.messages import dead_letter, event_id
from shared.messages.cloud_event import Event, EventType, new_event
from shared.messages.dead_letter import Failure, Reason
from shared.messages.event_data import TrainingData, WatchRejectedData
from shared.messages.training import TrainingResult
from shared.messages.watch import KINDS, Api, Target, TrainingWatch, parse_watch
from shared.new_completions import COMPLETIONS, Finding, SeenTrainings, decide
from shared.services.queues import MAX_RECEIVE
from shared.telemetry import OFF, Telemetry
from shared.text import one_line, to_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence

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

PUBLISH_SECONDS = 60.0
"""How long a tick goes on publishing after the last poll had its turn. Where a topic hangs, many events would otherwise
take a tick beyond `functionTimeout`, which costs the worker and all that it executes."""

DEAD_LETTER_BUG_FROM_FAILURE = 5
"""A watch at which an error that nobody foresaw comes so often in a row is dead-lettered. Not so many deliveries: each
tick delivers every watch."""

MAX_FAILURES_KEPT = 10_000
MAX_ERROR = 1000

NO_NEWS, INVALID = "no-news", "invalid"
"""What telemetry calls watches of which no event tells; the others have their event's name."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service that trains: how it is asked, when and how often it may be, and its URL, the source of its events.

    `scope_of`: what a poll is about, as far as trouble with it need not be trouble with others; as in the batcher.
    """

    poll: Callable[[Target], Awaitable[TrainingResult]]
    admission: Admission
    calls_per_second: float
    source: str
    scope_of: Callable[[Target], Hashable] = lambda target: None  # noqa: ARG005

    def is_suspended(self, target: Target) -> bool:
        """Whether calls about this target wait for the service to be well again."""
        return self.admission.is_suspended(self.scope_of(target))


class Poll(NamedTuple):
    """What a poll found and when that training was first seen under way. `bug`: an error that nobody foresaw."""

    finding: Finding
    under_way_since: datetime | None = None
    bug: Exception | None = None


Group = list[tuple["Received", TrainingWatch]]
"""Watches of one target, each with the message that it came in."""


@dataclass(slots=True)
class _Tick:
    """What one tick works on. Times are of the event loop's clock.

    `waiting`: whose polls wait for their turn; `moved` is set when one has it, or waits no more. `has_given_up`: none
    waits for a turn any more. `had_no_turn` and `polled` are put back at the end, the latter with new content where
    there is any. `met`: the watches, so that one that is in the queue twice is found.
    """

    works: asyncio.TaskGroup
    collects_until: float
    deadline: float
    left: int
    polls: dict[Target, asyncio.Task[Poll | None]] = field(default_factory=dict)
    waiting: set[Target] = field(default_factory=set)
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    has_given_up: bool = False
    had_no_turn: dict[Target, list[Received]] = field(default_factory=lambda: defaultdict(list))
    polled: list[tuple[Received, str | None]] = field(default_factory=list)
    met: set[str] = field(default_factory=set)

    async def has_moved(self) -> bool:
        """Wait for a change, but not for long; return whether there was one."""
        self.moved.clear()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await self.moved.wait()
        except TimeoutError:
            return False

    def give_up(self) -> None:
        """Let no poll wait for its turn any more."""
        self.has_given_up = True
        for target in self.waiting:
            self.polls[target].cancel()


class TrainingWatches:
    """Works through the watches queue.

    Args:
        queue: the watches.
        poison: where a malformed watch goes.
        services: who is asked.
        events: where completions are published.
        source: the source of events about messages whose kind cannot be read.
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
        source: str,
        lease_seconds: int,
        max_wait_seconds: float,
        most: int,
        telemetry: Telemetry = OFF,
    ) -> None:
        self._queue = queue
        self._poison = poison
        self._services = services
        self._events = events
        self._source = source
        self._lease_seconds = lease_seconds
        self._max_wait_seconds = max_wait_seconds
        self._most = most
        self._telemetry = telemetry
        slowest = min(service.calls_per_second for service in services.values())
        self._page = min(MAX_RECEIVE, max(1, int(slowest * max_wait_seconds / 2)))
        self._storage = asyncio.Semaphore(STORAGE_CALLS)
        self._seen_trainings = SeenTrainings()
        self._failures: dict[str, int] = {}  # how often in a row there was an error that nobody foresaw, by message id

    async def tick(self) -> None:
        """Collect watches, poll each of their targets once, and settle each watch.

        Trouble of storage or of a service is logged. Trouble with one watch stays with it: it is handled again.
        """
        now = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as works:
            tick = _Tick(works, now + self._max_wait_seconds / 2, now + self._max_wait_seconds, self._most)
            deadline = asyncio.get_running_loop().call_at(tick.deadline, tick.give_up)
            try:
                while watches := await self._collect(tick):
                    for target, group in watches.items():
                        self._begin_poll(tick, target, group)
                        works.create_task(self._settle(tick, target, group))
                    await asyncio.sleep(0)  # lets the polls begin
                    while tick.waiting and not self._is_all_suspended(tick):
                        await tick.has_moved()
                await self._finish(tick)
            finally:
                deadline.cancel()
        await self._put_back([(message, None) for target in tick.polls for message in tick.had_no_turn.get(target, ())])
        await self._put_back(tick.polled)

    async def _finish(self, tick: _Tick) -> None:
        """Wait until all polls have ended, but not for long for services whose calls are suspended."""
        while not all(poll.done() for poll in tick.polls.values()):
            if not await tick.has_moved() and self._is_all_suspended(tick):
                tick.give_up()

    def _is_all_suspended(self, tick: _Tick) -> bool:
        """Whether all that waits waits for a service whose calls are suspended."""
        return all(self._services[target.api].is_suspended(target) for target in tick.waiting)

    async def _collect(self, tick: _Tick) -> dict[Target, Group]:
        """Take a page of watches, as many as can be polled in time; none if it is time to come to an end."""
        watches: dict[Target, Group] = defaultdict(list)
        while not watches and asyncio.get_running_loop().time() < tick.collects_until:
            page = await self._receive(min(self._page, tick.left))
            if not page:
                break
            tick.left -= len(page)
            for message in page:
                watch = await self._read(tick, message)
                if watch is not None and watch.event is not None:
                    tick.works.create_task(self._settle_one(tick, message, watch, Poll(None)))
                elif watch is not None:
                    watches[watch.target].append((message, watch))
        return watches

    async def _receive(self, most: int) -> list[Received]:
        if most == 0:
            return []
        try:
            return await self._queue.receive(most, self._lease_seconds)
        except StorageTrouble as trouble:
            log.warning("no more watches are collected now: %s", one_line(trouble))
            return []

    async def _read(self, tick: _Tick, message: Received) -> TrainingWatch | None:
        """The watch that a message is, unless it is none, or the same as one that this tick has met already.

        One that is written anew is in the queue twice if this process ends before the old one is deleted.
        """
        try:
            watch = parse_watch(message.body)
            text = _to_text(watch)
            if text in tick.met:
                await self._queue.delete(message)
                return None
            tick.met.add(text)
            self._seen_trainings.recall(watch)
        except InvalidMessage as error:
            traceparent = self._telemetry.watch(self._queue.name, INVALID, error.traceparent)
            why = Failure(Reason.INVALID, "InvalidMessage", str(error), datetime.now(UTC), message.dequeue_count)
            await self._dead_letter(
                message, error.text or "", replace(why, redrives=error.redrives), error, traceparent
            )
        except StorageTrouble as trouble:
            _log_trouble(message, trouble)
        except Exception as error:
            await self._failed(tick, message, error)
        else:
            return watch
        return None

    async def _dead_letter(
        self,
        message: Received,
        text: str,
        why: Failure,
        known: TrainingWatch | InvalidMessage | None,
        traceparent: str | None,
    ) -> None:
        """Publish that a watch is rejected, then write its dead letter. `metadata_updates` explains the order."""
        correlation_id = known.correlation_id if known is not None else None
        data = WatchRejectedData(
            message_id=message.id,
            correlation_id=correlation_id,
            reason=why.reason,
            code=why.code,
            message=why.message,
        )
        kind = KINDS.get(known.kind or "") if known is not None else None
        event = new_event(
            EventType.WATCH_REJECTED,
            source=self._services[kind.api].source if kind is not None else self._source,
            subject=f"messages/{message.id}",
            identity=event_id.of_message(message.id),
            time=why.at,
            data=data.to_dict(),
            traceparent=traceparent,
        )
        try:
            await self._publish_rejected(event)
            await self._poison.send(dead_letter.of_text(text, why))
            known_by = one_line(correlation_id)
            log.warning(
                "watch %s (correlation id %s) is dead-lettered: %s", message.id, known_by, one_line(why.message)
            )
            await self._queue.delete(message)
        except StorageTrouble as trouble:
            log.warning("watch %s stays in its queue: %s", message.id, one_line(trouble))
        except Exception:  # trouble with one watch must not end the tick for all others
            log.exception("watch %s stays in its queue", message.id)

    async def _publish_rejected(self, event: Event) -> None:
        try:
            await self._events.publish(event)
        except StorageTrouble:
            raise
        except Exception:  # perhaps the error for which the watch is dead-lettered
            log.exception("%s of %s is not published", event.type, event.subject)

    async def _failed(self, tick: _Tick, message: Received, bug: Exception, watch: TrainingWatch | None = None) -> None:
        """Put a watch back at which there was an error that nobody foresaw; dead-letter it if it was so too often."""
        times = self._failures.pop(message.id, 0) + 1
        if times < DEAD_LETTER_BUG_FROM_FAILURE:
            log.error("watch %s will be settled again", message.id, exc_info=bug)
            self._failures[message.id] = times
            if len(self._failures) > MAX_FAILURES_KEPT:
                del self._failures[next(iter(self._failures))]
            tick.polled.append((message, None))
            return
        what = one_line(bug, MAX_ERROR)
        why = Failure(Reason.ERROR, type(bug).__name__, what, datetime.now(UTC), message.dequeue_count)
        text, traceparent = (_to_text(watch), watch.traceparent) if watch is not None else (_raw(message), None)
        await self._dead_letter(message, text, why, watch, traceparent)

    def _begin_poll(self, tick: _Tick, target: Target, group: Group) -> None:
        """Begin the one poll of a target in this tick, unless it has begun."""
        if target not in tick.polls:
            tick.polls[target] = tick.works.create_task(self._poll(tick, target, [watch for _, watch in group]))

    async def _poll(self, tick: _Tick, target: Target, watches: Sequence[TrainingWatch]) -> Poll | None:
        """Poll a target; None where its turn did not come."""
        try:
            result = await self._ask(tick, target)
            if result is None:
                return None
            return Poll(result, self._seen_trainings.note(target, result, watches, datetime.now(UTC)))
        except NotFound as error:
            return Poll(error)
        except ApiError as error:
            log.info("%s %s will be polled again: %s", target.kind, target.id, error)
            return Poll(None)
        except Exception as bug:
            return Poll(None, bug=bug)
        finally:
            tick.moved.set()

    async def _ask(self, tick: _Tick, target: Target) -> TrainingResult | None:
        """Ask when it is our turn, and again when the answer is only that it was too early."""
        service = self._services[target.api]
        while not tick.has_given_up:
            tick.waiting.add(target)
            try:
                async with service.admission.turn(service.scope_of(target), target):
                    tick.waiting.discard(target)
                    tick.moved.set()
                    return await service.poll(target)
            except RateLimited:
                continue
            finally:
                tick.waiting.discard(target)
                tick.moved.set()
        return None

    async def _settle(self, tick: _Tick, target: Target, group: Group) -> None:
        (done,), _ = await asyncio.wait([tick.polls[target]])
        poll = None if done.cancelled() else done.result()
        if poll is None and self._services[target.api].is_suspended(target):
            poll = Poll(None)
        if poll is None:
            tick.had_no_turn[target] += [message for message, _ in group]
            return
        async with asyncio.TaskGroup() as settling:
            for message, watch in group:
                settling.create_task(self._settle_one(tick, message, watch, poll))

    async def _settle_one(self, tick: _Tick, message: Received, watch: TrainingWatch, poll: Poll) -> None:
        """Publish what a poll has found, then let the watch end or go on. Trouble with it ends nothing else."""
        async with self._storage:
            try:
                event, following = self._conclude(message, watch, poll)
                text = _to_text(following)
                if await self._is_renewed(message, text):
                    pass
                elif event is None:
                    tick.polled.append((message, None if following == watch else text))
                else:
                    if following is not watch:
                        message = await self._queue.rewrite(message, text, self._lease_seconds)
                    await self._publish(tick, message, following, event)
                self._failures.pop(message.id, None)
            except StorageTrouble as trouble:
                _log_trouble(message, trouble)
            except Exception as bug:
                await self._failed(tick, message, bug, watch)

    def _conclude(self, message: Received, watch: TrainingWatch, poll: Poll) -> tuple[Event | None, TrainingWatch]:
        """The event to publish, if any, and the watch as it is to be written first.

        One that has an event already was not published to all who take events: it is published again. Raises the error
        that nobody foresaw, if the poll ended with one and the watch goes on.
        """
        if watch.event is not None:
            return watch.event.to_event(), watch
        decision = decide(watch, poll.finding, datetime.now(UTC), poll.under_way_since)
        following = decision.next or watch
        if decision.event is None:
            if poll.bug is not None:
                raise poll.bug
            self._telemetry.watch(self._queue.name, NO_NEWS, None)
            return None, following
        event = self._new_event(decision.event, message.id, watch, poll.finding, poll.under_way_since)
        return event, following.telling(event)

    async def _is_renewed(self, message: Received, text: str) -> bool:
        """Whether a watch had to be written anew, as this text, since its queue would drop it soon; it is met again."""
        if message.expires_at is None or message.expires_at - datetime.now(UTC) >= RENEW_BELOW:
            return False
        await self._queue.send(text)
        await self._queue.delete(message)
        return True

    async def _publish(self, tick: _Tick, message: Received, watch: TrainingWatch, event: Event) -> None:
        """Publish the event of a watch. If it is too late for that in this tick, its lease ends and it is met again."""
        if asyncio.get_running_loop().time() > tick.deadline + PUBLISH_SECONDS:
            return
        await self._events.publish(event)
        if watch.repeat and event.type in COMPLETIONS:
            await self._queue.put_back(message, _to_text(watch.telling(None)))
        else:
            await self._queue.delete(message)

    async def _put_back(self, messages: Sequence[tuple[Received, str | None]]) -> None:
        """Make watches visible again, so many at a time, in this order."""
        for start in range(0, len(messages), STORAGE_CALLS):
            batch = messages[start : start + STORAGE_CALLS]
            await asyncio.gather(*(self._put_one_back(message, text) for message, text in batch))

    async def _put_one_back(self, message: Received, text: str | None) -> None:
        try:
            await self._queue.put_back(message, text)
        except StorageTrouble as trouble:
            _log_trouble(message, trouble)

    def _new_event(
        self, kind: EventType, message_id: str, watch: TrainingWatch, finding: Finding, since: datetime | None
    ) -> Event:
        target = watch.target
        result = finding if isinstance(finding, TrainingResult) else None
        is_completion = result is not None and kind in COMPLETIONS
        time = result.completed_at if result is not None and is_completion else None
        if kind is EventType.WATCH_EXPIRED:
            time = watch.expires_at
        identity = (
            event_id.of_completion(result, since, watch.correlation_id)
            if result is not None and is_completion
            else event_id.of_watch(message_id, watch.correlation_id)
        )
        traceparent = self._telemetry.watch(self._queue.name, kind, watch.traceparent)
        return new_event(
            kind,
            source=self._services[target.api].source,
            subject=target.path,
            identity=identity,
            time=time or datetime.now(UTC),
            data=TrainingData.of(watch, result).to_dict(),
            traceparent=traceparent,
        )


def _raw(message: Received) -> str:
    return message.body.decode("utf-8", "backslashreplace")


def _log_trouble(message: Received, trouble: StorageTrouble) -> None:
    log.warning("watch %s will be settled again: %s", message.id, one_line(trouble))


def _to_text(watch: TrainingWatch) -> str:
    return to_json(watch.to_dict())
