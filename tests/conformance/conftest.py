"""One cloud for all tests, and workers on it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from local.cloud import EVENTS, UPDATES, UPDATES_POISON, WATCHES, WATCHES_POISON, LocalCloud
from local.worker.host import WorkerHost
from local.worker.shapes import QueueMessage, queue_invocation, timer_invocation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    NewWorker = Callable[..., AbstractAsyncContextManager["Worker"]]

PROJECT = Path(__file__).parents[2]
UPDATE = "update_image_metadata"
POLL = "poll_training_status"


class Worker:
    """The app in Microsoft's worker; each call is an invocation as the host shapes it."""

    def __init__(self, host: WorkerHost) -> None:
        self.host = host

    async def update(self, message: QueueMessage | str | bytes) -> str:
        """Deliver a message; the binding that the app declares decides how. Returns the invocation's id."""
        delivered = message if isinstance(message, QueueMessage) else QueueMessage.of(message)
        [binding] = self.host.functions[UPDATE].bindings.values()
        return await self.host.invoke(UPDATE, queue_invocation(delivered, UPDATES, binding.data_type))

    async def poll(self, **timer: Any) -> str:
        """Let the timer tick. Returns the invocation's id."""
        return await self.host.invoke(POLL, timer_invocation(**timer))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running_cloud() -> AsyncIterator[LocalCloud]:
    async with LocalCloud() as cloud:
        yield cloud


@pytest_asyncio.fixture(loop_scope="session")
async def cloud(running_cloud: LocalCloud) -> AsyncIterator[LocalCloud]:
    """The same cloud for all tests, as new for each."""
    yield running_cloud
    await running_cloud.control.reset()
    for queue in (UPDATES, UPDATES_POISON, WATCHES, WATCHES_POISON, EVENTS):
        await running_cloud.queues.get_queue_client(queue).clear_messages()


@pytest.fixture(scope="session")
def new_worker(running_cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> NewWorker:
    """Start a worker with other settings than the shared one; `LINGER_SECONDS` is short unless given."""

    @asynccontextmanager
    async def start(**settings: str) -> AsyncIterator[Worker]:
        output = tmp_path_factory.mktemp("worker") / "output.log"
        settings = {**running_cloud.settings, "LINGER_SECONDS": "0.05", **settings}
        async with WorkerHost(PROJECT, settings, output) as host:
            yield Worker(host)

    return start


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running_worker(new_worker: NewWorker) -> AsyncIterator[Worker]:
    async with new_worker(PUBLISH_UPDATED_EVENTS="true") as worker:
        yield worker


@pytest.fixture
def worker(running_worker: Worker) -> Worker:
    """The shared worker, its log begun anew."""
    running_worker.host.logs.clear()
    return running_worker
