"""Many callers, one call: each gives a few images and waits for their outcomes, which come back from full batches.

`Backlog` decides what goes next and `Admission` when; this module joins them to a `send` coroutine and to the callers
who wait. It knows nothing of HTTP, queues or Azure. What an error of `send` means for the callers behind it is in
`_settle`.

No caller has a task or a timer here. Two timers at most are pending: for the moment when the next batch may go, and
for the end of the longest wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Generic, TypeVar

from shared.backlog import Backlog, Batch, Item
from shared.errors import (
    AccessRefused,
    ApiError,
    BatchRefused,
    HoldExpired,
    RateLimited,
    SuspectRefused,
    Unavailable,
)
from shared.ids import ImageId
from shared.outcomes import ImageOutcome, NotApplied, Refused, TryAgain
from shared.text import shown

if TYPE_CHECKING:
    from shared.admission import Admission
    from shared.gate import Pass

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

Send = Callable[[K, Sequence[ImageId]], Awaitable[Mapping[ImageId, ImageOutcome]]]
"""Makes one call: the key that the updates share, and 1 to `batch_size` distinct images. Returns the outcome of each
image. Raises `ApiError`."""

STRIKES = 3
"""So often an image may be in a call that the service failed to answer while it answered others. From then on it is
suspected: an image that makes the service stumble would otherwise hold up its neighbours again and again."""


NOTHING: Mapping[ImageId, NotApplied] = MappingProxyType({})


class _Waiting(asyncio.Future[Mapping[ImageId, NotApplied]]):
    """An update, and the future that its caller awaits, in one object: thousands of them wait at the same time."""

    __slots__ = ("_done", "_left", "expires_at", "items", "not_applied", "pending")

    def __init__(
        self,
        done: Callable[[_Waiting], object],
        left: Callable[[_Waiting], object],
        expires_at: float,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(loop=loop)
        self._done = done
        self._left = left
        self.expires_at = expires_at
        self.items: tuple[Item, ...] = ()
        self.pending = 0
        self.not_applied: dict[ImageId, NotApplied] | None = None

    def cancel(self, msg: object = None) -> bool:
        """Leave the batcher: the caller was cancelled."""
        if not self.done():
            self._left(self)
        return super().cancel(msg)

    def complete(self) -> None:
        """Every image has its outcome."""
        self._done(self)
        self.set_result(self.not_applied or NOTHING)

    def fail(self, error: Exception) -> None:
        """Leave the batcher with an error."""
        self._left(self)
        self.set_exception(error)


class Batcher(Generic[K]):
    """Collects the updates of concurrent callers into batches.

    Args:
        send: makes one call.
        admission: says when a call may go.
        batch_size: images in a call at most (Custom Vision: 64).
        linger_seconds: how long an update waits for others to fill its batch while the API is idle.
        hold_seconds: how long an update waits for its outcome at most.
        starvation_seconds: how long an update may be passed over in favour of fuller batches; up to as long again if
            others of its key were served meanwhile.
        max_in_flight: calls on the wire at most; fewer than the connections that `send` has.
    """

    def __init__(
        self,
        send: Send[K],
        admission: Admission,
        *,
        batch_size: int,
        linger_seconds: float,
        hold_seconds: float,
        starvation_seconds: float,
        max_in_flight: int,
    ) -> None:
        self._send = send
        self._admission = admission
        self._backlog: Backlog[K] = Backlog(batch_size=batch_size, linger=linger_seconds, starvation=starvation_seconds)
        self._hold_seconds = hold_seconds
        self._max_in_flight = max_in_flight
        self._calls: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: dict[_Waiting, None] = {}  # the longest wait first
        self._hold_timer: asyncio.TimerHandle | None = None
        self._done, self._left = self._forget, self._leave  # bound once, not once per update

    def __len__(self) -> int:
        """How many images wait or are on the wire. Nothing is left of a caller who has gone."""
        return len(self._backlog)

    def submit(self, key: K, image_ids: Sequence[ImageId]) -> asyncio.Future[Mapping[ImageId, NotApplied]]:
        """Update these images, at least one. Await the outcomes of those that were not applied: empty if all were.

        A caller that is cancelled leaves nothing behind, except that a call already on the wire ends by itself.

        The future ends with `HoldExpired` where the outcome is not known within `hold_seconds`, and with whatever
        `send` raised that is no `ApiError`. Raises `ValueError` if there is no image.
        """
        if not image_ids:
            raise ValueError("an update has at least one image")
        loop = asyncio.get_running_loop()
        now = loop.time()
        update = _Waiting(self._done, self._left, now + self._hold_seconds, loop)
        self._waiting[update] = None
        if self._hold_timer is None:
            self._hold_timer = loop.call_at(update.expires_at, self._expire, loop)
        if self._backlog.add(key, image_ids, update, now):
            self._advance(loop)
        return update

    def _forget(self, update: _Waiting) -> None:
        del self._waiting[update]

    def _leave(self, update: _Waiting) -> None:
        del self._waiting[update]
        self._backlog.remove(update)

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        """Send those away who have waited too long, and come back for the next."""
        self._hold_timer = None
        while self._waiting:
            oldest = next(iter(self._waiting))
            if oldest.expires_at > loop.time():
                self._hold_timer = loop.call_at(oldest.expires_at, self._expire, loop)
                return
            oldest.fail(HoldExpired(f"no outcome within {self._hold_seconds:g} s; it will be delivered again"))

    async def aclose(self) -> None:
        """Cancel the calls on the wire and make no more. Those who wait are not told: cancel them first."""
        self._max_in_flight = 0
        for timer in (self._timer, self._hold_timer):
            if timer is not None:
                timer.cancel()
        calls = list(self._calls)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    def _advance(self, loop: asyncio.AbstractEventLoop) -> None:
        """Send what may be sent now, and set the timer for when to look again."""
        now = loop.time()
        while self._backlog.has_ready(now):
            if len(self._calls) >= self._max_in_flight:
                return  # the end of a call looks again
            ready_at = self._admission.ready_at(now)
            if ready_at > now:
                self._look_again_at(ready_at, loop)
                return
            self._dispatch(loop, now)
        due = self._backlog.next_due()
        if due is not None:
            self._look_again_at(due, loop)

    def _look_again_at(self, when: float, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            if self._timer.when() == when:
                return
            self._timer.cancel()
            self._timer = None
        if when < float("inf"):  # else a probe is out, whose end looks again
            self._timer = loop.call_at(when, self._on_timer, loop)

    def _on_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        self._advance(loop)

    def _dispatch(self, loop: asyncio.AbstractEventLoop, now: float) -> None:
        probe = self._admission.next_is_probe()
        batch = self._backlog.take_probe(now) if probe else self._backlog.take(now)
        if batch is None:
            return
        leave = self._admission.take(now)
        call = loop.create_task(self._call(batch, leave))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        call.add_done_callback(lambda _: self._advance(loop))

    async def _call(self, batch: Batch, leave: Pass) -> None:
        loop = asyncio.get_running_loop()
        try:
            outcomes = await self._send(batch.lane.key, batch.image_ids)  # type: ignore[arg-type]
        except ApiError as error:
            self._admission.report(leave, error, loop.time())
            self._settle(batch, leave, error)
        except asyncio.CancelledError:
            self._admission.give_back(leave)
            self._backlog.put_back(batch)
            raise
        except Exception as error:
            self._admission.give_back(leave)
            self._settle(batch, leave, error)
        else:
            self._admission.report(leave, None, loop.time())
            for item in batch.items:
                self._backlog.settle(item, outcomes.get(item.image_id) or TryAgain("missing from the answer"))

    def _settle(self, batch: Batch, leave: Pass, error: Exception) -> None:
        """What a call's error means for the updates that shared it."""
        match error:
            case BatchRefused():
                self._give_all(batch, Refused(error.code, error.message))
            case RateLimited() | AccessRefused():
                self._backlog.put_back(batch)
            case Unavailable() if not _struck_out(batch, leave):
                self._backlog.put_back(batch)
            case _ if not batch.of_one_message:
                self._backlog.suspect(batch)
            case SuspectRefused():
                self._give_all(batch, Refused(error.code, error.message))
            case ApiError():
                self._give_all(batch, TryAgain(str(error)))
            case _:
                log.error("unexpected error in a call: %s: %s", type(error).__name__, shown(error))
                self._give_all(batch, error)

    def _give_all(self, batch: Batch, outcome: ImageOutcome | Exception) -> None:
        for item in batch.items:
            self._backlog.settle(item, outcome)


def _struck_out(batch: Batch, leave: Pass) -> bool:
    """Count a failed call against its images, unless it was a probe: then the service is to blame, not they."""
    if leave.probe:
        return False
    for item in batch.items:
        item.strikes += 1
    return any(item.strikes >= STRIKES for item in batch.items)
