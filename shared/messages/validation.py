"""Fields as messages have them, and how what is wrong with a message is told: in one line that names each field."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import (
    AwareDatetime,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from shared.errors import InvalidMessage
from shared.messages.envelope import read_envelope
from shared.text import one_line

MAX_CORRELATION_ID = 128
MAX_ERRORS_DESCRIBED = 5
MAX_FIELDS = 16

WIRE = ConfigDict(alias_generator=to_camel, extra="forbid")
"""Field names on the wire are camelCase, and an unknown one is an error, so that a typo is told and not ignored."""


class ErrorText(NamedTuple):
    """Describes whatever is wrong with a value in these words."""

    kind: str
    message: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.custom_error_schema(
            handler(source), custom_error_type=self.kind, custom_error_message=self.message
        )


NO_UUIDS = "must be a list of at least one UUID"


def _iso_8601(value: object) -> object:
    """Let through text, and what is a date-time already: a bare number would be read as seconds since 1970."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        raise PydanticCustomError("date_time", "must be a date-time such as 2026-01-31T12:00:00Z")
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise PydanticCustomError("date_time", "must be a date-time such as 2026-01-31T12:00:00Z") from None


DateTime = Annotated[AwareDatetime, BeforeValidator(_iso_8601)]
CORRELATION_ID_MEANS = "Comes back in logs, dead letters and events."
CorrelationId = Annotated[str, StringConstraints(min_length=1, max_length=MAX_CORRELATION_ID)]

_CORRELATION_ID: TypeAdapter[str] = TypeAdapter(CorrelationId)

M = TypeVar("M")


def read_message(message: TypeAdapter[M], body: bytes, context: object = None) -> M:
    """Read a queue message's body. `context` is for the message's own validators. Raises `InvalidMessage`."""
    fields = read_envelope(body)
    if len(fields) > MAX_FIELDS:  # each would be told, which takes longer than all good messages together
        raise InvalidMessage(f"not a message: it has {len(fields)} fields", _correlation_id(fields))
    try:
        return message.validate_python(fields, context=context)
    except ValidationError as error:
        raise InvalidMessage(_describe(error), _correlation_id(fields)) from None


def _correlation_id(fields: dict[str, Any]) -> str | None:
    """What a message is known by though it is not valid."""
    try:
        return _CORRELATION_ID.validate_python(fields.get("correlationId"), strict=True)
    except ValidationError:
        return None


def _describe(error: ValidationError) -> str:
    """One line for all of pydantic's findings: the field, its problem, and what stood there."""
    found = error.errors(include_url=False, include_context=False)
    described = [
        f"{_path(item['loc'])}{_problem(item['type'], item['msg'])}{_given(item)}"
        for item in found[:MAX_ERRORS_DESCRIBED]
    ]
    if len(found) > MAX_ERRORS_DESCRIBED:
        described.append(f"and {len(found) - MAX_ERRORS_DESCRIBED} more")
    return "; ".join(described)


def _path(loc: tuple[int | str, ...]) -> str:
    """The field and a colon; nothing where the problem is the whole message's and says which field is meant."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")
    return f"{one_line(path)}: " if loc else ""


_PROBLEMS = {
    "extra_forbidden": "unknown field",
    "unexpected_keyword_argument": "unknown field",
    "missing": "missing",
    "tuple_type": NO_UUIDS,
    "string_type": "must be text",
    "string_unicode": "must be text that UTF-8 can write",
    "bool_type": "must be true or false",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "timezone_aware": "must have a time zone, such as 2026-01-31T12:00:00Z has",
}


def _problem(kind: str, message: str) -> str:
    return _PROBLEMS.get(kind) or one_line(message[:1].lower() + message[1:])


def _given(item: Any) -> str:
    value = item["input"]
    if isinstance(value, str):
        return f", not {one_line(repr(value), 60)}"
    return f", not {one_line(json.dumps(value), 60)}" if isinstance(value, int | float | bool | None) else ""
