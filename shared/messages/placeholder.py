"""The placeholder: an empty message that `vision-relay send` puts into the updates queue before the message itself.

Storage cannot put a message exactly once. So `send` puts a placeholder that stays invisible for days, notes its id and
pop receipt in a file, then gives it the message's content and makes it visible. A pop receipt is valid once, so
that a second try after a crash cannot send the message twice. A placeholder without content becomes visible in the end,
and the app deletes it.
"""

import base64

PLACEHOLDER = '{"reserved":"for a message that its sender has not sent"}'


def is_placeholder(body: bytes) -> bool:
    """Whether a message of the updates queue is a placeholder."""
    return body in (PLACEHOLDER.encode(), base64.b64encode(PLACEHOLDER.encode()))
