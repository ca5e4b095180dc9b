"""Accounting: what came of every message, beside what had to come of it. Pure.

What counts as what is said at the fields of `Audit`, and nowhere else.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from local.chaos.schedule import KILLS, STORMS, TERMINATIONS, WORKER_LOSSES

if TYPE_CHECKING:
    from local.chaos.workload import Metadata, Update, Workload

Images = Mapping[UUID, Mapping[UUID, "Metadata"]]
Json = dict[str, Any]

REJECTED = "VisionRelay.ImageMetadata.Rejected"
COMPLETION = {
    "VisionRelay.Training.Succeeded": "lastSuccessfulTrainingDateTime",
    "VisionRelay.Training.Failed": "lastActionDateTime",
}
"""By type of event, the field of the training result that tells one training of a group from the next."""

KILL = "sigkill_mid_batch"
TERMINATION = "sigterm_mid_batch"
WORKER_LOSS = "worker_lost_mid_batch"
STORAGE_CUT = "storage_cut"
OUTAGE = "outage"
WRONG_KEY = "wrong_key"
TOPIC_FAILURE = "topic_failure"

LEAST_FAULTS: Mapping[str, int] = {
    KILL: KILLS,
    TERMINATION: TERMINATIONS,
    WORKER_LOSS: WORKER_LOSSES,
    STORAGE_CUT: 1,
    OUTAGE: 1,
    WRONG_KEY: 1,
    TOPIC_FAILURE: 1,
    **{kind.value: 1 for kind in STORMS},
}
"""How often each kind of fault must really have struck."""


@dataclass(frozen=True)
class Evidence:
    """What is found when nothing moves any more.

    images          the service's images by project
    dead_letters    the texts in both poison queues
    events          the texts in the events queue
    published       the events that the Event Grid topic has taken
    still_queued    the texts left in both input queues
    faults          by kind, how often it really struck: counted where it struck
    crashes         hosts that ended by themselves, or not cleanly when they were asked to
    tracebacks      errors that the hosts logged with a traceback, which no fault explains
    over_limit      calls that Custom Vision's own rate limit refused, and no fault
    """

    images: Images
    dead_letters: tuple[str, ...]
    events: tuple[str, ...]
    published: tuple[Json, ...]
    still_queued: tuple[str, ...]
    faults: Mapping[str, int]
    crashes: int
    tracebacks: int
    over_limit: int
    seconds: float


@dataclass(frozen=True)
class Audit:
    """The result; `messages` = `applied` + `dead_lettered` + `still_queued` + `lost`.

    messages        all that were sent to both input queues
    applied         updates whose images all have their metadata; watches whose event was published
    dead_lettered   messages with an expected dead letter, that is with the expected images, code and reason; if only
                    some of the images are refused, the others have their metadata
    still_queued    messages that are neither, and are still in their queue
    lost            messages that are neither, and are not
    wrong_state     images whose metadata is not what must come out, among them images that no message named
    unjustified_dead_letters  dead letters of images or messages that could be applied, or with another code or reason
    poisoned_by_outage        copies that the host made of messages delivered too often, which have no `failure`, and
                              dead letters with reason `error`: no message of the run deserves either
    duplicate_events_with_new_id  event ids beyond the first for one fact: the rejection of one message, one completed
                              training of one group, the end of one watch
    events_in_one_place       events that only the queue or only the topic has
    repeated_dead_letters     expected dead letters beyond the first of their message: a host that dies or loses its
                              lease between writing one and deleting the message leaves both; no promise is broken
    untold_dead_letters       dead-lettered updates without their event
    faults          as in the evidence
    missing_faults  kinds that did not strike, or not often enough
    crashes, tracebacks, over_limit  as in the evidence
    """

    messages: int
    applied: int
    dead_lettered: int
    still_queued: int
    lost: int
    wrong_state: int
    unjustified_dead_letters: int
    poisoned_by_outage: int
    duplicate_events_with_new_id: int
    events_in_one_place: int
    repeated_dead_letters: int
    untold_dead_letters: int
    faults: Mapping[str, int]
    missing_faults: tuple[str, ...]
    crashes: int
    tracebacks: int
    over_limit: int
    seconds: float
    seed: int

    @property
    def broken_promises(self) -> dict[str, int]:
        """What must be zero, and is not."""
        counts = {
            "still_queued": self.still_queued,
            "lost": self.lost,
            "wrong_state": self.wrong_state,
            "unjustified_dead_letters": self.unjustified_dead_letters,
            "poisoned_by_outage": self.poisoned_by_outage,
            "duplicate_events_with_new_id": self.duplicate_events_with_new_id,
            "events_in_one_place": self.events_in_one_place,
            "untold_dead_letters": self.untold_dead_letters,
            "crashes": self.crashes,
            "tracebacks": self.tracebacks,
            "over_limit": self.over_limit,
        }
        return {name: count for name, count in counts.items() if count}

    @property
    def passed(self) -> bool:
        """Whether every promise was kept although every fault struck."""
        return not self.broken_promises and not self.missing_faults


def settle(workload: Workload, seed: int, evidence: Evidence) -> Audit:
    """Audit for every message."""
    letters = _sort_letters(workload, evidence.dead_letters)
    events = [json.loads(text) for text in evidence.events]
    told = {(event["type"], event["data"].get("correlationId")) for event in events}
    queued = Counter(evidence.still_queued)
    tally = _Tally(queued)
    for update in workload.updates:
        has_letter = update.correlation_id in letters.expected
        is_settled = _is_applied(update, evidence.images) and has_letter == bool(update.refused)
        tally.count(update.text, is_settled, has_letter)
    for text in (*workload.malformed, *workload.malformed_watches):
        tally.count(text, text in letters.expected, True)
    for watch in workload.watches:
        tally.count(watch.text, (watch.event, watch.correlation_id) in told, False)
    refused = [update.correlation_id for update in workload.updates if update.correlation_id in letters.expected]
    return Audit(
        messages=workload.messages,
        applied=tally.applied,
        dead_lettered=tally.dead_lettered,
        still_queued=tally.still_queued,
        lost=tally.lost,
        wrong_state=_wrong_state(workload.images, evidence.images),
        unjustified_dead_letters=letters.unjustified,
        poisoned_by_outage=letters.poisoned,
        duplicate_events_with_new_id=_new_ids([*events, *evidence.published]),
        events_in_one_place=len(_ids(events) ^ _ids(evidence.published)),
        repeated_dead_letters=sum(letters.expected.values()) - len(letters.expected),
        untold_dead_letters=sum((REJECTED, correlation_id) not in told for correlation_id in refused),
        faults=dict(evidence.faults),
        missing_faults=tuple(kind for kind, least in LEAST_FAULTS.items() if evidence.faults.get(kind, 0) < least),
        crashes=evidence.crashes,
        tracebacks=evidence.tracebacks,
        over_limit=evidence.over_limit,
        seconds=round(evidence.seconds, 1),
        seed=seed,
    )


class _Tally:
    """Puts each message into exactly one place. `queued`: texts that are still in a queue, by number."""

    def __init__(self, queued: Counter[str]) -> None:
        self.applied = self.dead_lettered = self.still_queued = self.lost = 0
        self._queued = queued

    def count(self, text: str, is_settled: bool, by_letter: bool) -> None:
        if is_settled and by_letter:
            self.dead_lettered += 1
        elif is_settled:
            self.applied += 1
        elif self._queued[text]:
            self._queued[text] -= 1
            self.still_queued += 1
        else:
            self.lost += 1


@dataclass
class _Letters:
    """Dead letters, sorted. `expected`: how often each was found, by correlation id, or by text if it was malformed."""

    expected: Counter[str]
    unjustified: int = 0
    poisoned: int = 0


def _sort_letters(workload: Workload, texts: Iterable[str]) -> _Letters:
    updates = {update.correlation_id: update for update in workload.updates}
    malformed = {*workload.malformed, *workload.malformed_watches}
    letters = _Letters(Counter())
    for text in texts:
        letter = _read(text)
        failure = letter.get("failure")
        if failure is None or failure["reason"] == "error":
            letters.poisoned += 1
        elif failure["reason"] == "invalid" and letter.get("body") in malformed:
            letters.expected[letter["body"]] += 1
        elif failure["reason"] == "refused" and _is_expected(letter, updates):
            letters.expected[letter["correlationId"]] += 1
        else:
            letters.unjustified += 1
    return letters


def _read(text: str) -> Json:
    """The dead letter; an empty one for what is none, say a copy of a message that is not JSON."""
    try:
        letter = json.loads(text)
    except ValueError:
        return {}
    return letter if isinstance(letter, dict) else {}


def _is_expected(letter: Json, updates: Mapping[str, Update]) -> bool:
    update = updates.get(letter.get("correlationId", ""))
    if update is None or not update.refused:
        return False
    codes = {str(image_id): code for image_id, code in update.refused.items()}
    return (
        letter["projectId"] == str(update.project_id)
        and letter["metadata"] == update.metadata
        and sorted(letter["imageIds"]) == sorted(codes)
        and letter["failure"]["images"] == codes
    )


def _is_applied(update: Update, images: Images) -> bool:
    found = images.get(update.project_id, {})
    return all(update.metadata.items() <= found.get(image_id, {}).items() for image_id in update.applicable)


def _wrong_state(expected: Images, found: Images) -> int:
    return sum(
        found.get(project_id, {}).get(image_id) != metadata
        for project_id, images in expected.items()
        for image_id, metadata in images.items()
    )


def _ids(events: Iterable[Json]) -> set[str]:
    return {event["id"] for event in events}


def _new_ids(events: Iterable[Json]) -> int:
    ids: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for event in events:
        ids[_fact(event)].add(event["id"])
    return sum(len(found) - 1 for found in ids.values())


def _fact(event: Json) -> tuple[str, ...]:
    """What an event tells, whatever its id."""
    kind, data = event["type"], event["data"]
    if kind == REJECTED:
        return kind, data["messageId"]
    return kind, event["subject"], str(data.get(COMPLETION.get(kind, ""))), str(data.get("correlationId"))
