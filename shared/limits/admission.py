"""When the next call to one API may go: what the gate and the pace say together.

Every call of this process to one API takes its leave here and reports its answer here. An outage is logged here once
when it starts and once when it ends, however many messages wait for it, and once more if it turns out that the
operator has to do something about it.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from shared.errors import AccessRefused, ApiError, RateLimited
from shared.gate import Change, Gate, Pass, closes
from shared.text import shown

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.pace import Pace

log = logging.getLogger(__name__)


class Admission:
    """One API's gate and pace. Times are seconds of the event loop's clock.

    Synchronous callers, who choose what to send at the moment when they may, use `ready_at`, `take` and `report`.
    Others write `async with admission.turn():` around their call.
    """

    def __init__(self, api: str, pace: Pace, gate: Gate) -> None:
        self._api = api
        self._pace = pace
        self._gate = gate
        self._reported = asyncio.Event()
        self._line = asyncio.Lock()
        self._access_told = False

    def ready_at(self, now: float) -> float:
        """The earliest time at which a call may go: `now` or before if at once, infinity while a probe is out."""
        return max(self._gate.ready_at(now), self._pace.ready_at(now))

    def next_is_probe(self) -> bool:
        """Whether the next call tries a closed gate."""
        return self._gate.closed_at is not None

    def take(self, now: float) -> Pass:
        """Take leave for one call that goes now. Raises `RuntimeError` before `ready_at`."""
        leave = self._gate.take(now)
        self._pace.take(now)
        return leave

    def report(self, leave: Pass, error: ApiError | None, now: float) -> None:
        """Take note of how a call was answered: by `error`, or well."""
        if isinstance(error, RateLimited):
            self._pace.limited(now, error.retry_after_seconds)
        elif not closes(error):
            self._pace.succeeded(now)
        closed_at = self._gate.closed_at
        change = self._gate.report(leave, error, now)
        self._reported.set()
        if change is Change.OPENED and closed_at is not None:
            log.warning("%s: calls are resumed after %.1f s", self._api, now - closed_at)
            self._access_told = False
        elif isinstance(error, AccessRefused) and not self._access_told and self._gate.closed_at is not None:
            log.error("%s: calls are suspended: %s", self._api, shown(error))
            self._access_told = True
        elif change is Change.CLOSED:
            log.warning("%s: calls are suspended: %s", self._api, shown(error))

    def give_back(self, leave: Pass) -> None:
        """Take note that a call ended without an answer that tells anything, say because it was cancelled."""
        self._gate.give_back(leave)
        self._reported.set()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until one call may go, and report what the body of the `async with` makes of it."""
        loop = asyncio.get_running_loop()
        async with self._line:
            await self._until_ready(loop)
            leave = self.take(loop.time())
        try:
            yield
        except ApiError as error:
            self.report(leave, error, loop.time())
            raise
        except BaseException:
            self.give_back(leave)
            raise
        self.report(leave, None, loop.time())

    async def _until_ready(self, loop: asyncio.AbstractEventLoop) -> None:
        while (wait := self.ready_at(loop.time()) - loop.time()) > 0:
            self._reported.clear()
            try:
                async with asyncio.timeout(None if wait == float("inf") else wait):
                    await self._reported.wait()
            except TimeoutError:
                continue
