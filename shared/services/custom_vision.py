"""Custom Vision Training 3.3, operation UpdateImageMetadata: the call, and what its answers mean.

`read_answer` is the whole table, and pure. The service's error codes come with various statuses (the documentation
lists all of them under 500), so a documented code is believed before the status: it tells whose fault it is.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from shared.batching.outcomes import APPLIED, ImageOutcome, Refused, Retry
from shared.errors import (
    AccessDenied,
    ApiError,
    CallRefused,
    SharedFieldsRefused,
    Unavailable,
    UnexpectedAnswer,
)
from shared.services.http import Answer, JsonApi, ServiceError, raise_for_gateway
from shared.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.messages.ids import ImageId
    from shared.messages.update import BatchKey

MAX_IMAGES_PER_CALL = 64

SERVICE = "Custom Vision"

ID_CHARACTERS = 36

REFUSED_STATUSES = frozenset({"ErrorImageNotFound", "ErrorLimitExceed"})
"""Statuses of one image that speak of this image. Any other but OK, known or new, is trouble of the service."""

SHARED_CODES = frozenset({"NotFoundProject", "BadRequestImageMetadataKey", "BadRequestImageMetadataValue"})
"""Codes that speak of what all updates of a call have in common."""

ACCESS_CODES = frozenset({"NotFoundApimSubscription"})
"""Codes that speak of our access although they begin like one of a message's faults."""


class CustomVisionClient:
    """Updates the metadata of images. `access` names the settings to look at when the service does not let us in."""

    def __init__(self, api: JsonApi, access: str) -> None:
        self._api = api
        self._access = access

    async def update_image_metadata(
        self, key: BatchKey, image_ids: Sequence[ImageId]
    ) -> Mapping[ImageId, ImageOutcome]:
        """Give 1 to 64 images of one project the same pairs, and return what became of each that the answer names.

        Raises `ApiError`; which one means what, see `shared.errors`.
        """
        ids = ",".join(image_ids)
        path = f"/customvision/v3.3/Training/projects/{key.project_id}/images/metadata?imageIds={ids}"
        body = json.dumps(dict(sorted(key.metadata))).encode()
        return read_answer(await self._api.call("POST", path, body), self._access)


def read_answer(answer: Answer, access: str) -> Mapping[ImageId, ImageOutcome]:
    """Say what an answer means for the images of the call. Raises `ApiError`."""
    if answer.status in (200, 207):
        return _read_summary(answer)
    raise read_error(answer, access)


def _read_summary(answer: Answer) -> Mapping[ImageId, ImageOutcome]:
    try:
        images = answer.json()["images"]
        return {_read_id(image["imageId"]): _read_status(image["status"]) for image in images}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Unavailable(f"{SERVICE} answered {answer.status} with a body that cannot be read") from None


def _read_id(text: str) -> ImageId:
    """Raises `ValueError` for what cannot be one of ours."""
    if len(text) != ID_CHARACTERS:
        raise ValueError("no UUID in the notation of the call")
    return text.lower()


def _read_status(status: Any) -> ImageOutcome:
    if status == "OK":
        return APPLIED
    if status in REFUSED_STATUSES:
        return Refused(status)
    return Retry(f"status {one_line(status, 60)}")


def read_error(answer: Answer, access: str) -> ApiError:
    """Say what an answer means that is no success, whatever was asked."""
    raise_for_gateway(answer, SERVICE, access)
    try:
        error = ServiceError.read(answer.json())
    except ValueError:
        error = ServiceError("", "")
    code = error.code
    told = f"{SERVICE} answered {answer.status} {code}".rstrip()
    if code.startswith("Forbidden") or code in ACCESS_CODES:
        return AccessDenied(f"{told}; look at {access}")
    if code in SHARED_CODES:
        return SharedFieldsRefused(code, error.message)
    if code.startswith(("BadRequest", "NotFound")):
        return CallRefused(code, error.message)
    if code.startswith(("Error", "Conflict")) or answer.status >= 500:
        return Unavailable(told, retry_after_seconds=answer.retry_after_seconds)
    if answer.status == 404:
        return AccessDenied(f"{told} and no code, so the path is wrong; look at {access}")
    return _unreadable(answer, told)


def _unreadable(answer: Answer, told: str) -> ApiError:
    """An answer without a known word: a body that is not JSON is the service's trouble, the rest is a riddle."""
    try:
        answer.json()
    except ValueError:
        return Unavailable(f"{told} with a body that is not JSON")
    return UnexpectedAnswer(told)
