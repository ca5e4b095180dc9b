"""A place in the updates queue that a sender has taken before it says what stands there.

Storage has no idempotent put. A sender who must neither leave a message out nor send it twice, even if it is killed,
puts this, invisible for a long time, notes the message's id and pop receipt, and then gives it its content and lets it
be seen: a pop receipt permits that once. A place that was never filled becomes visible at the end, and says nothing.
"""

from __future__ import annotations

import base64

RESERVATION = '{"reserved":"for a message that its sender has not sent"}'

_PLAIN = RESERVATION.encode()
_BODIES = (_PLAIN, base64.b64encode(_PLAIN))


def is_reservation(body: bytes) -> bool:
    """Whether a message of the updates queue is such a place."""
    return body in _BODIES
