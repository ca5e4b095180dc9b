"""Many callers, one call: each gives a few images and waits for their outcomes, which come back from full batches.

`Backlog` decides what goes next, `Admission` when, and `failure_policy` what a failed call means; this module joins
them to a `send` coroutine and to the callers who wait. It knows nothing of HTTP, queues or Azure.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from shared.batching.backlog import Backlog
from shared.batching.failure_policy import AfterFailure, after_failure
from shared.batching.items import Waiter
from shared.batching.message_memory import MessageMemory
from shared.batching.outcomes import Applied, ImageOutcome, NotApplied
from shared.errors import AccessDenied, ApiError, MaxWaitExceeded, Unavailable
from shared.text import one_line

if TYPE_CHECKING:
    from shared.batching.items import Batch, Most
    from shared.limits.admission import Admission, Admitted

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

Send = Callable[[K, Sequence[str]], Awaitable[Mapping[str, ImageOutcome]]]
"""Makes one call: the key that the updates share, and 1 to `batch_size` distinct images. Returns the outcome of each
image. Raises `ApiError`."""

Around = Callable[[int, float, Sequence[Any]], AbstractContextManager[Any]]
"""Told of a call before it is made: how many images it has, for how many seconds the oldest has waited, and the tags of
the callers whose images they are. What it returns is entered around the call, and left with the error if it failed."""

_UNOBSERVED: AbstractContextManager[None] = nullcontext()

MAX_FAILED_CALLS = 3
"""So often an image may be in a call that the service failed to answer while it answered others. From then on it is
suspected: an image that makes the service stumble would otherwise hold up its neighbours again and again."""


class Batcher(Generic[K]):
    """Collects the updates of concurrent callers into batches.

    Args:
        send: makes one call.
        admission: says when a call may go.
        scope_of: what a call of this key is about, as far as trouble with it need not be trouble with others; the words
            stand in the log.
        batch_size: images in a call at most (Custom Vision: 64).
        linger_seconds: how long an update waits for others to fill its batch while the API is idle.
        max_wait_seconds: how long an update waits for its outcome at most.
        starvation_seconds: how long an update may be passed over in favour of fuller batches; up to as long again if
            others of its key were served meanwhile.
        max_in_flight: calls on the wire at most; fewer than the connections that `send` has.
        around: is told of each call, for whoever measures or traces them.
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
        around: Around | None = None,
    ) -> None:
        self._send = send
        self._around = around
        self._admission = admission
        self._scope_of = scope_of
        self._memory = MessageMemory()
        self._backlog = Backlog(
            self._memory, batch_size=batch_size, linger=linger_seconds, starvation=starvation_seconds
        )
        self._batch_size = batch_size
        self._max_wait_seconds = max_wait_seconds
        self._max_in_flight = max_in_flight
        admission.on_change = self._on_change
        self._waiters: dict[Waiter, None] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._expiry: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """How many images wait or are on the wire. Nothing is left of a caller who has gone."""
        return len(self._backlog)

    async def submit(
        self, key: K, image_ids: Sequence[str], tag: Any = None, message_id: str | None = None
    ) -> Mapping[str, NotApplied]:
        """Update these images, at least one. Returns the outcomes of those that were not applied: empty if all were.

        `tag` is what the calls know this caller by, see `Around`. Of a message with an id only those images are sent
        that it still lacks, until `forget`.

        A caller that is cancelled leaves nothing behind, except that a call already on the wire ends by itself.

        Raises `MaxWaitExceeded` where the outcome is not known within `max_wait_seconds`, whatever `send` raised that
        is no `ApiError`, and `ValueError` if there is no image.
        """
        if not image_ids:
            raise ValueError("an update has at least one image")
        waiter = self._begin(key, image_ids, tag, message_id)
        try:
            if not waiter.is_done:
                await waiter.woken
            return waiter.result()
        finally:
            del self._waiters[waiter]
            self._backlog.leave(waiter, comes_back=waiter.error is not None)
            self._memory.leave(waiter.message)

    def forget(self, message_id: str) -> None:
        """Take note that a message is done with, so that it does not come back."""
        self._memory.forget(message_id)

    def _begin(self, key: K, image_ids: Sequence[str], tag: Any, message_id: str | None) -> Waiter:
        loop = asyncio.get_running_loop()
        now = loop.time()
        message = self._memory.begin(message_id, image_ids)
        waiter = Waiter(loop.create_future(), now + self._max_wait_seconds, message, tag)
        self._waiters[waiter] = None
        if self._expiry is None:
            self._expiry = loop.call_at(waiter.expires_at, self._expire, loop)
        lacking = [image_id for image_id in image_ids if image_id in message.lacking]
        if self._backlog.add(key, lacking, waiter, now):
            self._advance(loop)
        return waiter

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        """Send those away who have waited too long, and come back for the next."""
        self._expiry = None
        for waiter in self._waiters:  # the longest wait first
            if waiter.expires_at > loop.time():
                self._expiry = loop.call_at(waiter.expires_at, self._expire, loop)
                return
            if not waiter.is_done:
                waited = f"no outcome within {self._max_wait_seconds:g} s; it will be delivered again"
                waiter.fail(MaxWaitExceeded(waited))

    async def aclose(self) -> None:
        """Cancel the calls on the wire and make no more. Those who wait do not learn of it: cancel them first."""
        self._max_in_flight = 0
        for timer in (self._timer, self._expiry):
            if timer is not None:
                timer.cancel()
        calls = list(self._calls)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await self._admission.aclose()

    def _on_change(self) -> None:
        """The admission has changed its mind about when the next call may go."""
        self._advance(asyncio.get_running_loop())

    def _advance(self, loop: asyncio.AbstractEventLoop) -> None:
        """Send what may be sent now, say how much is left, and set the timer for when to see again."""
        now = loop.time()

        def most(key: Hashable, is_witness: bool) -> int:
            return self._most(key, now, is_witness=is_witness)  # type: ignore[arg-type]

        self._send_ready(loop, now, most)
        self._admission.want(self._backlog.count_calls(most) if self._max_in_flight else 0, now)

    def _send_ready(self, loop: asyncio.AbstractEventLoop, now: float, most: Most) -> None:
        while self._backlog.has_ready(now, most):
            if len(self._calls) >= self._max_in_flight:
                return  # the end of a call comes here again
            ready_at = self._admission.ready_at(now)
            if ready_at > now:
                self._come_back_at(ready_at, loop)
                return
            batch = self._backlog.take(now, most)
            if batch is not None:
                self._dispatch(batch, loop, now)
        self._come_back_at(min(self._backlog.next_due(now), self._admission.next_probe_at(now)), loop)

    def _most(self, key: K, now: float, *, is_witness: bool) -> int:
        """How many images of this key may go in a call: one as a probe, none while its scope is suspended."""
        scope = self._scope_of(key)
        if not self._admission.admits(scope, now, is_witness=is_witness):
            return 0
        return 1 if self._admission.is_suspended(scope) else self._batch_size

    def _come_back_at(self, when: float, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            if self._timer.when() == when:
                return
            self._timer.cancel()
            self._timer = None
        if when < float("inf"):  # else a probe is out, whose end comes here again
            self._timer = loop.call_at(when, self._on_timer, loop)

    def _on_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        self._advance(loop)

    def _dispatch(self, batch: Batch, loop: asyncio.AbstractEventLoop, now: float) -> None:
        scope = self._scope_of(batch.key)  # type: ignore[arg-type]
        admitted = self._admission.admit(now, scope, is_witness=batch.is_witness)
        call = loop.create_task(self._call(batch, admitted))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        call.add_done_callback(lambda _: self._advance(loop))

    async def _call(self, batch: Batch, admitted: Admitted) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            with self._observed(batch, began):
                outcomes = await self._send(batch.key, batch.image_ids)  # type: ignore[arg-type]
        except asyncio.CancelledError:
            self._admission.withdraw(admitted)
            self._backlog.put_back(batch)
            raise
        except Exception as error:
            self._report_failure(batch, admitted, error, loop.time())
        else:
            self._admission.report(admitted, None, loop.time())
            self._log(batch, outcomes, loop.time() - began)
            self._backlog.answer(batch, outcomes)

    def _observed(self, batch: Batch, now: float) -> AbstractContextManager[Any]:
        if self._around is None:
            return _UNOBSERVED
        return self._around(len(batch.items), now - min(item.arrived for item in batch.items), batch.tags)

    def _report_failure(self, batch: Batch, admitted: Admitted, error: Exception, now: float) -> None:
        if isinstance(error, ApiError):
            self._admission.report(admitted, error, now)
        else:
            self._admission.withdraw(admitted)
            log.error("unexpected error in a call: %s: %s", type(error).__name__, one_line(error))
        is_witness = batch.is_witness
        if isinstance(error, Unavailable | AccessDenied):
            for item in batch.items:
                item.failed_calls += 1
        after = after_failure(
            error,
            of_one_message=batch.is_of_one_message,
            is_suspended=self._admission.is_suspended(self._scope_of(batch.key)),  # type: ignore[arg-type]
            is_witness=is_witness,
            failed_too_often=any(item.failed_calls >= MAX_FAILED_CALLS for item in batch.items),
        )
        match after:
            case AfterFailure.SEND_AGAIN:
                self._backlog.put_back(batch)
            case AfterFailure.ACCUSE:
                self._backlog.accuse(batch)
            case AfterFailure.BISECT:
                self._backlog.bisect(batch, is_witness=is_witness and not isinstance(error, Unavailable))
            case outcome:
                self._backlog.fail(batch, outcome)

    def _log(self, batch: Batch, outcomes: Mapping[str, ImageOutcome], seconds: float) -> None:
        applied = sum(isinstance(outcomes.get(image_id), Applied) for image_id in batch.image_ids)
        scope = one_line(self._scope_of(batch.key))  # type: ignore[arg-type]
        log.info("%d of %d images applied in %.2f s (%s)", applied, len(batch.items), seconds, scope)
