"""The types of an image's outcome: applied, refused, or to be tried again. `services.custom_vision` decides which."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Applied:
    """The service has the image's metadata."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The service will never take it. `code` and `message` are the service's."""

    code: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """The service had trouble with this image; nothing is known to be wrong with it."""

    reason: str


ImageOutcome = Applied | Refused | Retry
NotApplied = Refused | Retry

APPLIED = Applied()
