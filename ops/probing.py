"""Checks whether an API responds, how fast, and whether it accepts the key, by one call about nothing that exists."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops.apis import ProjectMissing, open_api, read_images
from shared.errors import AccessDenied, ApiError, NotFound, RateLimited
from shared.messages.watch import Api, Target
from shared.services.training_status import poll_face

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ops.settings import OpsSettings

NOBODY = "00000000-0000-4000-8000-000000000000"
NO_GROUP = "vision-relay-doctor"


@dataclass(frozen=True, slots=True)
class ApiState:
    """The response of an API. If something is wrong, `problem` says what, and `advice` what to do.

    `is_rate_limited`: the API accepted the key and refused the call with 429.
    """

    name: str
    endpoint: str
    seconds: float = 0.0
    problem: str = ""
    advice: str = ""
    is_rate_limited: bool = False

    @property
    def is_known(self) -> bool:
        """Whether the settings have its endpoint."""
        return bool(self.endpoint)


async def probe(settings: OpsSettings, api: Api) -> ApiState:
    """Ask an API for something that does not exist: an image, or the training of a group."""
    endpoint = settings.endpoint_of(api)
    if not endpoint:
        return ApiState(api, "")
    async with open_api(settings, api) as opened:
        if api is Api.FACE:
            call: Awaitable[object] = poll_face(opened, settings.face_api_version, Target("personGroup", NO_GROUP))
        else:
            call = read_images(opened, NOBODY, [NOBODY])
        return await _probe(api, endpoint, call)


async def _probe(name: str, endpoint: str, call: Awaitable[object]) -> ApiState:
    began = time.monotonic()
    problem = advice = ""
    is_rate_limited = False
    try:
        await call
    except (NotFound, ProjectMissing):  # it responds, and has accepted the key
        pass
    except RateLimited:
        is_rate_limited = True
    except AccessDenied as error:
        problem, advice = str(error), "set the right key, or give the identity its role and open the network"
    except ApiError as error:
        problem, advice = str(error), "no message is lost: messages wait; see the service's own status page"
    return ApiState(name, endpoint, time.monotonic() - began, problem, advice, is_rate_limited)
