"""What waits to be sent, and which batch of it goes next. No clock, no I/O: the caller says what time it is.

* **Lane.** Everything that waits under one key: only it can share a call.
* **Ready.** A lane is ready once it can fill a batch, or once its oldest item has lingered. The fullest ready lane goes
  first, of equals the one that became so first. A lane whose oldest item has waited for `starvation` goes before
  all others, the least recently served first: a rare key gets through beside keys that always fill their batches.
* **Order.** The items of one image form a chain in the order of arrival, and only a chain's first can be in a lane or
  in a batch. So two updates of an image are never sent at the same time nor in another order, whatever their keys.
* **Suspects.** A batch that has to be halved to find the message at fault stays what it is, mixed with nothing else.
  Suspects and lanes take turns, so that a search costs the others no more than every other call.

Every operation is O(1) in the number of items and lanes, but for the heap of lingering lanes, which is logarithmic.
"""

from __future__ import annotations

import heapq
from collections import deque
from enum import Enum
from itertools import count, islice
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from shared.outcomes import Applied

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from shared.ids import ImageId
    from shared.outcomes import ImageOutcome, NotApplied

K = TypeVar("K", bound="Hashable")


class Update(Protocol):
    """One caller's wait: for all of its images, whose outcomes arrive one by one."""

    items: tuple[Item, ...]
    pending: int
    not_applied: dict[ImageId, NotApplied] | None

    def complete(self) -> None:
        """Be told that every image has its outcome."""

    def fail(self, error: Exception) -> None:
        """Be told that one image ended in an unexpected error."""


class Place(Enum):
    """Where an item is."""

    BEHIND = "behind"  # behind an earlier item of the same image
    LANE = "lane"
    BATCH = "batch"  # on the wire, or a suspect
    GONE = "gone"


class Item:
    """One image to be updated, for one caller or several who want the same."""

    __slots__ = ("arrived", "image_id", "lane", "next", "place", "strikes", "updates")

    def __init__(self, image_id: ImageId, lane: Lane, update: Update, arrived: float) -> None:
        self.image_id = image_id
        self.lane = lane
        self.updates: tuple[Update, ...] = (update,)
        self.arrived = arrived
        self.place = Place.LANE
        self.next: Item | None = None
        self.strikes = 0


class Lane:
    """What waits under one key. `members` counts its items wherever they are, `ready_size` is its place if ready."""

    __slots__ = ("due", "items", "key", "lingered", "members", "ready_size")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.items: dict[Item, None] = {}  # in order; a dict, for an item leaves from anywhere
        self.members = 0
        self.lingered = False
        self.ready_size = 0
        self.due: float | None = None

    @property
    def oldest_arrival(self) -> float:
        """When the item arrived that is first in line. Raises `StopIteration` if there is none."""
        return next(iter(self.items)).arrived


class Batch:
    """Items of one lane that go in one call. `suspect`: one of them, nobody knows which, was refused."""

    __slots__ = ("items", "lane", "suspect")

    def __init__(self, lane: Lane, items: list[Item], *, suspect: bool = False) -> None:
        self.lane = lane
        self.items = items
        self.suspect = suspect

    @property
    def image_ids(self) -> list[ImageId]:
        """The images of the call."""
        return [item.image_id for item in self.items]

    @property
    def of_one_message(self) -> bool:
        """Whether all of it is wanted by the same callers, so that nobody would pay for another's mistake."""
        first = self.items[0].updates
        return len(self.items) == 1 or all(item.updates == first for item in self.items)

    def halves(self) -> tuple[Batch, Batch]:
        """Split into two suspects."""
        middle = len(self.items) // 2
        first, second = self.items[:middle], self.items[middle:]
        return Batch(self.lane, first, suspect=True), Batch(self.lane, second, suspect=True)


