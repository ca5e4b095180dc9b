"""The contracts as tests use them: strict validators, by the name of a file in docs/contracts."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator, FormatChecker

from contracts.documents import FOLDER

if TYPE_CHECKING:
    from collections.abc import Mapping

EVENT = "event-{}"


@functools.cache
def validator(name: str) -> Draft202012Validator:
    """A validator that also minds formats, and fields that the contract does not know: consumers must not mind them."""
    schema = json.loads((FOLDER / f"{name}.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(_closed(schema), format_checker=FormatChecker())


def problems(name: str, document: Any) -> list[str]:
    """What is wrong with a document, by its contract."""
    return [f"{error.json_path}: {error.message}" for error in validator(name).iter_errors(document)]


def problems_of_event(event: Mapping[str, Any]) -> list[str]:
    """The same for an event, by its type."""
    return problems(EVENT.format(event["type"]), event)


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(value) for name, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed
