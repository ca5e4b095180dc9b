"""Reads a message's fields, and says in one line what is wrong with them, by the name of each field.

Null is as good as absent for every field that may be absent, since most serializers write nulls. So is an empty
correlation id or `traceparent`.
"""

import functools
import json
import re
from typing import Annotated, Any, TypeVar

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    GetPydanticSchema,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails, core_schema

from shared.errors import InvalidMessage
from shared.messages.encoding import readable
from shared.messages.envelope import unwrap
from shared.text import one_line

MAX_ERRORS_DESCRIBED = 5
MAX_FIELDS = 16
MAX_QUOTED = 60

WIRE = ConfigDict(alias_generator=to_camel, extra="forbid")
"""Field names on the wire are camelCase. An unknown one is an error, so that a typo is not ignored."""


def error_text(kind: str, message: str) -> GetPydanticSchema:
    """Describe whatever is wrong with a value in these words."""
    return GetPydanticSchema(
        lambda source, handler: core_schema.custom_error_schema(
            handler(source), custom_error_type=kind, custom_error_message=message
        )
    )


TRACEPARENT_PATTERN = r"^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?!\n)$"
"""See W3C Trace Context, "traceparent Header Field Values". In some languages `$` is also before a last line break."""

CorrelationId = Annotated[str, StringConstraints(max_length=128)]
Traceparent = Annotated[
    str,
    StringConstraints(strict=True, pattern=re.compile(TRACEPARENT_PATTERN)),
    error_text("traceparent", "must be 00-TRACE-SPAN-FLAGS as W3C Trace Context has it, in lower-case digits"),
]

_EMPTY_IS_ABSENT = BeforeValidator(lambda value: None if value == "" else value)
OptionalCorrelationId = Annotated[
    CorrelationId | None, _EMPTY_IS_ABSENT, Field(description="Comes back in logs, dead letters and events.")
]
OptionalTraceparent = Annotated[
    Traceparent | None,
    _EMPTY_IS_ABSENT,
    Field(description="The producer's span, as W3C Trace Context writes it: what comes of the message is its child."),
    WithJsonSchema({"type": ["string", "null"], "pattern": f"^$|{TRACEPARENT_PATTERN}"}),
]

_CORRELATION_ID: TypeAdapter[str] = TypeAdapter(CorrelationId)
_TRACEPARENT: TypeAdapter[str] = TypeAdapter(Traceparent)

M = TypeVar("M")


def read_message(message: TypeAdapter[M], body: bytes, context: object = None) -> tuple[M, int]:
    """Return a queue message, and how often it was dead-lettered and moved back before. Raises `InvalidMessage`.

    `context` is for the message's own validators.
    """
    document, redrives, fields, traceparent = unwrap(body)
    if isinstance(fields, str):
        raise InvalidMessage(fields, text=readable(document), redrives=redrives)
    if fields.get("traceparent") in (None, "") and _valid(_TRACEPARENT, traceparent) is not None:
        fields = {**fields, "traceparent": traceparent}
    try:
        return message.validate_python(fields, context=context), redrives
    except ValidationError as error:
        too_many = len(fields) > MAX_FIELDS
        problem = f"not a message: it has {len(fields)} fields" if too_many else _describe(error, _names_in(message))
    found = {_letters_of(name): value for name, value in fields.items()}  # a misspelt name may be all that is wrong
    raise InvalidMessage(
        problem,
        text=readable(document),
        redrives=redrives,
        correlation_id=_valid(_CORRELATION_ID, found.get("correlationid")) or None,
        traceparent=_valid(_TRACEPARENT, found.get("traceparent")),
        kind=str(found.get("kind", "")),
    )


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
    """One line for all of pydantic's findings. Misspelt fields come first, and are not said to be missing as well."""
    found = error.errors(include_url=False)
    unknown = [str(item["loc"][0]) for item in found if item["type"] in _UNKNOWN and len(item["loc"]) == 1]
    misspelt = {given: name for given in unknown if (name := names.get(_letters_of(given), given)) != given}
    hidden: set[tuple[str, tuple[int | str, ...]]] = {("missing", (name,)) for name in misspelt.values()}
    hidden |= {(kind, (given,)) for given in misspelt for kind in _UNKNOWN}
    hidden |= {("too_short", item["loc"][:-1]) for item in found}  # a list with a wrong item is not empty
    described = [f"{one_line(given)}: must be written {name}" for given, name in misspelt.items()]
    described += [_finding(item) for item in found if (item["type"], item["loc"]) not in hidden]
    more = len(described) - MAX_ERRORS_DESCRIBED
    return "; ".join([*described[:MAX_ERRORS_DESCRIBED], *([f"and {more} more"] if more > 0 else [])])


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
"""By pydantic's word for it. The sentence of any other problem is pydantic's or our validator's."""


def _finding(item: ErrorDetails) -> str:
    """Where something is wrong, what, and what stands there."""
    loc, value, message = item["loc"], item["input"], item["msg"]
    template = _PROBLEMS.get(item["type"])
    problem = one_line(template.format_map(item.get("ctx", {})) if template else message[:1].lower() + message[1:])
    is_key = len(loc) > 2 and loc[-1] == "[key]"
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in (loc[:-2] if is_key else loc))
    where = f"{one_line(path.removeprefix('.'))}: " if path else ""
    if is_key:
        return f"{where}the key {one_line(repr(value), MAX_QUOTED)} {problem}"
    if not isinstance(value, str | int | float | None):
        return f"{where}{problem}"
    given = repr(value) if isinstance(value, str) else json.dumps(value)
    return f"{where}{problem}, not {one_line(given, MAX_QUOTED)}"
