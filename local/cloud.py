"""Azurite and the simulated services together, and the settings with which the app finds them."""

from __future__ import annotations

import asyncio
import base64
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Self

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.queue.aio import QueueServiceClient

from local.azurite.server import Azurite
from local.simulation.process import SimulationProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from types import TracebackType
    from uuid import UUID

    from azure.storage.queue import QueueMessage

    from local.simulation.control import SimulationControl

UPDATES = "image-metadata-updates"
WATCHES = "training-watches"
EVENTS = "training-events"
UPDATES_POISON = f"{UPDATES}-poison"
WATCHES_POISON = f"{WATCHES}-poison"

QUEUE_SETTINGS = {"METADATA_UPDATES_QUEUE": UPDATES, "TRAINING_WATCHES_QUEUE": WATCHES, "EVENTS_QUEUE": EVENTS}

SENDERS = 16
FOREVER = -1


class LocalCloud:
    """Runs as long as its `async with` block. Queues exist and are empty at first.

    `whole_storage`: with blobs and tables.

    async with LocalCloud() as cloud:
        await cloud.send(UPDATES, ['{"projectId": …}'])
        async with HostProcess(app_root, cloud.settings, output): ...
    """

    def __init__(self, *, whole_storage: bool = False) -> None:
        self._azurite = Azurite(whole=whole_storage)
        self._simulation = SimulationProcess()
        self._stop = AsyncExitStack()

    @property
    def settings(self) -> dict[str, str]:
        """The app settings that point at this cloud."""
        return {
            "AzureWebJobsStorage": self._azurite.connection_string,
            **QUEUE_SETTINGS,
            "TRAINING_POLL_SCHEDULE": "*/2 * * * * *",
            "CUSTOM_VISION_ENDPOINT": self._simulation.address,
            "CUSTOM_VISION_TRAINING_KEY": self._simulation.credentials.custom_vision_key,
            "FACE_ENDPOINT": self._simulation.address,
            "FACE_KEY": self._simulation.credentials.face_key,
        }

    @property
    def topic_settings(self) -> dict[str, str]:
        """The app settings that let events go to this cloud's Event Grid topic too."""
        return {
            "EVENT_GRID_TOPIC_ENDPOINT": f"{self._simulation.address}/api/events",
            "EVENT_GRID_TOPIC_KEY": self._simulation.credentials.event_grid_key,
        }

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as undo:
            await undo.enter_async_context(self._azurite)
            await undo.enter_async_context(self._simulation)
            self.control: SimulationControl = await undo.enter_async_context(self._simulation.control())
            connection = self._azurite.connection_string
            self.queues = await undo.enter_async_context(QueueServiceClient.from_connection_string(connection))
            await create_queues(self.queues)
            self._stop = undo.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop.aclose()

    async def send(self, queue: str, texts: Iterable[str]) -> AsyncIterator[None]:
        """Send messages, several at a time; yields after each."""
        client = self.queues.get_queue_client(queue)
        limit = asyncio.Semaphore(SENDERS)

        async def send_one(text: str) -> None:
            async with limit:
                await client.send_message(text, time_to_live=FOREVER)

        for sent in asyncio.as_completed([send_one(text) for text in texts]):
            await sent
            yield

    async def count(self, queue: str) -> int:
        """How many messages a queue has, the invisible ones included; 0 for one that does not exist."""
        try:
            properties = await self.queues.get_queue_client(queue).get_queue_properties()
        except ResourceNotFoundError:
            return 0
        return properties.approximate_message_count or 0

    async def drain(self, queue: str) -> list[QueueMessage]:
        """Take all visible messages out of a queue."""
        client = self.queues.get_queue_client(queue)
        taken = []
        async for message in client.receive_messages(messages_per_page=32, visibility_timeout=60):
            taken.append(message)
            await client.delete_message(message)
        return taken

    async def images(self, project_ids: Iterable[UUID]) -> dict[UUID, dict[UUID, dict[str, str]]]:
        """The metadata of all images that the simulation has in these projects."""
        found = {}
        for project_id in project_ids:
            states = await self.control.images(project_id)
            found[project_id] = {image_id: state.metadata for image_id, state in states.items()}
        return found


async def create_queues(service: QueueServiceClient) -> None:
    """Create the app's queues and those of its dead letters, unless they exist."""
    for name in (UPDATES, UPDATES_POISON, WATCHES, WATCHES_POISON, EVENTS):
        with suppress(ResourceExistsError):
            await service.create_queue(name)


def text_of(message: QueueMessage) -> str:
    """What a message says, whether it is in Base64 or not: the app writes Base64, and the host copies what was sent."""
    try:
        return base64.b64decode(message.content, validate=True).decode()
    except ValueError:
        return str(message.content)


def to_base64(text: str) -> str:
    """Encode a message the way many producers' libraries do."""
    return base64.b64encode(text.encode()).decode()
