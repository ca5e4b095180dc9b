"""Everything that waits or is on the wire. No clock, no I/O: the caller says what time it is.

It joins three rules, each in a module of its own: `image_order` says which updates of an image may go, `batch_timing`
which batch goes next, `bisection` how the message at fault is found in one that was refused. Here is said only that
batches and bisections take turns, so that a search costs the others no more than every other call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.batching.batch_timing import Partitions
from shared.batching.bisection import Bisection
from shared.batching.image_order import ImageOrder
from shared.batching.items import Batch, Item, State
from shared.batching.outcomes import Applied, Refused, Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from shared.batching.items import Waiter
    from shared.batching.outcomes import ImageOutcome

    Most = Callable[[Hashable], int]
    """How many images of this key may go in a call at present: a whole batch, one as a probe, or none."""

OVERTAKEN = Retry("an earlier update of this image has to come back first")


class Backlog:
    """See the module. `batch_size` in images, `linger` and `starvation` in seconds of the caller's clock."""

    def __init__(self, *, batch_size: int, linger: float, starvation: float) -> None:
        self._order = ImageOrder()
        self._partitions = Partitions(batch_size=batch_size, linger=linger, starvation=starvation)
        self._bisection = Bisection()
        self._bisected_last = False

    def __len__(self) -> int:
        """How many images wait or are on the wire, one behind another not counted."""
        return len(self._order)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """How many images, waiting keys and suspected images there are, those not counted whose message has left."""
        return len(self._order), len(self._partitions), len(self._bisection) - self._bisection.remembered

    def add(self, key: Hashable, image_ids: Sequence[str], waiter: Waiter, now: float) -> bool:
        """Let a caller wait. Returns whether something may have become ready, or will at a new time."""
        key = self._partitions.known(key)
        items = []
        changed = False
        for image_id in dict.fromkeys(image_ids):
            item = self._joined(key, image_id)
            if item is None:
                item = Item(key, image_id, waiter, now)
                changed |= self._order.append(item) and self._wait(item)
            else:
                item.waiters = (*item.waiters, waiter)
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

    def next_due(self) -> float | None:
        """When the next batch that is not full will have lingered; None if none is lingering."""
        return self._partitions.next_due()

    def has_ready(self, now: float, most: Most) -> bool:
        """Whether a batch could go now."""
        return self._partitions.choose(now, most) is not None or self._bisection.has_ready(most)

    def count_calls(self, most: Most) -> int:
        """How many calls it would take to send what waits and may go at present, lingering or not."""
        return self._partitions.count_calls(most) + self._bisection.has_ready(most)

    def take(self, now: float, most: Most) -> Batch | None:
        """Settle the content of the call that goes now; None if nothing is ready."""
        partition = self._partitions.choose(now, most)
        if partition is None or not self._bisected_last:
            batch = self._bisection.take(most)
            if batch is not None:
                self._bisected_last = True
                return batch
        self._bisected_last = False
        if partition is None:
            return None
        if most(partition.key) == 1:
            partition = self._partitions.choose_for_probe(now, lambda key: most(key) == 1) or partition
        return self._partitions.take(partition, most(partition.key), now)

    def put_back(self, batch: Batch) -> None:
        """Let a batch wait again that was sent in vain, behind what waits already: others are tried before it."""
        for item in batch.items:
            if item.waiters:
                self._wait(item)
            else:
                self._end(item)

    def bisect(self, batch: Batch) -> None:
        """Halve a batch, to find out which of its messages is at fault."""
        self._bisection.split(batch)
        for item in batch.items:
            if not item.waiters:
                self._end(item)

    def settle(self, item: Item, outcome: ImageOutcome | Exception, *, answered: bool) -> None:
        """Give an item its outcome, to all who wait for it, and let the next item of its image follow.

        `answered`: the service has answered its call image by image, so that it had no call fail.
        """
        waiters = item.waiters
        if answered or isinstance(outcome, Refused):
            self._bisection.forget(item)
        if not isinstance(outcome, Applied | Refused):
            self._take_along(item)
        self._end(item)  # first, so that a caller who leaves now finds it gone
        for waiter in waiters:
            if isinstance(outcome, Exception):
                self._fail(waiter, outcome)
            else:
                waiter.take(item.image_id, outcome)

    def _joined(self, key: Hashable, image_id: str) -> Item | None:
        """The item that a caller waits for already, or that waits for the same and can answer it too."""
        last = self._order.last(image_id)
        if last is None or last.key != key or last.state not in (State.WAITING, State.BEHIND):
            return None
        return last if last.waiters else None

    def _wait(self, item: Item) -> bool:
        """Let the first item of its image wait. Returns whether something may have become ready."""
        return self._bisection.take_in(item) or self._partitions.add(item)

    def _end(self, item: Item) -> None:
        if item.state is not State.DONE:
            item.state = State.DONE
            self._bisection.remember(item)
            following = self._order.remove_first(item)
            if following is not None:
                self._wait(following)

    def _take_along(self, item: Item) -> None:
        """Have everything behind an item come back too that goes undone."""
        for behind in self._order.cut_behind(item):
            behind.state = State.DONE
            for waiter in behind.waiters:
                waiter.take(behind.image_id, OVERTAKEN)

    def _fail(self, waiter: Waiter, error: Exception) -> None:
        if not waiter.is_done:
            waiter.fail(error)
            self.leave(waiter, comes_back=True)
