"""Training watches: the queue is the to-do list, and each tick of the timer works through it once.

`decide` says what becomes of a watch, and is pure; `TrainingWatches` collects, polls and settles. An event is published
before its watch is deleted or changed: a crash in between repeats the event, under the same id.

Every watch has its turn, whatever their number. A queue gives first what has been visible longest (Storage promises no
order, but keeps this one). So a tick collects a page once the polls of the last have gone out, and puts back at its
end what it has collected: the longest not polled is the first of the next tick.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from azure.core.exceptions import AzureError

from shared.errors import ApiError, InvalidMessage, NotFound, RateLimited
from shared.messages import dead_letter
from shared.messages.dead_letter import Failure, Reason
from shared.messages.envelope import origin_of
from shared.messages.event import EventType, new_event
from shared.messages.event_data import TrainingData
from shared.messages.training import TrainingResult, TrainingStatus
from shared.messages.watch import Api, Target, TrainingWatch, parse_watch
from shared.services.queues import MAX_RECEIVE
from shared.telemetry import OFF, Telemetry
from shared.text import one_line, to_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence

    from shared.limits.admission import Admission
    from shared.services.events import EventPublisher
    from shared.services.queues import Queue, Received

log = logging.getLogger(__name__)

RENEW_BELOW = timedelta(days=1)
"""A watch that its queue would drop sooner than this is written anew when it is put back."""

COMPLETIONS = (EventType.TRAINING_SUCCEEDED, EventType.TRAINING_FAILED)

STORAGE_CALLS = 32
"""Calls to the queue service at the same time."""

PATIENCE_SECONDS = 5.0
"""How long a tick that has nothing else to do waits for a service whose calls are suspended."""

MAX_EPISODES = 10_000


class Unanswered(NamedTuple):
    """The service was asked, or cannot be, and nothing is known of the training."""


UNANSWERED = Unanswered()

NO_NEWS, INVALID = "no-news", "invalid"
"""What telemetry calls watches of which no event tells; the others have their event's name."""

Finding = TrainingResult | NotFound | Unanswered
"""What a poll found."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a watch: the event to publish first, if any, and the watch as it goes on, if it does."""

    event: EventType | None
    next: TrainingWatch | None


def decide(watch: TrainingWatch, finding: Finding, now: datetime, under_way_since: datetime | None = None) -> Decision:
    """Say what becomes of a watch after a poll.

    One success is told from the next by its completion time; otherwise only a state in between that a poll has seen,
    first at `under_way_since`, tells one training from the next. A training whose end is not known counts as later than
    `after`: told twice is better than never.
    """
    if isinstance(finding, NotFound):
        return Decision(EventType.TRAINING_NOT_FOUND, None)
    if isinstance(finding, TrainingResult) and _is_news(watch, finding):
        succeeded = finding.status is TrainingStatus.SUCCEEDED
        event = EventType.TRAINING_SUCCEEDED if succeeded else EventType.TRAINING_FAILED
        following = watch.noting(finding, under_way_since=under_way_since, news=True) if watch.repeat else None
        return Decision(event, following)
    if watch.expires_at is not None and watch.expires_at <= now:
        return Decision(EventType.WATCH_EXPIRED, None)
    if isinstance(finding, TrainingResult) and finding.is_under_way and _is_complete_or_new(watch):
        return Decision(None, watch.noting(finding, under_way_since=under_way_since, news=False))
    return Decision(None, watch)


def _is_news(watch: TrainingWatch, result: TrainingResult) -> bool:
    if not result.is_complete or _is_reported(watch, result):
        return False
    completed_at = result.completed_at
    return watch.after is None or completed_at is None or completed_at > watch.after


def _is_reported(watch: TrainingWatch, result: TrainingResult) -> bool:
    last = watch.reported
    if last is None or last.status != result.status:
        return False
    if last.completed_at is None or result.succeeded_at is None:
        return True
    return _is_same_date(last.completed_at, result.succeeded_at)


def _is_same_date(one: datetime, other: datetime) -> bool:
    """Whether two dates are one, perhaps told with another precision: to 100 ns, to milliseconds or to seconds."""
    precision = "seconds" if 0 in (one.microsecond, other.microsecond) else "milliseconds"
    return _text_of(one, precision) == _text_of(other, precision)


def _text_of(date: datetime | None, precision: str = "milliseconds") -> str:
    return "" if date is None else date.astimezone(UTC).isoformat(timespec=precision)


def _is_complete_or_new(watch: TrainingWatch) -> bool:
    return watch.reported is None or watch.reported.is_complete


class _Episode(NamedTuple):
    since: datetime | None
    is_over: bool


