"""Custom Vision Training 3.3, operation UpdateImageMetadata: makes the call, and decides each image's outcome.

See `api_errors` for a response that is no success.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import httpx

from shared.batching.outcome_types import APPLIED, Applied, ImageOutcome, Refused, Retry
from shared.errors import Unavailable
from shared.messages.custom_vision_ids import ImageId
from shared.messages.update import BatchKey
from shared.messages.watch import Api
from shared.services.api_errors import custom_vision_error
from shared.services.http import JsonApi, read_json, retry_after_seconds
from shared.text import one_line

MAX_IMAGES_PER_CALL = 64

REFUSED_IMAGE_STATUSES = frozenset({"ErrorImageNotFound", "ErrorLimitExceed"})
"""Statuses of one image that are that image's fault. Any other but OK, known or new, is trouble of the service."""

_FROM_BEST_TO_WORST = (Applied, Retry, Refused)


async def update_image_metadata(
    api: JsonApi, key: BatchKey, image_ids: Sequence[ImageId]
) -> Mapping[ImageId, ImageOutcome]:
    """Give 1 to 64 images of one project the same pairs, and return what became of each that the response names.

    Raises `ApiError`; which one means what, see `shared.errors`.
    """
    path = f"/customvision/v3.3/Training/projects/{key.project_id}/images/metadata?imageIds={','.join(image_ids)}"
    body = json.dumps(dict(sorted(key.metadata))).encode()
    return read_response(await api.call("POST", path, body), image_ids, api.access)


def read_response(
    response: httpx.Response, image_ids: Sequence[ImageId], access: str
) -> Mapping[ImageId, ImageOutcome]:
    """Say what a response means for the images of the call. Raises `ApiError`."""
    if not response.is_success:
        raise custom_vision_error(response, access)
    outcomes = _read_summary(response)
    if not any(isinstance(outcomes.get(image_id), Applied | Refused) for image_id in image_ids):
        # Another form of outage: if nothing is known of any image, there is no reason to send the next call.
        reasons = (outcome.reason for outcome in outcomes.values() if isinstance(outcome, Retry))
        raise Unavailable(
            f"{Api.CUSTOM_VISION} responded with {response.status_code} without an outcome for any image "
            f"({next(reasons, 'none is named')})",
            retry_after_seconds=retry_after_seconds(response),
        )
    return outcomes


def _read_summary(response: httpx.Response) -> Mapping[ImageId, ImageOutcome]:
    """Read the entries. One that cannot be read counts as missing."""
    try:
        entries = read_json(response)["images"]
    except (ValueError, TypeError, KeyError):
        raise Unavailable(
            f"{Api.CUSTOM_VISION} responded with {response.status_code} with a body that cannot be read"
        ) from None
    outcomes: dict[ImageId, ImageOutcome] = {}
    for entry in entries if isinstance(entries, list) else ():
        image_id = _read_id(entry.get("imageId")) if isinstance(entry, dict) else None
        if image_id is not None:
            outcome = _read_status(entry.get("status"))
            known = outcomes.get(image_id, outcome)  # named twice: the worse status counts
            outcomes[image_id] = max(known, outcome, key=lambda one: _FROM_BEST_TO_WORST.index(type(one)))
    return outcomes


def _read_id(text: Any) -> ImageId | None:
    """An image's id in the notation of the call, whatever the response's is; None if it is no id."""
    try:
        return str(UUID(text.strip()))
    except (AttributeError, ValueError):
        return None


def _read_status(status: Any) -> ImageOutcome:
    if status == "OK":
        return APPLIED
    if isinstance(status, str) and status in REFUSED_IMAGE_STATUSES:
        return Refused(status)
    return Retry(f"status {one_line(status, 60)}")
