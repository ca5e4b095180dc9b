"""What a service says of a training, whichever service it is, and the dates that it says it with."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic.alias_generators import to_camel

from shared.messages.dates import Date

if TYPE_CHECKING:
    from datetime import datetime


class TrainingStatus(StrEnum):
    """The state of a training. `UNKNOWN`: a word that no document mentions, so perhaps still under way."""

    NOT_STARTED = "notStarted"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"


def _text(value: object) -> str | None:
    """What cannot be read is left out: the status alone decides."""
    return value if isinstance(value, str) else None


Message = Annotated[str | None, BeforeValidator(_text)]


class TrainingResult(BaseModel):
    """What a service says of the last training of a group, list or iteration. Times are UTC.

    `last_action_date_time`: its last change, which need not be a training. `message`: why it failed.
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

    status: TrainingStatus
    created_date_time: Date = None
    last_action_date_time: Date = None
    last_successful_training_date_time: Date = None
    message: Message = None

    @property
    def is_complete(self) -> bool:
        """Whether the training has ended, well or not."""
        return self.status in (TrainingStatus.SUCCEEDED, TrainingStatus.FAILED)

    @property
    def is_under_way(self) -> bool:
        """Whether a training has been asked for, or could be, that has not ended yet."""
        return self.status in (TrainingStatus.NOT_STARTED, TrainingStatus.RUNNING)

    @property
    def completed_at(self) -> datetime | None:
        """When it ended, as far as the service tells: after a failure only the last change of the group is known."""
        if self.status is TrainingStatus.SUCCEEDED:
            return self.last_successful_training_date_time or self.last_action_date_time
        return self.last_action_date_time if self.status is TrainingStatus.FAILED else None

    @property
    def succeeded_at(self) -> datetime | None:
        """What tells one success from the next. Nothing that a service says tells one failure from the next."""
        return self.last_successful_training_date_time if self.status is TrainingStatus.SUCCEEDED else None


NOT_TRAINED = TrainingResult(status=TrainingStatus.NOT_STARTED)
"""Training was never asked for. To a watch, that is a training which has not started."""
