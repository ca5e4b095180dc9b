"""How the message at fault is found: a call that was refused as a whole is halved until it stands alone.

* **Group.** Images of which one, nobody knows which, had a call refused. They are mixed with nothing else.
* **Search.** All groups that one refused call was divided into. The latest half goes first, so that a search settles
  some of its messages early; searches take turns, so that none waits for the end of another.
* **Memory.** A message that goes back to its queue before the search has ended takes its image out of its group, but
  the image is remembered. When it is delivered again it goes on where it stopped: a search of any length ends, however
  short a message's wait is.
"""

from __future__ import annotations

from collections import OrderedDict, deque
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


class Group:
    """Images of one key that go in one call. `items` are those that somebody waits for."""

    __slots__ = ("items", "key", "search")

    def __init__(self, search: Search, key: Hashable) -> None:
        self.search = search
        self.key = key
        self.items: dict[str, Item] = {}


class Search:
    """The groups of one refused call that can be sent, the next one first."""

    __slots__ = ("ready",)

    def __init__(self) -> None:
        self.ready: deque[Group] = deque()


class Bisection:
    """All searches."""

    def __init__(self) -> None:
        self._searches: deque[Search] = deque()  # those with a group that can be sent, whose turn is next first
        self._groups: dict[Suspect, Group] = {}
        self._remembered: OrderedDict[Suspect, None] = OrderedDict()

    def __len__(self) -> int:
        """How many images are suspected, those remembered included."""
        return len(self._groups)

    @property
    def remembered(self) -> int:
        """How many images are remembered whose message is back in its queue."""
        return len(self._remembered)

    def take_in(self, item: Item) -> bool:
        """Let an item wait in its group, if it has one: it was sent in vain, or an earlier delivery of its message was.

        Returns whether it has one. Its group goes behind the search's others, so that they are tried before it.
        """
        group = self._groups.get((item.key, item.image_id))
        if group is None:
            return False
        self._remembered.pop((item.key, item.image_id), None)
        if not group.items:
            if not group.search.ready:
                self._searches.append(group.search)
            group.search.ready.append(group)
        item.state = State.SUSPECTED
        group.items[item.image_id] = item
        return True

    def split(self, batch: Batch) -> None:
        """Halve a batch that was refused as a whole."""
        first = batch.items[0]
        group = self._groups.get((first.key, first.image_id))
        search = Search() if group is None else group.search
        middle = len(batch.items) // 2
        for half in (batch.items[middle:], batch.items[:middle]):
            self._add_group(search, batch.key, half)

    def take(self, admits: Callable[[Hashable], object]) -> Batch | None:
        """The group whose turn it is; None if there is none whose call may go."""
        for _ in range(len(self._searches)):
            search = self._searches.popleft()
            group = next((group for group in search.ready if admits(group.key)), None)
            if group is not None:
                search.ready.remove(group)
            if search.ready:
                self._searches.append(search)
            if group is not None:
                return self._sent(group)
        return None

    def has_ready(self, admits: Callable[[Hashable], object]) -> bool:
        """Whether there is a group whose call may go."""
        return any(admits(group.key) for search in self._searches for group in search.ready)

    def settle(self, item: Item) -> None:
        """Forget an image that has its outcome."""
        suspect = (item.key, item.image_id)
        self._groups.pop(suspect, None)
        self._remembered.pop(suspect, None)

    def remember(self, item: Item) -> None:
        """Keep an image whose message goes back to its queue, if it is suspected at all."""
        suspect = (item.key, item.image_id)
        group = self._groups.get(suspect)
        if group is None:
            return
        if group.items.pop(item.image_id, None) is not None and not group.items:
            self._make_unready(group)
        self._remembered[suspect] = None
        if len(self._remembered) > MAX_REMEMBERED:
            oldest, _ = self._remembered.popitem(last=False)
            del self._groups[oldest]

    def _add_group(self, search: Search, key: Hashable, items: list[Item]) -> None:
        group = Group(search, key)
        for item in items:
            self._groups[(key, item.image_id)] = group
            if item.waiters:
                self.take_in(item)
            else:
                self.remember(item)
        search.ready.rotate(bool(group.items))  # to the front

    def _sent(self, group: Group) -> Batch:
        items = list(group.items.values())
        group.items = {}
        for item in items:
            item.state = State.SENT
        return Batch(group.key, items)

    def _make_unready(self, group: Group) -> None:
        group.search.ready.remove(group)
        if not group.search.ready:
            self._searches.remove(group.search)
