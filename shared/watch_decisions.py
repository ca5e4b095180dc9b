"""Decides when a completion is new to a watch, and what becomes of the watch after a poll.

The services give a training no id. A success differs from the next by its date. The date of a failure does not help: it
changes whenever somebody edits the group. Two failures count as different only if a poll between them saw a training
under way, or if the group was made anew.
"""

from collections.abc import Iterable
from datetime import datetime

from shared.errors import NotFound
from shared.messages.cloud_event import EventType
from shared.messages.dates import is_later
from shared.messages.training import TrainingResult, TrainingStatus
from shared.messages.watch import MAX_TIMES, Reported, Target, TrainingWatch

COMPLETIONS = (EventType.TRAINING_SUCCEEDED, EventType.TRAINING_FAILED)
MAX_TRAININGS = 10_000

Finding = TrainingResult | NotFound | None
"""What a poll found; None if it had no response that says anything."""


def decide(
    watch: TrainingWatch, finding: Finding, now: datetime, under_way_since: datetime | None = None
) -> tuple[EventType | None, TrainingWatch]:
    """Decide what a poll means for a watch: return the event to publish, if any, and the watch as it is then.

    A poll first saw this training under way at `under_way_since`. A completion without a date counts as later than
    `after`: an event too many is better than none.
    """
    if isinstance(finding, NotFound):
        return EventType.TRAINING_NOT_FOUND, watch
    last = watch.reported or Reported(status="", times=0)
    if finding is not None and _is_new(watch, last, finding):
        dates = (last.completed_at, finding.completed_at, finding.created_date_time)
        reported = Reported(
            status=finding.status,
            completed_at=max(filter(None, dates), default=None),
            under_way_since=under_way_since,
            times=min(last.times + 1, MAX_TIMES),
        )
        is_failure = finding.status is TrainingStatus.FAILED
        event = EventType.TRAINING_FAILED if is_failure else EventType.TRAINING_SUCCEEDED
        return event, watch.model_copy(update={"reported": reported}) if watch.repeat else watch
    if watch.expires_at is not None and watch.expires_at <= now:
        return EventType.WATCH_EXPIRED, watch
    if finding is not None and finding.is_under_way and (watch.reported is None or last.is_complete):
        reported = last.model_copy(update={"status": finding.status, "under_way_since": under_way_since})
        return None, watch.model_copy(update={"reported": reported})
    return None, watch


def _is_new(watch: TrainingWatch, last: Reported, result: TrainingResult) -> bool:
    if not result.is_complete or _is_reported(last, result):
        return False
    return watch.after is None or result.completed_at is None or result.completed_at > watch.after


def _is_reported(last: Reported, result: TrainingResult) -> bool:
    """Whether this completion, or a later one, was reported: one replica of a service can be behind another."""
    if last.completed_at is not None:
        if result.created_date_time is not None and is_later(result.created_date_time, last.completed_at):
            return False  # the group was deleted and made anew
        if result.succeeded_at is not None:
            return not is_later(result.succeeded_at, last.completed_at)
    return last.status == result.status


class SeenTrainings:
    """Remembers, for each target, when a poll first saw its last training under way, and whether that is over.

    The watches say so too. But one that comes when the training has ended must get the same event as those before it.
    """

    def __init__(self) -> None:
        self._last: dict[Target, tuple[datetime | None, bool]] = {}

    def recall(self, watch: TrainingWatch) -> None:
        """Learn of a training from a watch whose event is not published yet."""
        if watch.reported is not None and watch.reported.under_way_since is not None:
            self._remember(watch.target, *self._last.get(watch.target, (watch.reported.under_way_since, True)))

    def note(
        self, target: Target, result: TrainingResult, watches: Iterable[TrainingWatch], now: datetime
    ) -> datetime | None:
        """Remember what a poll found. Return when that training was first seen under way, if it was."""
        reported = [watch.reported for watch in watches if watch.reported is not None]
        under_way = [one.under_way_since for one in reported if one.under_way_since and not one.is_complete]
        ended = [one.under_way_since for one in reported if one.under_way_since and one.is_complete]
        since, is_over = self._last.get(target, (None, True))
        if result.is_complete:
            since = max(under_way or ended, default=since)
        elif result.is_under_way:
            since = min(under_way, default=now if is_over else since)
        else:
            return since
        self._remember(target, since, result.is_complete)
        return since

    def _remember(self, target: Target, since: datetime | None, is_over: bool) -> None:
        self._last.pop(target, None)  # what was seen last comes last, and what is first is forgotten first
        self._last[target] = (since, is_over)
        if len(self._last) > MAX_TRAININGS:
            del self._last[next(iter(self._last))]
