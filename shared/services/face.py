"""Face: Get Training Status of person groups, large person groups and large face lists, and what its answers mean.

`read_answer` is the whole table, and pure. Error bodies are `{"error": {"code": …, "message": …}}`, the service's and
the gateway's alike; only the service's codes say that a group does not exist.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from shared.errors import AccessDenied, ApiError, NotFound, Unavailable, UnexpectedAnswer
from shared.messages.watch import GroupKind
from shared.services.http import MAX_ERROR_MESSAGE, Answer, JsonApi, ServiceError, raise_for_gateway
from shared.text import one_line

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Final

SERVICE = "Face"

PATHS: Final = {
    GroupKind.PERSON_GROUP: "persongroups",
    GroupKind.LARGE_PERSON_GROUP: "largepersongroups",
    GroupKind.LARGE_FACE_LIST: "largefacelists",
}
"""The path segment of each kind, also the beginning of its events' subjects."""

NOT_FOUND_CODES = frozenset({"PersonGroupNotFound", "LargePersonGroupNotFound", "LargeFaceListNotFound"})
NOT_TRAINED_CODES = frozenset({"PersonGroupNotTrained", "LargePersonGroupNotTrained", "LargeFaceListNotTrained"})


class TrainingStatus(StrEnum):
    """The state of a training."""

    NOT_STARTED = "notStarted"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


def _bounded(message: str) -> str:
    """Cut what would not fit an event."""
    return one_line(message, MAX_ERROR_MESSAGE)


class TrainingResult(BaseModel):
    """What Face says of a group's last training. Times are UTC; `message` says why it failed."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

    status: TrainingStatus
    created_date_time: AwareDatetime | None = None
    last_action_date_time: AwareDatetime | None = None
    last_successful_training_date_time: AwareDatetime | None = None
    message: Annotated[str, AfterValidator(_bounded)] | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the training has ended, well or not."""
        return self.status in (TrainingStatus.SUCCEEDED, TrainingStatus.FAILED)

    @property
    def completed_at(self) -> datetime | None:
        """When it ended, as far as Face tells: after a failure only the last change of the group is known."""
        if self.status is TrainingStatus.SUCCEEDED:
            return self.last_successful_training_date_time or self.last_action_date_time
        return self.last_action_date_time if self.status is TrainingStatus.FAILED else None


NOT_TRAINED = TrainingResult(status=TrainingStatus.NOT_STARTED)
"""Training was never asked for. To a watch, that is a training which has not started."""


class FaceClient:
    """Asks for training states. `access` names the settings to look at when the service does not let us in."""

    def __init__(self, api: JsonApi, api_version: str, access: str) -> None:
        self._api = api
        self._api_version = api_version
        self._access = access

    async def training(self, kind: GroupKind, group_id: str) -> TrainingResult:
        """Ask how the training of one group stands. Raises `NotFound` and the other kinds of `ApiError`."""
        path = f"/face/{self._api_version}/{PATHS[kind]}/{group_id}/training"
        return read_answer(await self._api.call("GET", path), self._access)


def read_answer(answer: Answer, access: str) -> TrainingResult:
    """Say what an answer means for the group that was asked about. Raises `ApiError`."""
    if answer.status == 200:
        return _read_result(answer)
    raise_for_gateway(answer, SERVICE, access)
    error = _service_error(answer)
    if error.code in NOT_TRAINED_CODES:
        return NOT_TRAINED
    raise _read_error(answer, error, access)


def _read_result(answer: Answer) -> TrainingResult:
    try:
        body = answer.json()
    except ValueError:
        raise Unavailable(f"{SERVICE} answered 200 with a body that is not JSON") from None
    try:
        return TrainingResult.model_validate(body)
    except ValidationError:
        raise UnexpectedAnswer(f"{SERVICE} answered 200 with a body that is no training result") from None


def _service_error(answer: Answer) -> ServiceError:
    try:
        body = answer.json()
    except ValueError:
        if answer.status < 500:
            raise Unavailable(f"{SERVICE} answered {answer.status} with a body that is not JSON") from None
        return ServiceError("", "")
    return ServiceError.read(body.get("error") if isinstance(body, dict) else None)


def _read_error(answer: Answer, error: ServiceError, access: str) -> ApiError:
    if error.code in NOT_FOUND_CODES:
        return NotFound(error.code, error.message)
    told = f"{SERVICE} answered {answer.status} {error.code}".rstrip()
    if answer.status >= 500 or answer.status == 409:
        return Unavailable(told, retry_after_seconds=answer.retry_after_seconds)
    if answer.status == 404:
        return AccessDenied(f"{told}, which is not about a group, so the path is wrong; look at {access}")
    return UnexpectedAnswer(told)
