"""The state of a training, as a poll finds it. Face and Custom Vision have one form for it here."""

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from shared.messages.dates import Date


class TrainingStatus(StrEnum):
    """The state of a training. `UNKNOWN`: a word that no document mentions, so the training may be under way."""

    NOT_STARTED = "notStarted"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"


class TrainingResult(BaseModel):
    """The last training of a group, list or iteration. The group's last action need not be a training."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

    status: TrainingStatus
    created_date_time: Date = None
    last_action_date_time: Date = None
    last_successful_training_date_time: Date = None
    message: str | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the training has ended, well or not."""
        return self.status in (TrainingStatus.SUCCEEDED, TrainingStatus.FAILED)

    @property
    def is_under_way(self) -> bool:
        """Whether the training has not ended yet, or was never asked for."""
        return self.status in (TrainingStatus.NOT_STARTED, TrainingStatus.RUNNING)

    @property
    def completed_at(self) -> datetime | None:
        """When it ended, if the service says so. Of a failure only the group's last change is known."""
        if self.status is TrainingStatus.SUCCEEDED:
            return self.last_successful_training_date_time or self.last_action_date_time
        return self.last_action_date_time if self.status is TrainingStatus.FAILED else None

    @property
    def succeeded_at(self) -> datetime | None:
        """The date of a success, which tells it from the next. A failure has none."""
        return self.last_successful_training_date_time if self.status is TrainingStatus.SUCCEEDED else None


NOT_TRAINED = TrainingResult(status=TrainingStatus.NOT_STARTED)
"""Nobody has asked for a training yet."""
