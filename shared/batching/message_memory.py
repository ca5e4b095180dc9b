"""What is remembered of messages, so that one that comes back sends only what it still lacks.

Each message has a number, in the order of the first arrivals. If a later message updates an image that an earlier one
lacks, the earlier one sends only what the later one has not replaced: an older value would replace a newer one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from shared.batching.outcomes import Refused

MAX_REMEMBERED = 10_000
"""Images of messages that are back in their queue; the message that left first is forgotten first. One that is
forgotten sends all of its images again."""


@dataclass(eq=False, slots=True)
class Message:
    """One message, however often it is delivered, of so many images. `lacking`: the update that each still needs."""

    id: str | None
    number: int
    lacking: dict[str, Hashable]
    images: int
    refused: dict[str, Refused] = field(default_factory=dict)


class MessageMemory:
    """The messages in process, and those that may come back.

    `left_of` tells what is left of an older update once a newer one is applied; None if nothing is.
    """

    def __init__(self, left_of: Callable[[Any, Any], Hashable | None]) -> None:
        self._left_of = left_of
        self._numbers = count()
        self._messages: dict[str, Message] = {}
        self._away: dict[Message, None] = {}  # the one that left first comes first
        self._images_away = 0
        self._lacking: dict[str, tuple[Message, ...]] = {}  # by image

    def begin(self, message_id: str | None, key: Hashable, image_ids: Sequence[str]) -> Message:
        """Begin with a delivery."""
        message = self._messages.get(message_id) if message_id else None
        if message is None:
            lacking = dict.fromkeys(image_ids, key)
            message = Message(message_id, next(self._numbers), lacking, len(lacking))
            for image_id in lacking:
                self._lacking[image_id] = (*self._lacking.get(image_id, ()), message)
            if message_id:
                self._messages[message_id] = message
        self._is_here(message)
        return message

    def applied(self, image_id: str, number: int, key: Hashable) -> None:
        """Take note that an image has this update, of the message with this number."""
        for message in self._lacking.get(image_id, ()):
            if message.number > number:
                continue
            left = self._left_of(message.lacking[image_id], key)
            if left is None:
                self._has_outcome(message, image_id)
            else:
                message.lacking[image_id] = left

    def refused(self, message: Message, image_id: str, outcome: Refused) -> None:
        """Take note that an image of a message was refused."""
        if image_id in message.lacking:
            message.refused[image_id] = outcome
            self._has_outcome(message, image_id)

    def leave(self, message: Message) -> None:
        """Take note that a delivery has ended. The message is remembered until `forget`, as far as there is room."""
        if not message.id:
            self._drop(message)
            return
        self._is_here(message)
        self._away[message] = None
        self._images_away += message.images
        while self._images_away > MAX_REMEMBERED:
            self._drop(next(iter(self._away)))

    def forget(self, message_id: str) -> None:
        """Take note that a message is done with."""
        if message_id in self._messages:
            self._drop(self._messages[message_id])

    def _is_here(self, message: Message) -> None:
        if message in self._away:
            del self._away[message]
            self._images_away -= message.images

    def _drop(self, message: Message) -> None:
        self._is_here(message)
        if message.id:
            self._messages.pop(message.id, None)
        for image_id in message.lacking:
            self._take_out(message, image_id)

    def _has_outcome(self, message: Message, image_id: str) -> None:
        del message.lacking[image_id]
        self._take_out(message, image_id)

    def _take_out(self, message: Message, image_id: str) -> None:
        others = tuple(one for one in self._lacking.get(image_id, ()) if one is not message)
        if others:
            self._lacking[image_id] = others
        else:
            self._lacking.pop(image_id, None)
