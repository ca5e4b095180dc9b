"""The accounting: what counts as lost, wrong, unjustified and repeated."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from local.account.account import REJECTED, Account, settle
from local.account.evidence import Evidence
from local.account.messages import GROUP_NOT_FOUND, SUCCEEDED, Update, Watch, Workload

PROJECT, APPLIED, REFUSED, BYSTANDER = (UUID(int=number) for number in range(1, 5))
BEFORE, AFTER = {"origin": "archive"}, {"decade": "1950s"}
CODE = "ErrorImageNotFound"

GOOD = Update("good", PROJECT, (APPLIED,), AFTER, {}, "good text")
BAD = Update("bad", PROJECT, (REFUSED,), AFTER, {REFUSED: CODE}, "bad text")
WORKLOAD = Workload(
    updates=(GOOD, BAD),
    malformed=("malformed",),
    texts=("good text", "bad text", "malformed"),
    trainings=(),
    watches=(Watch("watch", SUCCEEDED, "watch text"),),
    malformed_watches=("malformed watch",),
    archive={PROJECT: {APPLIED: BEFORE, BYSTANDER: BEFORE}},
    seed=1,
)


def letter(update: Update = BAD, code: str = CODE, reason: str = "refused") -> str:
    image_ids = [str(image_id) for image_id in update.image_ids]
    failure = {"reason": reason, "code": code, "images": dict.fromkeys(image_ids, code)}
    fields = {"projectId": str(update.project_id), "imageIds": image_ids, "metadata": update.metadata}
    return json.dumps({**fields, "correlationId": update.correlation_id, "failure": failure})


def invalid(body: str) -> str:
    return json.dumps({"body": body, "failure": {"reason": "invalid", "code": "InvalidMessage", "images": {}}})


def rejected(update: Update, message_id: str, event_id: str | None = None) -> str:
    data = {"messageId": message_id, "correlationId": update.correlation_id}
    return json.dumps({"id": event_id or str(uuid4()), "type": REJECTED, "subject": "a project", "data": data})


def trained(event_id: str, completed_at: str = "12:00", kind: str = SUCCEEDED) -> str:
    data = {"correlationId": "watch", "lastSuccessfulTrainingDateTime": completed_at}
    return json.dumps({"id": event_id, "type": kind, "subject": "persongroups/staff", "data": data})


EVENTS = (rejected(BAD, "message-1"), trained("event-1"))

EVIDENCE = Evidence(
    images={PROJECT: {APPLIED: BEFORE | AFTER, BYSTANDER: BEFORE}},
    dead_letters=(letter(), invalid("malformed"), invalid("malformed watch")),
    events=EVENTS,
    published=tuple(map(json.loads, EVENTS)),
    publish_calls=1,
    still_queued=(),
    api_calls=1,
    seconds=1.0,
)


def account(**changes: Any) -> Account:
    return settle(WORKLOAD, replace(EVIDENCE, **changes))


def images(**changes: Mapping[str, str]) -> dict[UUID, dict[UUID, Mapping[str, str]]]:
    ids = {"applied": APPLIED, "bystander": BYSTANDER}
    return {PROJECT: {**EVIDENCE.images[PROJECT], **{ids[name]: metadata for name, metadata in changes.items()}}}


def test_every_message_is_in_exactly_one_place() -> None:
    found = account()

    assert found.is_balanced
    assert (found.messages, found.applied, found.dead_lettered) == (5, 2, 3)


@pytest.mark.parametrize(
    "changes",
    [
        {"images": images(applied=BEFORE)},
        {"dead_letters": EVIDENCE.dead_letters[1:]},
        {"dead_letters": EVIDENCE.dead_letters[:1]},
        {"events": EVIDENCE.events[:1]},
    ],
    ids=["not applied", "no dead letter", "no dead letter of what is malformed", "no event"],
)
def test_a_message_without_its_result_is_lost(changes: dict[str, Any]) -> None:
    found = account(**changes)

    assert found.lost > 0
    assert not found.is_balanced
    assert found.messages == found.applied + found.dead_lettered + found.still_queued + found.lost


def test_a_message_that_is_still_in_its_queue_is_not_lost() -> None:
    found = account(images=images(applied=BEFORE), still_queued=("good text",))

    assert (found.still_queued, found.lost) == (1, 0)
    assert not found.is_balanced


def test_an_image_that_nobody_named_must_stay_as_it_is() -> None:
    assert account(images=images(bystander=AFTER)).wrong_state == 1


@pytest.mark.parametrize(
    "text",
    [letter(GOOD), letter(code="ErrorLimitExceed"), letter(replace(BAD, image_ids=(APPLIED,))), invalid("good text")],
    ids=["of an image that can be applied", "another code", "another image", "of a valid message"],
)
def test_a_dead_letter_that_nobody_expects_is_unjustified(text: str) -> None:
    assert account(dead_letters=(*EVIDENCE.dead_letters, text)).unjustified_dead_letters == 1


@pytest.mark.parametrize("text", ["good text", '{"projectId": "p"}', letter(GOOD, reason="error")])
def test_a_copy_by_the_host_or_an_error_of_ours_is_blamed_on_the_outage(text: str) -> None:
    assert account(dead_letters=(*EVIDENCE.dead_letters, text)).poisoned_by_outage == 1


def test_a_second_dead_letter_of_a_message_is_allowed_and_counted() -> None:
    found = account(dead_letters=(*EVIDENCE.dead_letters, letter()))

    assert found.repeated_dead_letters == 1
    assert found.is_balanced


def test_a_dead_letter_comes_with_an_event() -> None:
    assert account(events=EVIDENCE.events[1:]).untold_dead_letters == 1


@pytest.mark.parametrize(
    ("again", "new_ids"),
    [
        (trained("event-1"), 0),
        (trained("event-2"), 1),
        (trained("event-2", completed_at="13:00"), 0),
        (trained("event-2", kind=GROUP_NOT_FOUND), 0),
        (rejected(BAD, "message-1"), 1),
        (rejected(BAD, "message-2"), 0),
    ],
    ids=["same id", "new id", "another training", "another type", "message again", "another message"],
)
def test_one_fact_has_one_event_id(again: str, new_ids: int) -> None:
    assert account(events=(*EVIDENCE.events, again)).duplicate_events_with_new_id == new_ids


def test_an_event_is_in_the_queue_and_at_the_topic() -> None:
    assert account(published=EVIDENCE.published[1:]).events_in_one_place == 1
    assert account(events=EVIDENCE.events[:1]).events_in_one_place == 1
    assert not account(published=()).is_balanced


def test_an_event_that_the_topic_has_under_another_id_is_a_new_id() -> None:
    again = json.loads(trained("event-2"))
    assert account(published=(*EVIDENCE.published, again)).duplicate_events_with_new_id == 1
