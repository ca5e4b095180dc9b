"""The limiter of an instance: whatever becomes of its requests for permits, it goes on asking."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.permits import LONGEST_WAY, PermitStore, SimulatedPermitQueue
from benchmarks.virtual import run_virtual
from shared.errors import QueueMissing, StorageTrouble
from shared.limits.admission import Admission
from shared.limits.distributed_rate_limit import Permits
from shared.services.permit_queue import PermitQueue, SharedLimit
from tests.unit.shared.services.test_queues import FakeClient, message

if TYPE_CHECKING:
    from collections.abc import Callable

PERMITS = 10


def limit_of(queue: SimulatedPermitQueue) -> SharedLimit:
    return SharedLimit(Permits(PERMITS, random.Random(1)), queue)


async def call(limit: SharedLimit, calls: int) -> None:
    """Make so many calls. Where no more permits come, the virtual loop raises."""
    admission = Admission("API", limit)
    for _ in range(calls):
        async with admission.turn():
            pass
    await admission.aclose()


def raise_once(thing: object, method: str, error: BaseException) -> Callable[[], bool]:
    """Let a method raise at its next call; what is returned says whether it has."""
    real = getattr(thing, method)

    def raising(*_: Any) -> Any:
        setattr(thing, method, real)
        raise error

    setattr(thing, method, raising)
    return lambda: getattr(thing, method) == real


class CreatedClient(FakeClient):
    """A client that counts, clears, and knows who creates the queue."""

    def __init__(self, *, exists: bool = True, others_create: bool = False) -> None:
        super().__init__(exists=exists, others_create=others_create)
        self.creators: set[str] = set()
        self.count: int | None = 0

    async def create_queue(self, metadata: dict[str, str] | None = None) -> None:
        self.creators.add((metadata or {})["creator"])
        await super().create_queue()

    async def get_queue_properties(self) -> Any:
        return SimpleNamespace(approximate_message_count=self.count)

    async def clear_messages(self) -> None:
        self.count = 0


class TestQueue:
    async def test_permits_are_received_and_asked_for_once(self) -> None:
        client = FakeClient(message("{}"))
        (received,) = await PermitQueue(client).receive(3, 8)  # type: ignore[arg-type]
        assert received.body == b"{}"
        ((_, options),) = client.asked
        assert options == {"messages_per_page": 3, "visibility_timeout": 8, **PermitQueue.options}

    @pytest.mark.parametrize(("others_create", "is_ours", "sent"), [(False, True, 3), (True, False, 0)])
    async def test_whoever_creates_the_queue_fills_it_and_nobody_else(
        self, *, others_create: bool, is_ours: bool, sent: int
    ) -> None:
        client = CreatedClient(exists=False, others_create=others_create)
        assert await PermitQueue(client).create(3) is is_ours  # type: ignore[arg-type]
        texts = [asked[1:] for asked in client.asked if asked[0] == "send"]
        assert texts == [("{}", {"time_to_live": -1, **PermitQueue.options})] * sent
        assert len(client.creators) == 1

    async def test_two_creators_differ_so_that_storage_tells_the_second_one(self) -> None:
        client = CreatedClient()
        await PermitQueue(client).create(1)  # type: ignore[arg-type]
        await PermitQueue(client).create(1)  # type: ignore[arg-type]
        assert len(client.creators) == 2

    async def test_permits_are_counted_and_cleared(self) -> None:
        client = CreatedClient()
        client.count = 7
        assert await PermitQueue(client).count() == 7  # type: ignore[arg-type]
        await PermitQueue(client).clear()  # type: ignore[arg-type]
        assert await PermitQueue(client).count() == 0  # type: ignore[arg-type]

    async def test_a_count_that_nobody_says_is_not_taken_for_none(self) -> None:
        client = CreatedClient()
        client.count = None
        with pytest.raises(StorageTrouble, match="queue training-watches: the response does not say"):
            await PermitQueue(client).count()  # type: ignore[arg-type]

    async def test_a_request_is_not_repeated_and_waits_two_seconds_in_all_ten(self) -> None:
        assert PermitQueue.options == {"retry_total": 0, "connection_timeout": 2, "read_timeout": 2}
        assert PermitQueue.timeout_seconds == 10.0

    async def test_a_missing_queue_is_told_from_an_empty_one(self) -> None:
        with pytest.raises(QueueMissing):
            await PermitQueue(FakeClient(exists=False)).receive(3, 8)  # type: ignore[arg-type]


class TestUnforeseenErrors:
    @pytest.mark.parametrize("method", ["receive", "put_back"])
    @pytest.mark.parametrize("kind", [RuntimeError, asyncio.CancelledError])
    def test_a_request_that_raises_is_logged_and_calls_go_on(
        self, method: str, kind: type[BaseException], caplog: pytest.LogCaptureFixture
    ) -> None:
        queue = SimulatedPermitQueue(PermitStore(PERMITS, random.Random(1)))
        has_raised = raise_once(queue, method, kind("nobody foresaw this"))
        run_virtual(call(limit_of(queue), 20))
        assert has_raised()
        assert "nobody foresaw this" in caplog.text

    @pytest.mark.parametrize("method", ["received", "gone_back"])
    def test_so_is_a_response_that_breaks_our_own_code(self, method: str, caplog: pytest.LogCaptureFixture) -> None:
        queue = SimulatedPermitQueue(PermitStore(PERMITS, random.Random(1)))
        limit = limit_of(queue)
        has_raised = raise_once(limit._permits, method, RuntimeError("nobody foresaw this"))
        run_virtual(call(limit, 20))
        assert has_raised()
        assert "nobody foresaw this" in caplog.text

    @pytest.mark.parametrize("method", ["leaving", "to_ask", "next_step_at"])
    def test_so_is_an_error_in_what_decides(self, method: str, caplog: pytest.LogCaptureFixture) -> None:
        limit = limit_of(SimulatedPermitQueue(PermitStore(PERMITS, random.Random(1))))
        has_raised = raise_once(limit._permits, method, RuntimeError("nobody foresaw this"))
        run_virtual(call(limit, 20))
        assert has_raised()
        assert "nobody foresaw this" in caplog.text

    def test_what_decides_is_tried_again_a_second_later(self, caplog: pytest.LogCaptureFixture) -> None:
        limit = limit_of(SimulatedPermitQueue(PermitStore(PERMITS, random.Random(1))))

        def break_down(now: float) -> Any:
            raise RuntimeError("nobody foresaw this")

        async def wait() -> None:
            limit._permits.to_ask = break_down  # type: ignore[method-assign]
            limit.want(1, asyncio.get_running_loop().time())
            await asyncio.sleep(9.5)
            await limit.aclose()

        run_virtual(wait())
        assert len(caplog.messages) == 10

    def test_so_is_a_queue_that_cannot_be_created(self, caplog: pytest.LogCaptureFixture) -> None:
        queue = SimulatedPermitQueue(PermitStore(PERMITS, random.Random(1)))
        raise_once(queue, "receive", QueueMissing("there is no queue"))
        has_raised = raise_once(queue, "create", RuntimeError("nobody foresaw this"))
        run_virtual(call(limit_of(queue), 20))
        assert has_raised()
        assert "nobody foresaw this" in caplog.text


def test_after_its_last_call_a_permit_goes_back_in_time_although_nobody_asks_for_a_call() -> None:
    """Others wait for it: it is not kept to the end of its turn."""

    async def call_once(store: PermitStore) -> float:
        loop = asyncio.get_running_loop()
        limit = SharedLimit(Permits(1.0, random.Random(1)), SimulatedPermitQueue(store))
        limit.want(1, loop.time())
        await asyncio.sleep(1.0)
        (permit,) = limit._permits._held
        await asyncio.sleep(permit.ends_at - 0.9 - loop.time())
        limit.take(loop.time())
        await asyncio.sleep(0.75 * 1.015 + LONGEST_WAY)
        return loop.time()

    store = PermitStore(1, random.Random(1))
    now = run_virtual(call_once(store))
    assert store.messages[0].visible_at <= now


def test_if_the_api_asks_for_a_long_rest_all_permits_go_back_at_once() -> None:
    async def refuse_one() -> None:
        now = asyncio.get_running_loop().time
        limit = limit_of(SimulatedPermitQueue(PermitStore(PERMITS, random.Random(1))))
        limit.want(PERMITS, now())
        await asyncio.sleep(1.5)
        assert limit._permits.share > 0.2
        limit.limited(limit.take(now()), 60.0, now())
        assert limit._permits.share == 0.0

    run_virtual(refuse_one())


def test_once_it_is_closed_no_request_is_on_its_way() -> None:
    async def close_while_asking() -> None:
        limit = limit_of(SimulatedPermitQueue(PermitStore(PERMITS, random.Random(1))))
        limit.want(1, asyncio.get_running_loop().time())
        await asyncio.sleep(0.001)
        assert len(asyncio.all_tasks()) == 2
        await limit.aclose()
        assert len(asyncio.all_tasks()) == 1

    run_virtual(close_while_asking())


def test_nor_does_another_follow() -> None:
    class Counting(SimulatedPermitQueue):
        asked = 0

        async def receive(self, most: int, lease_seconds: int) -> Any:
            self.asked += 1
            return await super().receive(most, lease_seconds)

    async def close_while_asking(queue: Counting) -> None:
        limit = limit_of(queue)
        loop = asyncio.get_running_loop()
        limit.want(1, loop.time())
        await asyncio.sleep(0.001)
        await limit.aclose()
        limit.want(5, loop.time())
        await asyncio.sleep(60)

    queue = Counting(PermitStore(PERMITS, random.Random(1)))
    run_virtual(close_while_asking(queue))
    assert queue.asked == 1


HOUR = 3600.0


class Refusing(SimulatedPermitQueue):
    """A queue at which the app lacks a right."""

    def __init__(self, method: str) -> None:
        super().__init__(PermitStore(PERMITS, random.Random(1)))

        async def refuse(*_: Any) -> Any:
            raise StorageTrouble("queue permits: HttpResponseError AuthorizationPermissionMismatch")

        setattr(self, method, refuse)


async def want_for(limit: SharedLimit, seconds: float) -> None:
    """Have calls to make for so long, and make those that may go."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while (now := loop.time()) < end:
        limit.want(PERMITS, now)
        if limit.ready_at(now) <= now:
            limit.take(now)
        await asyncio.sleep(0.5)
    await limit.aclose()


