"""Fields as messages have them, and how what is wrong with a message is told: in one line that names each field."""

from __future__ import annotations

import json
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import (
    AfterValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, core_schema

from shared.errors import InvalidMessage
from shared.messages.envelope import read_traced
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


CORRELATION_ID_MEANS = "Comes back in logs, dead letters and events."
CorrelationId = Annotated[str, StringConstraints(min_length=1, max_length=MAX_CORRELATION_ID)]

TRACEPARENT_MEANS = "The producer's span, as W3C Trace Context writes it: what comes of the message is its child."
_TRACEPARENT_FORM = r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"
TRACEPARENT_PATTERN = r"^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$"


def _is_traceparent(value: str) -> str:
    """Refuse what the form allows and the recommendation does not ("traceparent Header Field Values")."""
    if value.startswith("ff") or not int(value[3:35], 16) or not int(value[36:52], 16):
        raise ValueError
    return value


Traceparent = Annotated[
    str,
    StringConstraints(strict=True, pattern=_TRACEPARENT_FORM),
    AfterValidator(_is_traceparent),
    ErrorText("traceparent", "must be 00-TRACE-SPAN-FLAGS as W3C Trace Context has it, in lower-case digits"),
    WithJsonSchema({"type": "string", "pattern": TRACEPARENT_PATTERN}),
]

_CORRELATION_ID: TypeAdapter[str] = TypeAdapter(CorrelationId)
_TRACEPARENT: TypeAdapter[str] = TypeAdapter(Traceparent)

M = TypeVar("M")


def read_message(message: TypeAdapter[M], body: bytes, context: object = None) -> M:
    """Read a queue message's body. `context` is for the message's own validators. Raises `InvalidMessage`."""
    fields, traceparent = read_traced(body)
    if traceparent is not None and "traceparent" not in fields and _valid(_TRACEPARENT, traceparent) is not None:
        fields = {**fields, "traceparent": traceparent}
    if len(fields) > MAX_FIELDS:  # each would be told, which takes longer than all good messages together
        raise InvalidMessage(f"not a message: it has {len(fields)} fields", *_known_by(fields))
    try:
        return message.validate_python(fields, context=context)
    except ValidationError as error:
        raise InvalidMessage(_describe(error), *_known_by(fields)) from None


def _known_by(fields: dict[str, Any]) -> tuple[str | None, str | None]:
    """What a message is known by though it is not valid: its correlation id and its `traceparent`."""
    return _valid(_CORRELATION_ID, fields.get("correlationId")), _valid(_TRACEPARENT, fields.get("traceparent"))


def _valid(kind: TypeAdapter[str], value: Any) -> str | None:
    try:
        return kind.validate_python(value, strict=True)
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
