"""The messages of a run, and what has to come of each. Pure and seeded: the same numbers give the same messages.

Final metadata must not depend on the order in which instances apply updates, which nobody promises. So updates of the
same image have disjoint pairs, or the same.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING
from uuid import UUID

from local.cloud import to_base64

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from local.simulation.models import GroupKind

Metadata = dict[str, str]
Images = Mapping[UUID, Mapping[UUID, Metadata]]
"""The metadata of images, by project."""

IMAGES_PER_CALL = 64
BASE64_SHARE = 0.2
"""Of the malformed messages."""
BYSTANDERS = 100

AT_FIRST: Metadata = {"origin": "archive"}
FULL: Metadata = {f"pair {number}": "taken" for number in range(10)}
DESCRIPTIONS: tuple[Metadata, ...] = (
    {"collection": "Harbour", "decade": "1950s"},
    {"collection": "Harbour", "decade": "1960s", "rights": "public domain"},
    {"collection": "Railways", "decade": "1930s", "photographer": "A. Weiß"},
    {"collection": "Markets & fairs", "colour": "yes"},
    {"collection": "Glass plates", "condition": "fragile", "scan": "2400 dpi"},
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


@dataclass(frozen=True)
class Mix:
    """What a run is made of.

    faulty          the share of messages that are malformed or refused, each way as often as the others
    refusals        the ways in which images are refused
    again           of the valid updates, the share that is the same once more, under another correlation id
    reviews         of the valid updates, the share that is another one of images that were named before
    most_images     in a message
    wrappings       how often each of `WRAPPINGS` is used, in proportion
    """

    faulty: float
    refusals: tuple[str, ...]
    again: float
    reviews: float
    most_images: int
    wrappings: tuple[int, ...]


@dataclass(frozen=True)
class Update:
    """A valid message. `refused`: its images that the service refuses, and the word with which it does."""

    correlation_id: str
    project_id: UUID
    image_ids: tuple[UUID, ...]
    metadata: Metadata
    refused: Mapping[UUID, str]
    text: str = ""

    @property
    def message(self) -> dict[str, object]:
        """The message, before it is wrapped."""
        return {
            "projectId": str(self.project_id),
            "imageIds": [str(image_id) for image_id in self.image_ids],
            "metadata": self.metadata,
            "correlationId": self.correlation_id,
        }

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
    archive: Images
    """The images that there are at first."""
    seed: int

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

    @property
    def least_api_calls(self) -> int:
        """The fewest calls that can ask for every image: full ones, for each project and metadata set."""
        asked: dict[tuple[UUID, frozenset[tuple[str, str]]], set[UUID]] = defaultdict(set)
        for update in self.updates:
            asked[update.project_id, frozenset(update.metadata.items())].update(update.image_ids)
        return sum(ceil(len(images) / IMAGES_PER_CALL) for images in asked.values())


def build_workload(
    mix: Mix,
    messages: int,
    seed: int,
    trainings: Sequence[Training] = (),
    watches: Sequence[Watch] = (),
    malformed_watches: Sequence[str] = (),
) -> Workload:
    """Make up so many messages for the updates queue; trainings and watches are as given."""
    builder = _Builder(mix, random.Random(f"workload {seed}"))  # noqa: S311 - a sample
    updates, malformed, texts, archive = builder.build(messages)
    return Workload(
        updates, malformed, texts, tuple(trainings), tuple(watches), tuple(malformed_watches), archive, seed
    )


class _Builder:
    def __init__(self, mix: Mix, rng: random.Random) -> None:
        self._mix = mix
        self._rng = rng
        self._projects = (self._uuid(), self._uuid())
        self._archive: dict[UUID, dict[UUID, Metadata]] = defaultdict(dict)
        self._updates: list[Update] = []
        self._reviewable: list[Update] = []

    def build(self, messages: int) -> tuple[tuple[Update, ...], tuple[str, ...], tuple[str, ...], Images]:
        """The updates, the malformed messages, the texts of both in the order of sending, and the images."""
        refusals = self._mix.refusals
        faulty = ceil(messages * self._mix.faulty)
        malformed = ceil(faulty / (len(refusals) + 1))
        for number in range(faulty - malformed):
            self._add_refused(refusals[number % len(refusals)])
        for _ in range(messages - faulty):
            self._add_valid()
        for project_id in self._projects:
            self._make_images(project_id, BYSTANDERS, AT_FIRST)
        mistakes = [self._mistake(number) for number in range(malformed)]
        texts = [*(update.text for update in self._updates), *mistakes]
        self._rng.shuffle(texts)
        return tuple(self._updates), tuple(mistakes), tuple(texts), self._archive

    def _add_valid(self) -> None:
        """Add an update of new images, or the same update again, or another one of the same images."""
        point = self._rng.random()
        if self._reviewable and point < self._mix.reviews:
            described = self._reviewable.pop(self._rng.randrange(len(self._reviewable)))
            self._add(described.project_id, described.image_ids, REVIEW, {})
        elif self._reviewable and point < self._mix.reviews + self._mix.again:
            described = self._rng.choice(self._reviewable)
            self._add(described.project_id, described.image_ids, described.metadata, {})
        else:
            project_id = self._rng.choice(self._projects)
            image_ids = self._make_images(project_id, self._rng.randint(1, self._mix.most_images), AT_FIRST)
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
        described = Update(f"update-{len(self._updates)}", project_id, image_ids, metadata, refused)
        [wrap] = self._rng.choices(WRAPPINGS, self._mix.wrappings)
        update = replace(described, text=wrap(described.message))
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
