"""Keeps the updates of one image in order, whatever metadata they set: they stand in line, and only the first is sent.

If the first is not applied because its message has to come back, those behind it come back too. Otherwise they would
overtake it when another instance receives it.
"""

from collections.abc import Hashable

from shared.batching.items import Item, Waiter


class ImageOrder:
    """The lines of all images."""

    def __init__(self) -> None:
        self.lines: dict[str, list[Item]] = {}  # by image

    def add(self, waiter: Waiter, image_id: str, key: Hashable, now: float) -> Item | None:
        """Let a caller wait at the end of an image's line. Returns the item if it is new and may be sent."""
        line = self.lines.setdefault(image_id, [])
        if line and line[-1].key == key and not line[-1].is_sent:
            line[-1].join(waiter)
            return None
        item = Item(key, image_id, now)
        item.join(waiter)
        line.append(item)
        return item if len(line) == 1 else None

    def remove(self, item: Item) -> Item | None:
        """Take an item out of its line. Returns the one that may be sent instead, if any."""
        line = self.lines[item.image_id]
        was_first = line[0] is item
        line.remove(item)
        if not line:
            del self.lines[item.image_id]
        return line[0] if line and was_first else None

    def cut_behind(self, item: Item) -> list[Item]:
        """Take all that is behind an item out of its line, and return it."""
        line = self.lines[item.image_id]
        first = line.index(item) + 1
        behind = line[first:]
        del line[first:]
        return behind
