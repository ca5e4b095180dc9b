"""What a tick of the timer does with the training watches: it polls each target once, then settles each watch.

A watch is settled when its event is published and it is deleted, or when it is back in its queue. See `watch_decisions`
for what a poll means for it. An event is written into its watch before it is published. So the next tick publishes the
same event under the same id, even if the process ends in between and a newer training has begun.

Every watch has its turn. A queue gives the message first that has been visible for longest (Storage keeps this order,
but does not promise it). At its end a tick puts its watches back: first the unpolled ones, then the polled ones.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Mapping
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from shared.errors import ApiError, InvalidMessage, NotFound, RateLimited, StorageTrouble
from shared.limits.admission import Admission
from shared.messages import dead_letter, event_id
from shared.messages.cloud_event import Event, EventType, new_event
from shared.messages.dead_letter import Failure, Reason
from shared.messages.event_data import TrainingData, WatchRejectedData
from shared.messages.training import TrainingResult
from shared.messages.watch import KINDS, Api, Target, TrainingWatch, parse_watch
from shared.services.events import EventPublisher
from shared.services.queues import MAX_RECEIVE, Queue, Received
from shared.telemetry import OFF, Telemetry
from shared.text import named, one_line, to_json
from shared.watch_decisions import COMPLETIONS, Finding, SeenTrainings, decide

log = logging.getLogger(__name__)

RENEW_BELOW = timedelta(days=1)
"""A watch that its queue would drop sooner than this is written into a new message when it is settled."""

STORAGE_CALLS = 32  # at the same time

PATIENCE_SECONDS = 5.0
"""How long a tick that has nothing else to do waits for a service whose calls are suspended."""

PUBLISH_SECONDS = 60.0
"""How long a tick goes on publishing after its deadline. Many events to a topic that hangs would otherwise take it
beyond `functionTimeout`, which costs the worker and all that it executes."""

DEAD_LETTER_BUG_FROM_FAILURE = 5
"""A watch is dead-lettered after so many unforeseen errors in a row. Deliveries do not count: each tick delivers it."""

MAX_FAILURES_KEPT = 10_000
MAX_ERROR = 1000


@dataclass(frozen=True, slots=True)
class Service:
    """A service that trains: how it is polled, and when and how often it may be."""

    poll: Callable[[Target], Awaitable[TrainingResult]]
    admission: Admission
    calls_per_second: float
    source: str  # of its events: its URL
    # what is suspended separately, as in the batcher
    scope_of: Callable[[Target], Hashable] = lambda target: None  # noqa: ARG005

    def is_suspended(self, target: Target) -> bool:
        """Whether the next poll of this target would be a probe."""
        return self.admission.breakers.is_suspended(self.scope_of(target))


class Poll(NamedTuple):
    """What a poll found and when that training was first seen under way; or `bug`, an unforeseen error."""

    finding: Finding = None
    under_way_since: datetime | None = None
    bug: Exception | None = None


@dataclass(slots=True)
class _Tick:
    """What one tick works on. A poll waits for its turn, then its target is in `calling`, then it has ended."""

    tasks: asyncio.TaskGroup
    deadline: float  # until when polls wait for their turn
    met: dict[str, str] = field(default_factory=dict)  # all watches as text, with the id of their message
    watches: dict[Target, list[TrainingWatch]] = field(default_factory=lambda: defaultdict(list))  # to be polled
    polls: dict[Target, asyncio.Task[Poll | None]] = field(default_factory=dict)
    calling: set[Target] = field(default_factory=set)
    has_given_up: bool = False  # no poll waits for its turn any more
    # put back at the end, with new content if there is any
    had_no_turn: list[tuple[Received, str | None]] = field(default_factory=list)
    polled: list[tuple[Received, str | None]] = field(default_factory=list)

    def waiting(self) -> list[Target]:
        """The targets whose polls wait for their turn."""
        return [target for target, poll in self.polls.items() if not poll.done() and target not in self.calling]

    async def has_moved(self) -> bool:
        """Wait until a poll ends, but not for long. Return whether one has."""
        polls = [poll for poll in self.polls.values() if not poll.done()]
        ended, _ = await asyncio.wait(polls, timeout=PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        return bool(ended)

    def give_up(self) -> None:
        """Let no poll wait for its turn any more."""
        self.has_given_up = True
        for target in self.waiting():
            self.polls[target].cancel()


@dataclass(eq=False, slots=True)
class TrainingWatches:
    """Works through the watches queue. Dead letters go to `poison`."""

    queue: Queue
    poison: Queue
    services: Mapping[Api, Service]
    events: EventPublisher
    _: KW_ONLY
    source: str  # of events about messages whose kind cannot be read
    lease_seconds: int  # how long nobody else sees a collected watch; longer than a tick takes
    max_wait_seconds: float  # how long a poll waits for its turn; a tick collects for half of it
    most: int  # watches that a tick collects
    telemetry: Telemetry = OFF
    _storage: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(STORAGE_CALLS), init=False)
    _seen_trainings: SeenTrainings = field(default_factory=SeenTrainings, init=False)
    _failures: dict[str, int] = field(default_factory=dict, init=False)  # unforeseen errors in a row, by message id

    async def tick(self) -> None:
        """Collect watches, poll each of their targets once, and settle each watch.

        Trouble of storage or of a service is logged. It and any error of one watch leave the others alone.
        """
        async with asyncio.TaskGroup() as tasks:
            tick = _Tick(tasks, asyncio.get_running_loop().time() + self.max_wait_seconds)
            with suppress(TimeoutError):
                async with asyncio.timeout_at(tick.deadline):
                    await self._collect(tick)
                    await self._wait_for_polls(tick)
            tick.give_up()
        for messages in (tick.had_no_turn, tick.polled):
            await asyncio.gather(*(self._put_back(message, text) for message, text in messages))

    async def _collect(self, tick: _Tick) -> None:
        """Collect watches page by page, the next when no poll waits for its turn but those of suspended services."""
        loop = asyncio.get_running_loop()
        left, until = self.most, tick.deadline - self.max_wait_seconds / 2
        slowest = min(service.calls_per_second for service in self.services.values())
        page_size = min(MAX_RECEIVE, max(1, int(slowest * self.max_wait_seconds / 2)))  # what can be polled in time
        while left and loop.time() < until:
            try:
                page = await self.queue.receive(min(page_size, left), self.lease_seconds)
            except StorageTrouble as trouble:
                log.warning("no more watches are collected now: %s", one_line(trouble))
                return
            if not page:
                return
            left -= len(page)
            for message in page:
                tick.tasks.create_task(self._handle(tick, message))
            await asyncio.sleep(0)  # lets them ask for their polls
            while not self._only_waits_for_suspended(tick):
                await tick.has_moved()

    async def _wait_for_polls(self, tick: _Tick) -> None:
        """Wait until all polls have ended, but not long if all that is left is to wait for suspended calls."""
        while not all(poll.done() for poll in tick.polls.values()):
            if not await tick.has_moved() and tick.waiting() and self._only_waits_for_suspended(tick):
                return

    def _only_waits_for_suspended(self, tick: _Tick) -> bool:
        return all(self.services[target.api].is_suspended(target) for target in tick.waiting())

    async def _handle(self, tick: _Tick, message: Received) -> None:
        """Settle one watch. Trouble with it ends nothing else: the watch is received again when its lease has ended."""
        try:
            await self._settle(tick, message)
        except StorageTrouble as trouble:
            log.warning("watch %s stays in its queue: %s", message.id, one_line(trouble))
        except Exception:
            log.exception("watch %s stays in its queue", message.id)

    async def _settle(self, tick: _Tick, message: Received) -> None:
        """Have a watch polled, publish what the poll has found, and let the watch end or go on."""
        watch: TrainingWatch | None = None
        try:
            watch = parse_watch(message.body)
            text = _to_text(watch)
            if text in tick.met:
                if tick.met[text] != message.id:  # a process ended after writing it into a new message
                    await self.queue.delete(message)
                return  # or its lease has ended: a later tick settles it
            tick.met[text] = message.id
            self._seen_trainings.recall(watch)
            poll = Poll() if watch.event is not None else await self._poll_of(tick, watch)
            if poll is None:
                tick.had_no_turn.append((message, None))
                return
            async with self._storage:
                event, following = self._conclude(message.id, watch, poll)
                text = _to_text(following)
                if _expires_soon(message):
                    await self.queue.send(text)  # a later tick meets the new message
                    await self.queue.delete(message)
                elif event is None:
                    tick.polled.append((message, None if following == watch else text))
                else:
                    if following is not watch:
                        message = await self.queue.rewrite(message, text, self.lease_seconds)
                    await self._publish(tick, message, following, event)
            self._failures.pop(message.id, None)
        except InvalidMessage as error:
            await self._dead_letter(message, error, Reason.INVALID, "InvalidMessage", str(error))
        except StorageTrouble:
            raise
        except Exception as bug:
            await self._failed(tick, message, watch, bug)

    async def _poll_of(self, tick: _Tick, watch: TrainingWatch) -> Poll | None:
        """The poll that all watches of one target share; None if its turn did not come, but may at the next tick."""
        target = watch.target
        tick.watches[target].append(watch)
        if target not in tick.polls:
            tick.polls[target] = tick.tasks.create_task(self._poll(tick, target))
        (ended,), _ = await asyncio.wait([tick.polls[target]])
        poll = None if ended.cancelled() else ended.result()
        return Poll() if poll is None and self.services[target.api].is_suspended(target) else poll

    async def _poll(self, tick: _Tick, target: Target) -> Poll | None:
        """Poll a target when it is its turn, and again if that was too early. None if its turn did not come."""
        service = self.services[target.api]
        while not tick.has_given_up:
            try:
                async with service.admission.turn(service.scope_of(target), target):
                    tick.calling.add(target)
                    result = await service.poll(target)
                since = self._seen_trainings.note(target, result, tick.watches[target], datetime.now(UTC))
                return Poll(result, since)
            except RateLimited:
                continue
            except NotFound as error:
                return Poll(error)
            except ApiError as error:
                log.info("%s %s will be polled again: %s", target.kind, target.id, error)
                return Poll()
            except Exception as bug:
                return Poll(bug=bug)
            finally:
                tick.calling.discard(target)
        return None

    async def _publish(self, tick: _Tick, message: Received, watch: TrainingWatch, event: Event) -> None:
        """Publish the event of a watch. If it is too late for that, a later tick does, when the lease has ended."""
        if asyncio.get_running_loop().time() > tick.deadline + PUBLISH_SECONDS:
            return
        await self.events.publish(event)
        if watch.repeat and event.type in COMPLETIONS:
            await self.queue.put_back(message, _to_text(watch.telling(None)))
        else:
            await self.queue.delete(message)

    def _conclude(self, message_id: str, watch: TrainingWatch, poll: Poll) -> tuple[Event | None, TrainingWatch]:
        """Return the event to publish, if any, and the watch with it. Raises the poll's bug if the watch goes on.

        A watch that has an event already could not be settled before: its event is published again.
        """
        if watch.event is not None:
            return watch.event.to_event(), watch
        kind, following = decide(watch, poll.finding, datetime.now(UTC), poll.under_way_since)
        if kind is None:
            if poll.bug is not None:
                raise poll.bug
            self.telemetry.watch(self.queue.name, "no-news", None)
            return None, following
        result = poll.finding if isinstance(poll.finding, TrainingResult) else None
        if result is not None and kind in COMPLETIONS:
            identity = event_id.of_completion(result, poll.under_way_since, watch.correlation_id)
            time = result.completed_at
        else:
            identity = event_id.of_watch(message_id, watch.correlation_id)
            time = watch.expires_at if kind is EventType.WATCH_EXPIRED else None
        event = new_event(
            kind,
            source=self.services[watch.target.api].source,
            subject=watch.target.path,
            identity=identity,
            time=time or datetime.now(UTC),
            data=TrainingData.of(watch, result).to_dict(),
            traceparent=self.telemetry.watch(self.queue.name, kind, watch.traceparent),
        )
        return event, following.telling(event)

    async def _failed(self, tick: _Tick, message: Received, watch: TrainingWatch | None, bug: Exception) -> None:
        """Put a watch back after an unforeseen error, or dead-letter it after too many in a row."""
        times = self._failures.pop(message.id, 0) + 1
        if times >= DEAD_LETTER_BUG_FROM_FAILURE:
            known = watch or InvalidMessage(text=message.body.decode("utf-8", "backslashreplace"))
            await self._dead_letter(message, known, Reason.ERROR, type(bug).__name__, one_line(bug, MAX_ERROR))
            return
        log.error("watch %s will be polled again", message.id, exc_info=bug)
        self._failures[message.id] = times
        if len(self._failures) > MAX_FAILURES_KEPT:
            del self._failures[next(iter(self._failures))]
        tick.polled.append((message, None))

    async def _put_back(self, message: Received, text: str | None) -> None:
        async with self._storage:  # first come, first served: so the order stays
            try:
                await self.queue.put_back(message, text)
            except StorageTrouble as trouble:
                log.warning("watch %s stays in its queue: %s", message.id, one_line(trouble))

    async def _dead_letter(
        self, message: Received, known: TrainingWatch | InvalidMessage, reason: Reason, code: str, sentence: str
    ) -> None:
        """Publish that a watch is rejected, then write its dead letter. `metadata_updates` explains the order."""
        text, redrives = (_to_text(known), 0) if isinstance(known, TrainingWatch) else (known.text, known.redrives)
        failure = Failure(reason, code, sentence, datetime.now(UTC), message.dequeue_count, redrives=redrives)
        data = WatchRejectedData(
            message_id=message.id,
            correlation_id=known.correlation_id,
            reason=reason,
            code=code,
            message=one_line(sentence, MAX_ERROR),
        )
        event = new_event(
            EventType.WATCH_REJECTED,
            source=self.services[KINDS[known.kind].api].source if known.kind in KINDS else self.source,
            subject=f"messages/{message.id}",
            identity=message.id,
            time=failure.at,
            data=data.to_dict(),
            traceparent=self.telemetry.watch(self.queue.name, reason, known.traceparent),
        )
        async with self._storage:
            try:
                await self.events.publish(event)
            except StorageTrouble:
                raise
            except Exception:  # perhaps the error for which the watch is dead-lettered
                log.exception("%s of %s is not published", event.type, event.subject)
            await self.poison.send(dead_letter.of_text(text, failure))
            log.warning("watch %s is dead-lettered: %s", named(message.id, known.correlation_id), one_line(sentence))
            await self.queue.delete(message)


def _expires_soon(message: Received) -> bool:
    return message.expires_at is not None and message.expires_at - datetime.now(UTC) < RENEW_BELOW


def _to_text(watch: TrainingWatch) -> str:
    return to_json(watch.to_dict())
