"""Decides when a batch goes that is not full, and which of the ready batches goes first.

* **Partition.** All images that wait under one key, which is a project and its metadata. Only they can share a call.
* **Ready.** A partition is ready if it can fill a batch, or if its oldest image has waited for `LINGER_SECONDS`.
* **Fullest first.** The fullest ready partition goes first; of two that are equally full, the one whose last call is
  longer ago.
* **Starvation.** A starved partition goes before the fullest: the one whose last call is longest ago, if its oldest
  image has waited for `starvation` seconds. So a rare key gets through beside keys that always fill their batches.

For each API call all partitions are looked at. At ten calls a second, a thousand of them cost a few percent of a core.
"""

from collections.abc import Hashable
from itertools import islice

from shared.batching.items import Batch, Item, Most

Partition = dict[Item, None]  # in order; an item leaves from anywhere


class Partitions:
    """See the module. `batch_size` in images, `linger` and `starvation` in seconds of the caller's clock."""

    def __init__(self, batch_size: int, linger: float, starvation: float) -> None:
        self._batch_size = batch_size
        self._linger = linger
        self._starvation = starvation
        self._partitions: dict[Hashable, Partition] = {}  # by key, the least recently served first

    def add(self, item: Item) -> bool:
        """Let an item wait. Returns whether something may have become ready, or will at a new time."""
        partition = self._partitions.setdefault(item.key, {})
        partition[item] = None
        return len(partition) in (1, self._batch_size)

    def discard(self, item: Item) -> None:
        """Let an item go, if it is here."""
        partition = self._partitions.get(item.key, {})
        partition.pop(item, None)
        if not partition:
            self._partitions.pop(item.key, None)

    def next_due(self, now: float) -> float:
        """When the next partition will have lingered; infinity if none is lingering."""
        due = (_oldest_arrival(partition) + self._linger for partition in self._partitions.values())
        return min((at for at in due if at > now), default=float("inf"))

    def count_calls(self, most: Most) -> int:
        """How many calls it would take to send what waits and may go at present, lingering or not."""
        waiting = (len(partition) for key, partition in self._partitions.items() if most(key, True))
        return sum(-(-items // self._batch_size) for items in waiting)

    def next_batch(self, now: float, most: Most) -> Batch | None:
        """Take the batch whose turn it is; None if none is ready whose calls may go.

        A probe is of another key each time, with an image that no failed call had if there is one: otherwise one image
        that breaks the service could keep calls suspended for all.
        """
        ready = {key: images for key in self._partitions if (images := self._ready_images(key, now, most))}
        if not ready:
            return None
        chosen = next(iter(ready))
        if _oldest_arrival(self._partitions[chosen]) + self._starvation > now:
            chosen = max(ready, key=lambda key: min(len(self._partitions[key]), self._batch_size))
        if ready[chosen] > 1:
            return self._take(chosen, list(islice(self._partitions[chosen], ready[chosen])))
        probes = {key: _untried(self._partitions[key]) for key, images in ready.items() if images == 1}
        chosen = min(probes, key=lambda key: probes[key] is None)
        return self._take(chosen, [probes[chosen] or next(iter(self._partitions[chosen]))])

    def _ready_images(self, key: Hashable, now: float, most: Most) -> int:
        partition = self._partitions[key]
        if len(partition) < self._batch_size and _oldest_arrival(partition) + self._linger > now:
            return 0
        images = most(key, True)
        return most(key, False) if images == 1 and _untried(partition) is None else images

    def _take(self, key: Hashable, items: list[Item]) -> Batch:
        partition = self._partitions.pop(key)
        for item in items:
            del partition[item]
        if partition:
            self._partitions[key] = partition  # behind all others
        return Batch(key, items)


def _oldest_arrival(partition: Partition) -> float:
    return next(iter(partition)).arrived


def _untried(partition: Partition) -> Item | None:
    return next((item for item in partition if not item.failed_calls), None)
