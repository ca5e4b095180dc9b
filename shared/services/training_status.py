"""Polls the state of a training: Face's Get Training Status, and GetIteration of Custom Vision Training 3.3."""

from collections.abc import Callable
from typing import Any

import httpx

from shared.errors import NotFound, Unavailable, UnexpectedResponse
from shared.messages.training import NOT_TRAINED, TrainingResult, TrainingStatus
from shared.messages.watch import Api, Target
from shared.services.api_errors import FACE_NOT_TRAINED, ITERATION_NOT_FOUND, custom_vision_error, face_error
from shared.services.http import JsonApi, read_json
from shared.text import one_line

_FACE_STATUSES = {status.lower(): status for status in TrainingStatus}
"""In any case: API v1.0 writes `notstarted`."""

_ITERATION_STATUSES = {
    "training": TrainingStatus.RUNNING,
    "completed": TrainingStatus.SUCCEEDED,
    "failed": TrainingStatus.FAILED,
}


async def poll_face(api: JsonApi, api_version: str, target: Target) -> TrainingResult:
    """Get the state of a group's or list's training. Raises `NotFound` and the other kinds of `ApiError`."""
    return read_face(await api.call("GET", f"/face/{api_version}/{target.path}/training"), api.access)


async def poll_iteration(api: JsonApi, target: Target) -> TrainingResult:
    """Get the state of an iteration's training. Raises `NotFound` and the other kinds of `ApiError`."""
    return read_iteration(await api.call("GET", f"/customvision/v3.3/Training/{target.path}"), api.access)


def read_face(response: httpx.Response, access: str) -> TrainingResult:
    """Say what a response means for the group that was asked about. Raises `ApiError`."""
    if response.is_success:
        return _read(response, Api.FACE, _face_fields)
    error = face_error(response, access)
    if isinstance(error, NotFound) and error.code in FACE_NOT_TRAINED:
        return NOT_TRAINED
    raise error


def read_iteration(response: httpx.Response, access: str) -> TrainingResult:
    """Say what a response means for the iteration that was asked about. Raises `ApiError`."""
    if response.is_success:
        return _read(response, Api.CUSTOM_VISION, _iteration_fields)
    raise custom_vision_error(response, access, ITERATION_NOT_FOUND)


def _read(response: httpx.Response, service: Api, fields_of: Callable[[Any], dict[str, Any]]) -> TrainingResult:
    try:
        body = read_json(response)
    except ValueError:
        raise Unavailable(f"{service} responded with {response.status_code} with a body that is not JSON") from None
    try:
        return TrainingResult.model_validate(fields_of(body))
    except (TypeError, KeyError, AttributeError):
        raise UnexpectedResponse(
            f"{service} responded with {response.status_code} with a body that is no training"
        ) from None


def _face_fields(body: Any) -> dict[str, Any]:
    status = _FACE_STATUSES.get(body["status"].lower(), TrainingStatus.UNKNOWN)
    message = body.get("message")
    return {**body, "status": status, "message": one_line(message) if isinstance(message, str) else None}


def _iteration_fields(body: Any) -> dict[str, Any]:
    """The fields in the words of Face. `lastModified` moves when somebody renames the iteration."""
    status = _ITERATION_STATUSES.get(body["status"].lower(), TrainingStatus.UNKNOWN)
    trained_at = body.get("trainedAt")  # when it ended, well or not
    return {
        "status": status,
        "createdDateTime": body.get("created"),
        "lastActionDateTime": (trained_at if status is TrainingStatus.FAILED else None) or body.get("lastModified"),
        "lastSuccessfulTrainingDateTime": trained_at if status is TrainingStatus.SUCCEEDED else None,
    }
