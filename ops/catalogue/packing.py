"""Decides which images share a message. The same catalogue always becomes the same messages."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from ops.catalogue.row import BYTES_PER_IMAGE, MAX_CONTENT_BYTES, content_bytes
from shared.services.custom_vision import MAX_IMAGES_PER_CALL
from shared.text import to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ops.catalogue.database import Group


@dataclass(frozen=True, slots=True)
class Message:
    """A message to be sent: its number, its JSON, and the number of its images."""

    number: int
    body: str
    images: int


def capacity(fields: dict[str, Any]) -> int:
    """How many images fit a message with these fields: whole calls, if it holds more than one."""
    most = (MAX_CONTENT_BYTES - content_bytes({**fields, "imageIds": []})) // BYTES_PER_IMAGE
    return most - most % MAX_IMAGES_PER_CALL if most > MAX_IMAGES_PER_CALL else max(most, 1)


def pack(groups: Iterable[Group], correlation_id: str | None = None) -> Iterator[Message]:
    """Put each group's images into as few messages as possible. `correlation_id` is for groups without one."""
    number = 0
    for group in groups:
        fields: dict[str, Any] = {"projectId": group.project_id, "imageIds": [], "metadata": group.metadata}
        known_by = group.correlation_id or correlation_id
        if known_by is not None:
            fields["correlationId"] = known_by
        most = capacity(fields)
        while image_ids := list(islice(group.image_ids, most)):
            number += 1
            yield Message(number, to_json({**fields, "imageIds": image_ids}), len(image_ids))
