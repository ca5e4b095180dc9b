"""Finds the message at fault: a call that failed as a whole is halved until that message stands alone.

`failed_calls` decides which failures are searched.

* **Group.** Suspected images of one key. They go in one call, mixed with no others.
* **Halves.** A group that failed is halved. The second half waits until the first has its response. If the first half
  is good, the fault must be in the second: it is halved at once, without a call. If the first half is bad too, the
  second is sent whole.
* **Proof.** No message is refused by inference. Before it is dead-lettered, it was refused in a call of its own.
* **Turns.** Groups go in the order in which they became ready, so that no search waits for the end of another.
* **Memory.** If a message goes back to its queue during a search, its images stay suspected. When it is delivered again
  the search goes on where it stopped. So every search ends, however small `MAX_WAIT_SECONDS` is.
* **Witness.** Images can also be suspected because the service failed to respond to a call with them. If a call with
  such a group fails, this is no evidence that the service is down (see *witness* in `circuit_breaker`).
"""

from collections.abc import Hashable, Iterable
from itertools import islice

from shared.batching.items import Batch, Group, Item, Most

MAX_REMEMBERED = 10_000
"""Images whose message is back in its queue. One that is forgotten costs the calls of a new search, nothing else."""

MAX_AT_FAULT = 3
"""If more images than that have failed alone when calls are resumed, the service was at fault, and not they."""


class Bisection:
    """All searches."""

    def __init__(self) -> None:
        self._groups: dict[tuple[Hashable, str], Group] = {}  # by key and image, of all that are suspected
        self._ready: dict[Group, None] = {}  # in the order in which they became so
        self._remembered: dict[tuple[Hashable, str], None] = {}  # the longest ago first

    def join(self, item: Item) -> bool:
        """Let an item wait in its group, if it is suspected. Returns whether it is."""
        suspect = (item.key, item.image_id)
        group = self._groups.get(suspect)
        if group is None:
            return False
        if group.failed_alone:
            others = (one for one in self._ready if one.failed_alone and one.key == item.key)
            group = self._groups[suspect] = next(others, group)
        self._remembered.pop(suspect, None)
        group.items[item.image_id] = item
        if not group.is_held:
            self._ready[group] = None
        return True

    def split(self, batch: Batch, *, is_witness: bool) -> None:
        """Halve a batch that failed as a whole. `is_witness`: whether its images may count against the service."""
        self.end(batch, is_good=False)
        self._halve(batch.items, is_witness=is_witness)

    def accuse(self, batch: Batch) -> None:
        """Suspect the images of one message that the service failed to respond to."""
        self.end(batch, is_good=False)
        self._group(batch.items, Group(batch.key, is_witness=False, failed_alone=not batch.items[0].is_pardoned))

    def suspect(self, batch: Batch) -> None:
        """Send the images of one message by themselves from now on, if they are not suspected already."""
        if batch.group is None:
            self._group(batch.items, Group(batch.key, is_witness=False))

    def pardon(self, most: Most) -> list[Item]:
        """Once calls are resumed, stop suspecting the images that failed alone, if they are many: each once.

        Returns those items, which wait with all others again.
        """
        groups = [one for one in self._ready if one.failed_alone and most(one.key, one.is_witness) > 1]
        items = [item for group in groups for item in group.items.values()]
        if len(items) <= MAX_AT_FAULT:
            return []
        for group in groups:
            group.items.clear()
            del self._ready[group]
        for item in items:
            item.is_pardoned = True
            self.forget(item)
        return items

    def end(self, batch: Batch, *, is_good: bool) -> None:
        """Take note of a response. `is_good`: the call did not fail as a whole; what is at fault is elsewhere."""
        if batch.group is not None:
            batch.group.failed_alone = False  # what it is suspected of is known better now
            self._release_other_half(batch.group, other_is_bad=is_good)

    def next_batch(self, most: Most) -> Batch | None:
        """Take the images whose turn it is; None if there are none whose call may go."""
        group = next((one for one in self._ready if most(one.key, one.is_witness)), None)
        if group is None:
            return None
        del self._ready[group]
        items = list(islice(group.items.values(), most(group.key, group.is_witness)))
        for item in items:
            del group.items[item.image_id]
        if group.items:  # a probe of one image, which tells nothing of the rest
            self._ready[group] = None
            group = Group(group.key, is_witness=group.is_witness, failed_alone=group.failed_alone)
            self._group(items, group)
        return Batch(group.key, items, group)

    def count_calls(self, most: Most, on_the_wire: Iterable[Batch]) -> int:
        """About how many calls the searches make next: each halves what it suspects until one message is left."""
        sizes = [len(group.items) for group in self._ready if most(group.key, group.is_witness)]
        sizes += [len(batch.items) for batch in on_the_wire if batch.group is not None]
        return sum(size.bit_length() for size in sizes)

    def forget(self, item: Item) -> None:
        """Stop suspecting an image: it is good, or it is found."""
        self._groups.pop((item.key, item.image_id), None)
        self._remembered.pop((item.key, item.image_id), None)

    def remember(self, item: Item) -> None:
        """Keep an image whose message goes back to its queue, if it is suspected at all."""
        suspect = (item.key, item.image_id)
        group = self._groups.get(suspect)
        if group is None:
            return
        if group.items.pop(item.image_id, None) is not None and not group.items:
            self._ready.pop(group, None)
            self._release_other_half(group, other_is_bad=False)
        self._remembered[suspect] = None
        if len(self._remembered) > MAX_REMEMBERED:
            oldest = next(iter(self._remembered))
            del self._remembered[oldest], self._groups[oldest]

    def _halve(self, items: list[Item], *, is_witness: bool) -> None:
        """Divide between two messages, near the middle: the images of one message have one outcome."""
        borders = [n for n in range(1, len(items)) if items[n].waiters != items[n - 1].waiters]
        middle, key = min(borders, key=lambda border: abs(border - len(items) / 2)), items[0].key
        second = Group(key, is_witness, is_held=True)
        self._group(items[:middle], Group(key, is_witness, other_half=second))
        self._group(items[middle:], second)

    def _group(self, items: list[Item], group: Group) -> None:
        self._groups |= {(item.key, item.image_id): group for item in items}

    def _release_other_half(self, group: Group, *, other_is_bad: bool) -> None:
        half, group.other_half = group.other_half, None
        if half is None:
            return
        half.is_held = False
        items = list(half.items.values())
        if other_is_bad and items and not Batch(half.key, items).is_of_one_message:
            half.items.clear()
            self._halve(items, is_witness=half.is_witness)
            for item in items:
                self.join(item)
        elif items:
            self._ready[half] = None
