"""A typed client of the simulation's control API.

async with simulation.control() as control:
    await control.add_images(project_id, image_ids)
    await control.set_faults(Api.CUSTOM_VISION, Fault(kind=FaultKind.HANG, share=0.05), seed=7)
    ...
    counters = await control.counters()
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self
from uuid import UUID

import httpx
from pydantic import BaseModel, TypeAdapter

from local.simulation.models import (
    Api,
    Audience,
    Counters,
    Fault,
    FaultKind,
    FaultSetting,
    Group,
    GroupKind,
    GroupState,
    IdentitySetting,
    Images,
    ImageState,
    IterationTraining,
    KeyChange,
    Latency,
    Mark,
    MetadataLimits,
    Outage,
    PublishedEvents,
    Rate,
    TokenRequest,
    Training,
)

_IMAGES = TypeAdapter(dict[UUID, ImageState])
_GROUPS = TypeAdapter(list[GroupState])
_TOKEN_REQUESTS = TypeAdapter(list[TokenRequest])

# Adding or reading a hundred thousand images takes a few seconds.
_TIMEOUT_SECONDS = 30.0


class ControlError(Exception):
    """The simulation would not do as it was told; the text says why."""


class SimulationControl:
    """Tells a running simulation what to do and asks what it saw. Every method may raise `ControlError`.

    Durations without an end (None) last until they are taken back.
    """

    def __init__(self, address: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._client = httpx.AsyncClient(
            base_url=f"{address}/_control", timeout=_TIMEOUT_SECONDS, transport=transport, trust_env=False
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def reset(self) -> None:
        """Forget everything, counters and settings included."""
        await self._call("POST", "/reset")

    async def counters(self) -> Counters:
        """What was asked so far."""
        return Counters.model_validate_json(await self._call("GET", "/counters"))

    async def add_images(
        self, project_id: UUID, image_ids: Iterable[UUID] = (), metadata: Mapping[str, str] | None = None
    ) -> None:
        """Add images to a project, which is made if need be; those that are there already stay as they are."""
        ids = tuple(map(str, image_ids))
        images = Images(project_id=str(project_id), image_ids=ids, metadata=dict(metadata or {}))
        await self._call("PUT", "/projects/images", images)

    async def images(self, project_id: UUID, *, history: bool = False) -> dict[UUID, ImageState]:
        """All images of a project, with everything that was applied to them if asked for."""
        query = "?history=true" if history else ""
        return _IMAGES.validate_json(await self._call("GET", f"/projects/{project_id}/images{query}"))

    async def train_iteration(
        self,
        project_id: UUID,
        iteration_id: UUID,
        *,
        running_seconds: float = 1.0,
        fails: bool = False,
        status: str | None = None,
    ) -> None:
        """Start the training of an iteration; `status` is a word to answer with in place of the documented ones."""
        training = IterationTraining(
            project_id=str(project_id),
            id=str(iteration_id),
            running_seconds=running_seconds,
            fails=fails,
            status=status,
        )
        await self._call("POST", "/iterations/training", training)

    async def set_metadata_limits(self, limits: MetadataLimits) -> None:
        """Take so much metadata from now on: as the page says by default, or as the OpenAPI file does."""
        await self._call("PUT", "/metadata-limits", limits)

    async def refuse_calls_with(self, image_ids: Iterable[UUID], code: str, times: int | None = None) -> None:
        """Refuse every call with one of these images as a whole, with a code such as `BadRequestInvalidIds`."""
        ids = tuple(map(str, image_ids))
        await self._call("PUT", "/marks", Mark(image_ids=ids, refuse_call_with=code, times=times))

    async def answer_images_with(self, image_ids: Iterable[UUID], status: str, times: int | None = None) -> None:
        """Leave these images as they are and give them this status, such as `ErrorUnknown`, in every call."""
        ids = tuple(map(str, image_ids))
        await self._call("PUT", "/marks", Mark(image_ids=ids, status=status, times=times))

    async def unmark_images(self) -> None:
        """Treat all images as any other again."""
        await self._call("DELETE", "/marks")

    async def published_events(self) -> PublishedEvents:
        """What the Event Grid topic has taken."""
        return PublishedEvents.model_validate_json(await self._call("GET", "/events"))

    async def set_identity(self, setting: IdentitySetting) -> None:
        """Give the app these identities from now on."""
        await self._call("PUT", "/identity", setting)

    async def set_audience(self, api: Api, audience: str) -> None:
        """Let an API take tokens for this audience, and for no other."""
        await self._call("PUT", f"/{api}/audience", Audience(audience=audience))

    async def token_requests(self) -> list[TokenRequest]:
        """Every token that was asked for."""
        return _TOKEN_REQUESTS.validate_json(await self._call("GET", "/identity/requests"))

    async def groups(self) -> list[GroupState]:
        """All groups, without a call that would count."""
        return _GROUPS.validate_json(await self._call("GET", "/groups"))

    async def add_group(self, group_id: str, kind: GroupKind = GroupKind.PERSON_GROUP) -> None:
        """Make a group that has never been trained."""
        await self._call("PUT", "/groups", Group(kind=kind, id=group_id))

    async def remove_group(self, group_id: str, kind: GroupKind = GroupKind.PERSON_GROUP) -> None:
        """Forget a group."""
        await self._call("DELETE", "/groups", Group(kind=kind, id=group_id))

    async def train(
        self,
        group_id: str,
        kind: GroupKind = GroupKind.PERSON_GROUP,
        *,
        queued_seconds: float = 0.0,
        running_seconds: float = 1.0,
        failure: str | None = None,
    ) -> None:
        """Start a training, of a new group if need be; it fails at its end if a failure's message is given."""
        training = Training(
            kind=kind, id=group_id, queued_seconds=queued_seconds, running_seconds=running_seconds, failure=failure
        )
        await self._call("POST", "/groups/training", training)

    async def set_rate(self, api: Api, calls_per_second: float | None, burst: float | None = None) -> None:
        """Limit the calls; None is no limit, and the burst is one second's worth unless said otherwise."""
        await self._call("PUT", f"/{api}/rate", Rate(calls_per_second=calls_per_second, burst=burst))

    async def set_latency(
        self, api: Api, seconds: float, jitter_seconds: float = 0.0, share: float = 1.0, seed: int = 0
    ) -> None:
        """Delay a share of the calls before they are handled; 0 ends it."""
        latency = Latency(seconds=seconds, jitter_seconds=jitter_seconds, share=share, seed=seed)
        await self._call("PUT", f"/{api}/latency", latency)

    async def set_faults(self, api: Api, *faults: Fault, seed: int = 0) -> None:
        """Misbehave from now on in these ways and no others; without any, behave."""
        await self._call("PUT", f"/{api}/faults", FaultSetting(faults=faults, seed=seed))

    async def begin_outage(
        self, api: Api, kind: FaultKind = FaultKind.CONNECTION_RESET, seconds: float | None = None
    ) -> None:
        """Have every call fail in this way, whatever its key and rate."""
        await self._call("PUT", f"/{api}/outage", Outage(kind=kind, seconds=seconds))

    async def end_outage(self, api: Api) -> None:
        """End an outage before its time."""
        await self._call("DELETE", f"/{api}/outage")

    @asynccontextmanager
    async def outage(self, api: Api, kind: FaultKind = FaultKind.CONNECTION_RESET) -> AsyncIterator[None]:
        """An outage as long as the block."""
        await self.begin_outage(api, kind)
        try:
            yield
        finally:
            await self.end_outage(api)

    async def change_key(self, api: Api, key: str | None = None, seconds: float | None = None) -> None:
        """Accept only this key, or none at all, in place of the original one."""
        await self._call("PUT", f"/{api}/key", KeyChange(key=key, seconds=seconds))

    async def restore_key(self, api: Api) -> None:
        """Accept the original key again."""
        await self._call("DELETE", f"/{api}/key")

    @asynccontextmanager
    async def wrong_key(self, api: Api) -> AsyncIterator[None]:
        """Accept no key as long as the block."""
        await self.change_key(api)
        try:
            yield
        finally:
            await self.restore_key(api)

    async def _call(self, method: str, path: str, body: BaseModel | None = None) -> bytes:
        content = None if body is None else body.model_dump_json()
        try:
            response = await self._client.request(method, path, content=content)
        except httpx.HTTPError as error:
            raise ControlError(f"{method} {path}: {error!r}") from error
        if not response.is_success:
            raise ControlError(f"{method} {path}: {response.status_code} {response.text}")
        return response.content
