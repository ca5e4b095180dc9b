"""The state of a training: when it has ended, what tells it from the next, and what its events say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from shared.messages.dead_letter import Reason
from shared.messages.event_data import RejectedData, TrainingData, UpdatedData
from shared.messages.event_id import of_completion, of_watch
from shared.messages.training import NOT_TRAINED, TrainingResult, TrainingStatus
from shared.messages.watch import Reported, parse_watch

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)


def training(
    status: TrainingStatus,
    success: datetime | None = None,
    last: datetime | None = None,
    created: datetime | None = None,
) -> TrainingResult:
    return TrainingResult(
        status=status,
        last_successful_training_date_time=success,
        last_action_date_time=last,
        created_date_time=created,
    )


@pytest.mark.parametrize(
    ("status", "is_complete", "is_under_way"),
    [
        (TrainingStatus.NOT_STARTED, False, True),
        (TrainingStatus.RUNNING, False, True),
        (TrainingStatus.SUCCEEDED, True, False),
        (TrainingStatus.FAILED, True, False),
        (TrainingStatus.UNKNOWN, False, False),
    ],
)
def test_a_training_has_ended_or_is_under_way_or_nobody_knows(
    status: TrainingStatus, *, is_complete: bool, is_under_way: bool
) -> None:
    assert (training(status).is_complete, training(status).is_under_way) == (is_complete, is_under_way)
    assert Reported(status=status).is_complete is is_complete
    assert NOT_TRAINED.is_under_way


@pytest.mark.parametrize(
    ("result", "completed", "succeeded"),
    [
        (training(TrainingStatus.SUCCEEDED, NOON, LATER), NOON, NOON),
        (training(TrainingStatus.SUCCEEDED, None, LATER), LATER, None),
        (training(TrainingStatus.FAILED, NOON, LATER), LATER, None),
        (training(TrainingStatus.RUNNING, NOON, LATER), None, None),
    ],
)
def test_a_success_has_a_date_of_its_own_and_a_failure_the_last_change(
    result: TrainingResult, completed: datetime | None, succeeded: datetime | None
) -> None:
    assert (result.completed_at, result.succeeded_at) == (completed, succeeded)


def test_a_result_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        NOT_TRAINED.status = TrainingStatus.RUNNING  # type: ignore[misc]


class TestIdentity:
    def test_watches_without_a_completion_are_told_apart_by_their_messages(self) -> None:
        assert of_watch("id", "c") == "id\nc"
        assert of_watch("id", None) == of_watch("id", "") == "id\n"

    def test_a_success_is_known_by_its_date_whenever_it_was_seen(self) -> None:
        result = training(TrainingStatus.SUCCEEDED, NOON, LATER)
        assert (
            of_completion(result, None, "c") == of_completion(result, NOON, "c") == "2026-01-31T12:00:00.000+00:00\nc"
        )
        assert of_completion(result, None, None) == "2026-01-31T12:00:00.000+00:00\n"

    def test_a_failure_is_known_by_what_was_before_it_and_when_it_was_seen(self) -> None:
        result = training(TrainingStatus.FAILED, NOON, LATER, NOON)
        others = [
            training(TrainingStatus.FAILED, LATER, LATER, NOON),
            training(TrainingStatus.FAILED, NOON, LATER, LATER),
            training(TrainingStatus.FAILED, None, LATER, NOON),
        ]
        known = of_completion(result, NOON, None)
        assert known.endswith("\n")
        assert known == of_completion(training(TrainingStatus.FAILED, NOON, NOON, NOON), NOON, None)
        assert known not in [of_completion(other, NOON, None) for other in others]
        assert known not in [of_completion(result, LATER, None), of_completion(result, None, None)]


class TestData:
    WATCH = parse_watch(b'{"kind": "personGroup", "id": "g", "correlationId": "c"}')

    def test_an_event_has_the_watch_and_what_the_last_poll_found(self) -> None:
        result = training(TrainingStatus.SUCCEEDED, NOON, LATER)
        assert TrainingData.of(self.WATCH, result).to_dict() == {
            "kind": "personGroup",
            "id": "g",
            "correlationId": "c",
            "status": "succeeded",
            "lastActionDateTime": "2026-01-31T13:00:00Z",
            "lastSuccessfulTrainingDateTime": "2026-01-31T12:00:00Z",
        }

    def test_without_a_poll_it_has_the_watch_alone(self) -> None:
        assert TrainingData.of(self.WATCH, None).to_dict() == {"kind": "personGroup", "id": "g", "correlationId": "c"}

    def test_an_update_that_went_well_has_an_image_and_a_letter_may_have_none(self) -> None:
        assert UpdatedData(message_id="m", images=1).to_dict() == {"messageId": "m", "images": 1}
        with pytest.raises(ValidationError):
            UpdatedData(message_id="m", images=0)
        rejected = RejectedData(message_id="m", reason=Reason.INVALID, code="c", message="", images=0)
        assert rejected.to_dict()["images"] == 0
        with pytest.raises(ValidationError):
            RejectedData(message_id="m", reason=Reason.INVALID, code="c", message="", images=-1)
