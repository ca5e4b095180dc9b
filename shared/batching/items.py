"""What waits: a caller, an image that callers want updated, a group of suspected images, and a batch."""

import asyncio
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.batching.message_memory import Message
from shared.batching.outcome_types import ImageOutcome, NotApplied, Retry

Most = Callable[[Hashable, bool], int]
"""How many images of this key may go in a call at present: a whole batch, one as a probe, or none. The second
argument says whether they are witnesses, see `circuit_breaker`."""


@dataclass(eq=False, slots=True)
class Waiter:
    """A caller who waits for its message's images. `items`: those without an outcome. `tag`: see `Around`."""

    woken: asyncio.Future[None]
    message: Message
    tag: Any = None
    items: dict["Item", None] = field(default_factory=dict)
    retries: dict[str, Retry] = field(default_factory=dict)
    error: Exception | None = None

    def receive(self, item: "Item", outcome: ImageOutcome | Exception) -> None:
        """Take note of an image's outcome; those that are final are its message's. An error ends the wait."""
        del self.items[item]
        if isinstance(outcome, Retry):
            self.retries[item.image_id] = outcome
        if isinstance(outcome, Exception):
            self.end(outcome)
        if not self.items:
            self.end()

    def end(self, error: Exception | None = None) -> None:
        """Let the caller go on, with this error or with the outcomes."""
        if not self.woken.done():
            self.error = error
            self.woken.set_result(None)

    def result(self) -> Mapping[str, NotApplied]:
        """The images that were not applied, in any delivery. Raises the error that ended the wait."""
        if self.error is not None:
            raise self.error
        retries = {image_id: retry for image_id, retry in self.retries.items() if image_id in self.message.lacking}
        return {**retries, **self.message.refused}


@dataclass(eq=False, slots=True)
class Item:
    """One image to be updated under one key, for one caller or several who want the same.

    `number`: that of the latest of their messages. `is_sent`: it is on the wire. `failed_calls`: those that spoke
    against the service. `is_pardoned`: see `Bisection.pardon`.
    """

    key: Hashable
    image_id: str
    arrived: float
    waiters: list[Waiter] = field(default_factory=list)
    number: int = -1
    is_sent: bool = False
    failed_calls: int = 0
    is_pardoned: bool = False

    def join(self, waiter: Waiter) -> None:
        """Let a caller wait for it."""
        self.waiters.append(waiter)
        self.number = max(self.number, waiter.message.number)
        waiter.items[self] = None

    def reduce(self) -> bool:
        """Reduce it to what its messages still lack. Returns whether that is anything."""
        lacking = [waiter.message for waiter in self.waiters if self.image_id in waiter.message.lacking]
        if lacking:
            latest = max(lacking, key=lambda message: message.number)
            self.number, self.key = latest.number, latest.lacking[self.image_id]
        return bool(lacking)


@dataclass(eq=False, slots=True)
class Group:
    """Images that go in one call. `items`: by image, those that wait now. `other_half`: held until its response.

    `failed_alone`: each failed in a call of its own, during an outage or as the first sign of one.
    """

    key: Hashable
    is_witness: bool
    failed_alone: bool = False
    is_held: bool = False
    other_half: "Group | None" = None
    items: dict[str, Item] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class Batch:
    """Items of one key that go in one call. `group`: that of the suspected images that they are, if they are."""

    key: Hashable
    items: list[Item]
    group: Group | None = None

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
        """The tags of its callers, each once; not of those who have none."""
        waiters = dict.fromkeys(waiter for item in self.items for waiter in item.waiters)
        return [waiter.tag for waiter in waiters if waiter.tag is not None]

    @property
    def is_of_one_message(self) -> bool:
        """Whether the same callers want all of it, so that nobody would pay for another's mistake."""
        return all(item.waiters == self.items[0].waiters for item in self.items)
