"""Reads a message's fields, and says in one line what is wrong with them, by the name of each field.

Null is as good as absent for every field that may be absent, since most serializers write nulls. So is an empty
correlation id or `traceparent`.
"""

from __future__ import annotations

import functools
import json
import re
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, core_schema

from shared.errors import InvalidMessage
from shared.messages.encoding import readable
from shared.messages.envelope import unwrap
from shared.text import one_line

MAX_CORRELATION_ID = 128
MAX_ERRORS_DESCRIBED = 5
MAX_FIELDS = 16

WIRE = ConfigDict(alias_generator=to_camel, extra="forbid")
"""Field names on the wire are camelCase. An unknown one is an error, so that a typo is not ignored."""


class WireModel(BaseModel):
    """An object in a message. Null is absent for every field that may be absent."""

    model_config = WIRE

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        optional = {info.alias or name for name, info in cls.model_fields.items() if not info.is_required()}
        return {name: given for name, given in value.items() if given is not None or name not in optional}


class ErrorText(NamedTuple):
    """Describes whatever is wrong with a value in these words."""

    kind: str
    message: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.custom_error_schema(
            handler(source), custom_error_type=self.kind, custom_error_message=self.message
        )


CORRELATION_ID_MEANS = "Comes back in logs, dead letters and events."
CorrelationId = Annotated[str, StringConstraints(max_length=MAX_CORRELATION_ID)]

TRACEPARENT_MEANS = "The producer's span, as W3C Trace Context writes it: what comes of the message is its child."
TRACEPARENT_PATTERN = r"^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?!\n)$"
"""The last look ahead is for languages where `$` is also before a line break at the end."""


def _is_traceparent(value: str) -> str:
    """See W3C Trace Context, "traceparent Header Field Values"."""
    if not re.fullmatch(TRACEPARENT_PATTERN, value):
        raise ValueError
    return value


Traceparent = Annotated[
    str,
    StringConstraints(strict=True),
    AfterValidator(_is_traceparent),
    ErrorText("traceparent", "must be 00-TRACE-SPAN-FLAGS as W3C Trace Context has it, in lower-case digits"),
    WithJsonSchema({"type": "string", "pattern": TRACEPARENT_PATTERN}),
]

_EMPTY_IS_ABSENT = BeforeValidator(lambda value: None if value == "" else value)
OptionalCorrelationId = Annotated[CorrelationId | None, _EMPTY_IS_ABSENT, Field(description=CORRELATION_ID_MEANS)]
OptionalTraceparent = Annotated[
    Traceparent | None,
    _EMPTY_IS_ABSENT,
    Field(description=TRACEPARENT_MEANS),
    WithJsonSchema({"type": ["string", "null"], "pattern": f"^$|{TRACEPARENT_PATTERN}"}),
]

_CORRELATION_ID: TypeAdapter[str] = TypeAdapter(CorrelationId)
_TRACEPARENT: TypeAdapter[str] = TypeAdapter(Traceparent)
_KIND: TypeAdapter[str] = TypeAdapter(Annotated[str, StringConstraints(max_length=64)])

M = TypeVar("M")


def read_message(message: TypeAdapter[M], body: bytes, context: object = None) -> tuple[M, int]:
    """Read a queue message's body; return the message, and how often it was dead-lettered and moved back before.

    `context` is for the message's own validators. Raises `InvalidMessage`.
    """
    fields, traceparent, document, redrives = unwrap(body)
    if fields.get("traceparent") in (None, "") and _valid(_TRACEPARENT, traceparent) is not None:
        fields = {**fields, "traceparent": traceparent}
    try:
        return message.validate_python(fields, context=context), redrives
    except ValidationError as wrong:
        too_many = len(fields) > MAX_FIELDS
        error = InvalidMessage(
            f"not a message: it has {len(fields)} fields" if too_many else _describe(wrong, _names_in(message))
        )
    found = {_letters_of(name): value for name, value in fields.items()}  # a misspelt name may be all that is wrong
    error.text, error.redrives = readable(document), redrives
    error.correlation_id = _valid(_CORRELATION_ID, found.get("correlationid")) or None
    error.traceparent = _valid(_TRACEPARENT, found.get("traceparent"))
    error.kind = _valid(_KIND, found.get("kind"))
    raise error


