"""Permits on a real queue: they are created once, go from hand to hand, and their number is kept right."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from azure.storage.queue.aio import QueueServiceClient

from shared.errors import MessageLost, QueueMissing
from shared.limits.admission import Admission
from shared.limits.distributed_rate_limit import Permits
from shared.permit_replenishment import replenish_permits
from shared.services.permit_queue import PermitQueue, SharedLimit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PERMITS = 10


@pytest.fixture
async def queue(azurite: str) -> AsyncIterator[PermitQueue]:
    async with QueueServiceClient.from_connection_string(azurite) as service:
        yield PermitQueue(service.get_queue_client(f"permits-{uuid4()}"))


async def visible(queue: PermitQueue) -> int:
    return len(await queue.receive(32, lease_seconds=1))


class TestQueue:
    async def test_one_of_many_who_create_it_at_once_puts_the_permits(self, queue: PermitQueue) -> None:
        created = await asyncio.gather(*(queue.create(PERMITS) for _ in range(8)))
        assert sum(created) == 1
        assert await queue.count() == PERMITS

    async def test_a_missing_queue_is_told_from_an_empty_one(self, queue: PermitQueue) -> None:
        with pytest.raises(QueueMissing):
            await queue.receive(1, lease_seconds=1)
        await queue.create(0)
        assert await queue.receive(1, lease_seconds=1) == []

    async def test_a_permit_is_back_at_once_with_its_new_text(self, queue: PermitQueue) -> None:
        await queue.create(1)
        (permit,) = await queue.receive(1, lease_seconds=30)
        assert await queue.receive(1, lease_seconds=30) == []
        await queue.put_back(permit, '{"n": 1}')
        (again,) = await queue.receive(1, lease_seconds=30)
        assert (again.id, again.body, again.dequeue_count) == (permit.id, b'{"n": 1}', permit.dequeue_count + 1)

    async def test_a_permit_that_rests_is_not_seen(self, queue: PermitQueue) -> None:
        await queue.create(1)
        (permit,) = await queue.receive(1, lease_seconds=30)
        await queue.put_back(permit, "{}", 60)
        assert await queue.receive(1, lease_seconds=30) == []

    async def test_a_permit_whose_lease_has_ended_is_not_put_back_over_its_new_holder(self, queue: PermitQueue) -> None:
        await queue.create(1)
        (permit,) = await queue.receive(1, lease_seconds=30)
        await queue.put_back(permit, "{}")
        (others,) = await queue.receive(1, lease_seconds=30)
        with pytest.raises(MessageLost):
            await queue.put_back(permit, "{}")
        await queue.put_back(others, "{}")


async def replenish(queue: PermitQueue, number: int = PERMITS) -> None:
    await replenish_permits(queue, number, lease_seconds=1)  # nobody holds one


class TestCount:
    async def test_the_first_tick_creates_them(self, queue: PermitQueue) -> None:
        await replenish(queue)
        assert await queue.count() == PERMITS

    async def test_lost_ones_are_replaced(self, queue: PermitQueue, caplog: pytest.LogCaptureFixture) -> None:
        await queue.create(PERMITS - 3)
        with caplog.at_level(logging.WARNING):
            await replenish(queue)
        assert await queue.count() == PERMITS
        assert f"3 of {PERMITS} were missing in {queue.name}" in caplog.text

    async def test_all_are_replaced_if_all_are_lost(self, queue: PermitQueue) -> None:
        await replenish(queue)
        await queue.clear()
        await replenish(queue)
        assert await queue.count() == PERMITS

    @pytest.mark.parametrize("surplus", [1, 33, 70])
    async def test_those_too_many_go_although_they_are_held(
        self, queue: PermitQueue, surplus: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        """More than one request may receive, too."""
        await queue.create(PERMITS + surplus)
        assert await queue.receive(32, lease_seconds=30)
        with caplog.at_level(logging.WARNING):
            await replenish(queue)
        assert await queue.count() == PERMITS
        assert f"{queue.name} has {PERMITS + surplus}, {PERMITS} allowed" in caplog.text

    async def test_whoever_holds_one_of_too_many_does_not_put_it_back(self, queue: PermitQueue) -> None:
        await queue.create(PERMITS + 1)
        (held,) = await queue.receive(1, lease_seconds=30)
        await replenish(queue)
        with pytest.raises(MessageLost):
            await queue.put_back(held, "{}")

    async def test_another_setting_is_another_number(self, queue: PermitQueue) -> None:
        await replenish(queue)
        for number in (3, 7):
            await replenish(queue, number)
            assert await queue.count() == number

    async def test_the_right_number_is_left_alone(self, queue: PermitQueue, caplog: pytest.LogCaptureFixture) -> None:
        await replenish(queue)
        caplog.clear()
        await replenish(queue)
        assert await queue.count() == PERMITS
        assert caplog.text == ""


class TestSharedLimit:
    async def test_two_instances_call_as_often_as_the_limit_has_it(self, queue: PermitQueue) -> None:
        loop = asyncio.get_running_loop()
        went: list[float] = []

        async def work(seconds: float) -> None:
            limit = SharedLimit(Permits(PERMITS), queue)
            admission = Admission("API", limit)
            changed = asyncio.Event()
            admission.on_change = changed.set
            end = loop.time() + seconds
            while (now := loop.time()) < end:
                admission.want(PERMITS, now)
                if (ready_at := admission.ready_at(now)) <= now:
                    went.append(now)
                    admission.report(admission.admit(now), None, now)
                    continue
                changed.clear()
                try:
                    async with asyncio.timeout(min(ready_at, end) - now):
                        await changed.wait()
                except TimeoutError:
                    continue
            await admission.aclose()

        await asyncio.gather(work(4.0), work(4.0))
        went.sort()
        assert await queue.count() == PERMITS  # created by whoever found no queue
        assert len(went) >= 2 * PERMITS
        assert all(later - earlier >= 1.0 for earlier, later in zip(went, went[PERMITS:], strict=False))

    async def test_who_has_nothing_to_send_holds_no_permit(self, queue: PermitQueue) -> None:
        await queue.create(PERMITS)
        limit = SharedLimit(Permits(PERMITS), queue)
        admission = Admission("API", limit)
        changed = asyncio.Event()
        admission.on_change = changed.set
        admission.want(1, asyncio.get_running_loop().time())
        async with asyncio.timeout(5):
            await changed.wait()  # it has come
            assert await visible(queue) == PERMITS - 1
            changed.clear()
            admission.want(0, asyncio.get_running_loop().time())
            await changed.wait()  # it has gone back
        await asyncio.sleep(1)
        assert await visible(queue) == PERMITS
        await admission.aclose()
