"""JSON Schema (draft 2020-12) of every message, dead letter and event, made from the app's own models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from shared.messages.cloud_event import EventType
from shared.messages.custom_vision_ids import ProjectId
from shared.messages.dead_letter import Failure
from shared.messages.event_data import EventData, RejectedData, TrainingData, UpdatedData, WatchRejectedData
from shared.messages.update import MetadataUpdate
from shared.messages.validation import TRACEPARENT_PATTERN
from shared.messages.watch import KINDS, TrainingWatch

if TYPE_CHECKING:
    from pydantic_core import core_schema

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
DEFINITIONS = "#/$defs/"


class Contract(NamedTuple):
    """A schema and what it is called; `title` is also its name in the AsyncAPI document."""

    file: str
    title: str
    schema: Schema


_PROJECT_ID: Schema = TypeAdapter(ProjectId).json_schema()

EVENTS: Final[dict[EventType, tuple[str, type[EventData]]]] = {
    EventType.TRAINING_SUCCEEDED: ("A training succeeded.", TrainingData),
    EventType.TRAINING_FAILED: ("A training failed; the message says why.", TrainingData),
    EventType.TRAINING_NOT_FOUND: ("What is watched does not exist; the watch has ended.", TrainingData),
    EventType.WATCH_EXPIRED: ("A watch has ended without a completion to be reported.", TrainingData),
    EventType.WATCH_REJECTED: ("A watch became a dead letter, since it is not valid.", WatchRejectedData),
    EventType.METADATA_REJECTED: ("An update, or some of its images, became a dead letter.", RejectedData),
    EventType.METADATA_UPDATED: ("All images of an update have their metadata.", UpdatedData),
}
"""By type, when there is such an event, and its data."""


def contracts() -> list[Contract]:
    """All of them."""
    update, watch = of_model(MetadataUpdate), of_model(TrainingWatch) | _demands_of_kinds()
    failure = {"title": "Failure", **of_model(Failure, nullable=False)}
    return [
        Contract("image-metadata-update", "ImageMetadataUpdate", update),
        Contract("training-watch", "TrainingWatch", watch),
        Contract(
            "image-metadata-update-dead-letter",
            "ImageMetadataUpdateDeadLetter",
            _dead_letter_of_update(update, failure),
        ),
        Contract("training-watch-dead-letter", "TrainingWatchDeadLetter", _dead_letter_of_text(failure)),
        *(
            Contract(f"event-{kind.value}", kind.value.replace(".", ""), _event(kind, when, data))
            for kind, (when, data) in EVENTS.items()
        ),
    ]


def _demands_of_kinds() -> Schema:
    """What the kind of a watch demands of the other fields: conditions, which generators of classes leave alone."""
    demands: dict[str, tuple[Schema, list[str]]] = {}
    for name, kind in KINDS.items():
        project = _PROJECT_ID if kind.in_project else {"type": "null"}
        then: Schema = {"properties": {"id": kind.id.json_schema(), "projectId": project}}
        if kind.in_project:
            then["required"] = ["projectId"]
        demands.setdefault(str(then), (then, []))[1].append(name)
    chain: Schema = {}
    for then, names in demands.values():
        otherwise = {"else": chain} if chain else {}
        chain = {"if": {"properties": {"kind": {"enum": names}}}, "then": then, **otherwise}
    return chain


class _WithoutNull(GenerateJsonSchema):
    """For what the app writes: what is not known is absent, never null."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> Schema:
        return self.generate_inner(schema["schema"])


def of_model(model: Any, *, written: bool = False, nullable: bool = True) -> Schema:
    """A model's schema, as the app reads it, or `written` by it. `nullable`: null is absent for what may be absent.

    It is one that generators of classes understand: complete in itself, with a list of types where null is one of them.
    """
    generator = _WithoutNull if written or not nullable else GenerateJsonSchema
    mode: Literal["serialization", "validation"] = "serialization" if written else "validation"
    schema = TypeAdapter(model).json_schema(mode=mode, schema_generator=generator)
    inlined = _inline(schema, schema.pop("$defs", {}), nullable=nullable and not written)
    return {name: value for name, value in inlined.items() if name != "title"}


def _inline(schema: Schema, definitions: dict[str, Schema], *, nullable: bool) -> Schema:
    """With what it refers to in place, and without what is there only because of how the models are written."""

    def inline(part: Schema) -> Schema:
        return _inline(part, definitions, nullable=nullable)

    if "$ref" in schema:
        rest = {name: value for name, value in schema.items() if name != "$ref"}
        return inline({**definitions[schema["$ref"].removeprefix(DEFINITIONS)], **rest})
    if "anyOf" in schema:
        [part] = [part for part in schema["anyOf"] if part != {"type": "null"}]
        return _or_null(inline({**part, **{name: value for name, value in schema.items() if name != "anyOf"}}))
    found = {name: inline(value) if isinstance(value, dict) else value for name, value in schema.items()}
    if "patternProperties" in found:  # which classes do not have
        [found["additionalProperties"]] = found.pop("patternProperties").values()
    if "properties" in schema:
        required = schema.get("required", ())
        found["properties"] = {
            name: _or_null(inline(part)) if nullable and name not in required else inline(part)
            for name, part in schema["properties"].items()
        }
    else:
        found.pop("title", None)
    if found.get("default", 0) is None:
        del found["default"]
    if description := schema.get("description"):
        found["description"] = description.split("\n\n")[0].replace("\n", " ")
    return found


def _or_null(schema: Schema) -> Schema:
    return schema if isinstance(schema["type"], list) else {**schema, "type": [schema["type"], "null"]}


def _dead_letter_of_update(update: Schema, failure: Schema) -> Schema:
    """Both kinds in one object, since a class that is made of a choice of objects has no members."""
    text = _dead_letter_of_text(failure)
    return {
        **{name: value for name, value in update.items() if name != "required"},
        "description": "An update that could not be applied, reduced to the images concerned; or a message that was "
        "never valid, under `body`.",
        "properties": {**update["properties"], **text["properties"]},
        "required": ["failure"],
        "if": {"required": ["body"]},
        "then": {"properties": dict.fromkeys(update["properties"], False)},
        "else": {"required": update["required"]},
    }


def _dead_letter_of_text(failure: Schema) -> Schema:
    return {
        "description": "A message that was never valid, as it first came.",
        "type": "object",
        "properties": {"body": {"type": "string", "description": "The message, decoded."}, "failure": failure},
        "required": ["body", "failure"],
        "additionalProperties": False,
    }


def _event(kind: EventType, when: str, data: type[EventData]) -> Schema:
    """A CloudEvent 1.0 in structured mode. Whoever reads it must not mind fields that are not known yet."""
    return {
        "description": when,
        "type": "object",
        "properties": {
            "specversion": {"type": "string", "const": "1.0"},
            "id": {
                "type": "string",
                "format": "uuid",
                "description": "The same whenever this event comes again; another for every other event.",
            },
            "source": {"type": "string", "format": "uri", "description": "The resource's URL."},
            "type": {"type": "string", "const": kind.value},
            "subject": {"type": "string", "description": "What it is about, below the source."},
            "time": {"type": "string", "format": "date-time"},
            "datacontenttype": {"type": "string", "const": "application/json"},
            "traceparent": {
                "type": "string",
                "pattern": TRACEPARENT_PATTERN,
                "description": "The span that it comes of, where the message behind it had one.",
            },
            "data": {"title": data.__name__, **of_model(data, written=True)},
        },
        "required": ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data"],
    }
