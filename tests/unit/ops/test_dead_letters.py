"""Dead letters as people read them, and which ones a filter means."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import typer

from ops.commands.options import parse_duration
from ops.dead_letters import BY_THE_HOST, UNREADABLE, Filter, Letter, advice, read_letter
from ops.storage import Seen

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
UPDATE = {"projectId": "p", "imageIds": ["i"], "metadata": {"a": "b"}}


def seen(body: bytes) -> Seen:
    return Seen("6c0b3b1e", body, NOW - timedelta(hours=1), 1)


def read(document: Any) -> Letter:
    return read_letter("updates", seen(json.dumps(document).encode()))


def refused(**failure: Any) -> Letter:
    told = {"reason": "refused", "code": "ErrorImageNotFound", "message": "", "at": NOW.isoformat()}
    return read({**UPDATE, "failure": {**told, **failure}})


def test_base64_is_read_too() -> None:
    body = base64.b64encode(json.dumps({**UPDATE, "failure": {"reason": "refused"}}).encode())
    assert read_letter("updates", seen(body)).reason == "refused"


def test_what_the_host_moved_has_no_failure() -> None:
    letter = read(UPDATE)
    assert (letter.reason, letter.at) == (BY_THE_HOST, NOW - timedelta(hours=1))
    assert letter.was_valid


def test_what_never_was_valid_is_told_by_its_body() -> None:
    assert not read({"body": "junk", "failure": {"reason": "invalid"}}).was_valid


def test_a_watch_that_broke_the_app_can_be_moved_back_although_it_stands_under_body() -> None:
    assert read({"body": '{"kind":"personGroup","id":"a"}', "failure": {"reason": "error"}}).was_valid


@pytest.mark.parametrize("body", [b"", b"junk", b"\xff\xfe", b"[]", b"3", b"[" * 100_000])
def test_nothing_in_a_queue_is_too_odd_to_be_listed(body: bytes) -> None:
    letter = read_letter("updates", seen(body))
    assert letter.reason == UNREADABLE
    assert advice(letter)


@pytest.mark.parametrize(
    "document",
    [
        {"failure": None},
        {"failure": {"reason": 3, "code": [], "at": "yesterday", "redrives": "many"}, "imageIds": {}, "metadata": []},
        {"imageIds": [1, "x", None], "metadata": {"a": 1}, "projectId": 7},
    ],
)
def test_fields_of_another_kind_are_left_out(document: Any) -> None:
    assert json.dumps(read(document).to_dict())


@pytest.mark.parametrize(
    ("wanted", "is_meant"),
    [
        (Filter(), True),
        (Filter(ids=("6c0b",)), True),
        (Filter(ids=("x", "6c0b3b1e")), True),
        (Filter(ids=("x",)), False),
        (Filter(reasons=("refused",)), True),
        (Filter(reasons=("invalid",)), False),
        (Filter(codes=("errorimage*",)), True),
        (Filter(codes=("ErrorLimitExceed",)), False),
        (Filter(projects=("P",)), True),
        (Filter(reasons=("refused",), codes=("ErrorLimitExceed",)), False),
        (Filter(older_than=timedelta(minutes=5)), False),
        (Filter(newer_than=timedelta(minutes=5)), True),
    ],
)
def test_a_letter_is_meant_if_all_holds_that_is_said(wanted: Filter, *, is_meant: bool) -> None:
    assert wanted.means(refused(), NOW + timedelta(minutes=1)) is is_meant


@pytest.mark.parametrize(
    ("text", "seconds"), [("45s", 45), ("90m", 5400), ("90 min", 5400), ("2H", 7200), ("1.5h", 5400), ("3d", 259200)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "5", "h", "-1h", "1w", "1h30m"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not a duration such as"):
        parse_duration(text)
