"""JSON Schema (draft 2020-12) of every message, dead letter and event, made from the app's own models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from shared.messages.dead_letter import Failure
from shared.messages.event import EventType
from shared.messages.event_data import EventData, RejectedData, TrainingData, UpdatedData
from shared.messages.update import MetadataUpdate
from shared.messages.validation import TRACEPARENT_PATTERN
from shared.messages.watch import TrainingWatch

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


EVENTS: Final[dict[EventType, tuple[str, type[EventData]]]] = {
    EventType.TRAINING_SUCCEEDED: ("A training succeeded.", TrainingData),
    EventType.TRAINING_FAILED: ("A training failed; the message says why.", TrainingData),
    EventType.TRAINING_NOT_FOUND: ("What is watched does not exist; the watch has ended.", TrainingData),
    EventType.WATCH_EXPIRED: ("A watch has ended without a completion to be told.", TrainingData),
    EventType.METADATA_REJECTED: ("An update, or some of its images, became a dead letter.", RejectedData),
    EventType.METADATA_UPDATED: ("All images of an update have their metadata.", UpdatedData),
}
"""By type, when there is such an event, and its data."""


def contracts() -> list[Contract]:
    """All of them."""
    update, watch = of_model(MetadataUpdate, "validation"), of_model(TrainingWatch, "validation")
    failure = {"$defs": {"Failure": of_model(Failure, "validation")}}
    invalid = _dead_letter_of_body()
    rejected = {
        "description": "An update, or a message that was never valid, which could not be applied.",
        "oneOf": [_dead_letter_of_update(update), invalid],
    }
    return [
        Contract("image-metadata-update", "ImageMetadataUpdate", update),
        Contract("training-watch", "TrainingWatch", watch),
        Contract(
            "image-metadata-update-dead-letter", "ImageMetadataUpdateDeadLetter", _hoisted({**rejected, **failure})
        ),
        Contract("training-watch-dead-letter", "TrainingWatchDeadLetter", _hoisted({**invalid, **failure})),
        *(
            Contract(f"event-{kind.value}", kind.value.replace(".", ""), _event(kind, when, data))
            for kind, (when, data) in EVENTS.items()
        ),
    ]


class _WithoutNull(GenerateJsonSchema):
    """For what the app writes: what is not known is absent, never null."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> Schema:
        return self.generate_inner(schema["schema"])


def of_model(model: Any, mode: str) -> Schema:
    """A model's schema: `validation`, as the app reads it; `serialization`, as the app writes it."""
    adapter: TypeAdapter[Any] = TypeAdapter(model)
    if mode == "validation":
        return _tidy(adapter.json_schema(mode="validation"))
    return _tidy(adapter.json_schema(mode="serialization", schema_generator=_WithoutNull))


def _tidy(schema: Schema) -> Schema:
    """Without what is there only because of how the models are written."""
    tidied = {name: _tidy_value(name, value) for name, value in schema.items() if name != "title"}
    if tidied.get("default", 0) is None:
        del tidied["default"]
    if "description" in tidied:
        tidied["description"] = tidied["description"].split("\n\n")[0].replace("\n", " ")
    return tidied


def _tidy_value(name: str, value: Any) -> Any:
    if name in ("properties", "$defs", "patternProperties"):
        return {key: _tidy(schema) for key, schema in value.items()}
    if isinstance(value, dict):
        return _tidy(value)
    return [_tidy(item) if isinstance(item, dict) else item for item in value] if isinstance(value, list) else value


_FAILURE = {"$ref": f"{DEFINITIONS}Failure"}


def _dead_letter_of_update(update: Schema) -> Schema:
    letter = {**update, "description": "An update that could not be applied, reduced to the images concerned."}
    letter["properties"] = {**update["properties"], "failure": _FAILURE}
    letter["required"] = [*update["required"], "failure"]
    return letter


def _dead_letter_of_body() -> Schema:
    return {
        "description": "A message that was never valid, as it first came.",
        "type": "object",
        "properties": {"body": {"type": "string"}, "failure": _FAILURE},
        "required": ["body", "failure"],
        "additionalProperties": False,
    }


def _event(kind: EventType, when: str, data: type[EventData]) -> Schema:
    """A CloudEvent 1.0 in structured mode. Whoever reads it must not mind fields that are not known yet."""
    return _hoisted(
        {
            "description": when,
            "type": "object",
            "properties": {
                "specversion": {"const": "1.0"},
                "id": {
                    "type": "string",
                    "format": "uuid",
                    "description": "The same whenever this event comes again; another for every other event.",
                },
                "source": {"type": "string", "format": "uri", "description": "The resource's URL."},
                "type": {"const": kind.value},
                "subject": {"type": "string", "description": "What it is about, below the source."},
                "time": {"type": "string", "format": "date-time"},
                "datacontenttype": {"const": "application/json"},
                "traceparent": {
                    "type": "string",
                    "pattern": TRACEPARENT_PATTERN,
                    "description": "The span that it comes of, where the message behind it had one.",
                },
                "data": of_model(data, "serialization"),
            },
            "required": ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data"],
        }
    )


def _hoisted(schema: Schema) -> Schema:
    """With the definitions of its parts at its top, where their references point to."""
    definitions: Schema = {}

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            definitions.update({name: without(part) for name, part in value.get("$defs", {}).items()})
            return {name: without(item) for name, item in value.items() if name != "$defs"}
        return [without(item) for item in value] if isinstance(value, list) else value

    bare: Schema = without(schema)
    return {**bare, "$defs": definitions} if definitions else bare
