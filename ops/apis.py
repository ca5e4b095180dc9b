"""The APIs as the command line asks them: what metadata images have now, how a training stands.

Custom Vision Training 3.3, operation GetImagesByIds:

`GET {endpoint}/customvision/v3.3/Training/projects/{projectId}/images/id?imageIds=ID,ID,…`, up to 256 ids, answers an
array of images, each with `id` and `metadata` (the published OpenAPI file and the SDK, `get_images_by_ids`). An image
that the project does not have is left out of the answer.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from shared.errors import CallRefused, RateLimited, SharedFieldsRefused, Unavailable
from shared.messages.watch import Api
from shared.services.authentication import Authentication, IdentityAuthentication, KeyAuthentication, new_credential
from shared.services.custom_vision import SERVICE, read_error
from shared.services.face import FaceClient
from shared.services.http import Answer, HttpClient, JsonApi
from shared.services.iterations import IterationClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from pydantic import SecretStr

    from ops.settings import OpsSettings
    from shared.messages.training import TrainingResult
    from shared.messages.watch import Target

    Poll = Callable[[Target], Awaitable[TrainingResult]]

MAX_IMAGES_PER_READ = 256
MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""256 images, each with three addresses, its tags and regions and up to 50 pairs of metadata."""

MAX_TRIES = 8
LONGEST_WAIT_SECONDS = 30.0
NO_PROJECT = "NotFoundProject"
ACCESS = "CUSTOM_VISION_TRAINING_KEY and CUSTOM_VISION_ENDPOINT"

Found = dict[str, dict[str, str]]
"""The metadata of each image that there is, by its id."""


class ProjectMissing(Exception):
    """Custom Vision has no such project."""


class Pacer:
    """Lets calls begin so many a second at most, evenly, and none before a time that the service has named."""

    def __init__(self, calls_per_second: float) -> None:
        self._interval = 1 / calls_per_second
        self._next = 0.0

    async def turn(self) -> None:
        """Wait until the next call may begin."""
        now = asyncio.get_running_loop().time()
        at = max(now, self._next)
        self._next = at + self._interval
        await asyncio.sleep(at - now)

    def rest(self, seconds: float) -> None:
        """Let no call begin for so long."""
        self._next = max(self._next, asyncio.get_running_loop().time() + seconds)


class ImageReader:
    """Reads the metadata of images within a rate."""

    def __init__(self, api: JsonApi, pacer: Pacer) -> None:
        self._api = api
        self._pacer = pacer

    async def read(self, project_id: str, image_ids: Sequence[str]) -> Found:
        """The metadata of these images (1 to 256), as far as the project has them.

        Waits while the service asks to be left alone or is in trouble, for some minutes in all. Raises
        `ProjectMissing`, and `ApiError` for what does not pass.
        """
        for attempt in range(MAX_TRIES):
            await self._pacer.turn()
            try:
                return await self.ask(project_id, image_ids)
            except (RateLimited, Unavailable) as error:
                if attempt == MAX_TRIES - 1:
                    raise
                self._pacer.rest(error.retry_after_seconds or min(2.0**attempt, LONGEST_WAIT_SECONDS))
        raise AssertionError("the last try returns or raises")

    async def ask(self, project_id: str, image_ids: Sequence[str]) -> Found:
        """Read once, now. Raises `ProjectMissing` and `ApiError`."""
        path = f"/customvision/v3.3/Training/projects/{project_id}/images/id?imageIds={','.join(image_ids)}"
        answer = await self._api.call("GET", path)
        if 200 <= answer.status < 300:
            return read_images(answer)
        error = read_error(answer, ACCESS)
        if isinstance(error, SharedFieldsRefused | CallRefused) and error.code == NO_PROJECT:
            raise ProjectMissing(project_id)
        raise error


def read_images(answer: Answer) -> Found:
    """Take the metadata out of an answer. Raises `Unavailable` if it is not what is documented."""
    try:
        return {image["id"].lower(): dict(image.get("metadata") or {}) for image in answer.json()}
    except (TypeError, KeyError, AttributeError, ValueError):
        raise Unavailable(f"{SERVICE} answered {answer.status} with a body that is no list of images") from None


@asynccontextmanager
async def open_image_reader(settings: OpsSettings, calls_per_second: float) -> AsyncIterator[ImageReader]:
    """Connect to Custom Vision as the settings say. Raises `SettingsError` if they do not say where it is."""
    settings.need_custom_vision()
    async with _open_api(settings, settings.custom_vision_endpoint, _custom_vision_key(settings), SERVICE) as api:
        yield ImageReader(api, Pacer(calls_per_second))


@asynccontextmanager
async def open_trainings(settings: OpsSettings, api: Api) -> AsyncIterator[Poll]:
    """Connect to the service that trains; yields what asks it. Raises `SettingsError` if it is not said where it is."""
    if api is Api.FACE:
        settings.need_face()
        key = (settings.face_key, "Ocp-Apim-Subscription-Key", "FACE_KEY")
        async with _open_api(settings, settings.face_endpoint, key, api) as face:
            yield FaceClient(face, settings.face_api_version, "FACE_KEY and FACE_ENDPOINT").poll
        return
    settings.need_custom_vision()
    async with _open_api(settings, settings.custom_vision_endpoint, _custom_vision_key(settings), api) as custom_vision:
        yield IterationClient(custom_vision, ACCESS).poll


def _custom_vision_key(settings: OpsSettings) -> tuple[SecretStr | None, str, str]:
    return settings.custom_vision_training_key, "Training-key", "CUSTOM_VISION_TRAINING_KEY"


@asynccontextmanager
async def _open_api(
    settings: OpsSettings, endpoint: str, key: tuple[SecretStr | None, str, str], service: str
) -> AsyncIterator[JsonApi]:
    async with AsyncExitStack() as stop:
        client = await stop.enter_async_context(HttpClient(MAX_ANSWER_BYTES))
        secret, header, setting = key
        authentication: Authentication
        if secret is not None:
            authentication = KeyAuthentication(header, secret)
        else:
            credential = await stop.enter_async_context(new_credential(None))
            audience = settings.audience_of(endpoint)
            authentication = IdentityAuthentication(credential, audience, setting, settings.redact)
        timeout = settings.api_timeout_seconds
        yield JsonApi(client.exchange, endpoint, authentication, service, timeout, settings.redact)
