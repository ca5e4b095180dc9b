"""The permits of a shared limit: a queue, and this instance's part in it.

What permits are and when they are asked for, used and put back says `shared.limits.rate_limit_shared`.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from shared.errors import QueueMissing, StorageTrouble

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from shared.limits.rate_limit_shared import Permit, Permits
    from shared.services.queues import PermitQueue

log = logging.getLogger(__name__)


class SharedLimit:
    """The limiter of an instance that shares its limit: asks for permits while calls wait, and puts them back.

    It has no task of its own: a timer and the end of each request say what to do next. `on_change` is called when the
    next call may go at another time.
    """

    def __init__(self, permits: Permits, queue: PermitQueue) -> None:
        self._permits = permits
        self._queue = queue
        self._requests: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self.on_change: Callable[[], None] = lambda: None

    @property
    def share(self) -> float:
        """The part of the limit that this instance holds, from 0 to 1."""
        return self._permits.share

    def want(self, calls: int, now: float) -> None:
        """Be told how many calls wait to be made."""
        self._permits.want(calls, now)
        self._advance()

    def ready_at(self, now: float) -> float:
        """When the next call may go; infinity while there is no permit for it."""
        return self._permits.ready_at(now)

    def take(self, now: float) -> Permit | None:
        """Make a call now. Raises `RuntimeError` before `ready_at`."""
        permit = self._permits.take(now)
        self._advance()
        return permit

    def succeeded(self, permit: Permit | None) -> None:
        """The call was not refused for coming too early."""
        self._permits.succeeded(permit)

    def limited(self, permit: Permit | None, retry_after_seconds: float | None, now: float) -> None:
        """The call was answered 429."""
        self._permits.limited(permit, retry_after_seconds, now)
        self._advance()

    async def aclose(self) -> None:
        """Make no more requests. What is held is free for others when its leases end."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        requests = list(self._requests)
        for request in requests:
            request.cancel()
        await asyncio.gather(*requests, return_exceptions=True)

    def _advance(self) -> None:
        """Do what is to be done now, and come back when there is more."""
        if self._is_closed:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        for permit, unseen_seconds in self._permits.leaving(now):
            self._start(partial(self._put_back, permit, unseen_seconds), loop)
        if most := self._permits.to_ask(now):
            self._start(partial(self._ask, most), loop)
        self._come_back_at(self._permits.next_step_at(now), loop)

    def _come_back_at(self, when: float, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            if self._timer.when() == when and not self._timer.cancelled():
                return
            self._timer.cancel()
        self._timer = loop.call_at(when, self._on_timer) if when < float("inf") else None

    def _on_timer(self) -> None:
        self._timer = None
        self._advance()

    def _start(self, request: Callable[[], Awaitable[None]], loop: asyncio.AbstractEventLoop) -> None:
        task = loop.create_task(self._run(request, loop))
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    async def _run(self, request: Callable[[], Awaitable[None]], loop: asyncio.AbstractEventLoop) -> None:
        """Make a request. However it fails, the next one follows: whoever waits for a permit has nobody else to ask."""
        try:
            await request()
        except StorageTrouble:
            self._permits.failed(loop.time())
        except Exception:
            log.exception("a request for permits failed in a way that nobody foresaw")
            self._permits.failed(loop.time())
        self._advance()
        self.on_change()

    async def _ask(self, most: int) -> None:
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        try:
            messages = await self._queue.receive(most, self._permits.lease_seconds)
        except QueueMissing:
            await self._queue.create(self._permits.number)
            messages = []
        self._permits.received(messages, asked_at, loop.time())

    async def _put_back(self, permit: Permit, unseen_seconds: int) -> None:
        if await self._queue.put_back(permit.message, permit.text, unseen_seconds):  # type: ignore[arg-type]
            self._permits.gone_back(permit, unseen_seconds, asyncio.get_running_loop().time())
