"""The sample: a photo archive's catalogue as a producer would send it, with the mistakes that producers make.

Pure and seeded: the same numbers give the same messages, and what has to come of them.
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

if TYPE_CHECKING:
    from collections.abc import Iterable

IMAGES_PER_CALL = 64
MOST_IMAGES = 10

MISSING_SHARE = 0.01
MALFORMED_SHARE = 0.01
BASE64_SHARE = 0.1

COLLECTIONS = (
    {"collection": "Harbour", "decade": "1950s", "rights": "public domain"},
    {"collection": "Harbour", "decade": "1960s", "rights": "public domain"},
    {"collection": "Railways", "decade": "1920s", "photographer": "unknown"},
    {"collection": "Railways", "decade": "1930s", "photographer": "A. Weiß"},
    {"collection": "Markets & fairs", "decade": "1970s", "colour": "yes"},
    {"collection": "Glass plates", "condition": "fragile", "scan": "2400 dpi"},
)

MISTAKES = (
    "scan finished, see catalogue",
    '{"projectId": "harbour", "imageIds": [], "metadata": {}}',
    '{"imageIds": ["6f0d7c1e-0000-4000-8000-000000000001"], "metadata": {"decade": "1950s"}}',
    '{"projectId": "6f0d7c1e-0000-4000-8000-000000000000", "imageIDs": [], "metadata": {"decade": "1950s"}}',
    '{"projectId": "6f0d7c1e-0000-4000-8000-000000000000", '
    '"imageIds": ["6f0d7c1e-0000-4000-8000-000000000001"], "metadata": {"year": 1954}}',
)


@dataclass(frozen=True)
class Update:
    """A valid message, and which of its images the archive does not have."""

    project_id: UUID
    image_ids: tuple[UUID, ...]
    metadata: dict[str, str]
    missing: frozenset[UUID]
    base64: bool

    @property
    def message(self) -> dict[str, object]:
        """The message."""
        return {
            "projectId": str(self.project_id),
            "imageIds": [str(image_id) for image_id in self.image_ids],
            "metadata": self.metadata,
        }

    @property
    def text(self) -> str:
        """The message on the wire."""
        text = json.dumps(self.message)
        return to_base64(text) if self.base64 else text


@dataclass(frozen=True)
class Catalogue:
    """The sample's messages: valid ones, and malformed ones as they are sent."""

    updates: tuple[Update, ...]
    malformed: tuple[str, ...]

    @property
    def texts(self) -> list[str]:
        """All messages in the order in which they are sent: the malformed ones are spread among the others."""
        texts = [update.text for update in self.updates]
        every = max(1, len(texts) // (len(self.malformed) + 1))
        for position, text in enumerate(self.malformed):
            texts.insert((position + 1) * every + position, text)
        return texts

    @property
    def images(self) -> dict[UUID, dict[UUID, dict[str, str]]]:
        """By project, the images that the archive has, with the metadata they must end with."""
        found: dict[UUID, dict[UUID, dict[str, str]]] = defaultdict(dict)
        for update in self.updates:
            for image_id in update.image_ids:
                if image_id not in update.missing:
                    found[update.project_id][image_id] = update.metadata
        return dict(found)

    @property
    def least_api_calls(self) -> int:
        """The fewest calls that can ask for every image: full ones, for each project and metadata set."""
        asked: dict[tuple[UUID, frozenset[tuple[str, str]]], set[UUID]] = defaultdict(set)
        for update in self.updates:
            asked[update.project_id, frozenset(update.metadata.items())].update(update.image_ids)
        return sum(ceil(len(images) / IMAGES_PER_CALL) for images in asked.values())


def build_catalogue(messages: int, seed: int) -> Catalogue:
    """Make up a catalogue of so many messages over two projects and six metadata sets."""
    rng = random.Random(seed)  # noqa: S311 - a sample
    projects = [_uuid(rng), _uuid(rng)]
    malformed = ceil(messages * MALFORMED_SHARE)
    updates = tuple(_update(rng, projects) for _ in range(messages - malformed))
    return Catalogue(updates, tuple(_mistakes(rng, malformed)))


def _update(rng: random.Random, projects: list[UUID]) -> Update:
    image_ids = tuple(_uuid(rng) for _ in range(rng.randint(1, MOST_IMAGES)))
    missing = frozenset(image_ids[:1]) if rng.random() < MISSING_SHARE else frozenset()
    metadata = rng.choice(COLLECTIONS)
    return Update(rng.choice(projects), image_ids, metadata, missing, base64=rng.random() < BASE64_SHARE)


def _mistakes(rng: random.Random, count: int) -> Iterable[str]:
    for number in range(count):
        mistake = MISTAKES[number % len(MISTAKES)]
        yield to_base64(mistake) if mistake.startswith("{") and rng.random() < BASE64_SHARE else mistake


def _uuid(rng: random.Random) -> UUID:
    return UUID(int=rng.getrandbits(128), version=4)
