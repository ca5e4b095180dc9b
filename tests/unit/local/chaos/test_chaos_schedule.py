"""The chaos run's faults: repeatable, and all of them in every run."""

from collections import Counter
from itertools import pairwise

import pytest

from local.chaos.schedule import (
    STORMS,
    LoneFailures,
    OddAnswers,
    Outage,
    PermitText,
    QueuesCut,
    Schedule,
    Stop,
    StorageCut,
    Storm,
    SurplusPermits,
    TopicFailure,
    WrongKey,
    build_schedule,
)

SEEDS = range(20)


@pytest.fixture(params=SEEDS)
def schedule(request: pytest.FixtureRequest) -> Schedule:
    return build_schedule(request.param)


def test_the_seed_alone_decides() -> None:
    assert build_schedule(3) == build_schedule(3)
    assert build_schedule(3) != build_schedule(4)


def test_every_fault_strikes_once(schedule: Schedule) -> None:
    kinds = Counter(fault.kind if isinstance(fault, Storm) else type(fault) for fault in schedule.service_faults)

    others = [
        Outage,
        WrongKey,
        StorageCut,
        TopicFailure,
        OddAnswers,
        QueuesCut,
        LoneFailures,
        PermitText,
        SurplusPermits,
    ]
    assert kinds == Counter([*STORMS, *others])


def test_the_hosts_are_killed_in_turn_and_each_is_terminated_and_loses_its_worker(schedule: Schedule) -> None:
    kills = [fault.host for fault in schedule.host_faults if fault.stop is Stop.KILL]
    terminations = [fault.host for fault in schedule.host_faults if fault.stop is Stop.TERMINATE]

    assert len(kills) >= 5
    assert all(one != next_one for one, next_one in pairwise(kills))
    assert sorted(terminations) == [0, 1]
    assert sorted(fault.host for fault in schedule.host_faults if fault.stop is Stop.LOSE_WORKER) == [0, 1]


def test_hosts_are_stopped_one_after_the_other_while_faults_strike(schedule: Schedule) -> None:
    times = [fault.at_seconds for fault in schedule.host_faults]

    assert times == sorted(times)
    assert times[-1] < schedule.seconds
