"""What is remembered of messages, so that one that comes back sends only what it still lacks.

Each message has a number, in the order of the first arrivals. An image that a message lacks and that a later message
updates in the meantime is lacking no more: the older value would replace the newer one.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import count
from typing import TYPE_CHECKING

from shared.batching.outcomes import APPLIED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.batching.outcomes import Applied, Refused

MAX_REMEMBERED = 10_000
"""Images of messages that are back in their queue; the message that left first is forgotten first. One that is
forgotten sends all of its images again."""


class Message:
    """One message, however often it is delivered. `outcomes`: of its images, those that are final."""

    __slots__ = ("id", "lacking", "number", "outcomes")

    def __init__(self, message_id: str | None, number: int) -> None:
        self.id = message_id
        self.number = number
        self.outcomes: dict[str, Applied | Refused] = {}
        self.lacking: set[str] = set()


class MessageMemory:
    """The messages in process, and those that may come back."""

    def __init__(self) -> None:
        self._numbers = count()
        self._messages: dict[str, Message] = {}
        self._away: OrderedDict[Message, int] = OrderedDict()  # with the images that each is remembered for
        self._images_away = 0
        self._lacking: dict[str, dict[Message, None]] = {}

    def begin(self, message_id: str | None, image_ids: Sequence[str]) -> Message:
        """Begin with a delivery: `lacking` are the images to be sent."""
        message = self._messages.get(message_id) if message_id else None
        if message is None:
            message = Message(message_id, next(self._numbers))
            if message_id:
                self._messages[message_id] = message
        self._images_away -= self._away.pop(message, 0)
        for image_id in image_ids:
            if image_id not in message.outcomes:
                message.lacking.add(image_id)
                self._lacking.setdefault(image_id, {})[message] = None
        return message

    def note(self, message: Message, image_id: str, outcome: Applied | Refused) -> None:
        """Take note of an image's final outcome."""
        if image_id in message.lacking:
            message.outcomes[image_id] = outcome
            self._found(message, image_id)

    def applied(self, image_id: str, number: int) -> None:
        """Take note that an image has the value of this message: it and older messages lack the image no more."""
        for message in [one for one in self._lacking.get(image_id, ()) if one.number <= number]:
            self.note(message, image_id, APPLIED)

    def leave(self, message: Message) -> None:
        """Take note that a delivery has ended. The message is remembered until `forget`, as far as there is room."""
        if not message.id:
            self._drop(message)
            return
        self._images_away -= self._away.pop(message, 0)
        self._away[message] = images = len(message.outcomes) + len(message.lacking)
        self._images_away += images
        while self._images_away > MAX_REMEMBERED:
            self._drop(next(iter(self._away)))

    def forget(self, message_id: str) -> None:
        """Take note that a message is done with."""
        if message_id in self._messages:
            self._drop(self._messages[message_id])

    def _drop(self, message: Message) -> None:
        self._images_away -= self._away.pop(message, 0)
        if message.id:
            self._messages.pop(message.id, None)
        for image_id in list(message.lacking):
            self._found(message, image_id)

    def _found(self, message: Message, image_id: str) -> None:
        message.lacking.remove(image_id)
        lacking = self._lacking[image_id]
        del lacking[message]
        if not lacking:
            del self._lacking[image_id]
