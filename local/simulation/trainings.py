"""A training as both services have it: queued, running, then done or failed, and the dates of it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum


class Status(StrEnum):
    """The documented states of a training."""

    NOT_STARTED = "notStarted"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ActiveTraining:
    """A training by its moments, in seconds since the epoch; it failed if there is a message."""

    asked_at: float
    starts_at: float
    ends_at: float
    failure: str | None

    def status(self, now: float) -> Status:
        """How it stands."""
        if now < self.starts_at:
            return Status.NOT_STARTED
        if now < self.ends_at:
            return Status.RUNNING
        return Status.SUCCEEDED if self.failure is None else Status.FAILED


def moment(seconds: float) -> datetime:
    """A moment in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def timestamp(seconds: float) -> str:
    """A moment as the services write it, to the millisecond."""
    return moment(seconds).isoformat(timespec="milliseconds").replace("+00:00", "Z")
