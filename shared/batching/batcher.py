"""Lets many callers share few calls: each gives a few images and waits for the outcome of each.

`Backlog` decides what goes next, `Admission` when, and `failed_calls` what a failed call means. This module joins them
to the coroutine that makes the calls and to the callers who wait.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Generic, TypeVar

from shared.batching.backlog import Backlog
from shared.batching.batch_timing import Partitions
from shared.batching.failed_calls import after_failure
from shared.batching.items import Batch, Waiter
from shared.batching.message_memory import MessageMemory
from shared.batching.outcome_types import Applied, ImageOutcome, NotApplied
from shared.errors import MaxWaitExceeded
from shared.limits.admission import Admission, Admitted
from shared.text import one_line

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

Send = Callable[[K, Sequence[str]], Awaitable[Mapping[str, ImageOutcome]]]
"""Makes one call, with what the updates share and their images. Returns each image's outcome. Raises `ApiError`."""

Around = Callable[[int, float, Sequence[Any]], AbstractContextManager[Any]]
"""Measures a call: with how many images, for how many seconds the oldest has waited, and the tags of its callers."""


class Batcher(Generic[K]):
    """Collects the updates of concurrent callers into batches.

    Args:
        scope_of: what calls of this key have trouble with in common, such as a project; in the words of the log.
        linger_seconds: how long an update waits for others to fill its batch while the API is idle.
        starvation_seconds: how long an update may be passed over in favour of fuller batches; up to as long again if
            others of its key were served meanwhile.
        max_in_flight: calls on the wire at most; fewer than the connections that `send` has.
        left_of: what is left of an older update of an image once a newer one is applied; None if nothing is.
    """

    def __init__(
        self,
        send: Send[K],
        admission: Admission,
        *,
        scope_of: Callable[[K], Hashable],
        batch_size: int,
        linger_seconds: float,
        max_wait_seconds: float,
        starvation_seconds: float,
        max_in_flight: int,
        around: Around = lambda *_: nullcontext(),
        left_of: Callable[[K, K], K | None] = lambda _older, _newer: None,
    ) -> None:
        self._send = send
        self._around = around
        self._admission = admission
        self._scope_of: Callable[[Any], Hashable] = scope_of
        self._memory = MessageMemory(left_of)
        self._partitions = Partitions(batch_size, linger_seconds, starvation_seconds)
        self._backlog = Backlog(self._memory, self._partitions)
        self._batch_size = batch_size
        self._max_wait_seconds = max_wait_seconds
        self._max_in_flight = max_in_flight
        self._calls: dict[asyncio.Task[None], Batch] = {}
        self._timer: asyncio.TimerHandle | None = None
        admission.on_change = self._advance

    def __len__(self) -> int:
        """How many images wait or are on the wire."""
        return len(self._backlog)

    async def submit(
        self, key: K, image_ids: Sequence[str], tag: Any = None, message_id: str | None = None
    ) -> Mapping[str, NotApplied]:
        """Update these images, at least one. Returns the outcomes of those that were not applied.

        Of a message with an id only those images are sent that it still lacks, until `forget`. A caller that is
        cancelled leaves nothing behind, except that a call already on the wire ends by itself.

        Raises `MaxWaitExceeded`, whatever `send` raised that is no `ApiError`, and `ValueError` if there is no image.
        """
        if not image_ids:
            raise ValueError("an update has at least one image")
        loop = asyncio.get_running_loop()
        message = self._memory.begin(message_id, key, image_ids)
        waiter = Waiter(loop.create_future(), message, tag)
        timer = loop.call_later(self._max_wait_seconds, self._give_up, waiter)
        try:
            if self._backlog.add(waiter, loop.time()):
                self._advance()
            if waiter.items:
                await waiter.woken
            return waiter.result()
        finally:
            timer.cancel()
            self._backlog.leave(waiter, comes_back=waiter.error is not None)
            self._memory.leave(message)

    def forget(self, message_id: str) -> None:
        """Take note that a message is done with, so that it does not come back."""
        self._memory.forget(message_id)

    async def aclose(self) -> None:
        """Cancel the calls on the wire and make no more. Those who wait do not learn of it: cancel them first."""
        self._max_in_flight = 0
        if self._timer is not None:
            self._timer.cancel()
        calls = list(self._calls)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await self._admission.aclose()

    def _give_up(self, waiter: Waiter) -> None:
        waited = f"no outcome within {self._max_wait_seconds:g} s; it will be delivered again"
        waiter.end(MaxWaitExceeded(waited))

    def _advance(self) -> None:
        """Make the calls that may be made now, say how many are left, and come back when more may be."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        breakers = self._admission.breakers

        def most(key: Hashable, is_witness: bool) -> int:
            scope = self._scope_of(key)
            if breakers.ready_at(scope, is_witness=is_witness) > now:
                return 0
            return 1 if breakers.is_suspended(scope) else self._batch_size

        while (ready_at := self._admission.ready_at(now)) <= now and len(self._calls) < self._max_in_flight:
            batch = self._backlog.next_batch(now, most)
            if batch is None:
                break
            admitted = self._admission.admit(now, self._scope_of(batch.key), is_witness=batch.is_witness)
            call = loop.create_task(self._call(batch, admitted))
            self._calls[call] = batch
            call.add_done_callback(self._ended)
        if self._timer is not None:
            self._timer.cancel()
        # The end of a call comes here again, and so does a change of the admission.
        times = (ready_at, self._partitions.next_due(now), breakers.next_at(now))
        next_at = min(at for at in times if at > now)
        self._timer = loop.call_at(next_at, self._advance) if next_at < math.inf else None
        calls = self._backlog.count_calls(most, self._calls.values())
        self._admission.want(calls if self._max_in_flight else 0, now)

    def _ended(self, call: asyncio.Task[None]) -> None:
        """Go on after a call, even if it broke our own code: nobody shall wait for it for ever."""
        batch = self._calls.pop(call)
        if not call.cancelled() and (bug := call.exception()) is not None:
            log.error("the end of a call broke the batcher", exc_info=bug)
            self._backlog.fail(batch, RuntimeError(f"the batcher broke: {type(bug).__name__}"))
        self._advance()

    async def _call(self, batch: Batch, admitted: Admitted) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        oldest = min(item.arrived for item in batch.items)
        try:
            with self._around(len(batch.items), began - oldest, batch.tags):
                outcomes = await self._send(batch.key, batch.image_ids)  # type: ignore[arg-type]
        except asyncio.CancelledError as cancelled:
            self._admission.report(admitted, cancelled, loop.time())
            self._backlog.wait_again(batch)
            raise
        except Exception as error:
            self._admission.report(admitted, error, loop.time())
            is_suspended = self._admission.breakers.is_suspended(self._scope_of(batch.key))
            after_failure(self._backlog, batch, error, is_suspended=is_suspended)
        else:
            self._admission.report(admitted, None, loop.time())
            applied = sum(isinstance(outcomes.get(image_id), Applied) for image_id in batch.image_ids)
            scope = one_line(self._scope_of(batch.key))
            log.info("%d of %d images applied in %.2f s (%s)", applied, len(batch.items), loop.time() - began, scope)
            self._backlog.take_outcomes(batch, outcomes)
