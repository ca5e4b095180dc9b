"""Items and waiters for tests of the parts that need no loop, and what a batcher has left."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from shared.batching.items import Batch, Item, Waiter
from shared.batching.message_memory import Message

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from shared.batching.batcher import Batcher


class Caller(Waiter):
    """A waiter that nobody runs."""

    def __init__(self, number: int = 0) -> None:
        super().__init__(cast("asyncio.Future[None]", None), Message(None, number, {}, 0))

    def end(self, error: Exception | None = None) -> None:
        """Nobody sleeps."""


def new_item(image_id: str, key: str = "a", arrived: float = 0.0) -> Item:
    """An item that one caller waits for."""
    item = Item(key, image_id, arrived)
    item.join(Caller())
    return item


def new_batch(image_ids: Iterable[str], key: str = "a") -> Batch:
    """A batch that was sent, each image for a caller of its own."""
    return Batch(key, [new_item(image_id, key) for image_id in image_ids])


def left_in(batcher: Batcher[str]) -> set[object]:
    """The images, waiting keys and suspected images that are left; without those whose message has left."""
    backlog = batcher._backlog
    suspects = backlog._bisection._groups.keys() - backlog._bisection._remembered.keys()
    return {*backlog._order.lines, *backlog._partitions._partitions, *suspects}


def always(_: object, is_witness: bool) -> int:
    """Every call may go, with a whole batch."""
    return 64
