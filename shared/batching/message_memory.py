"""What is remembered of messages, so that one that comes back sends only what it still lacks.

Each message has a number, in the order of the first arrivals. If a later message updates an image that an earlier one
lacks, the earlier one sends only what the later one has not replaced: an older value would replace a newer one.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import count
from typing import TYPE_CHECKING, Any

from shared.batching.outcomes import APPLIED

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from shared.batching.outcomes import Applied, Refused

MAX_REMEMBERED = 10_000
"""Images of messages that are back in their queue; the message that left first is forgotten first. One that is
forgotten sends all of its images again."""


class Message:
    """One message, however often it is delivered. `outcomes`: of its images, those that are final."""

    __slots__ = ("_keys", "id", "image_ids", "key", "number", "outcomes")

    def __init__(self, message_id: str | None, number: int, key: Hashable, image_ids: Iterable[str] = ()) -> None:
        self.id = message_id
        self.number = number
        self.key = key
        self._keys: dict[str, Hashable] = {}
        self.image_ids = tuple(dict.fromkeys(image_ids))
        self.outcomes: dict[str, Applied | Refused] = {}

    @property
    def lacking(self) -> list[str]:
        """The images that have no final outcome yet."""
        return [image_id for image_id in self.image_ids if image_id not in self.outcomes]

    def key_of(self, image_id: str) -> Hashable:
        """The update that the image still needs."""
        return self._keys.get(image_id, self.key)

    def reduce(self, image_id: str, key: Hashable) -> None:
        """Take note that the image needs only this any more."""
        self._keys[image_id] = key


class MessageMemory:
    """The messages in process, and those that may come back.

    `left_of` tells what is left of an older update once a newer one is applied; None if nothing is.
    """

    def __init__(self, left_of: Callable[[Any, Any], Hashable | None]) -> None:
        self.left_of = left_of
        self._numbers = count()
        self._messages: dict[str, Message] = {}
        self._away: OrderedDict[Message, None] = OrderedDict()
        self._images_away = 0
        self._lacking: dict[str, tuple[Message, ...]] = {}  # by image

    def begin(self, message_id: str | None, key: Hashable, image_ids: Sequence[str]) -> Message:
        """Begin with a delivery."""
        message = self._messages.get(message_id) if message_id else None
        if message is None:
            message = Message(message_id, next(self._numbers), key, image_ids)
            for image_id in message.image_ids:
                self._lacking[image_id] = (*self._lacking.get(image_id, ()), message)
            if message_id:
                self._messages[message_id] = message
        self._is_here(message)
        return message

    def note(self, message: Message, image_id: str, outcome: Applied | Refused) -> None:
        """Take note of an image's final outcome."""
        if image_id not in message.outcomes:
            message.outcomes[image_id] = outcome
            self._found(message, image_id)

    def applied(self, image_id: str, number: int, key: Hashable) -> None:
        """Take note that this update of the message with this number is applied to an image."""
        for message in self._lacking.get(image_id, ()):
            if message.number > number:
                continue
            left = self.left_of(message.key_of(image_id), key)
            if left is None:
                self.note(message, image_id, APPLIED)
            else:
                message.reduce(image_id, left)

    def leave(self, message: Message) -> None:
        """Take note that a delivery has ended. The message is remembered until `forget`, as far as there is room."""
        if not message.id:
            self._drop(message)
            return
        self._is_here(message)
        self._away[message] = None
        self._images_away += len(message.image_ids)
        while self._images_away > MAX_REMEMBERED:
            self._drop(next(iter(self._away)))

    def forget(self, message_id: str) -> None:
        """Take note that a message is done with."""
        if message_id in self._messages:
            self._drop(self._messages[message_id])

    def _is_here(self, message: Message) -> None:
        if message in self._away:
            del self._away[message]
            self._images_away -= len(message.image_ids)

    def _drop(self, message: Message) -> None:
        self._is_here(message)
        if message.id:
            self._messages.pop(message.id, None)
        for image_id in message.lacking:
            self._found(message, image_id)

    def _found(self, message: Message, image_id: str) -> None:
        others = tuple(one for one in self._lacking.get(image_id, ()) if one is not message)
        if others:
            self._lacking[image_id] = others
        else:
            self._lacking.pop(image_id, None)
