"""Which fault strikes when. Pure: the seed decides alone.

The services' faults come one after the other, each as long as it says and with its share of the messages sent
meanwhile, so that each has something to strike. The hosts' stops run beside them by the clock.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum

from local.simulation.models import FaultKind

STORMS = (
    FaultKind.TOO_MANY_REQUESTS,
    FaultKind.TOO_MANY_REQUESTS_BARE,
    FaultKind.SERVER_ERROR,
    FaultKind.SERVER_ERROR_HTML,
    FaultKind.UNAVAILABLE_HTML,
    FaultKind.UNAVAILABLE_UNTIL_DATE,
    FaultKind.CONNECTION_RESET,
    FaultKind.CONNECTION_CLOSED,
    FaultKind.ANSWER_CUT_OFF,
    FaultKind.HANG,
    FaultKind.TRUNCATED_JSON,
    FaultKind.IMAGE_ERROR_UNKNOWN,
    FaultKind.IMAGE_UNKNOWN_STATUS,
    FaultKind.IMAGE_MISSING,
)
OUTAGE_KINDS = (FaultKind.CONNECTION_RESET, FaultKind.UNAVAILABLE_HTML, FaultKind.BAD_GATEWAY_EMPTY)

OUTAGE_SECONDS = 20.0
WRONG_KEY_SECONDS = 10.0
STORAGE_CUT_SECONDS = 40.0
"""Longer than a host lives without storage, so that both end and are started again."""
ODD_ANSWERS_SECONDS = 10.0
ODD_ANSWERS_SHARE = 0.3
QUEUES_CUT_SECONDS = 20.0
LONE_FAILURES = 6
LONE_FAILURES_SECONDS = 15.0
PERMIT_TEXT_SECONDS = 5.0
SURPLUS_SECONDS = 5.0
SURPLUS_PERMITS = 40
TOPIC_FAILURE_SECONDS = 10.0
STORM_SECONDS = (3.0, 5.0)
STORM_SHARE = (0.3, 0.6)

HOSTS = 2
KILLS = 6
TERMINATIONS = 2
WORKER_LOSSES = 2
DOWN_SECONDS = (0.5, 3.0)


@dataclass(frozen=True)
class Storm:
    """A share of the calls fails in one way."""

    kind: FaultKind
    share: float
    seconds: float


@dataclass(frozen=True)
class Outage:
    """All calls fail in one way."""

    how: FaultKind
    seconds: float


@dataclass(frozen=True)
class WrongKey:
    """The services accept no key."""

    seconds: float


@dataclass(frozen=True)
class StorageCut:
    """The hosts' connections to storage are reset, the old ones and every new one."""

    seconds: float


@dataclass(frozen=True)
class TopicFailure:
    """The Event Grid topic takes no event."""

    how: FaultKind
    seconds: float


@dataclass(frozen=True)
class OddAnswers:
    """A share of the app's requests to storage is answered by something odd: an empty 200, a page, broken gzip."""

    share: float
    seconds: float


@dataclass(frozen=True)
class QueuesCut:
    """One of the hosts cannot reach the queues of permits and of events."""

    host: int
    seconds: float


@dataclass(frozen=True)
class LoneFailures:
    """Some images get `ErrorUnknown` in so many calls, also in calls of their own."""

    times: int
    seconds: float


@dataclass(frozen=True)
class PermitText:
    """A permit gets a text that would have its holders wait for an hour, if they believed it."""

    seconds: float


@dataclass(frozen=True)
class SurplusPermits:
    """So many permits too many are put into their queue."""

    number: int
    seconds: float


StorageFault = StorageCut | OddAnswers | QueuesCut | PermitText | SurplusPermits
ServiceFault = Storm | Outage | WrongKey | TopicFailure | LoneFailures | StorageFault


class Stop(Enum):
    """How a host ends."""

    KILL = "SIGKILL"
    TERMINATE = "SIGTERM"
    LOSE_WORKER = "loss of its worker"


@dataclass(frozen=True)
class HostFault:
    """A host is stopped, so long after the start at the earliest, and is down for a while.

    One that has lost its worker fails everything that it executes, and has a new one at once.
    """

    at_seconds: float
    host: int
    stop: Stop
    down_seconds: float


@dataclass(frozen=True)
class Schedule:
    """A whole run."""

    seed: int
    service_faults: tuple[ServiceFault, ...]
    host_faults: tuple[HostFault, ...]

    @property
    def seconds(self) -> float:
        """How long the faults take if none has to wait for something to strike."""
        return sum(fault.seconds for fault in self.service_faults)


def build_schedule(seed: int) -> Schedule:
    """Draw a schedule: every fault once, both hosts killed in turn, and each terminated and its worker lost once."""
    rng = random.Random(f"schedule {seed}")  # noqa: S311 - repeatable on purpose
    service_faults: list[ServiceFault] = [
        Storm(kind, rng.uniform(*STORM_SHARE), rng.uniform(*STORM_SECONDS)) for kind in STORMS
    ]
    service_faults.append(Outage(rng.choice(OUTAGE_KINDS), OUTAGE_SECONDS))
    service_faults.append(WrongKey(WRONG_KEY_SECONDS))
    service_faults.append(StorageCut(STORAGE_CUT_SECONDS))
    service_faults.append(TopicFailure(rng.choice(OUTAGE_KINDS), TOPIC_FAILURE_SECONDS))
    service_faults.append(OddAnswers(ODD_ANSWERS_SHARE, ODD_ANSWERS_SECONDS))
    service_faults.append(QueuesCut(rng.randrange(HOSTS), QUEUES_CUT_SECONDS))
    service_faults.append(LoneFailures(LONE_FAILURES, LONE_FAILURES_SECONDS))
    service_faults.append(PermitText(PERMIT_TEXT_SECONDS))
    rng.shuffle(service_faults)
    # First, so that most of the run shows whether the surplus is gone in time.
    service_faults.insert(0, SurplusPermits(SURPLUS_PERMITS, SURPLUS_SECONDS))
    seconds = sum(fault.seconds for fault in service_faults)
    return Schedule(seed, tuple(service_faults), tuple(_host_faults(rng, seconds)))


def _host_faults(rng: random.Random, seconds: float) -> list[HostFault]:
    stops = [Stop.KILL] * KILLS + [Stop.TERMINATE] * TERMINATIONS + [Stop.LOSE_WORKER] * WORKER_LOSSES
    rng.shuffle(stops)
    slot = seconds / (len(stops) + 1)
    victims = {stop: rng.randrange(HOSTS) for stop in Stop}
    faults = []
    for number, stop in enumerate(stops):
        at = (number + rng.uniform(0.2, 0.8)) * slot
        faults.append(HostFault(at, victims[stop], stop, rng.uniform(*DOWN_SECONDS)))
        victims[stop] = (victims[stop] + 1) % HOSTS
    return faults
