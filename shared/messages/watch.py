"""The message of the watches queue: publish an event when this training is complete. `KINDS` is what can be watched."""

import re
from enum import StrEnum
from typing import Annotated, Any, Final, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from shared.messages.cloud_event import Event, WrittenEvent, to_structured
from shared.messages.custom_vision_ids import ProjectId
from shared.messages.dates import DateTime
from shared.messages.training import TrainingStatus
from shared.messages.validation import WIRE, OptionalCorrelationId, OptionalTraceparent, error_text, read_message

MAX_TIMES = 1_000_000_000
"""A watch that has reported so often counts no further."""


class Api(StrEnum):
    """The services that train."""

    FACE = "Face"
    CUSTOM_VISION = "Custom Vision"


class Kind(NamedTuple):
    """A kind of watches: which service is polled, where, and what the `id` may be. The path is the events' subject."""

    api: Api
    path: str
    id: TypeAdapter[str]
    in_project: bool = False


_GROUP_ID: TypeAdapter[str] = TypeAdapter(
    Annotated[
        str,
        StringConstraints(strict=True, pattern=re.compile(r"^[a-z0-9_-]{1,64}(?!\n)$")),
        error_text("group_id", "must be text of 1 to 64 of the characters a-z, 0-9, - and _"),
    ]
)
KINDS: Final[dict[str, Kind]] = {
    "personGroup": Kind(Api.FACE, "persongroups/{id}", _GROUP_ID),
    "largePersonGroup": Kind(Api.FACE, "largepersongroups/{id}", _GROUP_ID),
    "largeFaceList": Kind(Api.FACE, "largefacelists/{id}", _GROUP_ID),
    "customVisionIteration": Kind(
        Api.CUSTOM_VISION, "projects/{project_id}/iterations/{id}", TypeAdapter(ProjectId), in_project=True
    ),
}


class Target(NamedTuple):
    """What is polled once, however many watches it has."""

    kind: str
    id: str
    project_id: str | None = None

    @property
    def api(self) -> Api:
        """The service that is polled."""
        return KINDS[self.kind].api

    @property
    def path(self) -> str:
        """Where the service has it."""
        return KINDS[self.kind].path.format(id=self.id, project_id=self.project_id)


def _null_is(default: bool | int) -> BeforeValidator:
    """Null is as good as absent."""
    return BeforeValidator(lambda value: default if value is None else value)


def _known(kind: str) -> str:
    if kind not in KINDS:
        raise PydanticCustomError("kind", f"must be one of {', '.join(KINDS)}")
    return kind


class Reported(BaseModel):
    """The completion that a watch has reported last, or the state that a poll has seen after it."""

    model_config = ConfigDict(**WIRE, populate_by_name=True)

    status: Annotated[str, Field(max_length=64, description="Its state, or that of the training after it.")]
    completed_at: Annotated[DateTime | None, Field(description="When the training reported last ended.")] = None
    under_way_since: Annotated[DateTime | None, Field(description="When a poll first saw it under way.")] = None
    times: Annotated[
        int,
        Field(strict=True, ge=0, le=MAX_TIMES, description="How many completions the watch has reported."),
        _null_is(1),
    ] = 1

    @property
    def is_complete(self) -> bool:
        """Whether it is a training that has ended."""
        return self.status in (TrainingStatus.SUCCEEDED, TrainingStatus.FAILED)


class TrainingWatch(BaseModel):
    """One message of the watches queue: publish an event when this training is complete.

    The app itself writes `reported` into a watch that it puts back, and `event` before it publishes that.
    """

    model_config = ConfigDict(**WIRE, frozen=True)

    kind: Annotated[
        str, AfterValidator(_known), Field(json_schema_extra={"enum": list(KINDS)}, description="What is trained.")
    ]
    id: Annotated[str, Field(description="The id of what is trained.")]
    project_id: Annotated[ProjectId | None, Field(description="Of an iteration, and only of that: its project.")] = None
    after: Annotated[DateTime | None, Field(description="Only a completion later than this counts.")] = None
    repeat: Annotated[
        StrictBool, Field(description="Whether to go on watching after the first completion."), _null_is(False)
    ] = False
    expires_at: Annotated[DateTime | None, Field(description="When to give up.")] = None
    reported: Annotated[Reported | None, Field(description="Written by the app itself.")] = None
    event: Annotated[
        WrittenEvent | None,
        Field(description="Written by the app itself: the event that goes out before anything else happens."),
    ] = None
    correlation_id: OptionalCorrelationId = None
    traceparent: OptionalTraceparent = None

    @field_validator("id")
    @classmethod
    def _is_of_its_kind(cls, value: str, info: ValidationInfo) -> str:
        kind = KINDS.get(info.data.get("kind", ""))
        if kind is None:
            return value
        try:
            return kind.id.validate_python(value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise PydanticCustomError(first["type"], first["msg"]) from None

    @field_validator("project_id")
    @classmethod
    def _is_wanted(cls, value: str | None, info: ValidationInfo) -> str | None:
        kind = KINDS.get(info.data.get("kind", ""))
        if kind is not None and not kind.in_project and value is not None:
            raise PydanticCustomError("project", f"must not be given with the kind {info.data['kind']}")
        return value

    @model_validator(mode="after")
    def _has_its_project_and_its_own_event(self) -> Self:
        if KINDS[self.kind].in_project and self.project_id is None:
            raise PydanticCustomError("project", f"projectId: must be given with the kind {self.kind}")
        if self.event is not None and self.event.subject != self.target.path:  # or a producer could have any published
            raise PydanticCustomError("event", "event: must be one of this watch")
        return self

    @property
    def target(self) -> Target:
        """What is watched."""
        return Target(self.kind, self.id, self.project_id)

    def to_dict(self) -> dict[str, Any]:
        """The message as it stands on the wire."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def telling(self, event: Event | None) -> Self:
        """The watch with the event that is about to be published, or without one after that."""
        written = None if event is None else WrittenEvent.model_validate_json(to_structured(event))
        return self.model_copy(update={"event": written})


_WATCH = TypeAdapter(TrainingWatch)


def parse_watch(body: bytes) -> TrainingWatch:
    """Read a message of the watches queue. Raises `InvalidMessage`."""
    return read_message(_WATCH, body)[0]
