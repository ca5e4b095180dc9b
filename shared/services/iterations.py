"""Custom Vision Training 3.3, operation GetIteration: how a training stands, told as Face tells it.

Its status is `Training`, then `Completed` or `Failed`; the list is open. Its errors are those of the service's other
operations (`custom_vision`), but for the codes that say that the iteration does not exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.errors import CallRefused, NotFound, SharedFieldsRefused, Unavailable, UnexpectedAnswer
from shared.messages.training import TrainingResult, TrainingStatus
from shared.messages.watch import Api, codes_of
from shared.services.api_errors import custom_vision_error

if TYPE_CHECKING:
    from shared.messages.watch import Target
    from shared.services.http import Answer, JsonApi

NOT_FOUND_CODES = codes_of(Api.CUSTOM_VISION, "not_found")

_STATUSES = {
    "training": TrainingStatus.RUNNING,
    "completed": TrainingStatus.SUCCEEDED,
    "failed": TrainingStatus.FAILED,
}


class IterationClient:
    """Asks for training states. `access` names the settings to look at when the service does not let us in."""

    def __init__(self, api: JsonApi, access: str) -> None:
        self._api = api
        self._access = access

    async def poll(self, target: Target) -> TrainingResult:
        """Ask how the training of one iteration stands. Raises `NotFound` and the other kinds of `ApiError`."""
        path = f"/customvision/v3.3/Training/{target.path}"
        return read_answer(await self._api.call("GET", path), self._access)


def read_answer(answer: Answer, access: str) -> TrainingResult:
    """Say what an answer means for the iteration that was asked about. Raises `ApiError`."""
    if 200 <= answer.status < 300:
        return _read_result(answer)
    error = custom_vision_error(answer, access)
    if isinstance(error, CallRefused | SharedFieldsRefused) and error.code in NOT_FOUND_CODES:
        raise NotFound(error.code, error.message)
    raise error


def _read_result(answer: Answer) -> TrainingResult:
    try:
        body = answer.json()
    except ValueError:
        raise Unavailable(f"{Api.CUSTOM_VISION} answered {answer.status} with a body that is not JSON") from None
    try:
        status = _STATUSES.get(body["status"].lower(), TrainingStatus.UNKNOWN)
        return TrainingResult.model_validate(_as_face_says_it(body, status))
    except (TypeError, KeyError, AttributeError):
        described = f"{Api.CUSTOM_VISION} answered {answer.status} with a body that is no iteration"
        raise UnexpectedAnswer(described) from None


def _as_face_says_it(body: dict[str, Any], status: TrainingStatus) -> dict[str, Any]:
    """`trainedAt` is when the training ended, well or not; `lastModified` moves when somebody renames the iteration."""
    trained_at = body.get("trainedAt")
    succeeded = status is TrainingStatus.SUCCEEDED
    failed = status is TrainingStatus.FAILED
    return {
        "status": status,
        "createdDateTime": body.get("created"),
        "lastActionDateTime": (trained_at if failed else None) or body.get("lastModified"),
        "lastSuccessfulTrainingDateTime": trained_at if succeeded else None,
    }
