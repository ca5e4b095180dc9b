"""Face: Get Training Status of person groups, large person groups and large face lists, and what its answers mean.

`read_answer` is the whole table, and pure. Error bodies are `{"error": {"code": …, "message": …}}`, the service's and
the gateway's alike; only the service's codes say that a group does not exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from shared.errors import ApiError, NotFound, Unavailable, UnexpectedAnswer
from shared.messages.training import NOT_TRAINED, TrainingResult, TrainingStatus
from shared.messages.watch import Api, codes_of
from shared.services.http import Answer, JsonApi, ServiceError, access_denied, raise_for_gateway
from shared.text import one_line

if TYPE_CHECKING:
    from shared.messages.watch import Target

SERVICE = "Face"

NOT_FOUND_CODES = codes_of(Api.FACE, "not_found")
NOT_TRAINED_CODES = codes_of(Api.FACE, "not_trained")
ARGUMENT_CODES = frozenset({"BadArgument"})
"""Codes of 400 that speak of what was asked, and not of how the resource is set up."""


class FaceClient:
    """Asks for training states. `access` names the settings to look at when the service does not let us in."""

    def __init__(self, api: JsonApi, api_version: str, access: str) -> None:
        self._api = api
        self._api_version = api_version
        self._access = access

    async def poll(self, target: Target) -> TrainingResult:
        """Ask how the training of one group stands. Raises `NotFound` and the other kinds of `ApiError`."""
        path = f"/face/{self._api_version}/{target.path}/training"
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
        result = TrainingResult.model_validate({**body, "status": _read_status(body["status"])})
    except (TypeError, KeyError, AttributeError, ValidationError):
        raise UnexpectedAnswer(f"{SERVICE} answered {answer.status} with a body that is no training result") from None
    return result if result.message is None else result.model_copy(update={"message": one_line(result.message)})


def _read_status(status: Any) -> TrainingStatus:
    """The status by its word, in any case: API v1.0 writes `notstarted`."""
    return _STATUSES.get(status.lower(), TrainingStatus.UNKNOWN)


_STATUSES = {status.lower(): status for status in TrainingStatus}


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
