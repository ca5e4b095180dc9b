"""What becomes of a training watch after a poll."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from shared import watch_decisions
from shared.messages.cloud_event import EventType
from shared.messages.training import NOT_TRAINED, TrainingResult, TrainingStatus
from shared.messages.watch import MAX_TIMES, Reported, TrainingWatch, parse_watch
from shared.watch_decisions import COMPLETIONS, Finding, SeenTrainings, decide
from tests.unit.shared.trainings import (
    EARLIER,
    EDITED,
    FAILED,
    FAILED_SOMETIME,
    GONE,
    LATER,
    NOON,
    RUNNING,
    SINCE,
    SUCCEEDED,
    UNREADABLE,
    noted,
    repeating,
    watch,
)

TOLD = repeating(SUCCEEDED)
AGAIN = repeating(RUNNING, ended=NOON)
OLD = SUCCEEDED.model_copy(update={"last_successful_training_date_time": EARLIER})
LATE = SUCCEEDED.model_copy(update={"last_successful_training_date_time": LATER})
ANEW = FAILED.model_copy(update={"created_date_time": LATER})
OVER = watch(expires_at=EARLIER)
PRECISE = SUCCEEDED.model_copy(update={"last_successful_training_date_time": NOON + timedelta(microseconds=999_999)})
STRANGE = TrainingResult(status=TrainingStatus.UNKNOWN)

DECISIONS: dict[str, tuple[TrainingWatch, Finding, EventType | None, TrainingWatch | None]] = {
    # still training
    "not started": (watch(), NOT_TRAINED, None, noted(watch(), NOT_TRAINED, 0)),
    "running": (watch(), RUNNING, None, noted(watch(), RUNNING, 0)),
    "still running": (noted(watch(), RUNNING, 0), RUNNING, None, noted(watch(), RUNNING, 0)),
    "running at last": (noted(watch(), NOT_TRAINED, 0), RUNNING, None, noted(watch(), NOT_TRAINED, 0)),
    "in a state without a known name": (watch(), STRANGE, None, watch()),
    # completed
    "succeeded": (watch(), SUCCEEDED, EventType.TRAINING_SUCCEEDED, None),
    "succeeded, nobody knows when": (watch(), UNREADABLE, EventType.TRAINING_SUCCEEDED, None),
    "succeeded after it was seen running": (noted(watch(), RUNNING, 0), SUCCEEDED, EventType.TRAINING_SUCCEEDED, None),
    "failed": (watch(), FAILED, EventType.TRAINING_FAILED, None),
    "failed, nobody knows when": (watch(), FAILED_SOMETIME, EventType.TRAINING_FAILED, None),
    # after
    "completed before after": (watch(after=LATER), SUCCEEDED, None, watch(after=LATER)),
    "completed at after": (watch(after=NOON), SUCCEEDED, None, watch(after=NOON)),
    "completed past after": (watch(after=EARLIER), SUCCEEDED, EventType.TRAINING_SUCCEEDED, None),
    "failed before after": (watch(after=LATER), FAILED, None, watch(after=LATER)),
    "failed nobody knows when, with after": (watch(after=LATER), FAILED_SOMETIME, EventType.TRAINING_FAILED, None),
    "succeeded nobody knows when, with after": (watch(after=LATER), UNREADABLE, EventType.TRAINING_SUCCEEDED, None),
    # repeat
    "the first of many": (watch(repeat=True), SUCCEEDED, EventType.TRAINING_SUCCEEDED, TOLD),
    "the same again": (TOLD, SUCCEEDED, None, TOLD),
    "the same, its date told more precisely": (TOLD, PRECISE, None, TOLD),
    "the same, its date cannot be read any more": (TOLD, UNREADABLE, None, TOLD),
    "the same, its date can be read now": (repeating(UNREADABLE), SUCCEEDED, None, repeating(UNREADABLE)),
    "the same, after a state without a known name": (TOLD, STRANGE, None, TOLD),
    "the next one, without seeing it run": (TOLD, FAILED, EventType.TRAINING_FAILED, repeating(FAILED, times=2)),
    "the same status at another time": (
        watch(repeat=True, reported=Reported(status="succeeded", completed_at=EARLIER)),
        SUCCEEDED,
        EventType.TRAINING_SUCCEEDED,
        repeating(SUCCEEDED, times=2),
    ),
    "the next one runs": (TOLD, RUNNING, None, AGAIN),
    "the next one still runs": (repeating(RUNNING), RUNNING, None, repeating(RUNNING)),
    "the next one has not started": (TOLD, NOT_TRAINED, None, repeating(NOT_TRAINED, ended=NOON)),
    "the same failure, the group was edited": (repeating(FAILED), EDITED, None, repeating(FAILED)),
    "the same failure, nobody knows when": (
        repeating(FAILED_SOMETIME),
        FAILED_SOMETIME,
        None,
        repeating(FAILED_SOMETIME),
    ),
    "another failure": (repeating(RUNNING), FAILED, EventType.TRAINING_FAILED, repeating(FAILED, times=2)),
    "reported before after": (watch(repeat=True, after=LATER), SUCCEEDED, None, watch(repeat=True, after=LATER)),
    "as often as it counts": (
        repeating(RUNNING, times=MAX_TIMES),
        FAILED,
        EventType.TRAINING_FAILED,
        repeating(FAILED, times=MAX_TIMES),
    ),
    # replicas that know less than others
    "an older success": (TOLD, OLD, None, TOLD),
    "an older success, after a failure": (repeating(FAILED), OLD, None, repeating(FAILED)),
    "the success that was told, while the next one runs": (AGAIN, SUCCEEDED, None, AGAIN),
    "an older success, while the next one runs": (AGAIN, OLD, None, AGAIN),
    "a later success, after the next one ran": (
        AGAIN,
        LATE,
        EventType.TRAINING_SUCCEEDED,
        repeating(LATE, times=2),
    ),
    # made anew
    "a failure of a group that was made anew": (
        repeating(FAILED),
        ANEW,
        EventType.TRAINING_FAILED,
        repeating(ANEW, times=2, ended=LATER),
    ),
    "a failure of the same group": (
        repeating(ANEW, ended=LATER),
        ANEW,
        None,
        repeating(ANEW, ended=LATER),
    ),
    "a failure of the same group, told more precisely": (
        repeating(ANEW, ended=LATER),
        ANEW.model_copy(update={"created_date_time": LATER + timedelta(microseconds=999_999)}),
        None,
        repeating(ANEW, ended=LATER),
    ),
    "a failure, nobody knows when, of a group that was made then": (
        watch(repeat=True),
        ANEW.model_copy(update={"last_action_date_time": None}),
        EventType.TRAINING_FAILED,
        repeating(FAILED_SOMETIME, ended=LATER),
    ),
    "a success that is older than its group": (
        watch(repeat=True),
        SUCCEEDED.model_copy(update={"created_date_time": LATER}),
        EventType.TRAINING_SUCCEEDED,
        repeating(SUCCEEDED, ended=LATER),
    ),
    # never
    "not found": (watch(), GONE, EventType.TRAINING_NOT_FOUND, None),
    "not found, repeating": (TOLD, GONE, EventType.TRAINING_NOT_FOUND, None),
    "not found and expired": (OVER, GONE, EventType.TRAINING_NOT_FOUND, None),
    "expired": (OVER, RUNNING, EventType.WATCH_EXPIRED, None),
    "expires now": (watch(expires_at=NOON), RUNNING, EventType.WATCH_EXPIRED, None),
    "expired, repeating": (watch(repeat=True, expires_at=EARLIER), NOT_TRAINED, EventType.WATCH_EXPIRED, None),
    "expires later": (watch(expires_at=LATER), RUNNING, None, noted(watch(expires_at=LATER), RUNNING, 0)),
    "expired in a state without a known name": (OVER, STRANGE, EventType.WATCH_EXPIRED, None),
    "completed and expired": (OVER, SUCCEEDED, EventType.TRAINING_SUCCEEDED, None),
    "reported and expired": (
        TOLD.model_copy(update={"expires_at": EARLIER}),
        SUCCEEDED,
        EventType.WATCH_EXPIRED,
        None,
    ),
    # service trouble
    "trouble": (watch(), None, None, watch()),
    "trouble, expired": (OVER, None, EventType.WATCH_EXPIRED, None),
    "trouble, repeating": (TOLD, None, None, TOLD),
}


@pytest.mark.parametrize(("before", "finding", "event", "following"), DECISIONS.values(), ids=DECISIONS)
def test_what_becomes_of_a_watch(
    before: TrainingWatch,
    finding: Finding,
    event: EventType | None,
    following: TrainingWatch | None,
) -> None:
    assert decide(before, finding, NOON, SINCE) == (event, following or before)
    goes_on = event is None or (before.repeat and event in COMPLETIONS)
    assert goes_on is (following is not None)


class TestSeenTrainings:
    def test_a_watch_that_comes_late_gets_what_a_poll_saw_before(self) -> None:
        seen, target = SeenTrainings(), watch().target
        assert seen.note(target, RUNNING, [], SINCE) == SINCE
        assert seen.note(target, RUNNING, [], NOON) == SINCE
        assert seen.note(target, STRANGE, [], NOON) == SINCE
        assert seen.note(target, FAILED, [], NOON) == SINCE
        assert seen.note(target, RUNNING, [], LATER) == LATER

    def test_what_the_watches_say_counts_before_what_is_remembered(self) -> None:
        seen, target = SeenTrainings(), watch().target
        assert seen.note(target, RUNNING, [noted(watch(), RUNNING, since=EARLIER), watch()], NOON) == EARLIER
        both = [noted(watch(), FAILED, since=LATER), noted(watch(), RUNNING, since=SINCE)]
        assert seen.note(target, FAILED, both, NOON) == SINCE
        assert seen.note(target, FAILED, both[:1], NOON) == LATER

    def test_a_watch_whose_event_is_not_published_yet_tells_of_its_training(self) -> None:
        seen = SeenTrainings()
        seen.recall(noted(watch(), RUNNING, since=EARLIER))
        assert seen.note(watch().target, FAILED, [], NOON) == EARLIER
        seen.recall(noted(watch(), RUNNING, since=LATER))
        assert seen.note(watch().target, FAILED, [], NOON) == EARLIER
        assert seen.note(watch().target, RUNNING, [], NOON) == NOON

    def test_those_are_forgotten_first_that_were_not_polled_for_longest(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(watch_decisions, "MAX_TRAININGS", 2)
        seen = SeenTrainings()
        first, second, third = (watch(id=str(number)).target for number in range(3))
        for target in (first, second, first, third):
            seen.note(target, RUNNING, [], SINCE)
        assert [seen.note(target, FAILED, [], NOON) for target in (first, third)] == [SINCE, SINCE]
        assert seen.note(second, FAILED, [], NOON) is None


def test_a_repeating_watch_is_the_same_after_it_was_written_and_read() -> None:
    assert parse_watch(json.dumps(TOLD.to_dict()).encode()) == TOLD
