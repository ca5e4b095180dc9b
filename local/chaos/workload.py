"""The messages of a chaos run: every kind of mistake, wrapping, training and watch."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

from local.account.messages import (
    EXPIRED,
    FAILED,
    GROUP_NOT_FOUND,
    LONG_AGO,
    REFUSALS,
    SUCCEEDED,
    Mix,
    Training,
    Watch,
    Workload,
    build_workload,
)
from local.simulation.models import GroupKind

if TYPE_CHECKING:
    from collections.abc import Iterator

MIX = Mix(faulty=0.05, refusals=REFUSALS, again=0.04, reviews=0.1, most_images=4, wrappings=(70, 10, 5, 5, 5, 5))
GROUPS = 12
MALFORMED_WATCHES = tuple(f'{{"kind": "personGroup", "id": "NO {n}"}}' for n in range(3))
NEVER_TRAINED = "never-trained"
"""A group of each kind that exists, and whose training nobody has asked for."""


def chaos_workload(messages: int, seed: int, groups: int = GROUPS) -> Workload:
    """So many updates, and two watches for each of so many groups."""
    trainings = _trainings(random.Random(f"trainings {seed}"), groups)  # noqa: S311 - a sample
    return build_workload(MIX, messages, seed, trainings, tuple(_watches(trainings)), MALFORMED_WATCHES)


_KIND_ON_THE_WIRE = {
    GroupKind.PERSON_GROUP: "personGroup",
    GroupKind.LARGE_PERSON_GROUP: "largePersonGroup",
    GroupKind.LARGE_FACE_LIST: "largeFaceList",
}


def _trainings(rng: random.Random, groups: int) -> tuple[Training, ...]:
    """Trainings of so many groups, of all kinds in turn, that end all over the run."""
    kinds = len(GroupKind)
    return tuple(
        Training(
            kind,
            f"group-{number}",
            running_seconds=rng.uniform(1, 100),
            failure="There is no face in the group." if number % 3 == 2 else None,
        )
        for place, kind in enumerate(GroupKind)
        for number in range((groups + kinds - 1 - place) // kinds)
    )


def _watches(trainings: tuple[Training, ...]) -> Iterator[Watch]:
    """Two watches for each training, and some that never see one: of no group, and of one that is never trained."""
    for time in ("first", "second"):
        for training in trainings:
            event = SUCCEEDED if training.failure is None else FAILED
            yield _watch(training.kind, training.group_id, event, time)
    for kind in GroupKind:
        yield _watch(kind, "nowhere", GROUP_NOT_FOUND, "first")
        yield _watch(kind, NEVER_TRAINED, EXPIRED, "first", expiresAt=LONG_AGO)


def _watch(kind: GroupKind, group_id: str, event: str, time: str, **options: str) -> Watch:
    correlation_id = f"watch-{kind}-{group_id}-{time}"
    message = {"kind": _KIND_ON_THE_WIRE[kind], "id": group_id, "correlationId": correlation_id, **options}
    return Watch(correlation_id, event, json.dumps(message))
