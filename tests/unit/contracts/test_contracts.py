"""The contracts are current, valid by their own meta-schema, and say the same as the code."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from contracts.documents import ASYNCAPI, FOLDER, documents
from shared.errors import InvalidMessage
from shared.messages.cloud_event import EventType, new_event, to_structured
from shared.messages.dead_letter import Failure, Reason, of_text, of_update
from shared.messages.event_data import EventData, RejectedData, TrainingData, UpdatedData
from shared.messages.training import TrainingResult, TrainingStatus
from shared.messages.update import parse_update
from shared.messages.watch import KINDS, parse_watch
from tests.contracts import problems, problems_of_event
from tests.unit.shared.conftest import images

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = "c0ffee00-0000-4000-8000-000000000001"
IMAGE = "beef0000-0000-4000-8000-00000000000a"
UPDATE: dict[str, Any] = {"projectId": PROJECT, "imageIds": [IMAGE], "metadata": {"k": "v"}}
WATCH: dict[str, Any] = {"kind": "personGroup", "id": "employees"}
ITERATION: dict[str, Any] = {"kind": "customVisionIteration", "projectId": PROJECT, "id": IMAGE}
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def parts_of(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A schema, and those of its fields, theirs and so on."""
    yield schema
    for part in [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]:
        if isinstance(part, dict):
            yield from parts_of(part)


class TestDocuments:
    def test_they_are_current(self) -> None:
        """If not: `python -m contracts`, and tell producers and consumers."""
        written = {file.name: file.read_text() for file in FOLDER.glob("*.json")}
        assert written == documents()

    @pytest.mark.parametrize("name", [name for name in documents() if name != ASYNCAPI])
    def test_each_is_valid_by_the_meta_schema(self, name: str) -> None:
        Draft202012Validator.check_schema(json.loads(documents()[name]))

    @pytest.mark.parametrize("name", [name for name in documents() if name != ASYNCAPI])
    def test_generators_of_classes_understand_each(self, name: str) -> None:
        """They make classes without members of choices and of definitions, and lose what has no type."""
        for schema in parts_of(json.loads(documents()[name])):
            assert not schema.keys() & {"$ref", "$defs", "anyOf", "oneOf", "allOf", "patternProperties"}
            assert "type" in schema
            if isinstance(schema["type"], list):
                assert len(schema["type"]) == 2
                assert schema["type"][1] == "null"
            if "properties" in schema:
                assert "title" in schema

    def test_a_generator_finds_every_field_of_a_dead_letter(self) -> None:
        letter = json.loads(documents()["image-metadata-update-dead-letter.schema.json"])
        assert letter["properties"].keys() == {
            *UPDATE, "correlationId", "traceparent", "body", "failure"
        }  # fmt: skip
        assert letter["properties"]["failure"]["properties"]["images"]["additionalProperties"] == {"type": "string"}

    def test_there_is_one_of_each_type_of_event(self) -> None:
        assert {f"event-{kind}.schema.json" for kind in EventType} <= documents().keys()


class TestMessages:
    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"correlationId": "c" * 128},
            {"correlationId": None},
            {"correlationId": ""},
            {"correlationId": "c" * 129},
            {"correlationId": 7},
            {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
            {"traceparent": None},
            {"traceparent": ""},
            {"traceparent": f"00-{'0' * 32}-b7ad6b7169203331-01"},
            {"traceparent": f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01"},
            {"traceparent": "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
            {"traceparent": "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01"},
            {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-"},
            {"traceparent": 1},
            {"imageIds": []},
            {"imageIds": [IMAGE.upper()]},
            {"imageIds": [IMAGE.replace("-", "")]},
            {"imageIds": IMAGE},
            {"projectId": None},
            {"metadata": {}},
            {"metadata": {f"k{number}": "" for number in range(10)}},
            {"metadata": {f"k{number}": "" for number in range(11)}},
            {"metadata": {"k" * 128: "v" * 256}},
            {"metadata": {"k" * 129: ""}},
            {"metadata": {"": ""}},
            {"metadata": {"k": "v" * 257}},
            {"metadata": {"k": 1}},
            {"metadata": []},
            {"imageIDs": []},
        ],
        ids=lambda changes: str(changes)[:40],
    )
    def test_an_update_is_taken_if_and_only_if_it_keeps_to_its_contract(self, changes: dict[str, Any]) -> None:
        document = {**UPDATE, **changes}
        assert _is_taken(parse_update, document) is not bool(problems("image-metadata-update", document))

    @pytest.mark.parametrize("missing", UPDATE)
    def test_an_update_without_one_of_its_fields_is_not(self, missing: str) -> None:
        document = {name: value for name, value in UPDATE.items() if name != missing}
        assert problems("image-metadata-update", document)

    @pytest.mark.parametrize(
        "document",
        [
            *({**WATCH, "kind": kind} for kind in KINDS),
            *({**ITERATION, "kind": kind} for kind in KINDS),
            {**WATCH, "projectId": None},
            {**ITERATION, "projectId": None},
            {**WATCH, "id": "a" * 64},
            {**WATCH, "id": "a" * 65},
            {**WATCH, "id": "Employees"},
            {**WATCH, "kind": "faceList"},
            {**WATCH, "repeat": True},
            {**WATCH, "repeat": "yes"},
            {**WATCH, "after": "2026-01-31T12:00:00Z", "expiresAt": "2026-01-31T12:00:00.123+01:00"},
            {**WATCH, "after": "2026-01-31T12:00:00"},
            {**WATCH, "after": "yesterday"},
            {**WATCH, "after": 1},
            {**WATCH, "reported": {"status": "succeeded", "completedAt": "2026-01-31T12:00:00Z", "times": 3}},
            {**WATCH, "reported": {"status": "running", "underWaySince": "2026-01-31T12:00:00Z", "times": 0}},
            {**WATCH, "reported": {"times": 1}},
            {**WATCH, "reported": {"status": "x", "times": 10**12}},
            {**WATCH, "expires": "2026-01-31T12:00:00Z"},
            {"id": "employees"},
            {"kind": "personGroup"},
        ],
        ids=lambda document: str(document)[:60],
    )
    def test_a_watch_is_taken_if_and_only_if_it_keeps_to_its_contract(self, document: dict[str, Any]) -> None:
        assert _is_taken(parse_watch, document) is not bool(problems("training-watch", document))


class TestDeadLetters:
    @pytest.mark.parametrize("reason", Reason)
    @pytest.mark.parametrize("count", [1, 1670])
    def test_those_of_updates_keep_to_their_contract(self, reason: Reason, count: int) -> None:
        update = parse_update(json.dumps({**UPDATE, "imageIds": images(count)}).encode())
        failure = Failure(reason, "Code", "m" * 500, NOON, 3, dict.fromkeys(images(count), "Code"), redrives=2)
        for text in of_update(update, failure):
            assert not problems("image-metadata-update-dead-letter", json.loads(text))

    @pytest.mark.parametrize("body", [b"{", b"\xff" * 10_000, b"x" * 65_536])
    @pytest.mark.parametrize("name", ["image-metadata-update-dead-letter", "training-watch-dead-letter"])
    def test_so_do_those_of_messages_that_were_never_valid(self, name: str, body: bytes) -> None:
        failure = Failure(Reason.INVALID, "InvalidMessage", "why", NOON, 1)
        assert not problems(name, json.loads(of_text(body.decode("utf-8", "backslashreplace"), failure)))

    def test_a_message_without_a_failure_is_none(self) -> None:
        assert problems("image-metadata-update-dead-letter", UPDATE)
        assert problems("training-watch-dead-letter", {"body": "x"})


RESULT = TrainingResult(
    status=TrainingStatus.FAILED, created_date_time=NOON, last_action_date_time=NOON, message="no faces"
)
MESSAGE = {"message_id": "m", "project_id": PROJECT, "correlation_id": "c"}


class TestEvents:
    @pytest.mark.parametrize(
        ("kind", "data"),
        [
            (EventType.TRAINING_FAILED, TrainingData.of(parse_watch(json.dumps(WATCH).encode()), RESULT)),
            (EventType.TRAINING_SUCCEEDED, TrainingData.of(parse_watch(json.dumps(ITERATION).encode()), RESULT)),
            (EventType.TRAINING_NOT_FOUND, TrainingData.of(parse_watch(json.dumps(WATCH).encode()), None)),
            (EventType.WATCH_EXPIRED, TrainingData.of(parse_watch(json.dumps(WATCH).encode()), RESULT)),
            (EventType.METADATA_UPDATED, UpdatedData(**MESSAGE, images=1)),
            (EventType.METADATA_REJECTED, RejectedData(**MESSAGE, images=0, reason="error", code="c", message="")),
            (
                EventType.METADATA_REJECTED,
                RejectedData(message_id="m", images=1, reason="refused", code="", message=""),
            ),
        ],
    )
    def test_each_keeps_to_its_contract(self, kind: EventType, data: EventData) -> None:
        made = new_event(kind, source="https://face.example", subject="s", identity="i", time=NOON, data=data.to_dict())
        assert not problems_of_event(json.loads(to_structured(made)))

    def test_one_that_lacks_something_does_not(self) -> None:
        made = new_event(
            EventType.METADATA_UPDATED, source="https://x.example", subject="s", identity="i", time=NOON, data={}
        )
        document = json.loads(to_structured(made))
        assert problems_of_event(document)
        assert problems_of_event({**document, "data": {"messageId": "m", "images": 1}, "id": "no UUID"})
        assert not problems_of_event({**document, "data": {"messageId": "m", "images": 1}})


def _is_taken(parse: Any, document: dict[str, Any]) -> bool:
    try:
        parse(json.dumps(document).encode())
    except InvalidMessage:
        return False
    return True
