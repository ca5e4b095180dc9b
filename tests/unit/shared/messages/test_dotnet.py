"""Messages byte for byte as .NET's serialisers write them by default."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest

from shared.errors import InvalidMessage
from shared.messages.cloud_event import EventType, new_event, to_structured
from shared.messages.dead_letter import Failure, Reason, of_text, of_update
from shared.messages.update import parse_update
from shared.messages.watch import parse_watch

PROJECT, IMAGE = "c0ffee00-0000-4000-8000-000000000001", "beef0000-0000-4000-8000-00000000000a"
SPAN = f"00-{'a' * 32}-{'b' * 16}-01"

UPDATE = (
    rf'{{"projectId":"{PROJECT}","imageIds":["{IMAGE}"],"metadata":{{"Place":"\u00C5lesund","\u0026":"\u002B"}},'
    rf'"correlationId":null,"traceparent":null}}'
)
"""`JsonSerializerDefaults.Web`: camelCase but for keys of dictionaries, nulls, and what HTML could mean escaped."""
WATCH = (
    r'{"kind":"personGroup","id":"employees","projectId":null,"after":"2026-01-31T13:00:00.1234567\u002B01:00",'
    r'"repeat":null,"expiresAt":null,"reported":null,"event":null,"correlationId":"","traceparent":null}'
)
BY_NEWTONSOFT = (
    '{\r\n  "kind": "personGroup",\r\n  "id": "employees",\r\n  "after": "2026-01-31T12:00:00.1234567Z",\r\n'
    '  "expiresAt": null\r\n}'
)
EVENT = f'{{"id":"1","source":"/s","type":"t","data":{UPDATE},"data_base64":null,"specversion":"1.0","time":null,'
EVENT_WITH_BINARY_DATA = (
    f'{{"id":"1","source":"/s","type":"t","data_base64":"{base64.b64encode(UPDATE.encode()).decode()}",'
    '"time":"2026-01-31T12:00:00.1234567Z","specversion":"1.0","subject":null}'
)
EVENT_GRID = (
    f'{{"id":"1","topic":null,"subject":"s","data":{UPDATE},"eventType":"t","eventTime":"2026-01-31T12:00:00.1Z",'
    '"metadataVersion":null,"dataVersion":"1.0"}'
)


@pytest.mark.parametrize(
    "text",
    [
        UPDATE,
        EVENT + '"traceparent":null}',
        EVENT_WITH_BINARY_DATA,
        EVENT_GRID,
        UPDATE[:-1] + ',"body":null,"failure":null}',
        UPDATE[:-1] + ',"body":null,"failure":{"reason":"refused","images":null}}',
        json.dumps({"projectId": None, "imageIds": None, "metadata": None, "body": UPDATE, "failure": {"reason": "x"}}),
    ],
)
@pytest.mark.parametrize("in_base64", [False, True])
def test_an_update_is_read(text: str, *, in_base64: bool) -> None:
    update = parse_update(base64.b64encode(text.encode()) if in_base64 else text.encode())
    assert (update.project_id, update.image_ids) == (PROJECT, (IMAGE,))
    assert update.metadata == {"Place": "Ålesund", "&": "+"}
    assert update.correlation_id is update.traceparent is None


def test_a_null_traceparent_does_not_hide_the_envelopes() -> None:
    assert parse_update(f'{EVENT}"traceparent":"{SPAN}"}}'.encode()).traceparent == SPAN


@pytest.mark.parametrize("text", [WATCH, BY_NEWTONSOFT])
def test_a_watch_is_read(text: str) -> None:
    watch = parse_watch(text.encode())
    assert watch.after == datetime(2026, 1, 31, 12, 0, 0, 123_456, tzinfo=UTC)
    assert not watch.repeat
    assert watch.correlation_id is None


@pytest.mark.parametrize(
    ("date", "why"),
    [
        ("2026-11-28T06:00:00", "must have a time zone"),  # a DateTime without a kind
        ("0001-01-01T00:00:00", "must have a time zone"),  # default(DateTime)
        ("0001-01-01T00:00:00+00:54", "must have the offset Z"),  # Newtonsoft's default(DateTimeOffset) in Berlin
        ("9999-12-31T23:59:59.9999999-05:00", "must have the offset Z"),  # DateTime.MaxValue in New York
        ("2026-01-31T12:00:00+01:00:30", "must be a date-time"),
        ("28.11.2026 06:00:00", "must be a date-time"),  # ToString()
        ("/Date(1795845600000)/", "must be a date-time"),  # JavaScriptSerializer
    ],
)
def test_a_date_that_says_no_time_is_refused_in_words(date: str, why: str) -> None:
    with pytest.raises(InvalidMessage, match=f"^expiresAt: {why}"):
        parse_watch(json.dumps({"kind": "personGroup", "id": "employees", "expiresAt": date}).encode())


@pytest.mark.parametrize(
    "date", ["0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59.9999999Z", "2026-01-31T12:00:00+23:59"]
)
def test_the_time_of_an_event_can_be_read_by_every_library(date: str) -> None:
    """.NET takes no offset over 14 hours, and no time that UTC does not have."""
    watch = parse_watch(json.dumps({"kind": "personGroup", "id": "employees", "expiresAt": date}).encode())
    event = new_event(
        EventType.WATCH_EXPIRED, source="/s", subject="s", identity="i", time=watch.expires_at, data={}
    )  # fmt: skip
    assert json.loads(to_structured(event))["time"].endswith("+00:00")


@pytest.mark.parametrize("nulls", ["body", "traceparent", "correlationId", "truncated"])
def test_a_dead_letter_that_a_class_has_read_and_written_again_can_be_moved_back(nulls: str) -> None:
    failure = Failure(Reason.REFUSED, "Code", "why", datetime(2026, 1, 31, tzinfo=UTC), 1, {IMAGE: "Code"})
    of_an_update = json.loads(of_update(parse_update(UPDATE.encode()), failure)[0])
    of_a_text = json.loads(of_text(UPDATE, failure))
    for letter in (of_an_update, {**of_a_text, "projectId": None, "imageIds": None, "metadata": None}):
        again = json.dumps({**dict.fromkeys([nulls]), **letter, "failure": {**letter["failure"], nulls: None}})
        assert parse_update(again.encode()) == parse_update(UPDATE.encode())
