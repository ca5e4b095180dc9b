"""The cloud on one machine, reached as in Azure: by its names, over TLS, through a proxy, and without any key."""

from __future__ import annotations

import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from azure.storage.queue.aio import QueueServiceClient

from local.azurite.server import ACCOUNT, Azurite
from local.cloud import QUEUE_SETTINGS, create_queues
from local.keyless.azure_proxy import AzureProxy, Target
from local.keyless.certificates import Certificates
from local.simulation.models import Api
from local.simulation.process import SimulationProcess

if TYPE_CHECKING:
    from types import TracebackType

    from local.simulation.control import SimulationControl


@dataclass(frozen=True, slots=True)
class Names:
    """How the resources of one of Azure's clouds are called, and whom its tokens are for."""

    cognitive_services: str
    event_grid: str
    storage: str
    cognitive_services_audience: str
    event_grid_audience: str


PUBLIC = Names(
    cognitive_services="cognitiveservices.azure.com",
    event_grid="westeurope-1.eventgrid.azure.net",
    storage="queue.core.windows.net",
    cognitive_services_audience="https://cognitiveservices.azure.com",
    event_grid_audience="https://eventgrid.azure.net",
)
US_GOVERNMENT = Names(
    cognitive_services="cognitiveservices.azure.us",
    event_grid="usgovvirginia-1.eventgrid.azure.us",
    storage="queue.core.usgovcloudapi.net",
    cognitive_services_audience="https://cognitiveservices.azure.us",
    event_grid_audience="https://eventgrid.azure.us",
)
CHINA = Names(
    cognitive_services="cognitiveservices.azure.cn",
    event_grid="chinaeast2-1.eventgrid.azure.cn",
    storage="queue.core.chinacloudapi.cn",
    cognitive_services_audience="https://cognitiveservices.azure.cn",
    event_grid_audience="https://eventgrid.azure.cn",
)


class KeylessCloud:
    """Runs as long as its `async with` block; queues exist and are empty at first.

    async with KeylessCloud(PUBLIC) as cloud:
        async with HostProcess(app_root, cloud.settings, output): ...
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._stop = AsyncExitStack()

    @property
    def settings(self) -> dict[str, str]:
        """App settings and environment of an app in this cloud. No key and no connection string is among them."""
        names = self._names
        return {
            "AzureWebJobsStorage__queueServiceUri": f"https://{ACCOUNT}.{names.storage}",
            **QUEUE_SETTINGS,
            "TRAINING_POLL_SCHEDULE": "* * * * * *",
            "CUSTOM_VISION_ENDPOINT": f"https://vision.{names.cognitive_services}",
            "FACE_ENDPOINT": f"https://face.{names.cognitive_services}",
            "EVENT_GRID_TOPIC_ENDPOINT": f"https://topic.{names.event_grid}/api/events",
            "HTTPS_PROXY": self.proxy.address,
            "NO_PROXY": "127.0.0.1",
            "SSL_CERT_FILE": str(self._certificates.authority),
            **self._simulation.identity,
        }

    async def __aenter__(self) -> Self:
        names = self._names
        hosts = {
            "vision": f"vision.{names.cognitive_services}",
            "face": f"face.{names.cognitive_services}",
            "topic": f"topic.{names.event_grid}",
            "storage": f"{ACCOUNT}.{names.storage}",
        }
        async with AsyncExitStack() as undo:
            folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="keyless-")))
            self._certificates = Certificates(folder, [*hosts.values(), "localhost"])
            self._simulation = await undo.enter_async_context(SimulationProcess())
            azurite = await undo.enter_async_context(Azurite(certificates=self._certificates))
            simulation = Target(self._simulation.port)
            targets = {hosts[name]: simulation for name in ("vision", "face", "topic")}
            targets[hosts["storage"]] = Target(azurite.port, speaks_tls=True)
            self.proxy = await undo.enter_async_context(AzureProxy(targets, self._certificates))
            self.control: SimulationControl = await undo.enter_async_context(self._simulation.control())
            self.queues = await undo.enter_async_context(
                QueueServiceClient.from_connection_string(azurite.connection_string, connection_verify=False)
            )
            await self._prepare()
            self._stop = undo.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop.aclose()

    async def _prepare(self) -> None:
        """As it is before an app is deployed: queues exist, and services take tokens for their own cloud only."""
        await create_queues(self.queues)
        for api in (Api.CUSTOM_VISION, Api.FACE):
            await self.control.set_audience(api, self._names.cognitive_services_audience)
        await self.control.set_audience(Api.EVENT_GRID, self._names.event_grid_audience)
