"""Checks whether an API responds, how fast, and whether it accepts the key: by one cheap call about nothing real."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops.apis import ProjectMissing, open_custom_vision, open_trainings, read_images
from shared.errors import AccessDenied, ApiError, NotFound, RateLimited
from shared.messages.watch import Api, Target

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ops.settings import OpsSettings

NOBODY = "00000000-0000-4000-8000-000000000000"
NO_GROUP = "vision-relay-doctor"


@dataclass(frozen=True, slots=True)
class ApiState:
    """The response of an API. `problem` is empty if it is right; otherwise `advice` says what to do.

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


async def probe_custom_vision(settings: OpsSettings) -> ApiState:
    """Ask Custom Vision for an image of a project that does not exist."""
    if not settings.custom_vision_endpoint:
        return ApiState("Custom Vision", "")
    async with open_custom_vision(settings) as api:
        return await _probe("Custom Vision", settings.custom_vision_endpoint, read_images(api, NOBODY, [NOBODY]))


async def probe_face(settings: OpsSettings) -> ApiState:
    """Ask Face for the training of a group that does not exist."""
    if not settings.face_endpoint:
        return ApiState("Face", "")
    async with open_trainings(settings, Api.FACE) as poll:
        return await _probe("Face", settings.face_endpoint, poll(Target("personGroup", NO_GROUP)))


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
