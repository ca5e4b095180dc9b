"""Which batch goes next, and when one goes that is not full.

* **Partition.** Everything that waits under one key: only it can share a call.
* **Ready.** A partition is ready once it can fill a batch, or once its oldest item has lingered.
* **Fullest first.** The fullest ready partition goes first, of equals the one that became so first.
* **Starvation.** A partition whose oldest item has waited for `starvation` goes before all others, the least recently
  served first: a rare key gets through beside keys that always fill their batches.

Every operation is O(1) in the number of items and partitions, but for the heap of those that linger, which is
logarithmic, and for partitions whose calls are suspended, which are passed over one by one.
"""

from __future__ import annotations

import heapq
from itertools import count, islice
from typing import TYPE_CHECKING

from shared.batching.items import Batch, State

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from shared.batching.items import Item

    Admits = Callable[[Hashable], object]
    """Whether a call with this key may go at present, as a truth value."""


MAX_COUNTED = 32
"""More calls than that are never prepared for at the same time."""


class Partition:
    """What waits under one key. `ready_size` is its place among the ready ones, 0 if it is not ready."""

    __slots__ = ("due", "items", "key", "lingered", "ready_size")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.items: dict[Item, None] = {}  # in order; a dict, for an item leaves from anywhere
        self.lingered = False
        self.ready_size = 0
        self.due: float | None = None

    @property
    def oldest_arrival(self) -> float:
        """When the item arrived that is first in line. Raises `StopIteration` if there is none."""
        return next(iter(self.items)).arrived


class Partitions:
    """See the module. `batch_size` in images, `linger` and `starvation` in seconds of the caller's clock."""

    def __init__(self, *, batch_size: int, linger: float, starvation: float) -> None:
        self._batch_size = batch_size
        self._linger = linger
        self._starvation = starvation
        self._partitions: dict[Hashable, Partition] = {}
        self._ready: list[dict[Partition, None]] = [{} for _ in range(batch_size + 1)]  # by size, at most a batch
        self._lingered: dict[Partition, None] = {}  # least recently served first
        self._dues: list[tuple[float, int, Partition]] = []
        self._tie = count()

    def __len__(self) -> int:
        """How many keys have an item that waits."""
        return len(self._partitions)

    def known(self, key: Hashable) -> Hashable:
        """The key under which equal ones wait already: items then share it instead of each having its own."""
        partition = self._partitions.get(key)
        return key if partition is None else partition.key

    def add(self, item: Item) -> bool:
        """Let an item wait. Returns whether something may have become ready, or will at a new time."""
        partition = self._partitions.get(item.key)
        if partition is None:
            partition = self._partitions[item.key] = Partition(item.key)
        was_ready, was_due = partition.ready_size, partition.due
        item.state = State.WAITING
        partition.items[item] = None
        if len(partition.items) == 1:
            self._start_lingering(partition, item.arrived)
        self._place(partition)
        return (partition.ready_size > 0 and not was_ready) or partition.due != was_due

    def discard(self, item: Item) -> None:
        """Let an item go that nobody waits for any more."""
        partition = self._partitions[item.key]
        del partition.items[item]
        self._place(partition)

    def next_due(self) -> float | None:
        """When the next partition will have lingered; None if none is lingering."""
        while self._dues and self._dues[0][2].due != self._dues[0][0]:
            heapq.heappop(self._dues)
        return self._dues[0][0] if self._dues else None

    def count_calls(self, admits: Admits) -> int:
        """How many calls it would take to send what waits and may go; counted no further than `MAX_COUNTED`."""
        calls = 0
        for partition in self._partitions.values():
            if admits(partition.key):
                calls += -(-len(partition.items) // self._batch_size)
            if calls >= MAX_COUNTED:
                break
        return calls

    def choose(self, now: float, admits: Admits) -> Partition | None:
        """The partition whose turn it is; None if none is ready whose calls may go."""
        self._end_lingering(now)
        waiting = self._first(self._lingered, admits)
        if waiting is not None and waiting.oldest_arrival + self._starvation <= now:
            return waiting
        return self._fullest(admits)

    def choose_for_probe(self, now: float, admits: Admits) -> Partition | None:
        """The partition to try the service with, another one each time.

        Were it always the same, one image that breaks the service would keep calls suspended for all.
        """
        self._end_lingering(now)
        return self._first(self._lingered, admits) or self._fullest(admits)

    def take(self, partition: Partition, most: int, now: float) -> Batch:
        """Take a batch of so many items at most out of a partition that was chosen."""
        items = list(islice(partition.items, most))
        for item in items:
            del partition.items[item]
            item.state = State.SENT
        self._lingered.pop(partition, None)
        partition.lingered = False
        partition.due = None
        if partition.items:
            self._start_lingering(partition, now)
        self._place(partition)
        return Batch(partition.key, items)

    def _place(self, partition: Partition) -> None:
        """Put a partition among the ready ones of its size, or out of them."""
        size = min(len(partition.items), self._batch_size)
        if not size:
            partition.due = None
            partition.lingered = False
            self._lingered.pop(partition, None)
            del self._partitions[partition.key]
        ready_size = size if partition.lingered or size == self._batch_size else 0
        if ready_size == partition.ready_size:
            return
        if partition.ready_size:
            del self._ready[partition.ready_size][partition]
        if ready_size:
            self._ready[ready_size][partition] = None
        partition.ready_size = ready_size

    def _start_lingering(self, partition: Partition, now: float) -> None:
        due = partition.oldest_arrival + self._linger
        if due <= now:
            partition.due = None
            partition.lingered = True
            self._lingered[partition] = None
            return
        partition.due = due
        heapq.heappush(self._dues, (due, next(self._tie), partition))

    def _end_lingering(self, now: float) -> None:
        while (due := self.next_due()) is not None and due <= now:
            partition = heapq.heappop(self._dues)[2]
            self._start_lingering(partition, now)
            self._place(partition)

    def _fullest(self, admits: Admits) -> Partition | None:
        for partitions in reversed(self._ready):
            if partitions and (found := self._first(partitions, admits)) is not None:
                return found
        return None

    def _first(self, partitions: dict[Partition, None], admits: Admits) -> Partition | None:
        return next((partition for partition in partitions if admits(partition.key)), None)
