"""Accounting: what came of the sample, beside what had to come of it. Pure."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from local.demo.catalogue import Catalogue, Update
    from local.simulation.models import PublishedEvents

TRAINING_EVENTS = "VisionRelay.Training."


@dataclass(frozen=True)
class Evidence:
    """What is found at the end: the service's images by project, the dead letters and events, what is still queued.

    Events are those in the queue; `published` is what the Event Grid topic has taken.
    """

    images: Mapping[UUID, Mapping[UUID, dict[str, str]]]
    dead_letters: tuple[dict[str, Any], ...]
    events: tuple[dict[str, Any], ...]
    published: PublishedEvents
    still_queued: int
    api_calls: int
    seconds: float


@dataclass(frozen=True)
class Audit:
    """The result. `lost`: messages neither applied nor dead-lettered. `wrong`: whatever else does not add up."""

    messages: int
    images: int
    applied_images: int
    api_calls: int
    least_api_calls: int
    dead_letters: int
    dead_letters_by_reason: dict[str, int]
    events: int
    events_by_type: dict[str, int]
    published: int
    publish_calls: int
    lost: int
    wrong: tuple[str, ...]
    seconds: float

    @property
    def is_balanced(self) -> bool:
        """Whether every image and every message is accounted for."""
        return self.lost == 0 and not self.wrong


def settle(catalogue: Catalogue, expected_events: Mapping[str, int], evidence: Evidence) -> Audit:
    """Audit for every message of the catalogue, image by image, and for the trainings' events."""
    letters = Counter(map(_letter, evidence.dead_letters))
    lost = 0
    for expected in _expected_letters(catalogue):
        if letters[expected] > 0:
            letters[expected] -= 1
        else:
            lost += 1
    lost += sum(not _is_applied(update, evidence.images) for update in catalogue.updates)
    events = {event["id"]: event["type"] for event in evidence.events}
    by_type = Counter(events.values())
    wanted = catalogue.images
    return Audit(
        messages=len(catalogue.updates) + len(catalogue.malformed),
        images=sum(len(update.image_ids) for update in catalogue.updates),
        applied_images=sum(
            evidence.images.get(project, {}).get(image_id) == metadata
            for project, images in wanted.items()
            for image_id, metadata in images.items()
        ),
        api_calls=evidence.api_calls,
        least_api_calls=catalogue.least_api_calls,
        dead_letters=len(evidence.dead_letters),
        dead_letters_by_reason=dict(Counter(map(_reason, evidence.dead_letters))),
        events=len(events),
        events_by_type=dict(by_type),
        published=len({event["id"] for event in evidence.published.events}),
        publish_calls=len(evidence.published.calls),
        lost=lost,
        wrong=tuple(_wrong(+letters, by_type, expected_events, evidence)),
        seconds=round(evidence.seconds, 1),
    )


def _expected_letters(catalogue: Catalogue) -> Iterable[str]:
    yield from catalogue.malformed
    for update in catalogue.updates:
        if update.missing:
            yield _identity(update.project_id, update.missing)


def _letter(letter: dict[str, Any]) -> str:
    """What a dead letter is about, in the terms of `_expected_letters`."""
    if "body" in letter:
        return str(letter["body"])
    return _identity(UUID(letter["projectId"]), map(UUID, letter["imageIds"]))


def _identity(project_id: UUID, image_ids: Iterable[UUID]) -> str:
    return json.dumps([str(project_id), sorted(map(str, image_ids))])


def _reason(letter: dict[str, Any]) -> str:
    failure = letter["failure"]
    return f"{failure['reason']}: {failure['code']}"


def _is_applied(update: Update, images: Mapping[UUID, Mapping[UUID, dict[str, str]]]) -> bool:
    found = images.get(update.project_id, {})
    return all(
        found.get(image_id) == update.metadata for image_id in update.image_ids if image_id not in update.missing
    )


def _wrong(
    letters: Counter[str], by_type: Counter[str], expected_events: Mapping[str, int], evidence: Evidence
) -> Iterable[str]:
    if letters:
        yield f"{letters.total()} dead letters that nobody expected"
    if {event["id"] for event in evidence.events} != {event["id"] for event in evidence.published.events}:
        yield "the topic and the queue have different events"
    if evidence.still_queued:
        yield f"{evidence.still_queued} messages are still queued"
    trained = {kind: count for kind, count in by_type.items() if kind.startswith(TRAINING_EVENTS)}
    if trained != dict(expected_events):
        yield f"training events {trained}, not {dict(expected_events)}"
