"""What waits: a caller, an image that callers want updated, and a batch of such images."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from shared.batching.outcomes import Applied, NotApplied

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Hashable, Mapping

    from shared.batching.outcomes import ImageOutcome
    from shared.limits.circuit_breaker import Notice


class Waiter:
    """One caller's wait for the outcomes of all of its images, which arrive one by one.

    Its future only wakes it: it then finds its result here, or notices to be logged, after which it goes on waiting.
    `tag` is what the caller wants its calls to know it by.
    """

    __slots__ = ("_not_applied", "_notices", "error", "expires_at", "items", "pending", "tag", "woken")

    def __init__(self, woken: asyncio.Future[None], expires_at: float, tag: Any = None) -> None:
        self.woken = woken
        self.tag = tag
        self.expires_at = expires_at
        self.items: tuple[Item, ...] = ()
        self.pending = 0
        self.error: Exception | None = None
        self._not_applied: dict[str, NotApplied] | None = None  # thousands wait at the same time, few need it
        self._notices: list[Notice] | None = None

    @property
    def is_done(self) -> bool:
        """Whether its result is there."""
        return self.error is not None or not self.pending

    def take(self, image_id: str, outcome: ImageOutcome) -> None:
        """Take note of one image's outcome."""
        if not isinstance(outcome, Applied):
            self._not_applied = self._not_applied or {}
            self._not_applied[image_id] = outcome
        self.pending -= 1
        if not self.pending:
            self.wake()

    def fail(self, error: Exception) -> None:
        """End with an error, whatever becomes of the other images."""
        self.error = error
        self.wake()

    def notify(self, notice: Notice) -> None:
        """Have it log this."""
        self._notices = [*(self._notices or ()), notice]
        self.wake()

    def wake(self) -> None:
        """Let the caller go on."""
        if not self.woken.done():
            self.woken.set_result(None)

    def log_notices(self) -> None:
        """Log what there is to log, and be ready to be woken again."""
        for notice in self._notices or ():
            notice.log()
        self._notices = None
        if not self.is_done:
            self.woken = self.woken.get_loop().create_future()

    def result(self) -> Mapping[str, NotApplied]:
        """The outcomes of the images that were not applied. Raises the error that it ended with."""
        if self.error is not None:
            raise self.error
        return self._not_applied or {}


class State(Enum):
    """Where an item is."""

    BEHIND = "behind"  # behind an earlier item of the same image
    WAITING = "waiting"  # in its partition
    SUSPECTED = "suspected"  # in a bisection
    SENT = "sent"
    DONE = "done"


class Item:
    """One image to be updated under one key, for one caller or several who want the same."""

    __slots__ = ("arrived", "failed_attempts", "following", "image_id", "key", "state", "waiters")

    def __init__(self, key: Hashable, image_id: str, waiter: Waiter, arrived: float) -> None:
        self.key = key
        self.image_id = image_id
        self.waiters: tuple[Waiter, ...] = (waiter,)
        self.arrived = arrived
        self.state = State.BEHIND
        self.following: Item | None = None
        self.failed_attempts = 0


class Batch:
    """Items of one key that go in one call."""

    __slots__ = ("items", "key")

    def __init__(self, key: Hashable, items: list[Item]) -> None:
        self.key = key
        self.items = items

    @property
    def image_ids(self) -> list[str]:
        """The images of the call."""
        return [item.image_id for item in self.items]

    @property
    def tags(self) -> list[Any]:
        """What the callers want this call to know them by, each once; not those who have said nothing."""
        waiters = dict.fromkeys(waiter for item in self.items for waiter in item.waiters)
        return [waiter.tag for waiter in waiters if waiter.tag is not None]

    @property
    def is_of_one_message(self) -> bool:
        """Whether all of it is wanted by the same callers, so that nobody would pay for another's mistake."""
        first = self.items[0].waiters
        return len(self.items) == 1 or all(item.waiters == first for item in self.items)
