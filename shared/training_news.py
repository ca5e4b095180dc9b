"""Which end of a training is news to a watch, and what tells one training from the next. Pure.

A success is known by its date. Nothing that a service says tells one failure from the next: its date moves whenever
somebody edits the group. So a failure is known by when a poll first saw that training under way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from shared.errors import NotFound
from shared.messages.dates import is_later, text_of
from shared.messages.event import EventType
from shared.messages.training import TrainingResult, TrainingStatus

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from shared.messages.watch import Target, TrainingWatch

COMPLETIONS = (EventType.TRAINING_SUCCEEDED, EventType.TRAINING_FAILED)

MAX_EPISODES = 10_000


class Unanswered(NamedTuple):
    """The service was asked, or cannot be, and nothing is known of the training."""


UNANSWERED = Unanswered()

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
    """Whether the watch has told this, or something later: one replica of a service can know less than another."""
    last = watch.reported
    if last is None:
        return False
    if last.completed_at is not None:
        if result.created_date_time is not None and is_later(result.created_date_time, last.completed_at):
            return False  # what is watched was deleted and made anew
        if result.succeeded_at is not None:
            return not is_later(result.succeeded_at, last.completed_at)
    return last.status == result.status


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

    def recall(self, watch: TrainingWatch) -> None:
        """Take note of the training whose event stands in a watch, for other watches of it."""
        reported = watch.reported
        if reported is not None and reported.under_way_since is not None:
            known = self._seen.pop(watch.target, _Episode(reported.under_way_since, is_over=True))
            self._remember(watch.target, known)

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
        self._remember(target, _Episode(since, result.is_complete))
        return since

    def _remember(self, target: Target, episode: _Episode) -> None:
        self._seen[target] = episode
        if len(self._seen) > MAX_EPISODES:
            del self._seen[next(iter(self._seen))]


def known_by(result: TrainingResult, under_way_since: datetime | None) -> str:
    """What a completed training is known by, the same for whoever watches it and however precisely its date is told."""
    if result.succeeded_at is not None:
        return text_of(result.succeeded_at)
    known = map(text_of, (result.created_date_time, result.last_successful_training_date_time))
    return " ".join((*known, str(under_way_since)))
