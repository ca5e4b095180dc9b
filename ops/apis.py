"""Connects to the APIs, and reads the metadata of images.

Custom Vision Training 3.3, operation GetImagesByIds (the published OpenAPI file and the SDK, `get_images_by_ids`):
`GET {endpoint}/customvision/v3.3/Training/projects/{projectId}/images/id?imageIds=ID,ID,…`, up to 256 ids, returns an
array of images, each with `id` and `metadata`. An image that the project does not have is missing in it.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from shared.errors import NotFound, RateLimited, SettingsError, Unavailable
from shared.limits.admission import Admission
from shared.limits.distributed_rate_limit import Permits
from shared.limits.local_pacing import EvenSpacing
from shared.messages.watch import Api
from shared.services.api_errors import custom_vision_error
from shared.services.authentication import new_credential
from shared.services.http import new_client, new_json_api, read_json
from shared.services.permit_queue import SharedLimit
from shared.services.training_status import poll_face, poll_iteration

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    import httpx
    from azure.core.credentials_async import AsyncTokenCredential

    from ops.settings import OpsSettings
    from shared.limits.admission import Limiter
    from shared.messages.training import TrainingResult
    from shared.messages.watch import Target
    from shared.services.http import JsonApi
    from shared.services.permit_queue import PermitQueue

    Poll = Callable[[Target], Awaitable[TrainingResult]]

MAX_IMAGES_PER_READ = 256
MAX_RESPONSE_BYTES = 16 * 1024 * 1024
"""256 images, each with three addresses, its tags and regions and up to 50 pairs of metadata."""

MAX_TRIES = 8
NO_PROJECT = "NotFoundProject"
SERVICE = Api.CUSTOM_VISION

Found = dict[str, dict[str, str]]
"""The metadata of each image that exists, by its id."""


class ProjectMissing(Exception):
    """Custom Vision has no such project."""


class ImageReader:
    """Reads the metadata of images. `admission` decides when a call is made."""

    def __init__(self, api: JsonApi, admission: Admission) -> None:
        self._api = api
        self._admission = admission

    async def read(self, project_id: str, image_ids: Sequence[str]) -> Found:
        """Read the metadata of these images (1 to 256), without those that the project does not have.

        It waits for some minutes if the service refuses calls with 429 or has an outage. Raises `ProjectMissing`, and
        `ApiError` for any other error.
        """
        for attempt in range(MAX_TRIES):
            try:
                async with self._admission.turn():
                    return await read_images(self._api, project_id, image_ids)
            except (RateLimited, Unavailable):
                if attempt == MAX_TRIES - 1:
                    raise
        raise AssertionError("the last try returns or raises")


async def read_images(api: JsonApi, project_id: str, image_ids: Sequence[str]) -> Found:
    """Make one call, now. Raises `ProjectMissing` and `ApiError`."""
    path = f"/customvision/v3.3/Training/projects/{project_id}/images/id?imageIds={','.join(image_ids)}"
    answer = await api.call("GET", path)
    if answer.is_success:
        return read_response(answer)
    error = custom_vision_error(answer, api.access, [NO_PROJECT])
    raise ProjectMissing(project_id) if isinstance(error, NotFound) else error


def read_response(answer: httpx.Response) -> Found:
    """Read the metadata in a response. Raises `Unavailable` if it is not as documented."""
    try:
        return {image["id"].lower(): dict(image.get("metadata") or {}) for image in read_json(answer)}
    except (TypeError, KeyError, AttributeError, ValueError):
        raise Unavailable(
            f"{SERVICE} responded with {answer.status_code} with a body that is no list of images"
        ) from None


@asynccontextmanager
async def open_image_reader(
    settings: OpsSettings, permits: PermitQueue, calls_per_second: float | None
) -> AsyncIterator[ImageReader]:
    """Connect to Custom Vision to read images: at this rate, or else within the limit that all instances share."""
    async with open_api(settings, SERVICE) as api:
        limiter: Limiter = (
            SharedLimit(Permits(settings.custom_vision_calls_per_second), permits, settings.custom_vision_endpoint)
            if calls_per_second is None
            else EvenSpacing(calls_per_second)
        )
        try:
            yield ImageReader(api, Admission(SERVICE, limiter))
        finally:
            await limiter.aclose()


@asynccontextmanager
async def open_trainings(settings: OpsSettings, api: Api) -> AsyncIterator[Poll]:
    """Connect to the service that trains; yield what polls it. Raises `SettingsError` if its endpoint is missing."""
    async with open_api(settings, api) as opened:
        if api is Api.FACE:
            yield partial(poll_face, opened, settings.face_api_version)
        else:
            yield partial(poll_iteration, opened)


@asynccontextmanager
async def open_api(settings: OpsSettings, api: Api) -> AsyncIterator[JsonApi]:
    """Connect to an API as the settings say. Raises `SettingsError` if its endpoint is missing."""
    if not settings.endpoint_of(api):
        raise SettingsError(f"{api.name}_ENDPOINT: is missing; this command calls {api}")
    async with AsyncExitStack() as stop:
        client = await stop.enter_async_context(new_client())

        def identity() -> AsyncTokenCredential:
            credential = new_credential(None)
            stop.push_async_callback(credential.close)
            return credential

        yield new_json_api(settings, api, client, identity, max_response_bytes=MAX_RESPONSE_BYTES)
