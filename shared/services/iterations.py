"""Custom Vision Training 3.3, operation GetIteration: the state of a training, in the words of Face.

Its status is `Training`, then `Completed` or `Failed`; the list is open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.errors import CallRefused, NotFound, SharedFieldsRefused, Unavailable, UnexpectedResponse
from shared.messages.training import TrainingResult, TrainingStatus
from shared.messages.watch import Api, codes_of
from shared.services.api_errors import custom_vision_error

if TYPE_CHECKING:
    from shared.messages.watch import Target
    from shared.services.http import JsonApi, Response

NOT_FOUND_CODES = codes_of(Api.CUSTOM_VISION, "not_found")

_STATUSES = {
    "training": TrainingStatus.RUNNING,
    "completed": TrainingStatus.SUCCEEDED,
    "failed": TrainingStatus.FAILED,
}


class IterationClient:
    """Polls trainings. `access` names the settings to look at if the service refuses the app."""

    def __init__(self, api: JsonApi, access: str) -> None:
        self._api = api
        self._access = access

    async def poll(self, target: Target) -> TrainingResult:
        """Get the state of an iteration's training. Raises `NotFound` and the other kinds of `ApiError`."""
        path = f"/customvision/v3.3/Training/{target.path}"
        return read_response(await self._api.call("GET", path), self._access)


def read_response(response: Response, access: str) -> TrainingResult:
    """Say what a response means for the iteration that was asked about. Raises `ApiError`."""
    if 200 <= response.status < 300:
        return _read_result(response)
    error = custom_vision_error(response, access)
    if isinstance(error, CallRefused | SharedFieldsRefused) and error.code in NOT_FOUND_CODES:
        raise NotFound(error.code, error.message)
    raise error


def _read_result(response: Response) -> TrainingResult:
    try:
        body = response.json()
    except ValueError:
        raise Unavailable(f"{Api.CUSTOM_VISION} answered {response.status} with a body that is not JSON") from None
    try:
        status = _STATUSES.get(body["status"].lower(), TrainingStatus.UNKNOWN)
        return TrainingResult.model_validate(_as_face_says_it(body, status))
    except (TypeError, KeyError, AttributeError):
        described = f"{Api.CUSTOM_VISION} answered {response.status} with a body that is no iteration"
        raise UnexpectedResponse(described) from None


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
