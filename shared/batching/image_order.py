"""Keeps the updates of one image in order: one after another, as they arrived, whatever their keys.

The items of an image form a chain, and only the first of a chain may be sent. If an item is not applied because its
message has to come back, those behind it come back too, so that they do not overtake it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.batching.items import Item


class ImageOrder:
    """The chains of all images."""

    def __init__(self) -> None:
        self._last: dict[str, Item] = {}  # by image, the last item of its chain

    def __len__(self) -> int:
        """How many images have an item."""
        return len(self._last)

    def last(self, image_id: str) -> Item | None:
        """The latest item of an image."""
        return self._last.get(image_id)

    def append(self, item: Item) -> bool:
        """Put an item at the end of its image's chain. Returns whether it is the first one, which may be sent."""
        before = self._last.get(item.image_id)
        self._last[item.image_id] = item
        if before is not None:
            before.following = item
        return before is None

    def remove_first(self, item: Item) -> Item | None:
        """Take away the first item of its chain; return the one that is first now and that somebody waits for."""
        following = item.following
        while following is not None and not following.waiters:
            following = following.following
        if following is None:
            del self._last[item.image_id]
        return following

    def cut_behind(self, item: Item) -> list[Item]:
        """Take away all that is behind an item, and return it."""
        behind = []
        following, item.following = item.following, None
        while following is not None:
            behind.append(following)
            following = following.following
        self._last[item.image_id] = item
        return behind

    def older_behind(self, item: Item) -> list[Item]:
        """What is behind an item although its messages first arrived no later."""
        older = []
        behind = item.following
        while behind is not None:
            if behind.number <= item.number:
                older.append(behind)
            behind = behind.following
        return older

    def cut_out(self, item: Item, first: Item) -> None:
        """Take away an item that is somewhere behind the first of its chain."""
        before = first
        while before.following is not item:
            assert before.following is not None  # noqa: S101 - it is in this chain
            before = before.following
        before.following = item.following
        if self._last[item.image_id] is item:
            self._last[item.image_id] = before
