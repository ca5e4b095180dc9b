"""Accounting: what came of every message, beside what had to come of it. Pure.

What counts as what is said at the fields of `Account`, and nowhere else.
"""

from __future__ import annotations

import base64
import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from local.account.evidence import Evidence
    from local.account.messages import Images, Update, Workload

Json = dict[str, Any]

REJECTED = "VisionRelay.ImageMetadata.Rejected"
COMPLETION = {
    "VisionRelay.Training.Succeeded": "lastSuccessfulTrainingDateTime",
    "VisionRelay.Training.Failed": "lastActionDateTime",
}
"""By type of event, the field of the training result that tells one training of a group from the next."""


@dataclass(frozen=True)
class Account:
    """The result; `messages` = `applied` + `dead_lettered` + `still_queued` + `lost`.

    messages        all that were sent to both input queues
    applied         updates whose images all have their metadata; watches whose event was published
    dead_lettered   messages with an expected dead letter, that is with the expected images, code and reason; if only
                    some of the images are refused, the others have their metadata
    still_queued    messages that are neither, and are still in their queue
    lost            messages that are neither, and are not
    images          in all updates; the same image twice counts twice
    applied_images  images that an update can be applied to, and that have what they must have
    api_calls       calls that asked Custom Vision to update images, and the least that can ask for all of them
    dead_letters_by_reason  reason and code, of all dead letters
    events_by_type  different events in the queue; `published` of them are at the topic, in so many `publish_calls`
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
    """

    messages: int
    applied: int
    dead_lettered: int
    still_queued: int
    lost: int
    images: int
    applied_images: int
    api_calls: int
    least_api_calls: int
    dead_letters: int
    dead_letters_by_reason: Mapping[str, int]
    events: int
    events_by_type: Mapping[str, int]
    published: int
    publish_calls: int
    wrong_state: int
    unjustified_dead_letters: int
    poisoned_by_outage: int
    duplicate_events_with_new_id: int
    events_in_one_place: int
    repeated_dead_letters: int
    untold_dead_letters: int
    seconds: float
    seed: int

    @property
    def promises(self) -> dict[str, int]:
        """What must be zero."""
        return {
            "still queued": self.still_queued,
            "lost": self.lost,
            "images with wrong metadata": self.wrong_state,
            "dead letters nobody deserved": self.unjustified_dead_letters,
            "messages poisoned by an outage": self.poisoned_by_outage,
            "events repeated under a new id": self.duplicate_events_with_new_id,
            "events in the queue only, or at the topic only": self.events_in_one_place,
            "dead letters without an event": self.untold_dead_letters,
        }

    @property
    def is_balanced(self) -> bool:
        """Whether every promise was kept."""
        return not any(self.promises.values())


def settle(workload: Workload, evidence: Evidence) -> Account:
    """Account for every message."""
    letters = _sort_letters(workload, evidence.dead_letters)
    events = [json.loads(text) for text in evidence.events]
    told = {(event["type"], event["data"].get("correlationId")) for event in events}
    types = {event["id"]: event["type"] for event in events}
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
    named = {(update.project_id, image_id) for update in workload.updates for image_id in update.applicable}
    wanted = workload.images
    return Account(
        messages=workload.messages,
        applied=tally.applied,
        dead_lettered=tally.dead_lettered,
        still_queued=tally.still_queued,
        lost=tally.lost,
        images=sum(len(update.image_ids) for update in workload.updates),
        applied_images=sum(evidence.images.get(of, {}).get(image) == wanted[of][image] for of, image in named),
        api_calls=evidence.api_calls,
        least_api_calls=workload.least_api_calls,
        dead_letters=len(evidence.dead_letters),
        dead_letters_by_reason=dict(letters.reasons),
        events=len(types),
        events_by_type=dict(Counter(types.values())),
        published=len(_ids(evidence.published)),
        publish_calls=evidence.publish_calls,
        wrong_state=_wrong_state(wanted, evidence.images),
        unjustified_dead_letters=letters.unjustified,
        poisoned_by_outage=letters.poisoned,
        duplicate_events_with_new_id=_new_ids([*events, *evidence.published]),
        events_in_one_place=len(types.keys() ^ _ids(evidence.published)),
        repeated_dead_letters=sum(letters.expected.values()) - len(letters.expected),
        untold_dead_letters=sum((REJECTED, correlation_id) not in told for correlation_id in refused),
        seconds=evidence.seconds,
        seed=workload.seed,
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
    reasons: Counter[str]
    unjustified: int = 0
    poisoned: int = 0


def _sort_letters(workload: Workload, texts: Iterable[str]) -> _Letters:
    updates = {update.correlation_id: update for update in workload.updates}
    sent = (*workload.malformed, *workload.malformed_watches)
    malformed = {form: text for text in sent for form in (text, _readable(text))}
    letters = _Letters(Counter(), Counter())
    for text in texts:
        letter = _read(text)
        failure = letter.get("failure")
        letters.reasons["copied by the host" if failure is None else f"{failure['reason']}: {failure['code']}"] += 1
        if failure is None or failure["reason"] == "error":
            letters.poisoned += 1
        elif failure["reason"] == "invalid" and letter.get("body") in malformed:
            letters.expected[malformed[letter["body"]]] += 1
        elif failure["reason"] == "refused" and _is_expected(letter, updates):
            letters.expected[letter["correlationId"]] += 1
        else:
            letters.unjustified += 1
    return letters


def _readable(text: str) -> str:
    """A malformed message as its dead letter shows it where it is Base64 of an object; else it stays as it was sent."""
    try:
        return base64.b64decode(text, validate=True).decode()
    except ValueError:
        return text


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
