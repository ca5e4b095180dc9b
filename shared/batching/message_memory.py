"""What this process remembers of messages, so that one that comes back sends only what it still lacks.

Messages are numbered as they first arrive. If a later message has updated an image that an earlier one has not updated
yet, the earlier one sends only the metadata keys that the later one did not set. Otherwise an older value would replace
a newer one.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from shared.batching.outcome_types import Refused

MAX_REMEMBERED = 10_000
"""Images of messages that are back in their queue. A message that is forgotten sends all of its images again."""


@dataclass(eq=False, slots=True)
class Message:
    """A message, however often it is delivered. `lacking`: by image without a final outcome, the update it needs."""

    id: str | None
    number: int
    lacking: dict[str, Hashable]
    images: int
    refused: dict[str, Refused] = field(default_factory=dict)


class MessageMemory:
    """The messages in process, and those that may come back. `left_of`: see `Batcher`."""

    def __init__(self, left_of: Callable[[Any, Any], Hashable | None]) -> None:
        self._left_of = left_of
        self._numbers = count()
        self._messages: dict[str | None, Message] = {}
        self._away: dict[Message, int] = {}  # with the number of their images, the one that left first
        self._images_away = 0
        self._lacking: dict[str, tuple[Message, ...]] = {}  # by image

    def begin(self, message_id: str | None, key: Hashable, image_ids: Sequence[str]) -> Message:
        """Begin with a delivery."""
        message = self._messages.get(message_id)
        if message is None:
            message = Message(message_id, next(self._numbers), dict.fromkeys(image_ids, key), len(image_ids))
            for image_id in message.lacking:
                self._lacking[image_id] = (*self._lacking.get(image_id, ()), message)
            if message_id:
                self._messages[message_id] = message
        self._images_away -= self._away.pop(message, 0)
        return message

    def applied(self, image_id: str, number: int, key: Hashable) -> None:
        """Take note that an image has this update, of the message with this number."""
        for message in self._lacking.get(image_id, ()):
            if message.number <= number:
                left = self._left_of(message.lacking[image_id], key)
                if left is not None:
                    message.lacking[image_id] = left
                else:
                    del message.lacking[image_id]
                    self._take_out(message, image_id)

    def refused(self, message: Message, image_id: str, outcome: Refused) -> None:
        """Take note that an image of a message was refused."""
        if message.lacking.pop(image_id, None) is not None:
            message.refused[image_id] = outcome
            self._take_out(message, image_id)

    def leave(self, message: Message) -> None:
        """Take note that a delivery has ended. The message is remembered until `forget`, as far as there is room."""
        if not message.id:
            self._drop(message)
            return
        self._images_away += message.images - self._away.pop(message, 0)
        self._away[message] = message.images
        while self._images_away > MAX_REMEMBERED:
            self._drop(next(iter(self._away)))

    def forget(self, message_id: str) -> None:
        """Take note that a message is done with."""
        if message_id in self._messages:
            self._drop(self._messages[message_id])

    def _drop(self, message: Message) -> None:
        self._images_away -= self._away.pop(message, 0)
        self._messages.pop(message.id, None)
        for image_id in message.lacking:
            self._take_out(message, image_id)

    def _take_out(self, message: Message, image_id: str) -> None:
        self._lacking[image_id] = tuple(one for one in self._lacking.get(image_id, ()) if one is not message)
        if not self._lacking[image_id]:
            del self._lacking[image_id]
