"""Ids: the one notation in which those of Custom Vision are written here, and how an event's id is made.

Custom Vision's ids are UUIDs. Here they are text of 36 characters, lower case, hyphens after the 8th, 12th, 16th and
20th digit: the notation of both the messages and the API's URLs. So an id goes from a message to a URL and is found
again in the answer without being taken apart.
"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID, uuid5

from pydantic import StringConstraints

from shared.messages.validation import ErrorText

_UUID = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"

# Another notation of a UUID would grow when the message is written again, and a message of 64 KiB must fit its dead
# letter.
_Uuid = Annotated[
    str,
    StringConstraints(strict=True, pattern=_UUID, to_lower=True),
    ErrorText("uuid", "must be a UUID of 36 characters, 8-4-4-4-12 hexadecimal digits"),
]
ProjectId = _Uuid
ImageId = _Uuid

EVENTS_NAMESPACE = UUID("5b7d3b0e-3f6c-4c5e-9a53-0c1f6d1f0a52")
"""Namespace of this app's event ids, which are UUIDs made from names (RFC 9562, version 5)."""


def event_id(*identity: str) -> str:
    """The id of the event that is known by these texts, the same whenever it is published."""
    return str(uuid5(EVENTS_NAMESPACE, "\n".join(identity)))
