"""Collects the state of queues, shared limit and APIs (`gather`), and decides what is wrong with it (`assess`)."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ops.dead_letters import read_letter
from ops.output import plural
from ops.probing import ApiState, probe
from shared.limits.distributed_rate_limit import permits_for, read_permit
from shared.messages.watch import Api
from shared.services.queues import MAX_RECEIVE
from shared.settings import poison_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ops.settings import OpsSettings
    from ops.storage import OpsQueue, Seen, Storage

LATE = timedelta(minutes=15)
"""An update that waits for longer is a finding."""

UNREAD = timedelta(hours=1)
"""An event that waits for longer is a finding: its consumer probably does not run."""

UNSEEN_WATCH = timedelta(minutes=5)
"""A watch that was never received for longer is a finding: the timer receives all watches at every tick."""

SLOW_SECONDS = 5.0

REFUSED_LATELY_SECONDS = 120
"""A permit carries the time of its last 429. Older ones are not counted."""


@dataclass(frozen=True, slots=True)
class QueueState:
    """A queue: its rough number of messages (None if it does not exist), and what a peek at 32 of them shows.

    `oldest` is when the oldest visible message was put; `never_received` is about the same message.
    """

    name: str
    count: int | None
    visible: int = 0
    oldest: datetime | None = None
    never_received: bool = False

    @property
    def is_all_visible(self) -> bool:
        """Whether every message is visible, so that no instance has received one."""
        return self.count is not None and self.visible == min(self.count, MAX_RECEIVE)


@dataclass(frozen=True, slots=True)
class LimitState:
    """The permits of the shared limit (None without their queue), the idle ones, and those of these with a late 429.

    A peek shows only permits that no instance holds.
    """

    name: str
    calls_per_second: float
    permits: int | None
    idle: int = 0
    refused: int = 0

    @property
    def in_use(self) -> int:
        """The number of permits that instances hold, or that rest after a 429."""
        return max((self.permits or 0) - self.idle, 0)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The collected state. `queues` has a key for each role; `letters` counts the reasons of the letters of a peek."""

    at: datetime
    queues: dict[str, QueueState]
    limit: LimitState
    apis: tuple[ApiState, ...]
    letters: Counter[str] = field(default_factory=Counter)

    @property
    def has_more_letters(self) -> bool:
        """Whether a queue has more dead letters than a peek shows."""
        return any((self.queues[role].count or 0) > self.queues[role].visible for role in LETTERS)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, and what to do."""

    problem: str
    advice: str


UPDATES, WATCHES, EVENTS = "updates", "watches", "events"
LETTERS = UPDATE_LETTERS, WATCH_LETTERS = "dead letters of updates", "dead letters of watches"


async def gather(storage: Storage, settings: OpsSettings, *, apis: Sequence[ApiState] | None = None) -> Snapshot:
    """Collect the state. If `apis` are given, the APIs are not probed. Raises `AzureError`."""
    roles = {
        UPDATES: settings.metadata_updates_queue,
        UPDATE_LETTERS: poison_of(settings.metadata_updates_queue),
        WATCHES: settings.training_watches_queue,
        WATCH_LETTERS: poison_of(settings.training_watches_queue),
    }
    if settings.events_queue:
        roles[EVENTS] = settings.events_queue
    looks = await asyncio.gather(*(_look(storage.queue(name)) for name in roles.values()))
    limit, permits = await _look(storage.queue(settings.permits_queue))
    if apis is None:
        apis = await asyncio.gather(*(probe(settings, api) for api in (Api.CUSTOM_VISION, Api.FACE)))
    found = dict(zip(roles, looks, strict=True))
    at = datetime.now(UTC)
    since = at.timestamp() - REFUSED_LATELY_SECONDS
    refused = sum(read_permit(permit).refused_at > since for permit in permits)
    return Snapshot(
        at,
        {role: state for role, (state, _) in found.items()},
        LimitState(limit.name, settings.custom_vision_calls_per_second, limit.count, limit.visible, refused),
        tuple(apis),
        Counter(_reason(role, message) for role in LETTERS for message in found[role][1]),
    )


def _reason(role: str, message: Seen) -> str:
    letter = read_letter(role, message)
    return f"{letter.reason} {letter.code}".rstrip() if letter.reason != "invalid" else letter.reason


async def _look(queue: OpsQueue) -> tuple[QueueState, list[Seen]]:
    count, messages = await asyncio.gather(queue.count(), queue.peek())
    if not messages:
        return QueueState(queue.name, count), []
    oldest = min(messages, key=lambda message: message.inserted_at)
    return QueueState(queue.name, count, len(messages), oldest.inserted_at, oldest.dequeue_count == 0), messages


def assess(snapshot: Snapshot) -> list[Finding]:
    """Find what is wrong, the cause before its effects."""
    rules = (_missing_queues, _apis, _refusals, _permits, _updates, _watches, _rest)
    return [finding for rule in rules for finding in rule(snapshot)]


def _missing_queues(snapshot: Snapshot) -> Iterator[Finding]:
    for role in (UPDATES, WATCHES, EVENTS):
        queue = snapshot.queues.get(role)
        if queue is not None and queue.count is None:
            yield Finding(
                f"there is no queue {queue.name}",
                "vision-relay doctor --create-queues creates it; or the setting has a wrong name",
            )


def _apis(snapshot: Snapshot) -> Iterator[Finding]:
    for api in snapshot.apis:
        if api.problem:
            yield Finding(api.problem, api.advice)
        elif api.is_known and api.seconds > SLOW_SECONDS:
            yield Finding(f"{api.name} took {api.seconds:.1f} s to respond", "no message is lost, but all take longer")


def _refusals(snapshot: Snapshot) -> Iterator[Finding]:
    limit = snapshot.limit
    told = {api.name: f"{api.name} refused a call with 429" for api in snapshot.apis if api.is_rate_limited}
    if limit.refused and limit.refused * 2 >= limit.idle:  # the network alone may cause a few
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
            f"there are {limit.permits} permits; {limit.calls_per_second:g} calls a second need {number}",
            "the app's timer corrects this within a minute; if not, the app has another CUSTOM_VISION_CALLS_PER_SECOND",
        )


def _updates(snapshot: Snapshot) -> Iterator[Finding]:
    queue = snapshot.queues[UPDATES]
    if queue.oldest is None or not queue.count:
        return
    age = snapshot.at - queue.oldest
    if queue.never_received and queue.is_all_visible and not snapshot.limit.in_use and age > timedelta(minutes=1):
        yield Finding(
            "updates wait, and no instance processes them",
            "check that the function app runs and has these settings; its log says why it does not start",
        )
    elif age > LATE:
        yield Finding(
            f"the oldest update has waited for {_minutes(age)}",
            "if the APIs respond, more updates come than the limit allows: send --dry-run shows what a catalogue costs",
        )


def _watches(snapshot: Snapshot) -> Iterator[Finding]:
    queue = snapshot.queues[WATCHES]
    if queue.oldest is not None and queue.never_received and snapshot.at - queue.oldest > UNSEEN_WATCH:
        advice = "check that the function app runs, and TRAINING_POLL_SCHEDULE"
        yield Finding("watches wait, and the timer has not received them", advice)


def _rest(snapshot: Snapshot) -> Iterator[Finding]:
    letters = sum(snapshot.queues[role].count or 0 for role in LETTERS)
    if letters:
        yield Finding(plural(letters, "dead letter"), "vision-relay dead-letters list")
    events = snapshot.queues.get(EVENTS)
    if events is not None and events.oldest is not None and snapshot.at - events.oldest > UNREAD:
        yield Finding(
            f"the oldest event has waited for {_minutes(snapshot.at - events.oldest)}", "check that its consumer runs"
        )


def _minutes(age: timedelta) -> str:
    minutes = int(age.total_seconds() // 60)
    return f"{minutes} min" if minutes < 180 else f"{minutes // 60} h"


def to_dict(snapshot: Snapshot) -> dict[str, Any]:
    """The snapshot as `--json` prints it."""
    return {
        "at": snapshot.at.isoformat(),
        "queues": [
            {
                "role": role,
                "name": queue.name,
                "messages": queue.count,
                "visible": queue.visible,
                "oldest": queue.oldest.isoformat() if queue.oldest else None,
                "oldestSeconds": (snapshot.at - queue.oldest).total_seconds() if queue.oldest else None,
            }
            for role, queue in snapshot.queues.items()
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
