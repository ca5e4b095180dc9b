"""Receives permits from their queue and puts them back.

`shared.limits.distributed_rate_limit` decides when, and when a call may go.
"""

import asyncio
import hashlib
import logging
import math
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from shared.errors import MessageLost, QueueMissing, StorageTrouble
from shared.limits.admission import Limiter
from shared.limits.distributed_rate_limit import NEW_PERMIT, Permit, Permits
from shared.services.queues import Queue, Received
from shared.text import one_line

log = logging.getLogger(__name__)

AFTER_ERROR_SECONDS = 1.0
FAILING_SECONDS = 30.0  # after which the log says that requests fail: no call can be made meanwhile
WARN_AGAIN_SECONDS = 3600.0


class PermitQueue(Queue):
    """The queue of permits. A late response is worth nothing: a request is made anew, not repeated."""

    timeout_seconds = 10.0
    options = {"retry_total": 0, "connection_timeout": 2, "read_timeout": 2}  # noqa: RUF012

    async def receive(self, most: int, lease_seconds: int) -> list[Received]:
        """Take up to `most` of the permits that are visible. Raises `QueueMissing` if there is no queue."""
        return await self._receive(most, lease_seconds)

    async def count(self) -> int:
        """How many there are, held ones included: not fewer than it says, and for a while perhaps more."""
        async with self._operation():
            count = (await self._client.get_queue_properties()).approximate_message_count
        if count is None:  # a proxy's page: taken for 0, it would double the permits
            raise StorageTrouble(f"queue {self.name}: the response does not say how many messages there are")
        return count

    async def create(self, number: int) -> bool:
        """Create the queue with so many permits. Returns False if somebody else has created it."""
        # With another creator's metadata, storage says that it exists: only one creator gets to the next line.
        if not await self._create(metadata={"creator": uuid.uuid4().hex}):
            return False
        await self.add(number)
        return True

    async def add(self, number: int) -> None:
        """Put so many new permits."""
        for _ in range(number):
            await self._send(NEW_PERMIT)

    async def clear(self) -> None:
        """Delete all permits, held ones included."""
        async with self._operation():
            await self._client.clear_messages()


class SharedLimit(Limiter):
    """The limiter of an instance that shares its limit: receives permits while calls wait, and puts them back.

    A timer and the end of each request lead to the next request.
    """

    def __init__(self, permits: Permits, queue: PermitQueue, endpoint: str = "") -> None:
        self._permits = permits
        self._queue = queue
        host = urlsplit(endpoint).hostname
        self._resource = hashlib.sha256(host.encode()).hexdigest()[:8] if host else ""  # tells nobody the host's name
        self._requests: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._failing_since: dict[str, float] = {}
        self._warned_at: dict[str, float] = {}
        self.on_change: Callable[[], None] = lambda: None

    def want(self, calls: int, now: float) -> None:
        """See `Limiter`."""
        self._permits.want(calls, now)
        self._advance()

    def ready_at(self, now: float) -> float:
        """See `Limiter`."""
        return self._permits.ready_at(now)

    def take(self, now: float) -> Permit:
        """See `Limiter`. Raises `RuntimeError` before `ready_at`."""
        permit = self._permits.take(now)
        self._advance()
        return permit

    def succeeded(self, permit: Permit) -> None:
        """See `Limiter`."""
        self._permits.succeeded(permit)

    def limited(self, permit: Permit, retry_after_seconds: float | None, now: float) -> None:
        """See `Limiter`."""
        permit.refused_at = int(time.time())
        self._permits.limited(permit, retry_after_seconds, now)
        self._advance()

    async def aclose(self) -> None:
        """Make no more requests. Others can receive the permits that are held when their leases end."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for request in self._requests:
            request.cancel()
        await asyncio.gather(*self._requests, return_exceptions=True)

    def _advance(self) -> None:
        """Do what is due now, and come back when more is."""
        if self._is_closed:
            return
        if self._timer is not None:
            self._timer.cancel()
        now = _now()
        try:
            for permit, unseen_seconds in self._permits.leaving(now):
                self._start(self._put_back(permit, unseen_seconds))
            if most := self._permits.to_ask(now):
                self._start(self._ask(most))
            next_at = self._permits.next_step_at(now)
        except Exception:
            log.exception("permits: an error that nobody foresaw")
            next_at = now + AFTER_ERROR_SECONDS
        self._timer = asyncio.get_running_loop().call_at(next_at, self._advance) if next_at < math.inf else None

    def _start(self, request: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(request)
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    async def _ask(self, most: int) -> None:
        async with self._request("received"):
            asked_at = _now()
            try:
                messages = await self._queue.receive(most, self._permits.lease_seconds)
            except QueueMissing:
                await self._queue.create(self._permits.number)
                messages = []
            permits = self._permits.received(messages, asked_at, _now())
            if {permit.resource for permit in permits} - {"", self._resource}:
                self._warn_hourly(
                    "the permits in queue %s are also used by an app that calls another resource, so that both share "
                    "one limit: give one of the two apps another PERMITS_QUEUE",
                    self._queue.name,
                )

    async def _put_back(self, permit: Permit, unseen_seconds: int) -> None:
        permit.resource = self._resource
        permit.refused_at = min(permit.refused_at, int(time.time()))  # whoever wrote a later time wrote what cannot be
        async with self._request("put back"):
            with suppress(MessageLost):
                await self._queue.put_back(permit.message, permit.text, unseen_seconds)  # type: ignore[arg-type]
                self._permits.gone_back(permit, unseen_seconds, _now())

    @asynccontextmanager
    async def _request(self, what: str) -> AsyncIterator[None]:
        """However a request fails, the next one follows: no call goes without a permit."""
        try:
            yield
        except (Exception, asyncio.CancelledError) as error:  # a library may cancel what it waits for itself
            if self._is_closed:
                raise
            if not isinstance(error, StorageTrouble):
                log.exception("a permit could not be %s, for a reason that nobody foresaw", what)
            now = _now()
            self._permits.failed(now)
            seconds = now - self._failing_since.setdefault(what, now)
            if seconds >= FAILING_SECONDS:
                self._warn_hourly(
                    f"for %d s permits could not be {what}, and no call is made without one: %s. If storage refuses "
                    "the app, give it the role Storage Queue Data Contributor on that queue",
                    seconds, one_line(error),
                )  # fmt: skip
        else:
            self._failing_since.pop(what, None)
        self._advance()
        self.on_change()

    def _warn_hourly(self, text: str, *args: object) -> None:
        if _now() - self._warned_at.get(text, -math.inf) >= WARN_AGAIN_SECONDS:
            self._warned_at[text] = _now()
            log.warning(text, *args)


def _now() -> float:
    return asyncio.get_running_loop().time()
