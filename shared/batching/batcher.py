"""Many callers, one call: each gives a few images and waits for their outcomes, which come back from full batches.

`Backlog` decides what goes next, `Admission` when, and `failure_policy` what a failed call means; this module joins
them to a `send` coroutine and to the callers who wait. It knows nothing of HTTP, queues or Azure.

What has to be logged is logged by a caller who waits, not by the task of a call or by a timer: the Functions host drops
what no running invocation has logged.
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
from shared.batching.outcomes import Applied, ImageOutcome, NotApplied, Retry
from shared.errors import ApiError, MaxWaitExceeded, Unavailable
from shared.limits.circuit_breaker import Notice
from shared.text import one_line

if TYPE_CHECKING:
    from shared.batching.backlog import Most
    from shared.batching.items import Batch
    from shared.limits.admission import Admission, Admitted

K = TypeVar("K", bound=Hashable)

Send = Callable[[K, Sequence[str]], Awaitable[Mapping[str, ImageOutcome]]]
"""Makes one call: the key that the updates share, and 1 to `batch_size` distinct images. Returns the outcome of each
image. Raises `ApiError`."""

Around = Callable[[int, float, Sequence[Any]], AbstractContextManager[Any]]
"""Told of a call before it is made: how many images it has, for how many seconds the oldest has waited, and the tags of
the callers whose images they are. What it returns is entered around the call, and left with the error if it failed."""

_UNOBSERVED: AbstractContextManager[None] = nullcontext()

MAX_FAILED_ATTEMPTS = 3
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
        self._backlog = Backlog(batch_size=batch_size, linger=linger_seconds, starvation=starvation_seconds)
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

    async def submit(self, key: K, image_ids: Sequence[str], tag: Any = None) -> Mapping[str, NotApplied]:
        """Update these images, at least one. Returns the outcomes of those that were not applied: empty if all were.

        `tag` is what the calls know this caller by, see `Around`.

        A caller that is cancelled leaves nothing behind, except that a call already on the wire ends by itself.

        Raises `MaxWaitExceeded` where the outcome is not known within `max_wait_seconds`, whatever `send` raised that
        is no `ApiError`, and `ValueError` if there is no image.
        """
        if not image_ids:
            raise ValueError("an update has at least one image")
        waiter = self._begin(key, image_ids, tag)
        del key  # thousands wait at the same time, mostly for the same few keys, of which the backlog keeps one each
        try:
            while not waiter.is_done:
                await waiter.woken
                waiter.log_notices()
            return waiter.result()
        finally:
            del self._waiters[waiter]
            self._backlog.leave(waiter, comes_back=waiter.error is not None)

    def wake(self) -> None:
        """See what may be sent now: somebody else has made a call under the same admission."""
        self._advance(asyncio.get_running_loop())

    def _begin(self, key: K, image_ids: Sequence[str], tag: Any) -> Waiter:
        loop = asyncio.get_running_loop()
        now = loop.time()
        waiter = Waiter(loop.create_future(), now + self._max_wait_seconds, tag)
        self._waiters[waiter] = None
        if self._expiry is None:
            self._expiry = loop.call_at(waiter.expires_at, self._expire, loop)
        if self._backlog.add(key, image_ids, waiter, now):
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

        def most(key: Hashable) -> int:
            return self._most(key, now)  # type: ignore[arg-type]

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
        due = self._backlog.next_due()
        self._come_back_at(min(float("inf") if due is None else due, self._admission.next_scope_at(now)), loop)

    def _most(self, key: K, now: float) -> int:
        """How many images of this key may go in a call: one as a probe, none while its scope is suspended."""
        scope = self._scope_of(key)
        if not self._admission.admits(scope, now):
            return 0
        return 1 if self._admission.next_is_probe(scope) else self._batch_size

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
        admitted = self._admission.admit(now, self._scope_of(batch.key))  # type: ignore[arg-type]
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
            notice = self._admission.report(admitted, None, loop.time())
            self._let_log(batch, notice)
            self._let_log(batch, self._summary(batch, outcomes, loop.time() - began))
            for item in batch.items:
                outcome = outcomes.get(item.image_id) or Retry("missing from the answer")
                self._backlog.settle(item, outcome, answered=True)

    def _observed(self, batch: Batch, now: float) -> AbstractContextManager[Any]:
        if self._around is None:
            return _UNOBSERVED
        return self._around(len(batch.items), now - min(item.arrived for item in batch.items), batch.tags)

    def _report_failure(self, batch: Batch, admitted: Admitted, error: Exception, now: float) -> None:
        if isinstance(error, ApiError):
            self._let_log(batch, self._admission.report(admitted, error, now))
        else:
            self._admission.withdraw(admitted)
            text = f"unexpected error in a call: {type(error).__name__}: {one_line(error)}"
            self._let_log(batch, Notice(logging.ERROR, text))
        failed_too_often = isinstance(error, Unavailable) and _count_failure(batch, admitted)
        match after_failure(error, of_one_message=batch.is_of_one_message, failed_too_often=failed_too_often):
            case AfterFailure.SEND_AGAIN:
                self._backlog.put_back(batch)
            case AfterFailure.BISECT:
                self._backlog.bisect(batch)
            case outcome:
                for item in batch.items:
                    self._backlog.settle(item, outcome, answered=False)

    def _summary(self, batch: Batch, outcomes: Mapping[str, ImageOutcome], seconds: float) -> Notice:
        applied = sum(isinstance(outcomes.get(image_id), Applied) for image_id in batch.image_ids)
        scope = one_line(self._scope_of(batch.key))  # type: ignore[arg-type]
        return Notice(logging.INFO, f"{applied} of {len(batch.items)} images applied in {seconds:.2f} s ({scope})")

    def _let_log(self, batch: Batch, notice: Notice | None) -> None:
        """Have a caller log this: one of the batch, else any, else nobody is there to read it."""
        if notice is None:
            return
        concerned = (waiter for item in batch.items for waiter in item.waiters)
        waiter = next(concerned, None) or next(iter(self._waiters), None)
        if waiter is None:
            notice.log()
        else:
            waiter.notify(notice)


def _count_failure(batch: Batch, admitted: Admitted) -> bool:
    """Count a failed call against its images, unless it was a probe: then the service is to blame, not they."""
    if admitted.is_probe:
        return False
    for item in batch.items:
        item.failed_attempts += 1
    return any(item.failed_attempts >= MAX_FAILED_ATTEMPTS for item in batch.items)