class TestPermitsRefused:
    @pytest.mark.parametrize("method", ["receive", "put_back"])
    def test_the_log_says_so_within_a_minute_with_what_to_do(
        self, method: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        run_virtual(want_for(limit_of(Refusing(method)), 60))
        (line,) = caplog.messages
        done = "received" if method == "receive" else "put back"
        assert re.match(rf"for 30 s permits could not be {done}, and no call is made without one: ", line)
        assert "AuthorizationPermissionMismatch" in line
        assert "give it the role Storage Queue Data Contributor on that queue" in line

    def test_and_again_each_hour(self, caplog: pytest.LogCaptureFixture) -> None:
        run_virtual(want_for(limit_of(Refusing("receive")), 3 * HOUR + 32))
        assert len(caplog.messages) == 4

    def test_trouble_that_passes_is_no_line(self, caplog: pytest.LogCaptureFixture) -> None:
        store = PermitStore(PERMITS, random.Random(1), away=[(10.0, 25.0), (40.0, 55.0)])
        run_virtual(want_for(limit_of(SimulatedPermitQueue(store)), 120))
        assert caplog.messages == []


class TestOtherResource:
    """Two apps with different resources that have one storage account in common share its permits unknowingly."""

    @staticmethod
    async def _share(seconds: float, *endpoints: str) -> PermitStore:
        store = PermitStore(PERMITS, random.Random(1))
        limits = [SharedLimit(Permits(PERMITS, random.Random(1)), SimulatedPermitQueue(store), e) for e in endpoints]
        await asyncio.gather(*(want_for(limit, seconds) for limit in limits))
        return store

    def test_each_app_says_so_once_an_hour_with_what_to_do(self, caplog: pytest.LogCaptureFixture) -> None:
        run_virtual(self._share(HOUR + 600, "https://a.cognitiveservices.azure.com", "https://b.example"))
        assert len(caplog.messages) == 4
        assert all("give one of the two apps another PERMITS_QUEUE" in line for line in caplog.messages)

    def test_instances_with_one_resource_say_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        run_virtual(self._share(120, "https://a.example/", "https://A.example"))
        assert caplog.messages == []

    def test_a_permit_tells_the_hosts_name_to_nobody(self) -> None:
        store = run_virtual(self._share(30, "https://a.example"))
        texts = [json.loads(one.body) for one in store.receive(32, 1, 1000.0)]
        assert {text["resource"] for text in texts if text} == {"b8e74533"}


def test_a_permit_that_was_refused_says_when() -> None:
    """So that `vision-relay status` can show that calls are refused."""

    async def refuse_one(store: PermitStore) -> None:
        loop = asyncio.get_running_loop()
        limit = limit_of(SimulatedPermitQueue(store))
        limit.want(1, loop.time())
        while limit.ready_at(loop.time()) > loop.time():
            await asyncio.sleep(0.1)
        limit.limited(limit.take(loop.time()), 1.0, loop.time())
        limit.want(0, loop.time())
        await asyncio.sleep(5)

    store = PermitStore(1, random.Random(1))
    before = time.time()
    run_virtual(refuse_one(store))
    ((message),) = store.receive(32, 1, 1000.0)
    assert int(before) <= json.loads(message.body)["refusedAt"] <= time.time()


def test_a_time_of_refusal_that_cannot_be_true_does_not_travel() -> None:
    async def hold_one(store: PermitStore) -> None:
        limit = limit_of(SimulatedPermitQueue(store))
        limit.want(1, asyncio.get_running_loop().time())
        await asyncio.sleep(2)
        limit.want(0, asyncio.get_running_loop().time())
        await asyncio.sleep(5)

    store = PermitStore(1, random.Random(1))
    store.messages[0].body = b'{"doublings":0,"meanWaitSeconds":0,"refusedAt":1e18}'
    run_virtual(hold_one(store))
    assert json.loads(store.messages[0].body)["refusedAt"] <= time.time()
