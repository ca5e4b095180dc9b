"""The message of the watches queue: tell when this training is complete."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints, TypeAdapter

from shared.messages.validation import WIRE, CorrelationId, DateTime, read_message

MAX_GROUP_ID = 64

GroupId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9\-_]+$", max_length=MAX_GROUP_ID)]


class GroupKind(StrEnum):
    """What can be trained, by the name that messages and events use."""

    PERSON_GROUP = "personGroup"
    LARGE_PERSON_GROUP = "largePersonGroup"
    LARGE_FACE_LIST = "largeFaceList"


class Reported(BaseModel):
    """The training that a repeating watch reported last, or the state after it that a poll has seen since.

    `times`: how many completions the watch has reported.
    """

    model_config = ConfigDict(**WIRE, frozen=True, populate_by_name=True)

    status: str
    completed_at: DateTime | None = None
    times: Annotated[int, Field(strict=True, ge=1)] = 1


class TrainingWatch(BaseModel):
    """One message of the watches queue: tell when this group's training is complete.

    `after`: only a completion later than this counts. `repeat`: go on watching after the first.
    `expires_at`: give up then. `reported` is written by the app itself into a watch that it puts back.
    """

    model_config = ConfigDict(**WIRE, frozen=True)

    kind: GroupKind
    id: GroupId
    after: DateTime | None = None
    repeat: StrictBool = False
    expires_at: DateTime | None = None
    reported: Reported | None = None
    correlation_id: CorrelationId | None = None

    def to_dict(self) -> dict[str, Any]:
        """The message as it stands on the wire."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


_WATCH = TypeAdapter(TrainingWatch)


def parse_watch(body: bytes) -> TrainingWatch:
    """Read a message of the watches queue. Raises `InvalidMessage`."""
    return read_message(_WATCH, body)
