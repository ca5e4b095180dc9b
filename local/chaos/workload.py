"""The messages of a run, and what has to come of each. Pure and seeded: the same numbers give the same messages.

Final metadata must not depend on the order in which instances apply updates, which nobody promises. So updates of the
same image have disjoint pairs, or the same.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING
from uuid import UUID

from local.cloud import to_base64
from local.simulation.models import GroupKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Metadata = dict[str, str]

FAULTY_SHARE = 0.05
AGAIN_SHARE = 0.04
"""Of the valid updates: the same once more, under another correlation id."""
REVIEW_SHARE = 0.1
"""Of the valid updates: another one of images that were named before."""
BASE64_SHARE = 0.2
"""Of the malformed messages."""
MOST_IMAGES = 4
BYSTANDERS = 100
MALFORMED_WATCHES = 3

AT_FIRST: Metadata = {"origin": "archive"}
FULL: Metadata = {f"pair {number}": "taken" for number in range(10)}
DESCRIPTIONS: tuple[Metadata, ...] = (
    {"collection": "Harbour", "decade": "1950s"},
    {"collection": "Railways", "photographer": "A. Weiß"},
    {"collection": "Markets & fairs"},
)
REVIEW: Metadata = {"reviewed": "yes"}

NOT_FOUND = "ErrorImageNotFound"
LIMIT_EXCEEDED = "ErrorLimitExceed"
INVALID_IDS = "BadRequestInvalidIds"
NO_PROJECT = "NotFoundProject"
REFUSALS = (NOT_FOUND, LIMIT_EXCEEDED, INVALID_IDS, NO_PROJECT)

SUCCEEDED = "VisionRelay.Training.Succeeded"
FAILED = "VisionRelay.Training.Failed"
GROUP_NOT_FOUND = "VisionRelay.Training.NotFound"
EXPIRED = "VisionRelay.Training.WatchExpired"

LONG_AGO = "2020-01-01T00:00:00Z"
NEVER_TRAINED = "never-trained"
"""A group of each kind that exists, and whose training nobody has asked for."""


@dataclass(frozen=True)
class Update:
    """A valid message. `refused`: its images that the service refuses, and the word with which it does."""

    correlation_id: str
    project_id: UUID
    image_ids: tuple[UUID, ...]
    metadata: Metadata
    refused: Mapping[UUID, str]
    text: str

    @property
    def applicable(self) -> list[UUID]:
        """The images that must end up with the metadata."""
        return [image_id for image_id in self.image_ids if image_id not in self.refused]


@dataclass(frozen=True)
class Training:
    """A training that starts with the run; it fails at its end if it has a failure."""

    kind: GroupKind
    group_id: str
    running_seconds: float
    failure: str | None = None


@dataclass(frozen=True)
class Watch:
    """A valid watch, and the type of the event that must come of it."""

    correlation_id: str
    event: str
    text: str


@dataclass(frozen=True)
class Workload:
    """Everything that is sent, in the order in which it is sent, and what the services have at first."""

    updates: tuple[Update, ...]
    malformed: tuple[str, ...]
    texts: tuple[str, ...]
    trainings: tuple[Training, ...]
    watches: tuple[Watch, ...]
    malformed_watches: tuple[str, ...]
    archive: Mapping[UUID, Mapping[UUID, Metadata]]
    """By project, the images that there are, with their metadata."""

    @property
    def watch_texts(self) -> list[str]:
        """The messages of the watches queue."""
        return [*(watch.text for watch in self.watches), *self.malformed_watches]

    @property
    def messages(self) -> int:
        """How many messages are sent to both queues."""
        return len(self.texts) + len(self.watch_texts)

    @property
    def refusing_images(self) -> list[UUID]:
        """The images for which the service refuses the whole call."""
        return [image for update in self.updates for image, code in update.refused.items() if code == INVALID_IDS]

    @property
    def images(self) -> dict[UUID, dict[UUID, Metadata]]:
        """By project, all images with the metadata they must end with, those that no message names included."""
        found = {project_id: dict(images) for project_id, images in self.archive.items()}
        for update in self.updates:
            for image_id in update.applicable:
                images = found[update.project_id]
                images[image_id] = images[image_id] | update.metadata
        return found


GROUPS = 12


def build_workload(messages: int, seed: int, groups: int = GROUPS) -> Workload:
    """Make up so many messages for the updates queue, one in twenty malformed or refused, and watches of groups."""
    return _Builder(random.Random(f"workload {seed}")).build(messages, groups)  # noqa: S311 - a sample


class _Builder:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._projects = (self._uuid(), self._uuid())
        self._archive: dict[UUID, dict[UUID, Metadata]] = defaultdict(dict)
        self._updates: list[Update] = []
        self._reviewable: list[Update] = []

    def build(self, messages: int, groups: int) -> Workload:
        faulty = ceil(messages * FAULTY_SHARE)
        malformed = ceil(faulty / (len(REFUSALS) + 1))
        for number in range(faulty - malformed):
            self._add_refused(REFUSALS[number % len(REFUSALS)])
        for _ in range(messages - faulty):
            self._add_valid()
        for project_id in self._projects:
            self._make_images(project_id, BYSTANDERS, AT_FIRST)
        mistakes = [self._mistake(number) for number in range(malformed)]
        texts = [*(update.text for update in self._updates), *mistakes]
        self._rng.shuffle(texts)
        trainings = _trainings(self._rng, groups)
        return Workload(
            updates=tuple(self._updates),
            malformed=tuple(mistakes),
            texts=tuple(texts),
            trainings=trainings,
            watches=tuple(_watches(trainings)),
            malformed_watches=tuple(f'{{"kind": "personGroup", "id": "NO {n}"}}' for n in range(MALFORMED_WATCHES)),
            archive=self._archive,
        )

    def _add_valid(self) -> None:
        """Add an update of new images, or the same update again, or another one of the same images."""
        point = self._rng.random()
        if self._reviewable and point < REVIEW_SHARE:
            described = self._reviewable.pop(self._rng.randrange(len(self._reviewable)))
            self._add(described.project_id, described.image_ids, REVIEW, {})
        elif self._reviewable and point < REVIEW_SHARE + AGAIN_SHARE:
            described = self._rng.choice(self._reviewable)
            self._add(described.project_id, described.image_ids, described.metadata, {})
        else:
            project_id = self._rng.choice(self._projects)
            image_ids = self._make_images(project_id, self._rng.randint(1, MOST_IMAGES), AT_FIRST)
            self._reviewable.append(self._add(project_id, image_ids, self._rng.choice(DESCRIPTIONS), {}))

    def _add_refused(self, code: str) -> None:
        """Add an update with an image that is refused with this code, among others if the code is about it alone.

        An image that has the whole call refused has a message of its own: of a message with several, as many would be
        refused with it as the halves leave together, which depends on how the batch happened to be cut.
        """
        project_id = self._uuid() if code == NO_PROJECT else self._rng.choice(self._projects)
        others = self._make_images(project_id, 2, AT_FIRST) if code in (NOT_FOUND, LIMIT_EXCEEDED) else ()
        at_fault = self._uuid()
        if code in (LIMIT_EXCEEDED, INVALID_IDS):
            self._archive[project_id][at_fault] = FULL if code == LIMIT_EXCEEDED else AT_FIRST
        self._add(project_id, (at_fault, *others), self._rng.choice(DESCRIPTIONS), {at_fault: code})

    def _add(
        self, project_id: UUID, image_ids: tuple[UUID, ...], metadata: Metadata, refused: Mapping[UUID, str]
    ) -> Update:
        correlation_id = f"chaos-{len(self._updates)}"
        message = {
            "projectId": str(project_id),
            "imageIds": [str(image_id) for image_id in image_ids],
            "metadata": metadata,
            "correlationId": correlation_id,
        }
        wrap = self._rng.choices(WRAPPINGS, WRAPPING_WEIGHTS)[0]
        update = Update(correlation_id, project_id, image_ids, metadata, refused, wrap(message))
        self._updates.append(update)
        return update

    def _mistake(self, number: int) -> str:
        """Make up a message that is not valid; no two are the same."""
        text = MISTAKES[number % len(MISTAKES)].replace("NUMBER", f"{number:012}")
        return to_base64(text) if self._rng.random() < BASE64_SHARE else text

    def _make_images(self, project_id: UUID, count: int, metadata: Metadata) -> tuple[UUID, ...]:
        image_ids = tuple(self._uuid() for _ in range(count))
        self._archive[project_id].update(dict.fromkeys(image_ids, metadata))
        return image_ids

    def _uuid(self) -> UUID:
        return UUID(int=self._rng.getrandbits(128), version=4)


def _cloud_event(message: Mapping[str, object]) -> str:
    envelope = {"specversion": "1.0", "id": message["correlationId"], "source": "/archive", "type": "Archive.Described"}
    return json.dumps({**envelope, "data": message})


def _binary_cloud_event(message: Mapping[str, object]) -> str:
    envelope = {"specversion": "1.0", "id": message["correlationId"], "source": "/archive", "type": "Archive.Described"}
    return json.dumps({**envelope, "data_base64": to_base64(json.dumps(message))})


def _event_grid_event(message: Mapping[str, object]) -> str:
    envelope = {"id": message["correlationId"], "topic": "/archive", "subject": "images", "dataVersion": "1"}
    return json.dumps({**envelope, "eventType": "Archive.Described", "eventTime": LONG_AGO, "data": message})


WRAPPINGS: tuple[Callable[[Mapping[str, object]], str], ...] = (
    json.dumps,
    lambda message: to_base64(json.dumps(message)),
    _cloud_event,
    lambda message: to_base64(_cloud_event(message)),
    _binary_cloud_event,
    _event_grid_event,
)
WRAPPING_WEIGHTS = (70, 10, 5, 5, 5, 5)

MISTAKES = (
    "scan NUMBER is finished",
    '{"projectId": "harbour", "imageIds": ["NUMBER"], "metadata": {}}',
    '{"imageIds": ["6f0d7c1e-0000-4000-8000-NUMBER"], "metadata": {"decade": "1950s"}}',
    '{"projectId": "6f0d7c1e-0000-4000-8000-NUMBER", "imageIDs": [], "metadata": {"decade": "1950s"}}',
    '{"projectId": "6f0d7c1e-0000-4000-8000-NUMBER", '
    '"imageIds": ["6f0d7c1e-0000-4000-8000-000000000001"], "metadata": {"year": 1954}}',
    '{"projectId": "6f0d7c1e-0000-4000-8000-NUMBER", "imageIds": [',
    '{"specversion": "1.0", "id": "NUMBER", "source": "/archive", "type": "Archive.Described", "data": "see there"}',
)

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
