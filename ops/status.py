"""How it stands: the queues, the dead letters, the shared limit and the APIs, and what to do where something is wrong.

`gather` asks; `assess` says what is wrong, and is pure.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ops.dead_letters import read_letter
from ops.probing import ApiState, probe_custom_vision, probe_face
from shared.limits.distributed_rate_limit import permits_for, read_permit
from shared.services.queues import MAX_RECEIVE
from shared.settings import poison_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ops.settings import OpsSettings
    from ops.storage import OpsQueue, Seen, Storage

LATE = timedelta(minutes=15)
"""So old may the oldest update be before somebody is told."""

UNREAD = timedelta(hours=1)
"""So old may the oldest event be before it seems that nobody reads them."""

UNSEEN_WATCH = timedelta(minutes=5)
"""A watch is looked at with every tick of the timer; one that never was for so long has no app."""

SLOW_SECONDS = 5.0

REFUSED_LATELY_SECONDS = 120
"""A permit carries when a call with it was refused with 429 for the last time. Older refusals are not counted."""


@dataclass(frozen=True, slots=True)
class QueueState:
    """A queue: about how many messages (None where it does not exist), how many of those can be seen, the oldest seen.

    `visible` is at most 32, more is not shown. `never_received`: the oldest of them has never been received.
    """

    role: str
    name: str
    count: int | None
    visible: int = 0
    oldest: datetime | None = None
    never_received: bool = False

    @property
    def is_all_visible(self) -> bool:
        """Whether every message can be seen, so that nobody is at work on any."""
        return self.count is not None and self.visible == min(self.count, MAX_RECEIVE)


@dataclass(frozen=True, slots=True)
class LimitState:
    """How the limit is shared.

    permits   how many the queue has; None if there is no queue
    idle      how many of them nobody holds now; a peek shows no others
    refused   of how many idle ones the last 429 was lately
    """

    name: str
    calls_per_second: float
    permits: int | None
    idle: int = 0
    refused: int = 0

    @property
    def in_use(self) -> int:
        """Permits that instances hold, or that rest after a 429."""
        return max((self.permits or 0) - self.idle, 0)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that was asked. `letters` counts reasons and codes of the first 32 dead letters of each queue."""

    at: datetime
    queues: tuple[QueueState, ...]
    limit: LimitState
    apis: tuple[ApiState, ...]
    letters: Counter[str] = field(default_factory=Counter)

    @property
    def has_more_letters(self) -> bool:
        """Whether a queue has dead letters that it does not show."""
        letters = (self.queue(role) for role in (UPDATE_LETTERS, WATCH_LETTERS))
        return any(queue is not None and (queue.count or 0) > queue.visible for queue in letters)

    def queue(self, role: str) -> QueueState | None:
        """The queue of this role, if there is one."""
        return next((queue for queue in self.queues if queue.role == role), None)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, and what to do."""

    problem: str
    advice: str


UPDATES, WATCHES, EVENTS = "updates", "watches", "events"
UPDATE_LETTERS, WATCH_LETTERS = "dead letters of updates", "dead letters of watches"


async def gather(storage: Storage, settings: OpsSettings, *, apis: Sequence[ApiState] | None = None) -> Snapshot:
    """Ask everything at once; `apis` are taken as they are where they were asked a moment ago. Raises `AzureError`."""
    roles = {
        UPDATES: settings.metadata_updates_queue,
        UPDATE_LETTERS: poison_of(settings.metadata_updates_queue),
        WATCHES: settings.training_watches_queue,
        WATCH_LETTERS: poison_of(settings.training_watches_queue),
    }
    if settings.events_queue:
        roles[EVENTS] = settings.events_queue
    looks = await asyncio.gather(*(_look(role, storage.queue(name)) for role, name in roles.items()))
    limit, permits = await _look("permits", storage.queue(settings.permits_queue))
    if apis is None:
        apis = await asyncio.gather(probe_custom_vision(settings), probe_face(settings))
    letters = Counter(
        _kind(state.role, message)
        for state, messages in looks
        if state.role in (UPDATE_LETTERS, WATCH_LETTERS)
        for message in messages
    )
    at = datetime.now(UTC)
    since = at.timestamp() - REFUSED_LATELY_SECONDS
    refused = sum(read_permit(permit).refused_at > since for permit in permits)
    return Snapshot(
        at,
        tuple(state for state, _ in looks),
        LimitState(limit.name, settings.custom_vision_calls_per_second, limit.count, limit.visible, refused),
        tuple(apis),
        letters,
    )


def _kind(role: str, message: Seen) -> str:
    letter = read_letter(role, message)
    return f"{letter.reason} {letter.code}".rstrip() if letter.reason != "invalid" else letter.reason


async def _look(role: str, queue: OpsQueue) -> tuple[QueueState, list[Seen]]:
    count, messages = await asyncio.gather(queue.count(), queue.peek())
    if not messages:
        return QueueState(role, queue.name, count), []
    oldest = min(messages, key=lambda message: message.inserted_at)
    state = QueueState(role, queue.name, count, len(messages), oldest.inserted_at, oldest.dequeue_count == 0)
    return state, messages


def assess(snapshot: Snapshot) -> list[Finding]:
    """Say what is wrong, the cause before its effects."""
    rules = (_missing_queues, _apis, _refusals, _permits, _updates, _watches, _rest)
    return [finding for rule in rules for finding in rule(snapshot)]


def _missing_queues(snapshot: Snapshot) -> Iterator[Finding]:
    for role in (UPDATES, WATCHES, EVENTS):
        queue = snapshot.queue(role)
        if queue is not None and queue.count is None:
            yield Finding(
                f"there is no queue {queue.name}",
                "vision-relay doctor --create-queues makes it, unless the setting names a wrong one",
            )


def _apis(snapshot: Snapshot) -> Iterator[Finding]:
    for api in snapshot.apis:
        if api.problem:
            yield Finding(api.problem, api.advice)
        elif api.is_known and api.seconds > SLOW_SECONDS:
            yield Finding(f"{api.name} took {api.seconds:.1f} s to answer", "nothing is lost, but all takes longer")


def _refusals(snapshot: Snapshot) -> Iterator[Finding]:
    """Find out whether Custom Vision refuses calls with 429. The network alone may cause one now and then."""
    limit = snapshot.limit
    told = {api.name: f"{api.name} refused a call with 429" for api in snapshot.apis if api.is_rate_limited}
    if limit.refused and limit.refused * 2 >= limit.idle:
        told["Custom Vision"] = f"Custom Vision refused calls with 429 in the last {REFUSED_LATELY_SECONDS // 60} min"
    for api, problem in told.items():
        setting = f"{api.upper().replace(' ', '_')}_CALLS_PER_SECOND"
        yield Finding(
            problem,
            f"if it lasts, somebody else calls the resource too, or {setting} is more than it allows: lower it; "
            "the app's log says each minute how many calls were refused",
        )


def _permits(snapshot: Snapshot) -> Iterator[Finding]:
    limit = snapshot.limit
    number, _ = permits_for(limit.calls_per_second)
    if limit.permits is not None and limit.permits < number:
        yield Finding(
            f"{limit.permits} permits, where {limit.calls_per_second:g} calls a second have {number}",
            "the app's timer puts that right within a minute; else CUSTOM_VISION_CALLS_PER_SECOND is another there",
        )


def _updates(snapshot: Snapshot) -> Iterator[Finding]:
    queue = snapshot.queue(UPDATES)
    if queue is None or queue.oldest is None or not queue.count:
        return
    age = snapshot.at - queue.oldest
    if queue.never_received and queue.is_all_visible and not snapshot.limit.in_use and age > timedelta(minutes=1):
        yield Finding(
            "updates wait, and nobody is at work on them",
            "see that the function app runs and has these settings (its log names what keeps it from starting)",
        )
    elif age > LATE:
        yield Finding(
            f"the oldest update waits for {_minutes(age)}",
            "if the APIs are well, more comes in than the limit lets out: see the cost with send --dry-run",
        )


def _watches(snapshot: Snapshot) -> Iterator[Finding]:
    queue = snapshot.queue(WATCHES)
    if queue is None or queue.oldest is None or not queue.never_received:
        return
    if snapshot.at - queue.oldest > UNSEEN_WATCH:
        advice = "see that the function app runs, and at TRAINING_POLL_SCHEDULE"
        yield Finding("watches wait, and nobody has looked at them", advice)


def _rest(snapshot: Snapshot) -> Iterator[Finding]:
    letters = sum(queue.count or 0 for queue in snapshot.queues if queue.role in (UPDATE_LETTERS, WATCH_LETTERS))
    if letters:
        yield Finding(f"{letters:,} dead letter{'s' if letters > 1 else ''}", "vision-relay dead-letters list")
    events = snapshot.queue(EVENTS)
    if events is not None and events.oldest is not None and snapshot.at - events.oldest > UNREAD:
        yield Finding(
            f"the oldest event waits for {_minutes(snapshot.at - events.oldest)}", "see that its consumer runs"
        )


def _minutes(age: timedelta) -> str:
    minutes = int(age.total_seconds() // 60)
    return f"{minutes} min" if minutes < 180 else f"{minutes // 60} h"


def to_dict(snapshot: Snapshot) -> dict[str, Any]:
    """What `--json` says."""
    return {
        "at": snapshot.at.isoformat(),
        "queues": [
            {
                "role": queue.role,
                "name": queue.name,
                "messages": queue.count,
                "visible": queue.visible,
                "oldest": queue.oldest.isoformat() if queue.oldest else None,
                "oldestSeconds": (snapshot.at - queue.oldest).total_seconds() if queue.oldest else None,
            }
            for queue in snapshot.queues
        ],
        "deadLetters": dict(snapshot.letters),
        "limit": {
            "callsPerSecond": snapshot.limit.calls_per_second,
            "permits": snapshot.limit.permits,
            "inUse": snapshot.limit.in_use,
            "idle": snapshot.limit.idle,
            "idleAndRefusedLately": snapshot.limit.refused,
        },
        "apis": [
            {
                "name": api.name,
                "endpoint": api.endpoint or None,
                "seconds": round(api.seconds, 3),
                "problem": api.problem or None,
                "rateLimited": api.is_rate_limited,
            }
            for api in snapshot.apis
        ],
        "findings": [{"problem": finding.problem, "advice": finding.advice} for finding in assess(snapshot)],
    }