class Backlog(Generic[K]):
    """See the module. `batch_size` in images, `linger` and `starvation` in seconds of the caller's clock."""

    def __init__(self, *, batch_size: int, linger: float, starvation: float) -> None:
        self._batch_size = batch_size
        self._linger = linger
        self._starvation = starvation
        self._lanes: dict[Hashable, Lane] = {}
        self._last: dict[ImageId, Item] = {}  # by image, the last item of its chain
        self._ready: list[dict[Lane, None]] = [{} for _ in range(batch_size + 1)]  # by size, at most a batch
        self._lingered: dict[Lane, None] = {}  # least recently served first
        self._dues: list[tuple[float, int, Lane]] = []
        self._tie = count()
        self._suspects: deque[Batch] = deque()
        self._suspects_turn = True

    def __len__(self) -> int:
        """How many images wait or are on the wire, one chained behind another not counted."""
        return len(self._last)

    @property
    def lanes(self) -> int:
        """How many keys have an item anywhere."""
        return len(self._lanes)

    def add(self, key: K, image_ids: Sequence[ImageId], update: Update, now: float) -> bool:
        """Let an update wait. Returns whether something may have become ready, or will at a new time."""
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key)
        was_ready, was_due = lane.ready_size, lane.due
        items = []
        for image_id in image_ids:
            item = self._item_of(lane, image_id, update, now)
            if item is not None:
                items.append(item)
        update.items = tuple(items)
        update.pending = len(items)
        return (lane.ready_size > 0 and not was_ready) or lane.due != was_due

    def _item_of(self, lane: Lane, image_id: ImageId, update: Update, now: float) -> Item | None:
        """The item by which an update waits for an image: a new one, or one that waits for the same already.

        None if the update waits by that one: it has the same image twice.
        """
        last = self._last.get(image_id)
        if last is not None and last.lane is lane and last.place is not Place.BATCH:
            if last.updates and last.updates[-1] is update:
                return None
            last.updates = (*last.updates, update)
            return last
        item = self._last[image_id] = Item(image_id, lane, update, now)
        lane.members += 1
        if last is None:
            self._queue(item)
        else:
            item.place = Place.BEHIND
            last.next = item
        return item

    def remove(self, update: Update) -> None:
        """Let an update go that nobody waits for any more. What is on the wire ends by itself."""
        for item in update.items:
            if item.place is Place.GONE:
                continue
            item.updates = tuple(other for other in item.updates if other is not update)
            if not item.updates and item.place is Place.LANE:
                del item.lane.items[item]
                self._place(item.lane)
                self._retire(item)
        update.items = ()  # they know their updates: a cycle, which would be left for the garbage collector

    def next_due(self) -> float | None:
        """When the next lane will have lingered; None if none is lingering."""
        while self._dues and self._dues[0][2].due != self._dues[0][0]:
            heapq.heappop(self._dues)
        return self._dues[0][0] if self._dues else None

    def has_ready(self, now: float) -> bool:
        """Whether a batch could go now."""
        self._let_linger(now)
        return bool(self._suspects) or self._fullest() is not None

    def take(self, now: float) -> Batch | None:
        """Settle what goes now: the next batch. None if nothing that is ready is wanted any more."""
        self._suspects_turn = not self._suspects_turn
        lane = self._due_lane(now) or self._fullest()
        if lane is None or (self._suspects and self._suspects_turn):
            return self._take_suspect()
        return self._take_from(lane, self._batch_size, now)

    def take_probe(self, now: float) -> Batch | None:
        """Settle what tries a closed gate: one image, and of a lane that was not tried just before.

        Were it always the same batch, one image that breaks the service would keep the gate closed for all.
        """
        lane = next(iter(self._lingered), None) or self._fullest()
        return self._take_suspect() if lane is None else self._take_from(lane, 1, now)

    def _take_from(self, lane: Lane, most: int, now: float) -> Batch:
        items = list(islice(lane.items, most))
        for item in items:
            del lane.items[item]
            item.place = Place.BATCH
        self._lingered.pop(lane, None)
        lane.lingered = False
        lane.due = None
        if lane.items:
            self._start_lingering(lane, now)
        self._place(lane)
        return Batch(lane, items)

    def _take_suspect(self) -> Batch | None:
        batch = self._suspects.popleft()
        wanted = []
        for item in batch.items:
            if item.updates:
                wanted.append(item)
            else:
                self._retire(item)
        return Batch(batch.lane, wanted, suspect=True) if wanted else None

    def put_back(self, batch: Batch) -> None:
        """Let a batch wait again that was sent in vain, at the end of its lane so that others are tried before it."""
        if batch.suspect:
            self._suspects.append(batch)
            return
        for item in batch.items:
            if item.updates:
                self._queue(item)
            else:
                self._retire(item)

    def suspect(self, batch: Batch) -> None:
        """Halve a batch, to find out which of its messages is at fault."""
        self._suspects.extend(batch.halves())

    def settle(self, item: Item, outcome: ImageOutcome | Exception) -> None:
        """Give an item its outcome, to all who wait for it, and let the next item of its image follow."""
        self._retire(item)  # first, so that an update which leaves now finds it gone
        for update in item.updates:
            _tell(update, item.image_id, outcome)

    def _retire(self, item: Item) -> None:
        following: Item | None = item
        while following is not None:
            item, following = following, following.next
            item.place = Place.GONE
            item.lane.members -= 1
            if not item.lane.members:
                del self._lanes[item.lane.key]
            if following is None:
                del self._last[item.image_id]
            elif following.updates:
                self._queue(following)
                return

    def _queue(self, item: Item) -> None:
        lane = item.lane
        item.place = Place.LANE
        lane.items[item] = None
        if len(lane.items) == 1:
            self._start_lingering(lane, item.arrived)
        self._place(lane)

    def _place(self, lane: Lane) -> None:
        """Put a lane among the ready lanes of its size, or out of them."""
        size = min(len(lane.items), self._batch_size)
        if not size and lane.lingered:
            lane.lingered = False
            del self._lingered[lane]
        ready_size = size if lane.lingered or size == self._batch_size else 0
        if ready_size == lane.ready_size:
            return
        if lane.ready_size:
            del self._ready[lane.ready_size][lane]
        if ready_size:
            self._ready[ready_size][lane] = None
        lane.ready_size = ready_size

    def _start_lingering(self, lane: Lane, now: float) -> None:
        due = lane.oldest_arrival + self._linger
        if due <= now:
            lane.due = None
            lane.lingered = True
            self._lingered[lane] = None
            return
        lane.due = due
        heapq.heappush(self._dues, (due, next(self._tie), lane))

    def _let_linger(self, now: float) -> None:
        while (due := self.next_due()) is not None and due <= now:
            lane = heapq.heappop(self._dues)[2]
            lane.due = None
            if lane.items:
                self._start_lingering(lane, now)
                self._place(lane)

    def _fullest(self) -> Lane | None:
        for lanes in reversed(self._ready):
            if lanes:
                return next(iter(lanes))
        return None

    def _due_lane(self, now: float) -> Lane | None:
        lane = next(iter(self._lingered), None)
        return lane if lane is not None and lane.oldest_arrival + self._starvation <= now else None


def _tell(update: Update, image_id: ImageId, outcome: ImageOutcome | Exception) -> None:
    if isinstance(outcome, Exception):
        update.fail(outcome)
        return
    if not isinstance(outcome, Applied):
        update.not_applied = update.not_applied or {}
        update.not_applied[image_id] = outcome
    update.pending -= 1
    if not update.pending:
        update.items = ()  # as in `remove`
        update.complete()
