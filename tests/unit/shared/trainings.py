"""Trainings as services tell of them, and watches that have seen them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from shared.errors import NotFound
from shared.messages.training import TrainingResult, TrainingStatus
from shared.messages.watch import Reported, TrainingWatch

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
EARLIER, LATER = NOON - timedelta(hours=1), NOON + timedelta(hours=1)

SUCCEEDED = TrainingResult(status=TrainingStatus.SUCCEEDED, last_successful_training_date_time=NOON)
FAILED = TrainingResult(status=TrainingStatus.FAILED, last_action_date_time=NOON, message="no faces")
FAILED_SOMETIME = TrainingResult(status=TrainingStatus.FAILED)
RUNNING = TrainingResult(status=TrainingStatus.RUNNING, last_action_date_time=NOON)
SINCE = NOON - timedelta(minutes=1)
"""When the training was first seen under way."""
PROJECT = "c0ffee00-0000-4000-8000-000000000001"
ITERATION = {"kind": "customVisionIteration", "projectId": PROJECT, "id": "beef0000-0000-4000-8000-00000000000a"}
GONE = NotFound("PersonGroupNotFound", "no such group")


def watch(**fields: Any) -> TrainingWatch:
    return TrainingWatch.model_validate({"kind": "personGroup", "id": "employees"}).model_copy(update=fields)


def noted(
    before: TrainingWatch,
    result: TrainingResult,
    times: int = 1,
    since: datetime | None = SINCE,
    ended: datetime | None = None,
) -> TrainingWatch:
    """The watch with this result as what was seen last, and `ended` as when the last that was told ended."""
    completed_at = ended or result.completed_at
    seen = Reported(status=result.status, completed_at=completed_at, under_way_since=since, times=times)
    return before.model_copy(update={"reported": seen})


def repeating(
    result: TrainingResult, times: int = 1, since: datetime | None = SINCE, ended: datetime | None = None
) -> TrainingWatch:
    """A repeating watch that has noted this result last."""
    return noted(watch(repeat=True), result, times, since, ended)


UNREADABLE = TrainingResult(status=TrainingStatus.SUCCEEDED)
EDITED = FAILED.model_copy(update={"last_action_date_time": LATER})