class Episodes:
    """Tells the trainings of one target from one another by when a poll first saw each of them under way.

    A failure has nothing else: its date moves whenever somebody edits the group. What is noted in the watches outlives
    this process; what is kept here serves the watches that come when the training has ended.
    """

    def __init__(self) -> None:
        self._seen: dict[Target, _Episode] = {}

    def note(
        self, target: Target, result: TrainingResult, watches: Iterable[TrainingWatch], now: datetime
    ) -> datetime | None:
        """Take note of what a poll found and return when that training was first seen under way, if it was."""
        reported = [watch.reported for watch in watches if watch.reported is not None]
        under_way = [one.under_way_since for one in reported if one.under_way_since and not one.is_complete]
        ended = [one.under_way_since for one in reported if one.under_way_since and one.is_complete]
        known = self._seen.pop(target, None)
        if result.is_complete:
            since = max(under_way or ended, default=known.since if known is not None else None)
        elif result.is_under_way:
            since = min(under_way, default=known.since if known is not None and not known.is_over else now)
        else:
            return known.since if known is not None else None
        self._seen[target] = _Episode(since, result.is_complete)
        if len(self._seen) > MAX_EPISODES:
            del self._seen[next(iter(self._seen))]
        return since


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
        settling = []
        while watches := await self._collect(tick):
            for target, group in watches.items():
                self._begin_poll(tick, target, group)
                settling.append(asyncio.create_task(self._settle(tick, target, group)))
            await asyncio.sleep(0)  # lets the polls begin
            while tick.waiting and not tick.is_suspended:
                await tick.has_moved()
        await _finish(tick)
        await asyncio.gather(*settling)
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
                if watch is not None:
                    watches[watch.target].append((message, watch))
        return watches

    async def _receive(self, tick: _Tick, most: int) -> list[Received]:
        if most == 0:
            return []
        try:
            return [message async for message in self._queue.receive(most, self._lease_seconds)]
        except AzureError as trouble:
            if not tick.polls:
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
        async with self._storage:
            try:
                decision = decide(watch, finding, datetime.now(UTC), since)
                if decision.event is not None:
                    await self._publish(decision.event, message.id, watch, finding, since)
                else:
                    self._telemetry.watch(self._queue.name, NO_NEWS, None)
                await self._keep(tick, message, watch, decision)
            except AzureError as trouble:
                log.warning("watch %s will be settled again: %s", message.id, one_line(trouble))
            except Exception:  # trouble with one watch must not end the tick for all others
                log.exception("watch %s will be settled again", message.id)

    async def _keep(self, tick: _Tick, message: Received, watch: TrainingWatch, decision: Decision) -> None:
        """Delete a watch, or write at once what it has reported, or leave it to the end of the tick."""
        following = decision.next
        if following is None:
            await self._queue.delete(message)
        elif message.expires_at is not None and message.expires_at - datetime.now(UTC) < RENEW_BELOW:
            await self._queue.send(_to_text(following))
            await self._queue.delete(message)
        elif decision.event is not None:
            await self._queue.put_back(message, _to_text(following))
        else:
            tick.polled.append((message, None if following == watch else _to_text(following)))

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

    async def _publish(
        self, kind: EventType, message_id: str, watch: TrainingWatch, finding: Finding, since: datetime | None
    ) -> None:
        target = watch.target
        result = finding if isinstance(finding, TrainingResult) else None
        is_completion = result is not None and kind in COMPLETIONS
        time = result.completed_at if result is not None and is_completion else None
        if kind is EventType.WATCH_EXPIRED:
            time = watch.expires_at
        fact = _training(result, since) if result is not None and is_completion else message_id
        traceparent = self._telemetry.watch(self._queue.name, kind, watch.traceparent)
        event = new_event(
            kind,
            source=self._services[target.api].source,
            subject=target.path,
            identity=f"{fact}\n{watch.correlation_id or ''}",
            time=time or datetime.now(UTC),
            data=TrainingData.of(watch, result).to_dict(),
            traceparent=traceparent,
        )
        await self._events.publish(event)


def _training(result: TrainingResult, under_way_since: datetime | None) -> str:
    """What a completed training is known by, the same for whoever watches it and however precisely its date is told."""
    if result.succeeded_at is not None:
        return _text_of(result.succeeded_at)
    known = map(_text_of, (result.created_date_time, result.last_successful_training_date_time))
    return " ".join((*known, str(under_way_since)))


async def _finish(tick: _Tick) -> None:
    """Wait until nothing waits for its turn any more, but not long for a service whose calls are suspended."""
    while tick.waiting:
        if not await tick.has_moved() and tick.is_suspended:
            for patience in list(tick.waiting):
                patience.reschedule(asyncio.get_running_loop().time())


def _to_text(watch: TrainingWatch) -> str:
    return to_json(watch.to_dict())
