"""Holds every image that waits or is on the wire, and decides which batch goes next.

Batches and searches take turns, so that a search costs the others no more than every other call. The other rules are in
modules of their own: `image_order` decides which update of an image may go, `batch_timing` which batch is ready, and
`bisection` how the message at fault is found. There is no clock and no I/O: the caller passes the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.batching.batch_timing import Partitions
from shared.batching.bisection import Bisection
from shared.batching.image_order import ImageOrder
from shared.batching.items import Batch, Item, State
from shared.batching.outcomes import APPLIED, Applied, Refused, Retry

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from shared.batching.items import Most, Waiter
    from shared.batching.message_memory import MessageMemory
    from shared.batching.outcomes import ImageOutcome

OVERTAKEN = Retry("an earlier update of this image has to come back first")
MISSING = Retry("missing from the response")


class Backlog:
    """See the module. `batch_size` in images, `linger` and `starvation` in seconds of the caller's clock."""

    def __init__(self, memory: MessageMemory, *, batch_size: int, linger: float, starvation: float) -> None:
        self._memory = memory
        self._order = ImageOrder()
        self._partitions = Partitions(batch_size=batch_size, linger=linger, starvation=starvation)
        self._bisection = Bisection()
        self._bisected_last = False

    def __len__(self) -> int:
        """How many images wait or are on the wire, one behind another not counted."""
        return len(self._order)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """How many images, waiting keys and suspected images there are; without those whose message has left."""
        return len(self._order), len(self._partitions), len(self._bisection) - self._bisection.remembered

    def add(self, image_ids: Sequence[str], waiter: Waiter, now: float) -> bool:
        """Let a caller wait for these images of its message. Returns whether something may be ready, now or soon."""
        items = []
        changed = False
        for image_id in dict.fromkeys(image_ids):
            key = waiter.message.key_of(image_id)
            item = self._joined(key, image_id)
            if item is None:
                item = Item(key, image_id, waiter, now)
                changed |= self._order.append(item) and self._wait(item)
            else:
                item.join(waiter)
            items.append(item)
        waiter.items = tuple(items)
        waiter.pending = len(items)
        return changed

    def leave(self, waiter: Waiter, *, comes_back: bool) -> None:
        """Let a caller go before it has its result. What is on the wire ends by itself.

        `comes_back`: its message will be delivered again, so that later updates of its images must not go before it.
        """
        for item in waiter.items:
            if item.state is State.DONE:
                continue
            item.waiters = tuple(other for other in item.waiters if other is not waiter)
            if comes_back:
                self._take_along(item)
            if item.waiters or item.state in (State.SENT, State.BEHIND):
                continue
            if item.state is State.WAITING:
                self._partitions.discard(item)
            self._end(item)
        waiter.items = ()  # they know who waits for them: a cycle, which would be left for the garbage collector

    def next_due(self, now: float) -> float:
        """When the next batch that is not full will have lingered; infinity if none is lingering."""
        return self._partitions.next_due(now)

    def has_ready(self, now: float, most: Most) -> bool:
        """Whether a batch could go now."""
        return self._partitions.has_ready(now, most) or self._bisection.has_ready(most)

    def count_calls(self, most: Most) -> int:
        """About how many calls it takes to send what waits and may go at present, lingering or not."""
        return self._partitions.count_calls(most) + self._bisection.count_calls(most)

    def next_batch(self, now: float, most: Most) -> Batch | None:
        """Choose the images of the call that goes now; None if nothing is ready.

        While calls are suspended, suspects go only if nothing else waits.
        """
        for item in self._bisection.pardon(most):
            self._partitions.add(item)
        batch = None
        if not self._bisected_last:
            batch = self._bisection.next_batch(
                lambda key, is_witness: images if (images := most(key, is_witness)) > 1 else 0
            )
        batch = batch or self._partitions.next_batch(now, most) or self._bisection.next_batch(most)
        self._bisected_last = batch is not None and batch.group is not None
        return batch

    def wait_again(self, batch: Batch) -> None:
        """Let the images of a batch wait again, behind what waits already."""
        for item in batch.items:
            if item.waiters:
                self._wait(item)
            else:
                self._end(item)
        self._bisection.sent_in_vain(batch)

    def accuse(self, batch: Batch) -> None:
        """Let the images of a batch of one message wait again, suspected from now on."""
        self._bisection.accuse(batch)
        self._end_unwanted(batch)

    def bisect(self, batch: Batch, *, is_witness: bool) -> None:
        """Search a batch for the message at fault."""
        self._bisection.split(batch, is_witness=is_witness)
        self._end_unwanted(batch)

    def answer(self, batch: Batch, outcomes: Mapping[str, ImageOutcome]) -> None:
        """Give each image of a batch the outcome that the response has for it."""
        self._bisection.end(batch, is_good=True)
        for item in batch.items:
            self._finish(item, outcomes.get(item.image_id) or MISSING)

    def fail(self, batch: Batch, outcome: ImageOutcome | Exception) -> None:
        """Give all images of a batch whose call failed the same outcome."""
        self._bisection.end(batch, is_good=False)
        if isinstance(outcome, Retry):
            self._bisection.suspect(batch)
        for item in batch.items:
            if item.state is not State.DONE:
                self._finish(item, outcome)

    def _finish(self, item: Item, outcome: ImageOutcome | Exception) -> None:
        """End an item with its outcome, and let the next item of its image follow."""
        waiters = item.waiters
        if isinstance(outcome, Applied | Refused):
            self._bisection.forget(item)
        else:
            self._take_along(item)
        if isinstance(outcome, Applied):
            self._end_older(item)
        self._end(item)  # first, so that a caller who leaves now finds it gone
        for waiter in waiters:
            if isinstance(outcome, Exception):
                self._fail(waiter, outcome)
            else:
                self._give(waiter, item.image_id, outcome)

    def _give(self, waiter: Waiter, image_id: str, outcome: ImageOutcome) -> None:
        if isinstance(outcome, Applied | Refused):
            self._memory.note(waiter.message, image_id, outcome)
        waiter.receive(image_id, outcome)

    def _joined(self, key: Hashable, image_id: str) -> Item | None:
        """An item that waits for the same update, so that it can serve this caller too."""
        last = self._order.last(image_id)
        if last is None or last.key != key or last.state not in (State.WAITING, State.BEHIND):
            return None
        return last if last.waiters else None

    def _wait(self, item: Item) -> bool:
        """Let the first item of its image wait. Returns whether something may have become ready."""
        return self._bisection.join(item) or self._partitions.add(item)

    def _end(self, item: Item) -> None:
        if item.state is not State.DONE:
            item.state = State.DONE
            self._bisection.remember(item)
            following = self._order.remove_first(item)
            if following is not None:
                self._wait(following)

    def _end_unwanted(self, batch: Batch) -> None:
        for item in batch.items:
            if not item.waiters:
                self._end(item)

    def _end_older(self, item: Item) -> None:
        """Leave to older updates behind an applied item only what it has not replaced; end those with nothing left.

        They belong to earlier messages that came back after a later one.
        """
        self._memory.applied(item.image_id, item.number, item.key)
        for behind in self._order.older_behind(item):
            left = self._memory.left_of(behind.key, item.key)
            if left is not None:
                behind.key = left
                continue
            self._order.cut_out(behind, item)
            behind.state = State.DONE
            for waiter in behind.waiters:
                self._give(waiter, behind.image_id, APPLIED)

    def _take_along(self, item: Item) -> None:
        """Let everything behind an item that was not applied come back too."""
        for behind in self._order.cut_behind(item):
            behind.state = State.DONE
            for waiter in behind.waiters:
                waiter.receive(behind.image_id, OVERTAKEN)

    def _fail(self, waiter: Waiter, error: Exception) -> None:
        if not waiter.is_done:
            waiter.fail(error)
            self.leave(waiter, comes_back=True)
