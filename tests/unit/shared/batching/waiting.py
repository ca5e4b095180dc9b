"""Items and waiters for tests of the parts that need no loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from shared.batching.items import Batch, Item, State, Waiter
from shared.batching.message_memory import Message

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable


class Caller(Waiter):
    """A waiter that nobody runs: what it is told is kept."""

    def __init__(self, number: int = 0) -> None:
        super().__init__(cast("asyncio.Future[None]", None), message=Message(None, number, "a"))

    def wake(self) -> None:
        """Nobody sleeps."""


def new_item(image_id: str, key: str = "a", arrived: float = 0.0) -> Item:
    """An item that one caller waits for."""
    waiter = Caller()
    item = Item(key, image_id, waiter, arrived)
    waiter.items, waiter.pending = (item,), 1
    return item


def new_batch(image_ids: Iterable[str], key: str = "a") -> Batch:
    """A batch that was sent, each image for a caller of its own."""
    items = [new_item(image_id, key) for image_id in image_ids]
    for item in items:
        item.state = State.SENT
    return Batch(key, items)


def always(_: object, is_witness: bool) -> int:
    """Every call may go, with a whole batch."""
    return 64
