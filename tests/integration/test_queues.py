"""The queues of messages on a real storage account: what a lease allows, and to whom."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from azure.storage.queue.aio import QueueServiceClient

from shared.errors import StorageTrouble
from shared.messages.envelope import unwrap
from shared.services.queues import Queue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.messages.encoding import Encoding
    from shared.services.queues import Received


BEFORE, AFTER = '{"is": "before"}', '{"is": "after"}'


@pytest.fixture(params=["none", "base64"])
async def queue(azurite: str, request: pytest.FixtureRequest) -> AsyncIterator[Queue]:
    encoding: Encoding = request.param
    async with QueueServiceClient.from_connection_string(azurite) as service:
        yield Queue(service.get_queue_client(f"queue-{uuid4()}"), encoding)


async def receive(queue: Queue, lease_seconds: int = 30) -> list[Received]:
    return await queue.receive(32, lease_seconds)


class TestRewriting:
    async def test_a_message_has_its_new_content_and_stays_ours(self, queue: Queue) -> None:
        await queue.send(BEFORE)
        (message,) = await receive(queue)
        written = await queue.rewrite(message, AFTER, lease_seconds=30)
        assert await receive(queue) == []
        await queue.put_back(written)
        (again,) = await receive(queue)
        assert unwrap(again.body).fields == {"is": "after"}
        assert again.id == message.id

    async def test_only_what_it_returns_can_settle_the_message(self, queue: Queue) -> None:
        await queue.send(BEFORE)
        (message,) = await receive(queue)
        written = await queue.rewrite(message, AFTER, lease_seconds=30)
        with pytest.raises(StorageTrouble):
            await queue.delete(message)
        await queue.delete(written)

    async def test_a_message_that_is_somebody_elses_by_now_is_not_changed(self, queue: Queue) -> None:
        await queue.send(BEFORE)
        (message,) = await receive(queue)
        await queue.put_back(message)
        (others,) = await receive(queue)
        with pytest.raises(StorageTrouble):
            await queue.rewrite(message, AFTER, lease_seconds=30)
        assert unwrap(others.body).fields == {"is": "before"}
