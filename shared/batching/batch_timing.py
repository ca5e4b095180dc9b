"""Decides when a batch goes that is not full, and which of the ready batches goes first.

* **Partition.** Everything that waits under one key: only it can share a call.
* **Ready.** A partition is ready once it can fill a batch, or once its oldest item has lingered.
* **Fullest first.** The fullest ready partition goes first, of equals the least recently served.
* **Starvation.** A partition whose oldest item has waited for `starvation` goes before all others, the longest ready
  first: a rare key gets through beside keys that always fill their batches.

All partitions are looked at each time: at ten calls a second, a thousand of them cost a few percent of a core.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from shared.batching.items import Batch, State

if TYPE_CHECKING:
    from collections.abc import Hashable

    from shared.batching.items import Item, Most


class Partition:
    """What waits under one key. `due`: when it will have lingered."""

    __slots__ = ("due", "items", "key")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.items: dict[Item, None] = {}  # in order; a dict, for an item leaves from anywhere
        self.due = 0.0

    @property
    def oldest_arrival(self) -> float:
        """When the item arrived that is first in line. Raises `StopIteration` if there is none."""
        return next(iter(self.items)).arrived

    @property
    def untried(self) -> Item | None:
        """The first item that no failed call had."""
        return next((item for item in self.items if not item.failed_calls), None)


class Partitions:
    """See the module. `batch_size` in images, `linger` and `starvation` in seconds of the caller's clock."""

    def __init__(self, *, batch_size: int, linger: float, starvation: float) -> None:
        self._batch_size = batch_size
        self._linger = linger
        self._starvation = starvation
        self._partitions: dict[Hashable, Partition] = {}  # least recently served first

    def __len__(self) -> int:
        """How many keys have an item that waits."""
        return len(self._partitions)

    def add(self, item: Item) -> bool:
        """Let an item wait. Returns whether something may have become ready, or will at a new time."""
        partition = self._partitions.get(item.key)
        if partition is None:
            partition = self._partitions[item.key] = Partition(item.key)
            partition.due = item.arrived + self._linger
        item.state = State.WAITING
        partition.items[item] = None
        return len(partition.items) in (1, self._batch_size)

    def discard(self, item: Item) -> None:
        """Let an item go that nobody waits for any more."""
        partition = self._partitions[item.key]
        del partition.items[item]
        if not partition.items:
            del self._partitions[item.key]

    def next_due(self, now: float) -> float:
        """When the next partition will have lingered; infinity if none is lingering."""
        return min((one.due for one in self._partitions.values() if one.due > now), default=float("inf"))

    def has_ready(self, now: float, most: Most) -> bool:
        """Whether a batch could go now."""
        return any(self._is_ready(one, now, most) for one in self._partitions.values())

    def count_calls(self, most: Most) -> int:
        """How many calls it would take to send what waits and may go at present, lingering or not."""
        waiting = (one for one in self._partitions.values() if most(one.key, True))
        return sum(-(-len(one.items) // self._batch_size) for one in waiting)

    def next_batch(self, now: float, most: Most) -> Batch | None:
        """Take the batch whose turn it is; None if none is ready whose calls may go.

        A probe is of another key each time, and with an image that no failed call had, as soon as there is one: were
        it always the same image, one that breaks the service would keep calls suspended for all.
        """
        ready = [one for one in self._partitions.values() if self._is_ready(one, now, most)]
        if not ready:
            return None
        chosen = min(ready, key=lambda one: one.due)
        if chosen.oldest_arrival + self._starvation > now:
            chosen = max(ready, key=self._fill)
        images = _most(chosen, most)
        if images == 1:
            probes = [one for one in ready if _most(one, most) == 1]
            chosen = min(probes, key=lambda one: (one.untried is None, one.due))
            return self._taken(chosen, [chosen.untried or next(iter(chosen.items))], now)
        return self._taken(chosen, list(islice(chosen.items, images)), now)

    def _is_ready(self, partition: Partition, now: float, most: Most) -> bool:
        is_due = partition.due <= now or self._fill(partition) == self._batch_size
        return is_due and _most(partition, most) > 0

    def _fill(self, partition: Partition) -> int:
        return min(len(partition.items), self._batch_size)

    def _taken(self, partition: Partition, items: list[Item], now: float) -> Batch:
        for item in items:
            del partition.items[item]
            item.state = State.SENT
        del self._partitions[partition.key]
        if partition.items:
            partition.due = max(now, partition.oldest_arrival + self._linger)
            self._partitions[partition.key] = partition  # behind all others
        return Batch(partition.key, items)


def _most(partition: Partition, most: Most) -> int:
    images = most(partition.key, True)
    return most(partition.key, False) if images == 1 and partition.untried is None else images
