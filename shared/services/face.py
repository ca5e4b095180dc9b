"""Face: Get Training Status of person groups, large person groups and large face lists.

`read_response` is pure. What a response means that is no success, see `api_errors`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from shared.errors import NotFound, Unavailable, UnexpectedResponse
from shared.messages.training import NOT_TRAINED, TrainingResult, TrainingStatus
from shared.messages.watch import Api, codes_of
from shared.services.api_errors import face_error
from shared.text import one_line

if TYPE_CHECKING:
    from shared.messages.watch import Target
    from shared.services.http import JsonApi, Response

SERVICE = Api.FACE
NOT_TRAINED_CODES = codes_of(Api.FACE, "not_trained")


class FaceClient:
    """Polls trainings. `access` names the settings to look at if the service refuses the app."""

    def __init__(self, api: JsonApi, api_version: str, access: str) -> None:
        self._api = api
        self._api_version = api_version
        self._access = access

    async def poll(self, target: Target) -> TrainingResult:
        """Get the state of a group's training. Raises `NotFound` and the other kinds of `ApiError`."""
        path = f"/face/{self._api_version}/{target.path}/training"
        return read_response(await self._api.call("GET", path), self._access)


def read_response(response: Response, access: str) -> TrainingResult:
    """Say what a response means for the group that was asked about. Raises `ApiError`."""
    if 200 <= response.status < 300:
        return _read_result(response)
    error = face_error(response, access)
    if isinstance(error, NotFound) and error.code in NOT_TRAINED_CODES:
        return NOT_TRAINED
    raise error


def _read_result(response: Response) -> TrainingResult:
    try:
        body = response.json()
    except ValueError:
        raise Unavailable(f"{SERVICE} answered {response.status} with a body that is not JSON") from None
    try:
        result = TrainingResult.model_validate({**body, "status": _read_status(body["status"])})
    except (TypeError, KeyError, AttributeError, ValidationError):
        raise UnexpectedResponse(
            f"{SERVICE} answered {response.status} with a body that is no training result"
        ) from None
    return result if result.message is None else result.model_copy(update={"message": one_line(result.message)})


def _read_status(status: Any) -> TrainingStatus:
    """The status by its word, in any case: API v1.0 writes `notstarted`."""
    return _STATUSES.get(status.lower(), TrainingStatus.UNKNOWN)


_STATUSES = {status.lower(): status for status in TrainingStatus}
