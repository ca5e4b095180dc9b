"""How ids of Custom Vision are written, in messages as in URLs and responses: UUIDs of 36 characters, in lower case."""

from typing import Annotated

from pydantic import StringConstraints

from shared.messages.validation import error_text

_UUID = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
"""A shorter notation would grow when the message is written again, and a message of 64 KiB must fit its dead letter."""

ImageId = Annotated[
    str,
    StringConstraints(strict=True, pattern=_UUID, max_length=36, to_lower=True),
    error_text("uuid", "must be a UUID of 36 characters, 8-4-4-4-12 hexadecimal digits"),
]
ProjectId = ImageId
