"""The outcome of an image."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Applied:
    """The service has the image's metadata."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The service will never take it: `code` is its word for why, `message` its sentence, if it said one."""

    code: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """Nothing is known to be wrong with it: the service had trouble with this image. `reason` says which."""

    reason: str


ImageOutcome = Applied | Refused | Retry
NotApplied = Refused | Retry

APPLIED = Applied()
