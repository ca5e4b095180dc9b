"""Ids of Custom Vision: the one notation in which they are written here.

Custom Vision's ids are UUIDs. Here they are text of 36 characters, lower case, hyphens after the 8th, 12th, 16th and
20th digit: the notation of both the messages and the API's URLs. So an id goes from a message to a URL and is found
again in the answer without being taken apart.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from shared.messages.validation import ErrorText

_UUID = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"

# Another notation of a UUID would grow when the message is written again, and a message of 64 KiB must fit its dead
# letter.
_Uuid = Annotated[
    str,
    StringConstraints(strict=True, pattern=_UUID, max_length=36, to_lower=True),
    ErrorText("uuid", "must be a UUID of 36 characters, 8-4-4-4-12 hexadecimal digits"),
]
ProjectId = _Uuid
ImageId = _Uuid
