"""The schemas and the parser agree on what is valid, over many messages that are nearly valid."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from contracts.documents import FOLDER
from shared.errors import InvalidMessage
from shared.messages.cloud_event import EventType, new_event, to_structured
from shared.messages.dead_letter import Failure, Reason, of_text, of_update
from shared.messages.update import parse_update
from shared.messages.watch import KINDS, parse_watch
from tests.contracts import problems
from tests.npm import node

if TYPE_CHECKING:
    from collections.abc import Callable

from tests.unit.contracts.test_contracts import IMAGE, ITERATION, NOON, PROJECT, UPDATE, WATCH

SPAN = f"00-{'a' * 32}-{'b' * 16}-01"
COUNT = 1000

IDS = [IMAGE, IMAGE.upper(), IMAGE[:-1], IMAGE + "\n", "{" + IMAGE + "}", IMAGE.replace("-", ""), "", None, 7]
DATES = [
    "2026-01-31T12:00:00Z",
    "2026-01-31t12:00:00.1234567z",
    "2026-01-31T12:00:00-00:00",
    "2026-01-31T12:00:00+23:59",
    "0001-01-01T00:00:00+00:00",
    "0001-01-01T00:00:00-05:00",
    "0001-01-01T00:00:00+00:54",
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59.9999999+00:00",
    "9999-12-31T23:59:59-23:59",
    "2024-02-29T00:00:00Z",
    "2026-02-29T00:00:00Z",
    "2026-04-31T00:00:00Z",
    "2026-01-31T12:00:00",
    "2026-01-31T12:00:00Z\n",
    "2026-01-31 12:00:00Z",
    "2026-01-31T12:00:60Z",
    "2016-12-31T23:59:60Z",
    "2026-01-31T24:00:00Z",
    "2026-01-31T12:00Z",
    "2026-01-31T12Z",
    "20260131T120000Z",
    "2026-01-31T12:00:00+0100",
    "2026-01-31T12:00:00+01:00:30",
    "2026-W05-6T12:00:00Z",
    "0000-01-01T00:00:00Z",
    "yesterday",
    "",
    None,
    0,
]
CORRELATION_IDS = ["c", "", None, "c" * 128, "c" * 129, "🌋" * 128, 7, ["c"]]
TRACEPARENTS = [SPAN, "", None, SPAN.upper(), SPAN + "\n", f"ff{SPAN[2:]}", f"00-{'0' * 32}-{'b' * 16}-01", 7]
METADATA = [
    {},
    {"k": "v"},
    {"k" * 128: "v" * 256},
    {"k" * 129: ""},
    {"k": "v" * 257},
    {"": "v"},
    {"k": None},
    {"k": 1},
    {f"k{number}": "" for number in range(10)},
    {f"k{number}": "" for number in range(11)},
    [],
    None,
]
REPORTED: dict[str, list[Any]] = {
    "status": ["succeeded", "x" * 64, "x" * 65, None, 7],
    "completedAt": DATES,
    "underWaySince": DATES,
    "times": [0, 1, 1_000_000_000, 1_000_000_001, -1, 1.5, "1", None, True],
    "more": [1],
}


def written(**changes: Any) -> dict[str, Any]:
    made = new_event(
        EventType.TRAINING_FAILED,
        source="https://face.example",
        subject="persongroups/employees",
        identity="i",
        time=NOON,
        data={"kind": "personGroup"},
    )
    return {**json.loads(to_structured(made)), **changes}


EVENTS = [
    written(),
    written(time=None, traceparent=None),
    written(time="2026-01-31T12:00:00"),
    written(type="VisionRelay.Training.WatchRejected"),
    written(specversion="0.3"),
    written(id="1"),
    written(source=""),
    written(data={"k": 1}),
    written(data=None),
    written(more=1),
    {},
    None,
    "event",
]
UPDATE_FIELDS: dict[str, list[Any]] = {
    "projectId": IDS,
    "imageIds": [*([one] for one in IDS), [], [IMAGE, PROJECT], IMAGE, None],
    "metadata": METADATA,
    "correlationId": CORRELATION_IDS,
    "traceparent": TRACEPARENTS,
    "ProjectId": [PROJECT],
    "body": ["text", None],
}
WATCH_FIELDS: dict[str, list[Any]] = {
    "kind": [*KINDS, "PersonGroup", "", None, 7],
    "id": ["employees", "a" * 64, "a" * 65, "a\n", "Employees", "", None, 7, IMAGE],
    "projectId": IDS,
    "after": DATES,
    "expiresAt": DATES,
    "repeat": [True, False, None, "true", 1],
    "correlationId": CORRELATION_IDS,
    "traceparent": TRACEPARENTS,
    "more": [1, None],
}


def updates(chance: random.Random) -> dict[str, Any]:
    return changed(UPDATE, UPDATE_FIELDS, chance)


def watches(chance: random.Random) -> dict[str, Any]:
    document = changed(chance.choice([WATCH, ITERATION]), WATCH_FIELDS, chance)
    if chance.random() < 0.2:
        document["reported"] = chance.choice([None, {}, changed({"status": "running"}, REPORTED, chance)])
    if chance.random() < 0.1 and document.get("kind") == "personGroup" and document.get("id") == "employees":
        document["event"] = chance.choice(EVENTS)
    return document


def changed(document: dict[str, Any], fields: dict[str, list[Any]], chance: random.Random) -> dict[str, Any]:
    """The document with a few other values, or without a field."""
    result = dict(document)
    for name in chance.sample(list(fields), chance.randint(0, 3)):
        if chance.random() < 0.15:
            result.pop(name, None)
        else:
            result[name] = chance.choice(fields[name])
    return result


def is_taken(parse: Callable[[bytes], object], document: Any) -> bool:
    try:
        parse(json.dumps(document).encode())
    except InvalidMessage:
        return False
    return True


@pytest.mark.parametrize(
    ("name", "parse", "generate"),
    [("image-metadata-update", parse_update, updates), ("training-watch", parse_watch, watches)],
)
async def test_each_is_taken_if_and_only_if_its_schema_is_kept(
    name: str, parse: Callable[[bytes], object], generate: Callable[[random.Random], dict[str, Any]]
) -> None:
    chance = random.Random(name)
    documents = [generate(chance) for _ in range(COUNT)]
    taken = [is_taken(parse, document) for document in documents]
    assert COUNT / 5 < sum(taken) < COUNT * 4 / 5
    schema = json.loads((FOLDER / f"{name}.schema.json").read_text())
    by_ajv = json.loads(await node.run("validate.mjs", {"schema": schema, "documents": documents}, {}))
    by_jsonschema = [not problems(name, document) for document in documents]
    differing = [
        (document, is_valid, ajv, jsonschema)
        for document, is_valid, ajv, jsonschema in zip(documents, taken, by_ajv, by_jsonschema, strict=True)
        if not is_valid == ajv == jsonschema
    ]
    assert differing == []


async def test_every_dead_letter_keeps_to_its_schema_and_what_is_none_does_not() -> None:
    chance = random.Random(1)
    failure = Failure(Reason.REFUSED, "Code", "why", NOON, 1, {IMAGE: "Code"})
    letters: list[Any] = [
        json.loads(of_text("text", failure)),
        {**UPDATE, "body": "text", "failure": failure.to_dict()},
    ]
    while len(letters) < COUNT:
        document = updates(chance)
        if is_taken(parse_update, document):
            update = parse_update(json.dumps(document).encode())
            letters += map(json.loads, of_update(update, failure))
    letters.append(UPDATE)
    name = "image-metadata-update-dead-letter"
    schema = json.loads((FOLDER / f"{name}.schema.json").read_text())
    by_ajv = json.loads(await node.run("validate.mjs", {"schema": schema, "documents": letters}, {}))
    assert by_ajv == [not problems(name, letter) for letter in letters]
    assert [index for index, is_valid in enumerate(by_ajv) if not is_valid] == [1, len(letters) - 1]
