"""How the message at fault is found: a call that failed as a whole is halved until that message stands alone.

`failed_calls` decides which failures are searched.

* **Group.** Suspected images of one key that go in one call, mixed with no others.
* **Halves.** A group that failed is halved. The first half goes at once; the second is held back until the first has
  its response. If the first half is good, the second is known to be bad: it is halved in turn without a call of its
  own. If the first half is bad too, nothing is known of the second, and it is sent whole. A single message is always
  sent, so that what is dead-lettered was refused in a call of its own.
* **Turns.** Groups go in the order in which they became ready, so that no search waits for the end of another.
* **Memory.** A message that goes back to its queue before the search has ended takes its image along, but the image
  is remembered. When it is delivered again it goes on where it stopped: a search of any length ends, however
  short a message's wait is.
* **Witness.** Images that the service failed to answer for are suspected too. A group of them is no witness against
  the service, see `circuit_breaker`.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from itertools import islice
from typing import TYPE_CHECKING

from shared.batching.items import Batch, State

if TYPE_CHECKING:
    from collections.abc import Hashable

    from shared.batching.items import Item, Most

MAX_REMEMBERED = 10_000
"""Images that are remembered while their message is back in its queue; the longest forgotten first. One that is
forgotten, or that another instance receives, is found by a new search: it costs some calls, nothing else."""

MAX_AT_FAULT = 3
"""So many images at most that failed alone are taken to be at fault themselves. If more have when calls are resumed,
the service was."""

Suspect = tuple["Hashable", str]
"""A key and an image under it."""


class Group:
    """Images that go in one call. `items` are those that somebody waits for and that are not on the wire.

    `failed_alone`: each failed in a call of its own, while calls were suspended or so that they were.
    """

    __slots__ = ("failed_alone", "is_held", "is_witness", "items", "key", "other_half")

    def __init__(self, key: Hashable, *, is_witness: bool, is_held: bool = False, failed_alone: bool = False) -> None:
        self.key = key
        self.items: dict[str, Item] = {}
        self.is_witness = is_witness
        self.is_held = is_held
        self.failed_alone = failed_alone
        self.other_half: Group | None = None
        """The half that is held back until this one has its response."""


class Bisection:
    """All searches."""

    def __init__(self) -> None:
        self._ready: deque[Group] = deque()
        self._on_the_wire: dict[Batch, None] = {}
        self._groups: dict[Suspect, Group] = {}
        self._remembered: OrderedDict[Suspect, None] = OrderedDict()
        self._failed_alone: dict[Hashable, Group] = {}  # by key, while it is ready

    def __len__(self) -> int:
        """How many images are suspected, those remembered included."""
        return len(self._groups)

    @property
    def remembered(self) -> int:
        """How many images are remembered whose message is back in its queue."""
        return len(self._remembered)

    def join(self, item: Item) -> bool:
        """Let an item wait in its group, if it is suspected: it was sent in vain, or an earlier delivery of it was.

        Returns whether it is.
        """
        group = self._groups.get((item.key, item.image_id))
        if group is None:
            return False
        if group.failed_alone:
            group = self._groups[(item.key, item.image_id)] = self._failed_alone.setdefault(item.key, group)
        self._remembered.pop((item.key, item.image_id), None)
        if not group.items and not group.is_held:
            self._ready.append(group)
        item.state = State.SUSPECTED
        group.items[item.image_id] = item
        return True

    def split(self, batch: Batch, *, is_witness: bool) -> None:
        """Halve a batch that failed as a whole. `is_witness`: whether its images may accuse the service later."""
        self.end(batch, is_good=False)
        self._halve(batch.key, batch.items, is_witness=is_witness)

    def accuse(self, batch: Batch) -> None:
        """Suspect the images of one message that the service failed to answer for."""
        self.end(batch, is_good=False)
        self._put(Group(batch.key, is_witness=False, failed_alone=not batch.items[0].is_pardoned), batch.items)

    def suspect(self, batch: Batch) -> None:
        """Send the images of one message by themselves from now on, if they are not suspected already."""
        if batch.group is None:
            group = Group(batch.key, is_witness=False)
            self._groups |= {(item.key, item.image_id): group for item in batch.items}

    def pardon(self, most: Most) -> list[Item]:
        """Suspect no more what failed alone while calls were suspended, if that is too much to be at fault itself.

        Returns those items, which wait with all others again. Each is pardoned once.
        """
        groups = [group for group in self._failed_alone.values() if most(group.key, group.is_witness) > 1]
        items = [item for group in groups for item in group.items.values()]
        if len(items) <= MAX_AT_FAULT:
            return []
        for group in groups:
            group.items.clear()
            self._ready.remove(group)
            self._drop_if_empty(group)
        for item in items:
            item.is_pardoned = True
            self.forget(item)
        return items

    def end(self, batch: Batch, *, is_good: bool) -> None:
        """Take note that a call has ended. `is_good`: it did not fail as a whole: what is at fault is elsewhere."""
        self._on_the_wire.pop(batch, None)
        if batch.group is not None:
            batch.group.failed_alone = False  # what it is suspected of is known better now
            self._release_other_half(batch.group, is_bad=is_good)

    def sent_in_vain(self, batch: Batch) -> None:
        """Take note that a call has ended that told nothing of its images, after those still wanted wait again."""
        self._on_the_wire.pop(batch, None)
        if batch.group is not None and not batch.group.items:
            self._release_other_half(batch.group, is_bad=False)

    def next_batch(self, most: Most) -> Batch | None:
        """The images whose turn it is, `most` of their key at most; None if there are none whose call may go."""
        group = next((one for one in self._ready if most(one.key, one.is_witness)), None)
        if group is None:
            return None
        self._ready.remove(group)
        items = list(islice(group.items.values(), most(group.key, group.is_witness)))
        for item in items:
            del group.items[item.image_id]
            item.state = State.SENT
        if group.items:  # a probe of one image, which tells nothing of the rest
            self._ready.append(group)
            group = Group(group.key, is_witness=group.is_witness, failed_alone=group.failed_alone)
            self._groups |= {(item.key, item.image_id): group for item in items}
        self._drop_if_empty(group)
        batch = Batch(group.key, items, group)
        self._on_the_wire[batch] = None
        return batch

    def has_ready(self, most: Most) -> bool:
        """Whether there are suspects whose call may go."""
        return any(most(group.key, group.is_witness) for group in self._ready)

    def count_calls(self, most: Most) -> int:
        """About how many calls the searches make next: each halves what it suspects until one message is left."""
        ready = [len(group.items) for group in self._ready if most(group.key, group.is_witness)]
        return sum(size.bit_length() for size in (*ready, *(len(batch.items) for batch in self._on_the_wire)))

    def forget(self, item: Item) -> None:
        """Take an image for innocent, or for found."""
        self._groups.pop((item.key, item.image_id), None)
        self._remembered.pop((item.key, item.image_id), None)

    def remember(self, item: Item) -> None:
        """Keep an image whose message goes back to its queue, if it is suspected at all."""
        suspect = (item.key, item.image_id)
        group = self._groups.get(suspect)
        if group is None:
            return
        if group.items.pop(item.image_id, None) is not None and not group.items:
            if not group.is_held:
                self._ready.remove(group)
            self._release_other_half(group, is_bad=False)
            self._drop_if_empty(group)
        self._remembered[suspect] = None
        if len(self._remembered) > MAX_REMEMBERED:
            oldest, _ = self._remembered.popitem(last=False)
            del self._groups[oldest]

    def _halve(self, key: Hashable, items: list[Item], *, is_witness: bool) -> None:
        """Divide between two messages: the images of one need not be told apart, they have one outcome."""
        middle = _middle(items)
        first, second = Group(key, is_witness=is_witness), Group(key, is_witness=is_witness, is_held=True)
        self._put(first, items[:middle])
        self._put(second, items[middle:])
        first.other_half = second
        if not first.items:
            self._release_other_half(first, is_bad=False)

    def _put(self, group: Group, items: list[Item]) -> None:
        for item in items:
            self._groups[(item.key, item.image_id)] = group
            if item.waiters:
                self.join(item)
            else:
                self.remember(item)

    def _release_other_half(self, group: Group, *, is_bad: bool) -> None:
        half, group.other_half = group.other_half, None
        if half is None:
            return
        half.is_held = False
        items = list(half.items.values())
        if is_bad and items and not Batch(half.key, items).is_of_one_message:
            half.items.clear()
            self._halve(half.key, items, is_witness=half.is_witness)
        elif items:
            self._ready.append(half)

    def _drop_if_empty(self, group: Group) -> None:
        if not group.items and self._failed_alone.get(group.key) is group:
            del self._failed_alone[group.key]


def _middle(items: list[Item]) -> int:
    """Where to halve: the border between two messages that is nearest to the middle."""
    borders = [n for n in range(1, len(items)) if items[n].waiters != items[n - 1].waiters]
    return min(borders, key=lambda border: abs(border - len(items) / 2), default=len(items) // 2)
