"""Follows the events queue by peeks, which take no event from its consumer."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from shared.messages.cloud_event import EventType
from shared.services.queues import MAX_RECEIVE

if TYPE_CHECKING:
    from ops.storage import OpsQueue, Seen

POLL_SECONDS = 1.0
MAX_REMEMBERED = 10_000
_TEXTS = ("type", "subject", "time")

WHAT_QUEUES_HIDE = (
    "A queue shows only its first 32 messages. An event behind 32 others appears when those are gone. "
    "An event that its consumer takes between two looks, a second apart, is never shown."
)


@dataclass(frozen=True, slots=True)
class Event:
    """A CloudEvent. Fields that it does not have are empty."""

    document: dict[str, Any]
    type: str
    subject: str
    time: str
    data: dict[str, Any]


def read_event(message: Seen) -> Event | None:
    """Read a message of the events queue; None if it is not a JSON object with a type."""
    document = message.json_object() or {}
    type_, subject, time = (value if isinstance(value := document.get(name), str) else "" for name in _TEXTS)
    data = document.get("data")
    return Event(document, type_, subject, time, data if isinstance(data, dict) else {}) if type_ else None


@dataclass(slots=True)
class Tail:
    """Yields each event once. `is_full`: the last look found 32 messages, so more may follow."""

    queue: OpsQueue
    is_full: bool = False
    _known: dict[str, None] = field(default_factory=dict)

    async def new(self) -> list[Event]:
        """Look once, and return the events that were not there before."""
        messages = await self.queue.peek()
        self.is_full = len(messages) == MAX_RECEIVE
        new = [message for message in messages if self._is_new(message)]
        return [event for event in map(read_event, new) if event is not None]

    def _is_new(self, message: Seen) -> bool:
        if message.id in self._known:
            return False
        if len(self._known) >= MAX_REMEMBERED:
            self._known.pop(next(iter(self._known)))
        self._known[message.id] = None
        return True


def check_types(types: tuple[str, ...]) -> None:
    """Raise `ValueError` for a type that no event of this app has."""
    for wanted in types:
        if not any(matches(known.value, (wanted,)) for known in EventType):
            names = ", ".join(known.value.removeprefix("VisionRelay.") for known in EventType)
            raise ValueError(f"no event is of the type {wanted!r}; there are {names}")


def matches(event_type: str, types: tuple[str, ...]) -> bool:
    """Whether this is one of these types, which may contain `*` and omit `VisionRelay.`; none means all."""
    name = event_type.lower()
    return not types or any(
        fnmatchcase(name, wanted) or fnmatchcase(name, f"visionrelay.{wanted}") for wanted in map(str.lower, types)
    )
