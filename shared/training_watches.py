"""What a tick of the timer does with the training watches. Their queue is the to-do list; there is no database.

A tick collects watches page by page, polls each target once, and settles each watch: publishes its event, deletes
it, or puts it back. See `new_completions` for what a poll means for a watch.

An event is written into its watch before it is published. So whatever happens in between, the next tick publishes the
same event under the same id, although the training may be another by then.

Every watch has its turn, however many there are. A queue first gives what has been visible for longest (Storage does
not promise this order, but keeps it). A tick puts its watches back at its end, those that were not polled first. So the
watch that has waited for longest is the first of the next tick.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from dataclasses import dataclass, field
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
from shared.text import named, one_line, to_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Mapping

    from shared.limits.admission import Admission
    from shared.services.events import EventPublisher
    from shared.services.queues import Queue, Received

log = logging.getLogger(__name__)

RENEW_BELOW = timedelta(days=1)
"""A watch that its queue would drop sooner than this is written into a new message when it is settled."""

STORAGE_CALLS = 32
"""Calls to the queue service at the same time."""

PATIENCE_SECONDS = 5.0
"""How long a tick that has nothing else to do waits for a service whose calls are suspended."""

PUBLISH_SECONDS = 60.0
"""How long a tick goes on publishing after its deadline. Where a topic hangs, many events would otherwise take a tick
beyond `functionTimeout`, which costs the worker and all that it executes."""

DEAD_LETTER_BUG_FROM_FAILURE = 5
"""A watch is dead-lettered after so many unforeseen errors in a row. Deliveries do not count: each tick delivers it."""

MAX_FAILURES_KEPT = 10_000
MAX_ERROR = 1000

NO_NEWS = "no-news"
"""What telemetry calls watches without an event."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service that trains: how it is polled, when and how often it may be, and its URL, the source of its events.

    `scope_of` tells the targets apart whose calls are suspended separately, as in the batcher.
    """

    poll: Callable[[Target], Awaitable[TrainingResult]]
    admission: Admission
    calls_per_second: float
    source: str
    scope_of: Callable[[Target], Hashable] = lambda target: None  # noqa: ARG005


class Poll(NamedTuple):
    """What a poll found and when that training was first seen under way; or `bug`, an unforeseen error."""

    finding: Finding = None
    under_way_since: datetime | None = None
    bug: Exception | None = None


Group = list[tuple["Received", TrainingWatch]]
"""Watches of one target, each with the message that it came in."""


@dataclass(slots=True)
class _Tick:
    """What one tick works on.

    Attributes:
        tasks: its polls, and what settles its watches.
        collects_until, deadline: until when it collects watches, and until when polls wait for their turn (event loop's
            clock).
        left: how many watches it still may collect.
        met: the watches that it has collected.
        polls: by target, each target's one poll; None where its turn did not come.
        waiting: the targets whose polls wait for their turn.
        moved: set when a poll waits no more.
        has_given_up: no poll waits for its turn any more.
        had_no_turn, polled: what is put back at the end, the latter with new content if there is any.
    """

    tasks: asyncio.TaskGroup
    collects_until: float
    deadline: float
    left: int
    met: set[str] = field(default_factory=set)
    polls: dict[Target, asyncio.Task[Poll | None]] = field(default_factory=dict)
    waiting: set[Target] = field(default_factory=set)
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    has_given_up: bool = False
    had_no_turn: dict[Target, list[Received]] = field(default_factory=lambda: defaultdict(list))
    polled: list[tuple[Received, str | None]] = field(default_factory=list)

    async def has_moved(self) -> bool:
        """Wait until a poll waits no more, but not for long. Return whether there was one."""
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
        poison: their dead letters.
        services: the services that are polled.
        events: where events are published.
        source: the source of events about messages whose kind cannot be read.
        lease_seconds: how long nobody else sees a collected watch; longer than a tick takes.
        max_wait_seconds: how long a poll waits for its turn. Half of it is how long a tick collects.
        most: how many watches a tick collects.
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
        self._failures: dict[str, int] = {}  # unforeseen errors in a row, by message id

    async def tick(self) -> None:
        """Collect watches, poll each of their targets once, and settle each watch.

        Trouble of storage or of a service is logged. It and any error of one watch leave the others alone.
        """
        now = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as tasks:
            tick = _Tick(tasks, now + self._max_wait_seconds / 2, now + self._max_wait_seconds, self._most)
            deadline = asyncio.get_running_loop().call_at(tick.deadline, tick.give_up)
            try:
                while watches := await self._collect(tick):
                    for target, group in watches.items():
                        if target not in tick.polls:
                            tick.polls[target] = tasks.create_task(self._poll(tick, target, group))
                        tasks.create_task(self._settle(tick, target, group))
                    await asyncio.sleep(0)  # lets the polls begin
                    while tick.waiting and not self._only_waits_for_suspended(tick):
                        await tick.has_moved()
                while not all(poll.done() for poll in tick.polls.values()):
                    if not await tick.has_moved() and tick.waiting and self._only_waits_for_suspended(tick):
                        tick.give_up()
            finally:
                deadline.cancel()
        had_no_turn = [(message, None) for target in tick.polls for message in tick.had_no_turn.get(target, ())]
        for messages in (had_no_turn, tick.polled):
            await asyncio.gather(*(self._put_back(message, text) for message, text in messages))

    def _is_suspended(self, target: Target) -> bool:
        service = self._services[target.api]
        return service.admission.breakers.is_suspended(service.scope_of(target))

    def _only_waits_for_suspended(self, tick: _Tick) -> bool:
        return all(self._is_suspended(target) for target in tick.waiting)

    async def _collect(self, tick: _Tick) -> dict[Target, Group]:
        """Take a page of watches, as many as can be polled in time; none if it is time to come to an end."""
        watches: dict[Target, Group] = defaultdict(list)
        while not watches and tick.left and asyncio.get_running_loop().time() < tick.collects_until:
            try:
                page = await self._queue.receive(min(self._page, tick.left), self._lease_seconds)
            except StorageTrouble as trouble:
                log.warning("no more watches are collected now: %s", one_line(trouble))
                break
            if not page:
                break
            tick.left -= len(page)
            for message in page:
                watch = await self._read(tick, message)
                if watch is not None and watch.event is not None:
                    tick.tasks.create_task(self._settle_one(tick, message, watch, Poll()))
                elif watch is not None:
                    watches[watch.target].append((message, watch))
        return watches

    async def _read(self, tick: _Tick, message: Received) -> TrainingWatch | None:
        """Read a watch; None if it is none, or if this tick has met an equal one, which is deleted then.

        A watch is in its queue twice if a process ends between writing it into a new message and deleting the old one.
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
            why = _failure(message, Reason.INVALID, "InvalidMessage", str(error), error.redrives)
            await self._dead_letter(message, error.text or "", why, error)
        except StorageTrouble as trouble:
            _log_trouble(message, trouble)
        except Exception as bug:
            await self._failed(tick, message, bug, None)
        else:
            return watch
        return None

    async def _poll(self, tick: _Tick, target: Target, group: Group) -> Poll | None:
        """Poll a target; None if its turn did not come."""
        try:
            result = await self._ask(tick, target)
            if result is None:
                return None
            watches = [watch for _, watch in group]
            return Poll(result, self._seen_trainings.note(target, result, watches, datetime.now(UTC)))
        except NotFound as error:
            return Poll(error)
        except ApiError as error:
            log.info("%s %s will be polled again: %s", target.kind, target.id, error)
            return Poll()
        except Exception as bug:
            return Poll(bug=bug)
        finally:
            tick.moved.set()

    async def _ask(self, tick: _Tick, target: Target) -> TrainingResult | None:
        """Ask the service when it is our turn, and once more if that was too early."""
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
        if poll is None and not self._is_suspended(target):
            tick.had_no_turn[target] += [message for message, _ in group]
            return
        async with asyncio.TaskGroup() as settling:
            for message, watch in group:
                settling.create_task(self._settle_one(tick, message, watch, poll or Poll()))

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
        """Return the event to publish, if any, and the watch with it. Raises the poll's bug if the watch goes on.

        A watch that has an event already could not be settled before: its event is published again.
        """
        if watch.event is not None:
            return watch.event.to_event(), watch
        decision = decide(watch, poll.finding, datetime.now(UTC), poll.under_way_since)
        following = decision.next or watch
        if decision.event is not None:
            event = self._new_event(decision.event, message.id, watch, poll)
            return event, following.telling(event)
        if poll.bug is not None:
            raise poll.bug
        self._telemetry.watch(self._queue.name, NO_NEWS, None)
        return None, following

    def _new_event(self, kind: EventType, message_id: str, watch: TrainingWatch, poll: Poll) -> Event:
        result = poll.finding if isinstance(poll.finding, TrainingResult) else None
        identity = event_id.of_watch(message_id, watch.correlation_id)
        time = watch.expires_at if kind is EventType.WATCH_EXPIRED else None
        if result is not None and kind in COMPLETIONS:
            identity = event_id.of_completion(result, poll.under_way_since, watch.correlation_id)
            time = result.completed_at
        return new_event(
            kind,
            source=self._services[watch.target.api].source,
            subject=watch.target.path,
            identity=identity,
            time=time or datetime.now(UTC),
            data=TrainingData.of(watch, result).to_dict(),
            traceparent=self._telemetry.watch(self._queue.name, kind, watch.traceparent),
        )

    async def _is_renewed(self, message: Received, text: str) -> bool:
        """Write a watch that its queue would drop soon into a new message, which a later tick meets. Return if so."""
        if message.expires_at is None or message.expires_at - datetime.now(UTC) >= RENEW_BELOW:
            return False
        await self._queue.send(text)
        await self._queue.delete(message)
        return True

    async def _publish(self, tick: _Tick, message: Received, watch: TrainingWatch, event: Event) -> None:
        """Publish the event of a watch. If it is too late for that, a later tick does, when the lease has ended."""
        if asyncio.get_running_loop().time() > tick.deadline + PUBLISH_SECONDS:
            return
        await self._events.publish(event)
        if watch.repeat and event.type in COMPLETIONS:
            await self._queue.put_back(message, _to_text(watch.telling(None)))
        else:
            await self._queue.delete(message)

    async def _put_back(self, message: Received, text: str | None) -> None:
        async with self._storage:  # first come, first served: so the order stays
            try:
                await self._queue.put_back(message, text)
            except StorageTrouble as trouble:
                _log_trouble(message, trouble)

    async def _failed(self, tick: _Tick, message: Received, bug: Exception, watch: TrainingWatch | None) -> None:
        """Put a watch back after an unforeseen error, or dead-letter it after too many in a row."""
        times = self._failures.pop(message.id, 0) + 1
        if times < DEAD_LETTER_BUG_FROM_FAILURE:
            log.error("watch %s will be settled again", message.id, exc_info=bug)
            self._failures[message.id] = times
            if len(self._failures) > MAX_FAILURES_KEPT:
                del self._failures[next(iter(self._failures))]
            tick.polled.append((message, None))
            return
        why = _failure(message, Reason.ERROR, type(bug).__name__, one_line(bug, MAX_ERROR))
        text = _to_text(watch) if watch is not None else message.body.decode("utf-8", "backslashreplace")
        await self._dead_letter(message, text, why, watch)

    async def _dead_letter(
        self, message: Received, text: str, why: Failure, known: TrainingWatch | InvalidMessage | None
    ) -> None:
        """Publish that a watch is rejected, then write its dead letter. `metadata_updates` explains the order."""
        name = named(message.id, known.correlation_id if known is not None else None)
        try:
            await self._publish_rejected(message, why, known)
            await self._poison.send(dead_letter.of_text(text, why))
            log.warning("watch %s is dead-lettered: %s", name, one_line(why.message))
            await self._queue.delete(message)
        except StorageTrouble as trouble:
            log.warning("watch %s stays in its queue: %s", message.id, one_line(trouble))
        except Exception:
            log.exception("watch %s stays in its queue", message.id)

    async def _publish_rejected(
        self, message: Received, why: Failure, known: TrainingWatch | InvalidMessage | None
    ) -> None:
        correlation_id, kind, traceparent = (
            (known.correlation_id, known.kind, known.traceparent) if known is not None else (None, None, None)
        )
        source = self._services[KINDS[kind].api].source if kind in KINDS else self._source
        data = WatchRejectedData(
            message_id=message.id,
            correlation_id=correlation_id,
            reason=why.reason,
            code=why.code,
            message=one_line(why.message, MAX_ERROR),
        )
        event = new_event(
            EventType.WATCH_REJECTED,
            source=source,
            subject=f"messages/{message.id}",
            identity=event_id.of_message(message.id),
            time=why.at,
            data=data.to_dict(),
            traceparent=self._telemetry.watch(self._queue.name, why.reason, traceparent),
        )
        try:
            await self._events.publish(event)
        except StorageTrouble:
            raise
        except Exception:  # perhaps the error for which the watch is dead-lettered
            log.exception("%s of %s is not published", event.type, event.subject)


def _failure(message: Received, reason: Reason, code: str, sentence: str, redrives: int = 0) -> Failure:
    return Failure(reason, code, sentence, datetime.now(UTC), message.dequeue_count, redrives=redrives)


def _log_trouble(message: Received, trouble: StorageTrouble) -> None:
    log.warning("watch %s will be settled again: %s", message.id, one_line(trouble))


def _to_text(watch: TrainingWatch) -> str:
    return to_json(watch.to_dict())
