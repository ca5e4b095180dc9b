"""What waits: a caller, an image that callers want updated, and a batch of such images."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from shared.batching.outcomes import Applied

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Hashable, Mapping

    from shared.batching.bisection import Group
    from shared.batching.message_memory import Message
    from shared.batching.outcomes import ImageOutcome, NotApplied

    Most = Callable[[Hashable, bool], int]
    """How many images of this key may go in a call at present: a whole batch, one as a probe, or none. The second
    argument says whether they are witnesses, see `circuit_breaker`."""


class Waiter:
    """One caller's wait for the outcomes of all of its images, which arrive one by one.

    `tag` names the caller in the calls that it shares, see `Around`.
    """

    __slots__ = ("_not_applied", "error", "items", "message", "pending", "tag", "woken")

    def __init__(self, woken: asyncio.Future[None], message: Message, tag: Any = None) -> None:
        self.woken = woken
        self.message = message
        self.tag = tag
        self.items: tuple[Item, ...] = ()
        self.pending = 0
        self.error: Exception | None = None
        self._not_applied: dict[str, NotApplied] = {}

    @property
    def is_done(self) -> bool:
        """Whether its result is there."""
        return self.error is not None or not self.pending

    def receive(self, image_id: str, outcome: ImageOutcome) -> None:
        """Take note of one image's outcome."""
        if not isinstance(outcome, Applied):
            self._not_applied[image_id] = outcome
        self.pending -= 1
        if not self.pending:
            self.wake()

    def fail(self, error: Exception) -> None:
        """End with an error, whatever becomes of the other images."""
        self.error = error
        self.wake()

    def wake(self) -> None:
        """Let the caller go on."""
        if not self.woken.done():
            self.woken.set_result(None)

    def result(self) -> Mapping[str, NotApplied]:
        """The outcomes of the images that were not applied, those of earlier deliveries too.

        Raises the error that it ended with.
        """
        if self.error is not None:
            raise self.error
        outcomes: dict[str, ImageOutcome] = {**self._not_applied, **self.message.outcomes}
        return {image_id: outcome for image_id, outcome in outcomes.items() if not isinstance(outcome, Applied)}


class State(Enum):
    """Where an item is."""

    BEHIND = "behind"  # behind an earlier item of the same image
    WAITING = "waiting"  # in its partition
    SUSPECTED = "suspected"  # in a bisection
    SENT = "sent"
    DONE = "done"


class Item:
    """One image to be updated under one key, for one caller or several who want the same.

    `number`: that of the message among them that arrived last. `failed_calls`: calls with it that the service failed
    to answer. `is_pardoned`: it failed alone once, see `Bisection.pardon`.
    """

    __slots__ = ("arrived", "failed_calls", "following", "image_id", "is_pardoned", "key", "number", "state", "waiters")

    def __init__(self, key: Hashable, image_id: str, waiter: Waiter, arrived: float) -> None:
        self.key = key
        self.image_id = image_id
        self.waiters: tuple[Waiter, ...] = (waiter,)
        self.arrived = arrived
        self.state = State.BEHIND
        self.following: Item | None = None
        self.failed_calls = 0
        self.is_pardoned = False
        self.number = waiter.message.number

    def join(self, waiter: Waiter) -> None:
        """Let another caller wait for it."""
        self.waiters = (*self.waiters, waiter)
        self.number = max(self.number, waiter.message.number)


class Batch:
    """Items of one key that go in one call. `group`: that of the suspected images that they are, if they are."""

    __slots__ = ("group", "items", "key")

    def __init__(self, key: Hashable, items: list[Item], group: Group | None = None) -> None:
        self.key = key
        self.items = items
        self.group = group

    @property
    def is_witness(self) -> bool:
        """Whether its failure is evidence against the service: not if it is one image that failed before."""
        if self.group is not None:
            return self.group.is_witness
        return len(self.items) > 1 or not self.items[0].failed_calls

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
