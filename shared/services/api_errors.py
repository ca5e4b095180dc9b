"""Sorts each unsuccessful response of an API: whose fault it is, and whether it passes by itself.

All statuses and codes of the two APIs are sorted here, in this order:

1. The statuses 401, 403, 408 and 429 mean the same whatever the body says.
2. The service's own code counts before any other status, since one code comes with various statuses. A code of the
   gateway in front of Custom Vision does not count: the service never saw the call.
3. Without a known code the status decides. A 404 then means that a setting is wrong: ids were validated before.

A code of Custom Vision means what its beginning means, except for those listed. `test_api_errors` has all codes that
are documented, on the page of UpdateImageMetadata (Training 3.3) and in the official Python library.
"""

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

import httpx

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

FACE_NOT_TRAINED = frozenset({"PersonGroupNotTrained", "LargePersonGroupNotTrained", "LargeFaceListNotTrained"})
FACE_NOT_FOUND = FACE_NOT_TRAINED | {"PersonGroupNotFound", "LargePersonGroupNotFound", "LargeFaceListNotFound"}
ITERATION_NOT_FOUND = frozenset({"NotFoundIteration", "NotFoundProject"})

_STATUSES: Mapping[int, type[ApiError]] = {401: AccessDenied, 403: AccessDenied, 408: Unavailable, 429: RateLimited}

_BEGINNINGS: Final[Mapping[str, type[ApiError]]] = {
    "BadRequest": CallRefused,
    "NotFound": CallRefused,
    "Forbidden": AccessDenied,
    "Conflict": Unavailable,
    "Error": Unavailable,
}

_CODES_BY_ERROR: Final[Mapping[type[ApiError], str]] = {
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
_EXCEPTIONS: Final = {code: error for error, codes in _CODES_BY_ERROR.items() for code in codes.split()}


def custom_vision_error_class(code: str) -> type[ApiError] | None:
    """What a code of Custom Vision means; None for a word that is none of its codes."""
    by_beginning = (error for beginning, error in _BEGINNINGS.items() if code.startswith(beginning))
    return _EXCEPTIONS.get(code) or next(by_beginning, None)


class ErrorBody(NamedTuple):
    """The code and the message of an error body, each on one line and short; either may be empty."""

    code: str = ""
    message: str = ""
    of_gateway: bool = False  # in the form of the gateway
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
        one_line(code, 80) if isinstance(code, str) else "",
        one_line(message) if isinstance(message, str) else "",
        of_gateway="error" in body or "statusCode" in body,
    )


def custom_vision_error(response: httpx.Response, access: str, not_found: Collection[str] = ()) -> ApiError:
    """What a response of Custom Vision means; `not_found` are the codes for what does not exist."""
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
    # BadArgument is the one code of a 400 that is about what was asked; the others are about the resource.
    is_refused = status == 404 or (status == 400 and error.message and error.code != "BadArgument")
    if kind is None and is_refused and error.is_json:
        kind = AccessDenied
    return _new_error(kind, response, error, Api.FACE, access)


def _new_error(
    kind: type[ApiError] | None, response: httpx.Response, error: ErrorBody, service: Api, access: str
) -> ApiError:
    """The error of this kind. A response of no kind is trouble of whoever wrote it if it is not even JSON."""
    if kind is SharedFieldsRefused or kind is CallRefused or kind is NotFound:
        return kind(error.code, error.message)
    code = error.code if error.code != str(response.status_code) else ""
    described = f"{service} responded with {response.status_code} {code}".rstrip()
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