def _valid(kind: TypeAdapter[str], value: Any) -> str | None:
    try:
        return kind.validate_python(value, strict=True)
    except ValidationError:
        return None


@functools.cache
def _names_in(message: TypeAdapter[M]) -> dict[str, str]:
    """The names of a message's fields, by their letters in lower case."""
    found = message.json_schema(by_alias=True)["properties"]
    return {_letters_of(name): name for name in (*found, "specversion", "eventType", "failure")}


def _letters_of(name: str) -> str:
    return name.replace("_", "").lower()


def _describe(error: ValidationError, names: dict[str, str]) -> str:
    """One line for all of pydantic's findings: each field, its problem, and what stood there.

    Misspelt fields come first. They are not said to be missing as well.
    """
    found = error.errors(include_url=False)
    wrong_items = {item["loc"][:-1] for item in found}  # a list of which one is wrong is not said to be empty too
    found = [item for item in found if item["type"] != "too_short" or item["loc"] not in wrong_items]
    misspelt = {item["loc"]: names[_letters_of(str(item["loc"][0]))] for item in found if _is_misspelt(item, names)}
    described = [f"{_path(loc)}must be written {name}" for loc, name in misspelt.items()]
    described += [
        _finding(item)
        for item in found
        if item["loc"] not in misspelt and not (item["type"] == "missing" and item["loc"][0] in misspelt.values())
    ]
    more = len(described) - MAX_ERRORS_DESCRIBED
    return "; ".join([*described[:MAX_ERRORS_DESCRIBED], *([f"and {more} more"] if more > 0 else [])])


def _is_misspelt(item: Any, names: dict[str, str]) -> bool:
    loc = item["loc"]
    return item["type"] in _UNKNOWN and len(loc) == 1 and names.get(_letters_of(loc[0]), loc[0]) != loc[0]


def _finding(item: Any) -> str:
    """Where something is wrong, what, and what stands there."""
    loc = item["loc"]
    if len(loc) > 2 and loc[-1] == "[key]":
        return f"{_path(loc[:-2])}the key {one_line(repr(item['input']), 60)} {_problem(item)}"
    return f"{_path(loc)}{_problem(item)}{_given(item['input'])}"


def _path(loc: tuple[int | str, ...]) -> str:
    """The field and a colon; nothing for a problem of the whole message, which names its field itself."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")
    return f"{one_line(path)}: " if loc else ""


_NO_UUIDS = "must be a list of at least one UUID"
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")

_PROBLEMS = {
    **dict.fromkeys(_UNKNOWN, "unknown field"),
    "missing": "missing",
    "tuple_type": _NO_UUIDS,
    "too_short": _NO_UUIDS,
    "string_type": "must be text",
    "string_unicode": "must be text that UTF-8 can write",
    "string_too_short": "must have at least {min_length} character",
    "string_too_long": "must have at most {max_length} characters",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "dict_type": "must be an object",
    "model_type": "must be an object",
}


def _problem(item: Any) -> str:
    """What is wrong, in words that do not depend on pydantic's."""
    problem = _PROBLEMS.get(item["type"])
    if problem is None:
        return one_line(item["msg"][:1].lower() + item["msg"][1:])
    return one_line(problem.format_map(item.get("ctx", {})))


def _given(value: Any) -> str:
    if isinstance(value, str):
        return f", not {one_line(repr(value), 60)}"
    return f", not {one_line(json.dumps(value), 60)}" if isinstance(value, int | float | bool | None) else ""
