"""The `data` of the events, by type of event."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from shared.messages.dates import Date
from shared.messages.dead_letter import Reason
from shared.messages.training import TrainingResult, TrainingStatus
from shared.messages.watch import KINDS, TrainingWatch

CorrelationId = Annotated[str | None, Field(description="As in the message that this event is about; absent if none.")]
MessageId = Annotated[str, Field(description="Its id in the queue, as the producer's receipt has it.")]
UpdatesProject = Annotated[str | None, Field(description="Absent where the message is not valid.")]
Code = Annotated[str, Field(description="The service's, or our own where it was not asked; `Various` for several.")]
Sentence = Annotated[str, Field(description="A sentence that says more, if there is one.")]


class EventData(BaseModel):
    """What is not known is absent."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    def to_dict(self) -> dict[str, Any]:
        """The `data` as it stands in the event."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class TrainingData(EventData):
    """A watch, and its training as the last poll found it; times are UTC."""

    kind: Annotated[str, Field(json_schema_extra={"enum": list(KINDS)}, description="What is trained.")]
    id: Annotated[str, Field(description="The id of what is trained.")]
    project_id: Annotated[str | None, Field(description="Of an iteration, and only of that.")] = None
    correlation_id: CorrelationId = None
    status: TrainingStatus | None = None
    created_date_time: Date = None
    last_action_date_time: Annotated[
        Date, Field(description="The last change, which need not be a training; of a failed iteration its end.")
    ] = None
    last_successful_training_date_time: Date = None
    message: Annotated[str | None, Field(description="Why it failed, in the service's words.")] = None

    @classmethod
    def of(cls, watch: TrainingWatch, result: TrainingResult | None) -> Self:
        """The data of a watch after a poll that found this."""
        state = {} if result is None else result.model_dump()
        return cls(**watch.target._asdict(), correlation_id=watch.correlation_id, **state)


class WatchRejectedData(EventData):
    """A message of the watches queue that has become a dead letter."""

    message_id: MessageId
    correlation_id: CorrelationId = None
    reason: Reason
    code: Code
    message: Sentence


class UpdatedData(EventData):
    """A message whose images all have their metadata."""

    message_id: MessageId
    project_id: UpdatesProject = None
    correlation_id: CorrelationId = None
    images: Annotated[int, Field(description="How many images it has.", ge=1)]


class RejectedData(EventData):
    """A message that has become a dead letter, or some of whose images have."""

    message_id: MessageId
    project_id: UpdatesProject = None
    correlation_id: CorrelationId = None
    reason: Reason
    code: Code
    message: Sentence
    images: Annotated[int, Field(description="How many images were refused; 0 for a message as a whole.", ge=0)]
