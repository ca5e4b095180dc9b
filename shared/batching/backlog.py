"""Holds every image that waits or is on the wire, and decides which batch goes next. It reads no clock and does no I/O.

While images are searched for the one at fault, at most every second call belongs to a search. `image_order` decides
which update of an image may go, `batch_timing` which batch is ready, `bisection` which half of a search goes next.
"""

from collections.abc import Iterable, Mapping

from shared.batching.batch_timing import Partitions
from shared.batching.bisection import Bisection
from shared.batching.image_order import ImageOrder
from shared.batching.items import Batch, Item, Most, Waiter
from shared.batching.message_memory import MessageMemory
from shared.batching.outcome_types import APPLIED, Applied, ImageOutcome, Refused, Retry

OVERTAKEN = Retry("an earlier update of this image has to come back first")
MISSING = Retry("missing from the response")


class Backlog:
    """See the module."""

    def __init__(self, memory: MessageMemory, partitions: Partitions) -> None:
        self._memory = memory
        self._order = ImageOrder()
        self._partitions = partitions
        self._bisection = Bisection()
        self._bisected_last = False

    def __len__(self) -> int:
        """How many images wait or are on the wire."""
        return len(self._order.lines)

    def add(self, waiter: Waiter, now: float) -> bool:
        """Let a caller wait for what its message lacks. Returns whether something may have become ready."""
        changed = False
        for image_id, key in waiter.message.lacking.items():
            item = self._order.add(waiter, image_id, key, now)
            if item is not None:
                changed |= self._wait(item)
        return changed

    def leave(self, waiter: Waiter, *, comes_back: bool) -> None:
        """Let a caller go. What is on the wire ends by itself. `comes_back`: its message will be delivered again."""
        for item in waiter.items:
            item.waiters.remove(waiter)
            if comes_back:
                self._take_along(item)
            if not item.waiters and not item.is_sent:
                self._end(item)
        waiter.items.clear()

    def count_calls(self, most: Most, on_the_wire: Iterable[Batch]) -> int:
        """About how many calls it takes to send what waits and may go at present, lingering or not."""
        return self._partitions.count_calls(most) + self._bisection.count_calls(most, on_the_wire)

    def next_batch(self, now: float, most: Most) -> Batch | None:
        """Choose what goes now; None if nothing is ready. A probe is a suspect only if nothing else waits."""
        for item in self._bisection.pardon(most):
            self._partitions.add(item)
        batch = None
        if not self._bisected_last:
            batch = self._bisection.next_batch(
                lambda key, is_witness: images if (images := most(key, is_witness)) > 1 else 0
            )
        batch = batch or self._partitions.next_batch(now, most) or self._bisection.next_batch(most)
        if batch is not None:
            self._bisected_last = batch.group is not None
            for item in batch.items:
                item.is_sent = True
        return batch

    def wait_again(self, batch: Batch) -> None:
        """Let the images of a batch wait again, behind what waits already."""
        for item in batch.items:
            self._wait(item)
        for item in batch.items:
            if not item.waiters:
                self._end(item)

    def accuse(self, batch: Batch) -> None:
        """Let the images of a batch of one message wait again, suspected from now on."""
        self._bisection.accuse(batch)
        self.wait_again(batch)

    def bisect(self, batch: Batch, *, is_witness: bool) -> None:
        """Search a batch for the message at fault. `is_witness`: whether its images may count against the service."""
        self._bisection.split(batch, is_witness=is_witness)
        self.wait_again(batch)

    def take_outcomes(self, batch: Batch, outcomes: Mapping[str, ImageOutcome]) -> None:
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
            if item.is_sent:
                self._finish(item, outcome)

    def _finish(self, item: Item, outcome: ImageOutcome | Exception) -> None:
        """End an item with its outcome, and let the next item of its image follow."""
        if isinstance(outcome, Applied):
            self._memory.applied(item.image_id, item.number, item.key)
        elif isinstance(outcome, Refused):
            for waiter in item.waiters:
                self._memory.refused(waiter.message, item.image_id, outcome)
        if isinstance(outcome, Applied | Refused):
            self._bisection.forget(item)
        else:
            self._take_along(item)
        self._end(item)
        for waiter in item.waiters:
            waiter.receive(item, outcome)

    def _wait(self, item: Item) -> bool:
        """Let the first item of its image wait. Returns whether something may have become ready."""
        item.is_sent = False
        return self._bisection.join(item) or self._partitions.add(item)

    def _end(self, item: Item) -> None:
        """Take an item away, and let the next one of its image wait that its messages still lack."""
        if not item.is_sent:
            self._partitions.discard(item)
        item.is_sent = False
        self._bisection.remember(item)
        following = self._order.remove(item)
        while following is not None and not following.reduce():
            for waiter in following.waiters:
                waiter.receive(following, APPLIED)
            following = self._order.remove(following)
        if following is not None:
            self._wait(following)

    def _take_along(self, item: Item) -> None:
        """Let everything behind an item that was not applied come back too."""
        for behind in self._order.cut_behind(item):
            for waiter in behind.waiters:
                waiter.receive(behind, OVERTAKEN)
