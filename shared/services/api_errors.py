"""Which error a response is that is no success: who is to blame for it, and whether it passes by itself.

Every status and code is sorted here and nowhere else, in this order:

1. The statuses 401, 403, 408 and 429 mean the same whatever the body says.
2. The service's own code counts before any other status: Custom Vision's codes come with various statuses (the
   documentation lists all of them under 500). A code of the gateway in front of it is none of them: the service never
   saw the call.
3. Without a known code the status decides. Paths are made of settings and of validated ids: if a path as such is
   refused, the settings are wrong.

Custom Vision's codes are sorted by how they begin, known or new; the exceptions are listed. The test has all codes of
UpdateImageMetadata's page (Custom Vision Training 3.3) and of the official Python library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from shared.errors import (
    AccessDenied,
    ApiError,
    CallRefused,
    NotFound,
    RateLimited,
    SharedFieldsRefused,
    Unavailable,
    UnexpectedResponse,
)
from shared.messages.watch import Api
from shared.services.http import read_json, retry_after_seconds
from shared.text import one_line

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import httpx

REFUSED_IMAGE_STATUSES = frozenset({"ErrorImageNotFound", "ErrorLimitExceed"})
"""Statuses of one image that are that image's fault. Any other but OK, known or new, is trouble of the service."""

FACE_NOT_TRAINED = frozenset({"PersonGroupNotTrained", "LargePersonGroupNotTrained", "LargeFaceListNotTrained"})
FACE_NOT_FOUND = FACE_NOT_TRAINED | {"PersonGroupNotFound", "LargePersonGroupNotFound", "LargeFaceListNotFound"}
ITERATION_NOT_FOUND = frozenset({"NotFoundIteration", "NotFoundProject"})
FACE_ARGUMENT = "BadArgument"
"""The one code of Face's 400 that is about what was asked; the others are about the resource."""

MAX_CODE = 80
MAX_MESSAGE = 500

_STATUSES: Final[Mapping[int, type[ApiError]]] = {
    401: AccessDenied,
    403: AccessDenied,
    408: Unavailable,
    429: RateLimited,
}

_BEGINNINGS: Final[Mapping[str, type[ApiError]]] = {
    "BadRequest": CallRefused,
    "NotFound": CallRefused,
    "Forbidden": AccessDenied,
    "Conflict": Unavailable,
    "Error": Unavailable,
}

_EXCEPTIONS: Final[Mapping[type[ApiError], str]] = {
    SharedFieldsRefused: "NotFoundProject BadRequestImageMetadataKey BadRequestImageMetadataValue",
    AccessDenied: """
        BadRequestCustomerManagedKeyRevoked BadRequestExceededQuota BadRequestExceedIterationPerProjectLimit
        BadRequestExceedProjectLimit BadRequestExceedTagPerProjectLimit BadRequestNotLimitedTrial
        BadRequestNotSupported BadRequestOperationNotSupported
        BadRequestReservedBudgetInHoursNotEnoughForAdvancedTraining BadRequestSubscriptionApi
        BadRequestWorkspaceCannotBeModified BadRequestWorkspaceNotDeletable
        NotFoundApimSubscription UnsupportedMediaType
    """,
    Unavailable: """
        NoError BadRequestExportAlreadyInProgress BadRequestExportWhileTraining BadRequestTrainingAlreadyInProgress
    """,
}


def custom_vision_error_class(code: str) -> type[ApiError] | None:
    """What a code of Custom Vision means; None for a word that is none of its codes."""
    for error, codes in _EXCEPTIONS.items():
        if code in codes.split():
            return error
    return next((error for beginning, error in _BEGINNINGS.items() if code.startswith(beginning)), None)


class ErrorBody(NamedTuple):
    """The code and the message of an error body, each on one line and short; either may be empty.

    `of_gateway`: it has the form of the gateway in front of the service; the service never saw the call.
    """

    code: str = ""
    message: str = ""
    of_gateway: bool = False
    is_json: bool = True


def read_error(response: httpx.Response) -> ErrorBody:
    """Read an error body, whatever it is.

    A service writes `{"code": …, "message": …}`, the gateways `{"error": {"code": "401", "message": …}}` and
    `{"statusCode": 401, "message": …}`; Face writes like the former gateway.
    """
    try:
        body = read_json(response)
    except ValueError:
        return ErrorBody(is_json=False)
    if not isinstance(body, dict):
        return ErrorBody()
    error = body.get("error", body)
    if not isinstance(error, dict):
        error = {"message": error}
    code, message = error.get("code"), error.get("message")
    return ErrorBody(
        one_line(code, MAX_CODE) if isinstance(code, str) else "",
        one_line(message, MAX_MESSAGE) if isinstance(message, str) else "",
        of_gateway="error" in body or "statusCode" in body,
    )


def custom_vision_error(response: httpx.Response, access: str, not_found: Collection[str] = ()) -> ApiError:
    """What a response of Custom Vision means. `access` names the settings that let a call in.

    `not_found`: the codes that say that what was asked for does not exist.
    """
    status, error = response.status_code, read_error(response)
    kind = _STATUSES.get(status)
    if kind is None and not error.of_gateway:
        kind = NotFound if error.code in not_found else custom_vision_error_class(error.code)
    if kind is None and status >= 500:
        kind = Unavailable
    if kind is None and (status == 404 or (status == 400 and error.of_gateway)):
        kind = AccessDenied
    return _new_error(kind, response, error, Api.CUSTOM_VISION, access)


def face_error(response: httpx.Response, access: str) -> ApiError:
    """What a response of Face means. Its error bodies look like the gateway's: only their codes tell them apart."""
    status, error = response.status_code, read_error(response)
    kind = _STATUSES.get(status)
    if kind is None and error.code in FACE_NOT_FOUND:
        kind = NotFound
    if kind is None and (status >= 500 or status == 409):
        kind = Unavailable
    is_refusal = status == 404 or (status == 400 and error.message and error.code != FACE_ARGUMENT)
    if kind is None and is_refusal and error.is_json:
        kind = AccessDenied
    return _new_error(kind, response, error, Api.FACE, access)


def _new_error(
    kind: type[ApiError] | None, response: httpx.Response, error: ErrorBody, service: Api, access: str
) -> ApiError:
    """The error of this kind. A response of no kind is trouble of whoever wrote it if it is not even JSON."""
    if kind is SharedFieldsRefused or kind is CallRefused or kind is NotFound:
        return kind(error.code, error.message)
    code = error.code if error.code != str(response.status_code) else ""
    described = f"{service} answered {response.status_code} {code}".rstrip()
    if kind is AccessDenied:
        # A wrong key, a missing approval, a used-up quota and a firewall look alike: only the sentence tells.
        said = f"; it says: {error.message}" if error.message else ""
        return AccessDenied(f"{described}; look at {access}{said}")
    if not error.is_json:
        kind = kind or Unavailable
        described += " with a body that is not JSON" if response.content else ""
    if kind is None:
        return UnexpectedResponse(f"{described}: {error.message}".rstrip(": "))
    return kind(described, retry_after_seconds=retry_after_seconds(response))
