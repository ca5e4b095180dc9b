"""Callers of the simulation as tests need them: they let one say anything, right or wrong."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID, uuid4

import httpx

ADDRESS = "http://simulation"
PROJECT = UUID("11111111-1111-4111-8111-111111111111")
NOON = 1_709_640_000.0  # 2024-03-05T12:00:00Z


class SettableClock:
    """Seconds since the epoch, moved by hand."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def make_ids(count: int) -> list[UUID]:
    return [uuid4() for _ in range(count)]


@dataclass(frozen=True)
class CustomVisionClient:
    http: httpx.AsyncClient
    key: str

    async def update(
        self,
        image_ids: Iterable[UUID | str],
        metadata: object = None,
        *,
        project: UUID | str = PROJECT,
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
    ) -> httpx.Response:
        return await self.http.post(
            f"/customvision/v3.3/Training/projects/{project}/images/metadata",
            params={"imageIds": ",".join(map(str, image_ids))},
            headers={"Training-key": self.key} if headers is None else headers,
            **({"json": metadata or {"album": "winter"}} if content is None else {"content": content}),
        )

    async def images(self, image_ids: Iterable[UUID | str], *, project: UUID | str = PROJECT) -> httpx.Response:
        return await self.http.get(
            f"/customvision/v3.3/Training/projects/{project}/images/id",
            params={"imageIds": ",".join(map(str, image_ids))},
            headers={"Training-key": self.key},
        )


@dataclass(frozen=True)
class FaceClient:
    http: httpx.AsyncClient
    key: str

    async def training(
        self, group_id: str, kind: str = "persongroups", version: str = "v1.2", headers: dict[str, str] | None = None
    ) -> httpx.Response:
        return await self.http.get(
            f"/face/{version}/{kind}/{group_id}/training",
            headers={"Ocp-Apim-Subscription-Key": self.key} if headers is None else headers,
        )


def statuses(response: httpx.Response) -> dict[UUID, str]:
    return {UUID(image["imageId"]): image["status"] for image in response.json()["images"]}
