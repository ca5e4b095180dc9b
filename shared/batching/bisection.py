"""How the message at fault is found: a call that failed as a whole is halved until that message stands alone.

Which failures it is for, says `failure_policy`.

* **Suspects.** Images of one key of which one, nobody knows which, had a call fail. They are mixed with nothing else.
* **Search.** All suspects that one failed call was divided into. The latest half goes first, so that a search settles
  some of its messages early; searches take turns, so that none waits for the end of another.
* **Memory.** A message that goes back to its queue before the search has ended takes its image along, but the image
  is remembered. When it is delivered again it goes on where it stopped: a search of any length ends, however
  short a message's wait is.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from itertools import islice
from typing import TYPE_CHECKING

from shared.batching.items import Batch, State

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from shared.batching.items import Item

MAX_REMEMBERED = 10_000
"""Images that are remembered while their message is back in its queue; the longest forgotten first. One that is
forgotten, or that another instance receives, is found by a new search: it costs some calls, nothing else."""

Suspect = tuple["Hashable", str]
"""A key and an image under it."""


class Suspects:
    """Images that go in one call. `items` are those that somebody waits for."""

    __slots__ = ("items", "search")

    def __init__(self, search: Search) -> None:
        self.search = search
        self.items: dict[str, Item] = {}


class Search:
    """What one failed call was divided into and can be sent, the next first."""

    __slots__ = ("key", "ready")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.ready: deque[Suspects] = deque()


class Bisection:
    """All searches."""

    def __init__(self) -> None:
        self._searches: deque[Search] = deque()  # those with something that can be sent, whose turn is next first
        self._suspects: dict[Suspect, Suspects] = {}
        self._remembered: OrderedDict[Suspect, None] = OrderedDict()

    def __len__(self) -> int:
        """How many images are suspected, those remembered included."""
        return len(self._suspects)

    @property
    def remembered(self) -> int:
        """How many images are remembered whose message is back in its queue."""
        return len(self._remembered)

    def take_in(self, item: Item) -> bool:
        """Let an item wait among its suspects, if it is one: it was sent in vain, or an earlier delivery of it was.

        Returns whether it is one. They go behind the search's others, so that those are tried before them.
        """
        suspects = self._suspects.get((item.key, item.image_id))
        if suspects is None:
            return False
        self._remembered.pop((item.key, item.image_id), None)
        if not suspects.items:
            if not suspects.search.ready:
                self._searches.append(suspects.search)
            suspects.search.ready.append(suspects)
        item.state = State.SUSPECTED
        suspects.items[item.image_id] = item
        return True

    def split(self, batch: Batch) -> None:
        """Halve a batch that failed as a whole, between two messages: the images of one need not be told apart."""
        first = batch.items[0]
        suspects = self._suspects.get((first.key, first.image_id))
        search = Search(batch.key) if suspects is None else suspects.search
        middle = _middle(batch.items)
        for half in (batch.items[middle:], batch.items[:middle]):
            self._add(search, half)

    def take(self, most: Callable[[Hashable], int]) -> Batch | None:
        """The images whose turn it is, `most` of their key at most; None if there are none whose call may go."""
        for _ in range(len(self._searches)):
            search = self._searches.popleft()
            allowed = most(search.key)
            if not allowed:
                self._searches.append(search)
                continue
            suspects = search.ready.popleft()
            batch = _sent(suspects, allowed)
            if suspects.items:
                search.ready.append(suspects)
            if search.ready:
                self._searches.append(search)
            return batch
        return None

    def has_ready(self, most: Callable[[Hashable], int]) -> bool:
        """Whether there are suspects whose call may go."""
        return any(most(search.key) for search in self._searches)

    def forget(self, item: Item) -> None:
        """Take an image for innocent, or for found."""
        suspect = (item.key, item.image_id)
        self._suspects.pop(suspect, None)
        self._remembered.pop(suspect, None)

    def remember(self, item: Item) -> None:
        """Keep an image whose message goes back to its queue, if it is suspected at all."""
        suspect = (item.key, item.image_id)
        suspects = self._suspects.get(suspect)
        if suspects is None:
            return
        if suspects.items.pop(item.image_id, None) is not None and not suspects.items:
            suspects.search.ready.remove(suspects)
            if not suspects.search.ready:
                self._searches.remove(suspects.search)
        self._remembered[suspect] = None
        if len(self._remembered) > MAX_REMEMBERED:
            oldest, _ = self._remembered.popitem(last=False)
            del self._suspects[oldest]

    def _add(self, search: Search, items: list[Item]) -> None:
        suspects = Suspects(search)
        for item in items:
            self._suspects[(item.key, item.image_id)] = suspects
            if item.waiters:
                self.take_in(item)
            else:
                self.remember(item)
        if suspects.items:
            search.ready.remove(suspects)
            search.ready.appendleft(suspects)


def _sent(suspects: Suspects, most: int) -> Batch:
    items = list(islice(suspects.items.values(), most))
    for item in items:
        del suspects.items[item.image_id]
        item.state = State.SENT
    return Batch(suspects.search.key, items)


def _middle(items: list[Item]) -> int:
    """Where to halve: the border between two messages that is nearest to the middle."""
    borders = [n for n in range(1, len(items)) if items[n].waiters != items[n - 1].waiters]
    return min(borders, key=lambda border: abs(border - len(items) / 2), default=len(items) // 2)
