"""The message entrance: what is taken, what is refused, and how a refusal reads."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.errors import InvalidMessage
from shared.messages.update import BatchKey, MetadataUpdate, left_of, parse_update
from shared.messages.watch import KINDS, Reported, TrainingWatch, parse_watch

PROJECT = "c0ffee00-0000-4000-8000-000000000001"
IMAGE = "beef0000-0000-4000-8000-00000000000a"
KIB_64 = 64 * 1024
MAX_ERRORS_DESCRIBED = 5
MAX_TIMES = 1_000_000_000

UPDATE: dict[str, Any] = {"projectId": PROJECT, "imageIds": [IMAGE], "metadata": {"k": "v"}}
WATCH: dict[str, Any] = {"kind": "personGroup", "id": "employees"}
ITERATION: dict[str, Any] = {"kind": "customVisionIteration", "projectId": PROJECT, "id": IMAGE}


def body(document: Any) -> bytes:
    return json.dumps(document).encode()


def update(**changes: Any) -> bytes:
    return body({**UPDATE, **changes})


def watch(**changes: Any) -> bytes:
    return body({**WATCH, **changes})


def why_not(raw: bytes, parse: Any = parse_update) -> str:
    """Why a body is refused; always one printable line."""
    with pytest.raises(InvalidMessage) as caught:
        parse(raw)
    told = str(caught.value)
    assert told.isprintable(), told
    assert len(told) < 3000
    return told


def cloud_event(**data: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", **data}


PLAIN = body(UPDATE)
BASE64 = base64.b64encode(PLAIN)
BOM = b"\xef\xbb\xbf"
EVENT_GRID = {
    "id": "1",
    "topic": "/t",
    "subject": "s",
    "eventType": "E",
    "eventTime": "2026-01-31T12:00:00Z",
    "dataVersion": "1",
    "metadataVersion": "1",
}


class TestForms:
    @pytest.mark.parametrize(
        "raw",
        [
            pytest.param(PLAIN, id="plain"),
            pytest.param(b"\r\n\t " + PLAIN + b" \n", id="white space around it"),
            pytest.param(json.dumps(UPDATE, indent=4).encode(), id="indented"),
            pytest.param(BOM + PLAIN, id="byte-order mark"),
            pytest.param(BASE64, id="Base64"),
            pytest.param(base64.encodebytes(PLAIN), id="Base64 with line breaks"),
            pytest.param(BOM + BASE64, id="Base64 behind a byte-order mark"),
            pytest.param(base64.b64encode(BOM + PLAIN), id="byte-order mark in Base64"),
            pytest.param(body(cloud_event(data=UPDATE)), id="CloudEvent"),
            pytest.param(body(cloud_event(data_base64=BASE64.decode())), id="CloudEvent with data_base64"),
            pytest.param(base64.b64encode(body(cloud_event(data=UPDATE))), id="CloudEvent in Base64"),
            pytest.param(body({**EVENT_GRID, "data": UPDATE}), id="Event Grid"),
            pytest.param(base64.b64encode(body({**EVENT_GRID, "data": UPDATE})), id="Event Grid in Base64"),
            pytest.param(body(cloud_event(data=PLAIN.decode())), id="CloudEvent with data as text"),
            pytest.param(body({**EVENT_GRID, "data": PLAIN.decode()}), id="Event Grid with data as text"),
            pytest.param(body({**UPDATE, "failure": {"reason": "refused"}}), id="dead letter"),
            pytest.param(body({"body": PLAIN.decode(), "failure": {}}), id="dead letter of a body"),
            pytest.param(body({"body": BASE64.decode(), "failure": {}}), id="dead letter of a body in Base64"),
            pytest.param(base64.b64encode(body({"body": PLAIN.decode(), "failure": 1})), id="dead letter in Base64"),
            pytest.param(body(cloud_event(data={**UPDATE, "failure": None})), id="dead letter in a CloudEvent"),
            pytest.param(
                body({"body": body(cloud_event(data=UPDATE)).decode(), "failure": {}}), id="dead letter of a CloudEvent"
            ),
            pytest.param(
                body({"body": body({"body": PLAIN.decode(), "failure": {}}).decode(), "failure": {}}),
                id="dead letter of a dead letter",
            ),
        ],
    )
    def test_a_message_is_the_same_in_every_form(self, raw: bytes) -> None:
        assert parse_update(raw) == MetadataUpdate(  # type: ignore[call-arg]
            projectId=PROJECT, imageIds=[IMAGE], metadata={"k": "v"}
        )

    def test_a_watch_too_comes_in_every_form(self) -> None:
        dead_letter = body({"body": watch().decode(), "failure": {"reason": "invalid"}})
        for raw in (watch(), base64.b64encode(watch()), body(cloud_event(data=WATCH)), watch(failure={}), dead_letter):
            assert parse_watch(raw) == TrainingWatch(kind="personGroup", id="employees")

    @pytest.mark.parametrize(
        ("raw", "told"),
        [
            (b"", "empty: neither a JSON object nor Base64 of one"),
            (b" \n", "empty"),
            (b"\x0b{}", "not JSON"),
            (b"{", "not JSON"),
            (PLAIN[:-1], "not JSON"),
            (PLAIN + b"x", "not JSON"),
            (b"null", "neither a JSON object nor Base64 of one"),  # it is Base64 of something
            (b"hello, world", "neither a JSON object nor Base64 of one"),
            (base64.b64encode(b"hello"), "neither a JSON object nor Base64 of one"),
            (base64.b64encode(b"{1}"), "not JSON"),
            (BASE64[1:], "neither a JSON object nor Base64 of one"),
            (BASE64[:8] + b"!" + BASE64[8:], "neither a JSON object nor Base64 of one"),
            (b'{"a": "\xff"}', "not UTF-8: byte 7 is 0xff"),
            (b"{}", "projectId: missing; imageIds: missing; metadata: missing"),
            (json.dumps({str(number): 0 for number in range(5000)}).encode(), "not a message: it has 5000 fields"),
            (body(cloud_event()), "data: the envelope must carry the message as a JSON object"),
            (body(cloud_event(data="text")), "data: neither a JSON object nor Base64 of one"),
            (body(cloud_event(data="")), "data: empty"),
            (body(cloud_event(data=None)), "data: the envelope must carry the message as a JSON object"),
            (body({**EVENT_GRID, "data": "{"}), "data: not JSON"),
            (body({**EVENT_GRID, "data": [UPDATE]}), "data: the envelope must carry"),
            (body(cloud_event(data_base64=1)), "data_base64: must be text"),
            (body(cloud_event(data_base64="\ud800")), "data_base64: neither a JSON object nor Base64"),
            (body(cloud_event(data_base64="e")), "data_base64: neither a JSON object nor Base64"),
            (body({**cloud_event(data=UPDATE), "specversion": "0.3"}), "specversion: must be 1.0"),
            (body({**cloud_event(data=UPDATE), "specversion": 1.0}), "specversion: must be 1.0"),
            (body(cloud_event(data={**UPDATE, "x": 1})), "x: unknown field, not 1"),
        ],
    )
    def test_another_form_is_refused(self, raw: bytes, told: str) -> None:
        assert why_not(raw).startswith(told)


def pairs(count: int) -> dict[str, str]:
    return {f"k{number}": "v" for number in range(count)}


class TestUpdate:
    def test_what_it_says_is_read(self) -> None:
        read = parse_update(update(imageIds=[IMAGE, PROJECT], correlationId="order 66"))
        assert read.project_id == PROJECT
        assert read.image_ids == (IMAGE, PROJECT)
        assert read.metadata == {"k": "v"}
        assert read.correlation_id == "order 66"

    @pytest.mark.parametrize(
        "changes",
        [
            {"metadata": {}},
            {"metadata": pairs(10)},
            {"metadata": {"k" * 128: ""}},
            {"metadata": {"k": "v" * 256}},
            {"metadata": {"🌋" * 128: "🌋" * 256}},
            {"metadata": {"k": "\u0000"}},
            {"correlationId": "c" * 128},
            {"correlationId": None},
            {"correlationId": "", "traceparent": ""},
            {"traceparent": None},
            {"projectId": PROJECT.upper()},
            {"imageIds": [IMAGE] * 1600},
        ],
        ids=lambda changes: str(changes)[:40],
    )
    def test_at_a_limit_it_is_taken(self, changes: dict[str, Any]) -> None:
        assert parse_update(update(**changes))

    @pytest.mark.parametrize(
        ("changes", "told"),
        [
            ({"metadata": pairs(11)}, "metadata: must have at most 10 pairs (MAX_METADATA_PAIRS)"),
            (
                {"metadata": {"k" * 129: ""}},
                f"metadata: the key '{'k' * 59}… must have at most 128 characters (MAX_METADATA_KEY_CHARACTERS)",
            ),
            ({"metadata": {"": ""}}, "metadata: the key '' must have at least 1 character"),
            (
                {"metadata": {"k": "v" * 257}},
                "metadata: the value of 'k' must have at most 256 characters (MAX_METADATA_VALUE_CHARACTERS)",
            ),
            ({"metadata": {"k": 1}}, "metadata.k: must be text, not 1"),
            ({"metadata": {"[key]": 1}}, "metadata.[key]: must be text, not 1"),
            ({"metadata": {"k": None}}, "metadata.k: must be text, not null"),
            ({"metadata": {"k": True}}, "metadata.k: must be text, not true"),
            ({"metadata": {"k": {"deep": {}}}}, "metadata.k: must be text"),
            ({"metadata": {"k": "\ud800"}}, "metadata.k: must be text"),
            ({"metadata": {"\ud800": "v"}}, "metadata: the key '\\ud800' must be text that UTF-8 can write"),
            ({"metadata": {"a\nb": 1}}, "metadata.a\\nb: must be text, not 1"),
            ({"metadata": []}, "metadata: must be an object"),
            ({"metadata": None}, "metadata: must be an object, not null"),
            ({"imageIds": []}, "imageIds: must be a list of at least one UUID"),
            ({"imageIds": None}, "imageIds: must be a list of at least one UUID"),
            ({"imageIds": IMAGE}, "imageIds: must be a list of at least one UUID"),
            ({"imageIds": {IMAGE: 1}}, "imageIds: must be a list of at least one UUID"),
            ({"imageIds": [1]}, "imageIds[0]: must be a UUID of 36 characters"),
            ({"imageIds": [IMAGE, None]}, "imageIds[1]: must be a UUID of 36 characters"),
            ({"imageIds": [IMAGE, "x" * 36]}, "imageIds[1]: must be a UUID of 36 characters"),
            ({"imageIds": ["\n" * 36]}, "imageIds[0]: must be a UUID of 36 characters"),
            ({"projectId": 1}, "projectId: must be a UUID of 36 characters"),
            ({"projectId": "../../../elsewhere?x=" + "y" * 15}, "projectId: must be a UUID of 36 characters"),
            ({"correlationId": "c" * 129}, "correlationId: must have at most 128 characters"),
            ({"correlationId": 7}, "correlationId: must be text, not 7"),
            ({"correlationId": 10**4000}, "correlationId: must be text, not 1000"),
            ({"correlationId": "\udfff"}, "correlationId: must be text"),
            ({"imageIDs": [IMAGE]}, "imageIDs: must be written imageIds"),
            ({"image_ids": [IMAGE]}, "image_ids: must be written imageIds"),
            ({"images": [IMAGE]}, "images: unknown field"),
            ({"a\u2028b": "x\x1b[0m"}, "a\\u2028b: unknown field, not 'x\\x1b[0m'"),
        ],
        ids=lambda changes: str(changes)[:40].encode("ascii", "replace").decode(),
    )
    def test_a_wrong_field_is_named(self, changes: dict[str, Any], told: str) -> None:
        assert why_not(update(**changes)).startswith(told)

    @pytest.mark.parametrize("field", ["projectId", "imageIds", "metadata"])
    def test_a_missing_field_is_named(self, field: str) -> None:
        assert why_not(body({name: value for name, value in UPDATE.items() if name != field})) == f"{field}: missing"

    @pytest.mark.parametrize(
        "notation", ["{%s}", "urn:uuid:%s", " %s", "%s ", "%s\n"], ids=["braces", "urn", "before", "after", "line"]
    )
    def test_only_the_hyphenated_notation_of_a_uuid_is_taken(self, notation: str) -> None:
        assert "36 characters" in why_not(update(projectId=notation % PROJECT))
        assert "36 characters" in why_not(update(imageIds=[notation % IMAGE]))
        assert "36 characters" in why_not(update(imageIds=[IMAGE.replace("-", "")]))

    def test_names_that_differ_in_their_letters_only_come_first_and_hide_nothing_else(self) -> None:
        """As a serializer writes them that nobody told of camelCase."""
        pascal = {"ProjectId": PROJECT, "ImageIds": [IMAGE], "Metadata": {"k": "v"}, "CorrelationId": None, "Typo": 1}
        assert why_not(body(pascal)) == (
            "ProjectId: must be written projectId; ImageIds: must be written imageIds; "
            "Metadata: must be written metadata; CorrelationId: must be written correlationId; "
            "Typo: unknown field, not 1"
        )
        assert why_not(body({"Kind": "personGroup", "ID": "employees"}), parse_watch) == (
            "Kind: must be written kind; ID: must be written id"
        )
        assert why_not(body({"SpecVersion": "1.0"})).startswith("SpecVersion: must be written specversion")
        assert why_not(watch(reported={"Status": "running"}), parse_watch) == (
            "reported.status: missing; reported.Status: unknown field, not 'running'"
        )

    def test_a_field_of_an_envelope_without_its_meaning_is_unknown(self) -> None:
        assert why_not(update(specversion=None)) == "specversion: unknown field, not null"
        assert why_not(update(eventType=None)) == "eventType: unknown field, not null"

    def test_a_list_whose_first_item_is_wrong_is_not_said_to_be_empty(self) -> None:
        assert why_not(update(imageIds=["7"])) == (
            "imageIds[0]: must be a UUID of 36 characters, 8-4-4-4-12 hexadecimal digits, not '7'"
        )

    def test_an_empty_traceparent_is_absent_and_the_envelopes_counts(self) -> None:
        span = f"00-{'a' * 32}-{'b' * 16}-01"
        for absent in ("", None):
            raw = body({**cloud_event(data={**UPDATE, "traceparent": absent}), "traceparent": span})
            assert parse_update(raw).traceparent == span
        wrong: Any
        for wrong in (0, False, []):
            why_not(body({**cloud_event(data={**UPDATE, "traceparent": wrong}), "traceparent": span}))

    def test_the_first_few_mistakes_are_told_and_the_others_counted(self) -> None:
        told = why_not(update(**{f"x{number}": 1 for number in range(MAX_ERRORS_DESCRIBED + 3)}))
        assert told.count("unknown field") == MAX_ERRORS_DESCRIBED
        assert told.endswith("; and 3 more")

    def test_what_has_more_than_16_fields_is_no_message(self) -> None:
        fields = {f"x{number}": 1 for number in range(16)}
        assert "unknown field" in why_not(body(fields))
        assert why_not(body({**fields, "x16": 1})) == "not a message: it has 17 fields"

    @pytest.mark.parametrize(("length", "end"), [(58, "'"), (60, "…")])
    def test_what_stands_there_is_quoted_up_to_60_characters(self, length: int, end: str) -> None:
        told = why_not(update(projectId="x" * length))
        assert told.endswith(f", not '{'x' * min(length, 59 if end == '…' else 60)}{end}")

    def test_updates_share_a_key_whatever_the_order_of_their_pairs(self) -> None:
        one, other = (
            parse_update(update(metadata={"a": "1", "b": "2"})),
            parse_update(update(metadata={"b": "2", "a": "1"})),
        )
        assert one.key == other.key
        assert hash(one.key) == hash(other.key)
        assert one.key != parse_update(update(metadata={"a": "1"})).key
        assert one.key != parse_update(update(metadata={"a": "1", "b": "2"}, projectId=IMAGE)).key


@pytest.mark.parametrize(
    ("older", "newer", "left"),
    [
        ({"a": "1"}, {"a": "2"}, None),
        ({"a": "1"}, {"a": "2", "b": "2"}, None),
        ({"a": "1", "b": "1"}, {"a": "2"}, {"b": "1"}),
        ({"a": "1"}, {"b": "2"}, {"a": "1"}),
        ({}, {"b": "2"}, None),
    ],
)
def test_what_is_left_of_an_older_update(
    older: dict[str, str], newer: dict[str, str], left: dict[str, str] | None
) -> None:
    keys = [BatchKey("p", frozenset(pairs.items())) for pairs in (older, newer)]
    assert left_of(*keys) == (None if left is None else BatchKey("p", frozenset(left.items())))


def test_an_update_in_another_project_replaces_nothing() -> None:
    older, newer = (BatchKey(project, frozenset({("a", "1")})) for project in "pq")
    assert left_of(older, newer) == older


class TestJson:
    @pytest.mark.parametrize(
        ("raw", "told"),
        [
            (PLAIN[:-1] + b', "projectId": "x"}', "not JSON: field given twice: projectId"),
            (b'{"metadata": {"k": "v", "k": "v"}}', "not JSON: field given twice: k"),
            (b'{"metadata": {"a\\nb": "v", "a\\nb": "v"}}', "not JSON: field given twice: a\\nb"),
            (b'{"specversion": "1.0", "data": {"x": 1, "x": 2}}', "not JSON: field given twice: x"),
            (b'{"a": NaN}', "not JSON: NaN is no JSON value"),
            (b'{"a": -Infinity}', "not JSON: -Infinity is no JSON value"),
            (b'{"a": 1e999}', "projectId: missing"),
            (b'{"a": ' + b"9" * 60_000 + b"}", "not JSON: Exceeds the limit"),
            (b'{"a": ' + b"9" * 4_000 + b"}", "projectId: missing"),
            (b'{"a": "\n"}', "not JSON: Invalid control character"),
            (b"{'a': 1}", "not JSON"),
        ],
        ids=lambda value: str(value)[:30],
    )
    def test_what_json_leaves_open_is_refused(self, raw: bytes, told: str) -> None:
        assert why_not(raw).startswith(told)

    @pytest.mark.parametrize(
        "raw",
        [
            pytest.param(b'{"a":' * (KIB_64 // 5), id="objects"),
            pytest.param(b'{"a":' + b"[" * (KIB_64 - 5), id="arrays"),
            pytest.param(b'{"metadata":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001, id="closed objects"),
            pytest.param(base64.b64encode(b'{"a":' + b"[" * 40_000), id="arrays in Base64"),
        ],
    )
    def test_nesting_without_end_is_refused(self, raw: bytes) -> None:
        assert why_not(raw) == "not a message: nested too deeply"

    @pytest.mark.parametrize("field", ["specversion", "data", "data_base64", "metadata", "x"])
    def test_nesting_up_to_the_limit_is_refused_like_any_other_value(self, field: str) -> None:
        for depth in range(100, 1100, 3):
            why_not(b'{"specversion": "1.0", "%s": ' % field.encode() + b"[" * depth + b"]" * depth + b"}")

    @pytest.mark.parametrize(
        "raw",
        [
            pytest.param(update(imageIds=["z" * 36] * 1600), id="ids"),
            pytest.param(update(metadata={f"k{number}": number for number in range(5000)}), id="pairs"),
            pytest.param(update(**{f"k{number}": number for number in range(5000)}), id="fields"),
            pytest.param(b'{"a": "' + b"\\ud800" * 10_000 + b'"}', id="surrogates"),
            pytest.param(b"\xff" * KIB_64, id="not UTF-8"),
            pytest.param(b"A" * KIB_64, id="Base64 of zeros"),
            pytest.param(b'{"a":' * 13_000, id="nesting"),
            pytest.param(b'{"specversion":"1.0","data_base64":"' + b"A" * 60_000 + b'"}', id="envelope"),
        ],
    )
    def test_64_kib_of_mistakes_are_refused_at_once(self, raw: bytes) -> None:
        began = time.process_time()
        why_not(raw)
        assert time.process_time() - began < 0.5


class TestWatch:
    def test_what_it_says_is_read(self) -> None:
        raw = watch(
            kind="largeFaceList",
            id="a_b-9",
            after="2026-01-31T12:00:00Z",
            repeat=True,
            expiresAt="2026-01-31T14:00:00+02:00",
            correlationId="c",
            reported={"status": "failed", "completedAt": "2026-01-31T12:00:00.5Z"},
        )
        noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
        read = parse_watch(raw)
        assert (read.kind, read.id) == ("largeFaceList", "a_b-9")
        assert (read.after, read.expires_at, read.repeat) == (noon, noon, True)
        assert read.reported == Reported(status="failed", completed_at=noon.replace(microsecond=500_000))
        assert parse_watch(body(read.to_dict())) == read

    def test_it_has_no_event_but_its_own(self) -> None:
        written = {
            "specversion": "1.0",
            "id": IMAGE,
            "source": "https://x",
            "type": "VisionRelay.Training.Succeeded",
            "subject": "persongroups/employees",
            "datacontenttype": "application/json",
            "data": {},
        }
        read = parse_watch(watch(event=written))
        assert read.event is not None
        assert read.event.subject == "persongroups/employees"
        told = why_not(watch(event={**written, "subject": "persongroups/visitors"}), parse_watch)
        assert told == "event: must be one of this watch"

    def test_what_it_does_not_say_is_absent_on_the_wire(self) -> None:
        assert parse_watch(b'{"kind": "personGroup", "id": "g"}').to_dict() == {
            "kind": "personGroup",
            "id": "g",
            "repeat": False,
        }
        assert parse_update(body(UPDATE)).to_dict() == UPDATE

    @pytest.mark.parametrize(
        "changes",
        [
            {"id": "a" * 64},
            {"after": None, "expiresAt": None, "correlationId": None, "reported": None, "repeat": None, "event": None},
            {"projectId": None, "traceparent": None},
            {"correlationId": "", "traceparent": ""},
            {"reported": {"status": "running", "times": None, "completedAt": None, "underWaySince": None}},
            {"reported": {"status": "succeeded"}},
            {"after": "2026-01-31T12:00:00.1234567Z"},
            {"after": "0001-01-01T00:00:00-23:59"},
            {"after": "0001-01-01T00:00:00+00:00"},
            {"reported": {"status": "succeeded", "times": MAX_TIMES}},
            ITERATION,
            {"expiresAt": "9999-12-31T23:59:59Z"},
            {"expiresAt": "9999-12-31T23:59:59.9999999+00:00"},
            {"expiresAt": "9999-12-31T23:59:59+23:59"},
            {"after": "2026-01-31t12:00:00z"},
            {"after": "2026-01-31T12:00:00-00:00"},
        ],
    )
    def test_at_a_limit_it_is_taken(self, changes: dict[str, Any]) -> None:
        assert parse_watch(watch(**changes))

    @pytest.mark.parametrize(
        ("changes", "told"),
        [
            ({"kind": "faceList"}, f"kind: must be one of {', '.join(KINDS)}, not 'faceList'"),
            ({"kind": "PersonGroup"}, "kind: must be one of"),
            ({"kind": 1}, "kind: must be text, not 1"),
            ({"kind": []}, "kind: must be text"),
            ({"projectId": PROJECT}, "projectId: must not be given with the kind personGroup"),
            ({**ITERATION, "projectId": None}, "projectId: must be given with the kind customVisionIteration"),
            ({"kind": "customVisionIteration", "id": IMAGE}, "projectId: must be given with the kind customVision"),
            ({**ITERATION, "id": "employees"}, "id: must be a UUID of 36 characters"),
            ({**ITERATION, "id": 1}, "id: must be text"),
            ({**ITERATION, "projectId": "../x"}, "projectId: must be a UUID of 36 characters"),
            ({"id": ""}, "id: must be text of 1 to 64 of the characters a-z, 0-9, - and _, not ''"),
            ({"id": "a" * 65}, "id: must be text of 1 to 64 of the characters"),
            ({"id": "Employees"}, "id: must be text of 1 to 64 of the characters"),
            ({"id": "a/../b"}, "id: must be text of 1 to 64 of the characters"),
            ({"id": ".."}, "id: must be text of 1 to 64 of the characters"),
            ({"id": "a?b"}, "id: must be text of 1 to 64 of the characters"),
            ({"id": "a\n"}, "id: must be text of 1 to 64 of the characters"),
            ({"id": "ä"}, "id: must be text of 1 to 64 of the characters"),
            ({"id": 7}, "id: must be text, not 7"),
            ({"repeat": "true"}, "repeat: must be true or false, not 'true'"),
            ({"repeat": 1}, "repeat: must be true or false, not 1"),
            ({"after": 1_700_000_000}, "after: must be a date-time such as 2026-01-31T12:00:00Z, not 1700000000"),
            ({"after": "1700000000"}, "after: must be a date-time"),
            ({"after": "yesterday\n"}, "after: must be a date-time such as 2026-01-31T12:00:00Z, not 'yesterday\\n'"),
            ({"after": "2026-01-31"}, "after: must be a date-time"),
            ({"after": "20260131T120000Z"}, "after: must be a date-time"),
            ({"after": "2026-01-31T12Z"}, "after: must be a date-time"),
            ({"after": "2026-01-31T12:00Z"}, "after: must be a date-time"),
            ({"after": "2026-01-31 12:00:00Z"}, "after: must be a date-time"),
            ({"after": "2026-01-31T12:00:00,5Z"}, "after: must be a date-time"),
            ({"after": "2026-01-31T12:00:00.Z"}, "after: must be a date-time"),
            ({"after": "2026-01-31T12:00:00+0100"}, "after: must be a date-time"),
            ({"after": "2026-01-31T12:00:00+01"}, "after: must be a date-time"),
            ({"after": "2026-01-31T12:00:00+01:00:30"}, "after: must be a date-time"),
            ({"after": "2026-W05-6T12:00:00Z"}, "after: must be a date-time"),
            ({"after": "2026-01-31T24:00:00Z"}, "after: must be a date-time"),
            ({"after": "0000-01-01T00:00:00Z"}, "after: must be a date-time"),
            ({"after": "2026-01-31T12:00:00Z\n"}, "after: must be a date-time"),
            ({"after": "\u0662026-01-31T12:00:00Z"}, "after: must be a date-time"),
            ({"after": "2026-01-31T12:00:60Z"}, "after: must not have a second 60"),
            ({"after": "2016-12-31t23:59:60.5z"}, "after: must not have a second 60"),
            ({"expiresAt": "0001-01-01T00:00:00+00:54"}, "expiresAt: must have the offset Z: in UTC"),
            ({"expiresAt": "0001-01-01T00:00:00+14:00"}, "expiresAt: must have the offset Z: in UTC"),
            ({"expiresAt": "9999-12-31T23:59:59-23:59"}, "expiresAt: must have the offset Z: in UTC"),
            (
                {"reported": {"status": "succeeded", "completedAt": "0001-01-01T00:00:00+14:00"}},
                "reported.completedAt: must have the offset Z: in UTC",
            ),
            ({"expiresAt": "2026-01-31T12:00:00"}, "expiresAt: must have a time zone"),
            ({"expiresAt": "2026-02-30T12:00:00Z"}, "expiresAt: must be a date-time"),
            ({"expiresAt": {}}, "expiresAt: must be a date-time"),
            ({"reported": {}}, "reported.status: missing"),
            ({"reported": {"status": "x", "at": 1}}, "reported.at: unknown field, not 1"),
            ({"reported": {"status": "x" * 65}}, "reported.status: must have at most 64 characters"),
            (
                {"reported": {"status": "x", "times": MAX_TIMES + 1}},
                "reported.times: must be at most 1000000000",
            ),
            ({"reported": {"status": "x", "times": 10**4000}}, "reported.times: must be at most 1000000000"),
            ({"reported": {"status": "x", "times": -1}}, "reported.times: must be at least 0, not -1"),
            ({"reported": {"status": "x", "times": 1.0}}, "reported.times: must be a whole number, not 1.0"),
            ({"expires": "2026-01-31T12:00:00Z"}, "expires: unknown field"),
            ({"expires_at": "2026-01-31T12:00:00Z"}, "expires_at: must be written expiresAt"),
            ({"correlationId": "c" * 129}, "correlationId: must have at most 128 characters"),
        ],
        ids=lambda changes: str(changes)[:40],
    )
    def test_a_wrong_field_is_named(self, changes: dict[str, Any], told: str) -> None:
        assert why_not(watch(**changes), parse_watch).startswith(told)

    def test_a_missing_field_is_named(self) -> None:
        assert why_not(b"{}", parse_watch) == "kind: missing; id: missing"


texts = st.text(st.characters(exclude_categories=["Cs"]))
updates = st.builds(
    MetadataUpdate,
    projectId=st.uuids().map(str),
    imageIds=st.lists(st.uuids().map(str), min_size=1, max_size=70),
    metadata=st.dictionaries(
        texts.filter(bool).map(lambda key: key[:128]), texts.map(lambda text: text[:256]), max_size=10
    ),
    correlationId=st.none() | texts.filter(bool).map(lambda text: text[:128]),
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.uuids().map(str)
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)
fields = st.sampled_from(
    [
        *UPDATE,
        *WATCH,
        *("correlationId", "after", "repeat", "expiresAt", "reported"),
        *("specversion", "data", "data_base64", "eventType"),
    ]
)
near_misses = st.dictionaries(fields, documents | st.sampled_from(["1.0", IMAGE, [IMAGE], {"k": "v"}, WATCH, UPDATE]))


def taken_or_refused(raw: bytes) -> None:
    for parse in (parse_update, parse_watch):
        try:
            read = parse(raw)
        except InvalidMessage:
            why_not(raw, parse)
        else:
            assert parse(body(read.to_dict())) == read


class TestAnything:
    @settings(deadline=None, derandomize=True, max_examples=300)
    @given(st.binary(max_size=4096))
    @example(b"{" * KIB_64)
    @example(bytes(range(256)) * 256)
    def test_any_bytes_are_taken_or_refused(self, raw: bytes) -> None:
        taken_or_refused(raw)

    @settings(deadline=None, derandomize=True, max_examples=150)
    @given(near_misses)
    def test_anything_that_looks_like_a_message_is_taken_or_refused(self, document: dict[str, Any]) -> None:
        taken_or_refused(body(document))
        taken_or_refused(base64.b64encode(body(document)))

    @settings(deadline=None, derandomize=True, max_examples=200)
    @given(updates)
    def test_any_update_is_read_as_it_was_written(self, written: MetadataUpdate) -> None:
        assert parse_update(body(written.to_dict())) == written

    @settings(deadline=None, derandomize=True, max_examples=200)
    @given(
        st.fixed_dictionaries(
            {
                "kind": st.sampled_from(["personGroup", "largePersonGroup", "largeFaceList"]),
                "id": st.from_regex(r"[a-z0-9_-]{1,64}", fullmatch=True),
            },
            optional={
                "after": st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
                "expiresAt": st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
                "repeat": st.booleans(),
            },
        )
    )
    def test_any_watch_is_read_as_it_was_written(self, document: dict[str, Any]) -> None:
        read = parse_watch(body(document))
        assert parse_watch(body(read.to_dict())) == read
