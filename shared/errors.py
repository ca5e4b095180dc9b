"""The errors of the app, sorted by who has to do something. The class alone tells a caller what to do."""

from dataclasses import KW_ONLY, dataclass


class RelayError(Exception):
    """Base of everything that Vision Relay raises on purpose."""


class SettingsError(RelayError):
    """Operator: app settings are wrong or missing, and the app does not start. The text names each in a line."""


@dataclass(eq=False, repr=False)
class InvalidMessage(RelayError):
    """Dead-letter this message: it will never be valid. The text names the field and the problem, in one line.

    The rest is what it can be known by: `text`, the message as it was first sent, readable where it could be decoded;
    `redrives`, how often it was moved back since; its correlation id, `traceparent` and `kind` where they are valid.
    """

    problem: str = ""
    _: KW_ONLY
    text: str = ""
    redrives: int = 0
    correlation_id: str | None = None
    traceparent: str | None = None
    kind: str = ""


class MessageAbandoned(RelayError):
    """Nobody: raised out of an invocation, it has the host put the message back, to be delivered again."""


class MaxWaitExceeded(MessageAbandoned):
    """An update has waited for its outcome for `MAX_WAIT_SECONDS` and leaves the batcher."""


class StorageTrouble(RelayError):
    """Wait: storage, the Event Grid topic or the network failed in spite of retries, in whichever library."""


class QueueMissing(StorageTrouble):
    """Storage itself says that the queue does not exist. A 404 that a proxy makes is plain `StorageTrouble`."""


class MessageLost(StorageTrouble):
    """The message is no longer ours: its lease has ended and somebody else has received or deleted it."""


class ApiError(RelayError):
    """A response of an API that is no success, or none. `retry_after_seconds`: how long it asked to wait, if it did."""

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
    """Wait: the service did not respond, or responded that the trouble is its own."""


class RateLimited(ApiError):
    """Wait: the API's calls a second are used up, by us or by someone else (429)."""


class AccessDenied(ApiError):
    """Operator: the configuration does not let us in. The text names the settings; every message is kept."""


class SharedFieldsRefused(_Coded):
    """Refuse all messages of the call: what they have in common was refused, their project or their metadata."""


class CallRefused(_Coded):
    """Find the message: the API refused the whole call, for a reason that may lie in one of its messages."""


class NotFound(_Coded):
    """The service itself, not the gateway in front of it, says that what was asked for does not exist."""


class UnexpectedResponse(ApiError):
    """Nobody knows: a response that no document mentions. Every message is kept."""
