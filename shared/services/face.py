"""Face: Get Training Status of person groups, large person groups and large face lists, and what its answers mean.

`read_answer` is the whole table, and pure. Error bodies are `{"error": {"code": …, "message": …}}`, the service's and
the gateway's alike; only the service's codes say that a group does not exist.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from shared.errors import ApiError, NotFound, Unavailable, UnexpectedAnswer
from shared.messages.watch import GroupKind
from shared.services.http import Answer, JsonApi, ServiceError, access_denied, raise_for_gateway

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
ARGUMENT_CODES = frozenset({"BadArgument"})
"""Codes of 400 that speak of what was asked, and not of how the resource is set up."""


class TrainingStatus(StrEnum):
    """The state of a training."""

    NOT_STARTED = "notStarted"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class TrainingResult(BaseModel):
    """What Face says of a group's last training. Times are UTC; `message` says why it failed, in one line."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

    status: TrainingStatus
    created_date_time: AwareDatetime | None = None
    last_action_date_time: AwareDatetime | None = None
    last_successful_training_date_time: AwareDatetime | None = None
    message: str | None = None

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
    if 200 <= answer.status < 300:
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
        raise Unavailable(f"{SERVICE} answered {answer.status} with a body that is not JSON") from None
    try:
        result = TrainingResult.model_validate(body)
    except ValidationError:
        raise UnexpectedAnswer(f"{SERVICE} answered {answer.status} with a body that is no training result") from None
    return result if result.message is None else result.model_copy(update={"message": answer.quote(result.message)})


def _service_error(answer: Answer) -> ServiceError:
    if answer.status < 500:
        try:
            answer.json()
        except ValueError:
            raise Unavailable(f"{SERVICE} answered {answer.status} with a body that is not JSON") from None
    return answer.error()


def _read_error(answer: Answer, error: ServiceError, access: str) -> ApiError:
    if error.code in NOT_FOUND_CODES:
        return NotFound(error.code, error.message)
    described = f"{SERVICE} answered {answer.status} {error.code}".rstrip()
    if answer.status >= 500 or answer.status == 409:
        return Unavailable(described, retry_after_seconds=answer.retry_after_seconds)
    # The path is made of settings and of an id that was validated: what is wrong with it is not about a group.
    if answer.status == 404 or (answer.status == 400 and error.message and error.code not in ARGUMENT_CODES):
        return access_denied(answer, SERVICE, access)
    return UnexpectedAnswer(f"{described}: {error.message}".rstrip(": "))
