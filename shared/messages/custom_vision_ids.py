"""How ids of Custom Vision are written: UUIDs of 36 characters, with hyphens, in lower case.

Messages and the API's URLs have them in this notation, so an id goes from a message into a URL, and is found again in
the response, as text.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from shared.messages.validation import error_text

# Another notation of a UUID would grow when the message is written again, and a message of 64 KiB must fit its dead
# letter.
ImageId = Annotated[
    str,
    StringConstraints(
        strict=True,
        pattern=r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$",
        max_length=36,
        to_lower=True,
    ),
    error_text("uuid", "must be a UUID of 36 characters, 8-4-4-4-12 hexadecimal digits"),
]
ProjectId = ImageId
