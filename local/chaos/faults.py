"""What struck in a chaos run, and what must not have happened to the hosts meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from local.chaos.schedule import KILLS, STORMS, TERMINATIONS, WORKER_LOSSES
from local.simulation.counters import MARKED_IMAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

KILL = "sigkill_mid_batch"
TERMINATION = "sigterm_mid_batch"
WORKER_LOSS = "worker_lost_mid_batch"
STORAGE_CUT = "storage_cut"
OUTAGE = "outage"
WRONG_KEY = "wrong_key"
TOPIC_FAILURE = "topic_failure"
ODD_ANSWERS = "odd_answers_of_storage"
QUEUES_CUT = "permits_and_events_cut_for_one_host"
LONE_FAILURES = MARKED_IMAGE
PERMIT_TEXT = "permit_with_another_text"
SURPLUS = "surplus_permits"
HOST_ENDS = "host_ended_for_want_of_storage"

LEAST_FAULTS: Mapping[str, int] = {
    KILL: KILLS,
    TERMINATION: TERMINATIONS,
    WORKER_LOSS: WORKER_LOSSES,
    STORAGE_CUT: 1,
    OUTAGE: 1,
    WRONG_KEY: 1,
    TOPIC_FAILURE: 1,
    ODD_ANSWERS: 10,
    QUEUES_CUT: 10,
    LONE_FAILURES: 3,
    PERMIT_TEXT: 1,
    SURPLUS: 1,
    HOST_ENDS: 1,
    **{kind.value: 1 for kind in STORMS},
}
"""How often each kind of fault must really have struck."""


@dataclass(frozen=True)
class Faults:
    """What is found beside the account of the messages.

    faults          by kind, how often it really struck: counted where it struck
    crashes         hosts that ended by themselves although storage could be reached, or not cleanly when asked to
    tracebacks      errors that the hosts logged with a traceback, which no fault explains
    over_limit      calls that Custom Vision's own rate limit refused, and no fault, but for two minutes after a
                    surplus of permits
    """

    faults: Mapping[str, int]
    crashes: int
    tracebacks: int
    over_limit: int

    @property
    def promises(self) -> dict[str, int]:
        """What must be zero."""
        return {
            "hosts that crashed": self.crashes,
            "tracebacks in the hosts' logs": self.tracebacks,
            "calls over the limit that the hosts share": self.over_limit,
        }

    @property
    def missing(self) -> tuple[str, ...]:
        """Kinds that did not strike, or not often enough."""
        return tuple(kind for kind, least in LEAST_FAULTS.items() if self.faults.get(kind, 0) < least)

    @property
    def passed(self) -> bool:
        """Whether every fault struck, and no host came to grief by itself."""
        return not self.missing and not any(self.promises.values())
