"""What can go wrong, sorted by who has to do something about it.

::

    RelayError
    ├── SettingsError               the operator: a setting is wrong or missing, the app does not start
    ├── InvalidMessage              this message: it will never be valid, so it is dead-lettered
    ├── MessageAbandoned            nobody: the message goes back to its queue and is delivered again
    │   └── MaxWaitExceeded         it has waited long enough for an API that cannot be called
    ├── StorageTrouble              wait: storage, the Event Grid topic or the network is in trouble
    │   ├── QueueMissing            the queue does not exist
    │   └── MessageLost             the message is gone, or somebody else's: its lease has ended
    └── ApiError                    an API's response that is no success, or none at all
        ├── Unavailable             wait: the service is in trouble or cannot be reached
        ├── RateLimited             wait: more calls than the API allows
        ├── AccessDenied            the operator: key, identity, network rule or endpoint; every message is kept
        ├── SharedFieldsRefused     these messages: what they have in common was refused
        ├── CallRefused             perhaps one message of the call: it has to be found
        ├── NotFound                what was asked for does not exist
        └── UnexpectedResponse      nobody knows: a response that no document mentions; every message is kept

The class alone tells a caller what to do; nobody needs to read the text.
"""

from __future__ import annotations


class RelayError(Exception):
    """Base of everything that Vision Relay raises on purpose."""


class SettingsError(RelayError):
    """App settings are wrong or missing; the text has one line for each, with its name."""


class InvalidMessage(RelayError):
    """A queue message is not what its queue takes; the text names the field and the problem, in one line.

    The rest is what it can be known by: `text`, the message as it was first sent, readable where it could be decoded;
    `redrives`, how often it was moved back since; its correlation id, `traceparent` and `kind` where they are valid.
    """

    text: str | None = None
    redrives: int = 0
    correlation_id: str | None = None
    traceparent: str | None = None
    kind: str | None = None


class MessageAbandoned(RelayError):
    """Raised out of an invocation so that the host puts the message back into its queue."""


class MaxWaitExceeded(MessageAbandoned):
    """An update has waited for its outcome for `MAX_WAIT_SECONDS` and leaves the batcher."""


class StorageTrouble(RelayError):
    """Storage, or the Event Grid topic, failed in spite of retries, whatever the reason and in whichever library."""


class QueueMissing(StorageTrouble):
    """Storage itself says that the queue does not exist. A 404 that a proxy makes is plain `StorageTrouble`."""


class MessageLost(StorageTrouble):
    """The message is no longer ours: its lease has ended and somebody else has received or deleted it."""


class ApiError(RelayError):
    """An API's response that is no success, or no response at all.

    `retry_after_seconds` is how long the service asked to wait, if it did.
    """

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class _Coded(ApiError):
    """`code` and `message` are the service's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Unavailable(ApiError):
    """The service did not respond, or responded that the trouble is its own."""


class RateLimited(ApiError):
    """429: the API's calls a second are used up, by us or by someone else."""


class AccessDenied(ApiError):
    """The configuration does not let us in. The text names the settings to look at."""


class SharedFieldsRefused(_Coded):
    """The API refused what all messages of the call have in common: their project or their metadata."""


class CallRefused(_Coded):
    """The API refused the whole call, for a reason that may lie in one of its messages."""


class NotFound(_Coded):
    """The service itself, not the gateway in front of it, says that what was asked for does not exist."""


class UnexpectedResponse(ApiError):
    """A response that no document mentions."""
