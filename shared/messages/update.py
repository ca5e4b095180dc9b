"""The messages of the two input queues, and how a body becomes one.

A body is JSON, or Base64 of it, of one object; that object is the message, or a CloudEvents 1.0 or Event Grid
envelope whose `data` is the message. Nothing is taken on trust: an unknown field, a field given twice, a number where
text belongs or a UUID in another notation is an error, told in one line. Field names on the wire are camelCase.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import json
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, NamedTuple, NoReturn, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    GetCoreSchemaHandler,
    StrictBool,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from shared.errors import InvalidMessage
from shared.ids import ImageId, ProjectId  # noqa: TC001 (pydantic reads them)
from shared.text import shown

MAX_METADATA_PAIRS = 10
MAX_METADATA_KEY = 128
MAX_METADATA_VALUE = 256
MAX_GROUP_ID = 64
MAX_CORRELATION_ID = 128
MAX_ERRORS_TOLD = 5
MAX_FIELDS = 16

_UUID = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"


class _Told(NamedTuple):
    """Tells whatever is wrong with a value in these words."""

    kind: str
    message: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.custom_error_schema(
            handler(source), custom_error_type=self.kind, custom_error_message=self.message
        )


_NO_UUID = "must be a list of at least one UUID"


def _not_empty(value: tuple[ImageId, ...]) -> tuple[ImageId, ...]:
    if not value:
        raise PydanticCustomError("empty", _NO_UUID)
    return value


def _few_pairs(value: object) -> object:
    """Count before looking: 64 KiB of wrong pairs would be told one by one."""
    if isinstance(value, dict) and len(value) > MAX_METADATA_PAIRS:
        raise PydanticCustomError("pairs", f"must have at most {MAX_METADATA_PAIRS} pairs")
    return value


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


# Another notation of a UUID would grow when the message is written again, and a message of 64 KiB must fit its dead
# letter.
Uuid = (
    StringConstraints(strict=True, pattern=_UUID, to_lower=True),
    _Told("uuid", "must be a UUID of 36 characters, 8-4-4-4-12 hexadecimal digits"),
)
DateTime = Annotated[AwareDatetime, BeforeValidator(_iso_8601)]
CorrelationId = Annotated[str, StringConstraints(min_length=1, max_length=MAX_CORRELATION_ID)]
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=MAX_METADATA_KEY)]
MetadataValue = Annotated[str, StringConstraints(max_length=MAX_METADATA_VALUE)]
GroupId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9\-_]+$", max_length=MAX_GROUP_ID)]


_WIRE = ConfigDict(alias_generator=to_camel, extra="forbid")


class BatchKey(NamedTuple):
    """What updates must have in common to share a call: the project and, whatever their order, the pairs."""

    project_id: ProjectId
    metadata: frozenset[tuple[str, str]]


@dataclass(config=_WIRE, frozen=True, slots=True)  # a dataclass: a thousand of them wait at the same time
class MetadataUpdate:
    """One message of the updates queue: give these images this metadata.

    Limits: 1 image or more, as many as fit a queue message of 64 KiB; at most 10 pairs, keys of 1 to 128 and values of
    up to 256 characters (Custom Vision Training 3.3, UpdateImageMetadata).
    """

    project_id: Annotated[ProjectId, *Uuid]
    image_ids: Annotated[tuple[Annotated[ImageId, *Uuid], ...], FailFast(), AfterValidator(_not_empty)]
    metadata: Annotated[dict[MetadataKey, MetadataValue], BeforeValidator(_few_pairs)]
    correlation_id: CorrelationId | None = None

    @property
    def key(self) -> BatchKey:
        """What an update that shares a call with this one has in common with it."""
        return BatchKey(self.project_id, frozenset(self.metadata.items()))

    def to_dict(self) -> dict[str, Any]:
        """The message as it stands on the wire."""
        fields: dict[str, Any] = _UPDATE.dump_python(self, mode="json", by_alias=True, exclude_none=True)
        return fields


class GroupKind(StrEnum):
    """What can be trained, by the name that messages and events use."""

    PERSON_GROUP = "personGroup"
    LARGE_PERSON_GROUP = "largePersonGroup"
    LARGE_FACE_LIST = "largeFaceList"


class Reported(BaseModel):
    """The training that a repeating watch reported last, or the state after it that a look has seen since.

    `times`: how many completions the watch has reported.
    """

    model_config = ConfigDict(**_WIRE, frozen=True, populate_by_name=True)

    status: str
    completed_at: DateTime | None = None
    times: Annotated[int, Field(strict=True, ge=1)] = 1


class TrainingWatch(BaseModel):
    """One message of the watches queue: tell when this group's training is complete.

    `after`: only a completion later than this counts. `repeat`: go on watching after the first.
    `expires_at`: give up then. `reported` is written by the app itself into a watch that it puts back.
    """

    model_config = ConfigDict(**_WIRE, frozen=True)

    kind: GroupKind
    id: GroupId
    after: DateTime | None = None
    repeat: StrictBool = False
    expires_at: DateTime | None = None
    reported: Reported | None = None
    correlation_id: CorrelationId | None = None

    def to_dict(self) -> dict[str, Any]:
        """The message as it stands on the wire."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


_UPDATE = TypeAdapter(MetadataUpdate)
_WATCH = TypeAdapter(TrainingWatch)
_CORRELATION_ID: TypeAdapter[str] = TypeAdapter(CorrelationId)

M = TypeVar("M")


def parse_update(body: bytes) -> MetadataUpdate:
    """Read a message of the updates queue. Raises `InvalidMessage`."""
    return _parse(_UPDATE, body)


def parse_watch(body: bytes) -> TrainingWatch:
    """Read a message of the watches queue. Raises `InvalidMessage`."""
    return _parse(_WATCH, body)


def _parse(message: TypeAdapter[M], body: bytes) -> M:
    fields = _unwrap(_load(body))
    if len(fields) > MAX_FIELDS:  # each would be told, which takes longer than all good messages together
        raise InvalidMessage(f"not a message: it has {len(fields)} fields", _correlation_id(fields))
    try:
        return message.validate_python(fields)
    except ValidationError as error:
        raise InvalidMessage(_told(error), _correlation_id(fields)) from None


def _correlation_id(fields: dict[str, Any]) -> str | None:
    """What a message is known by though it is not valid."""
    try:
        return _CORRELATION_ID.validate_python(fields.get("correlationId"), strict=True)
    except ValidationError:
        return None


def _load(body: bytes) -> dict[str, Any]:
    """Parse the one JSON object in `body`, which may be Base64 of it."""
    body = body.removeprefix(codecs.BOM_UTF8)
    if not body.lstrip().startswith(b"{"):
        body = _from_base64(body)
    try:
        text = body.decode().strip(_JSON_WHITESPACE)
        fields: dict[str, Any]
        fields, end = _DECODER.raw_decode(text)  # `decode` looks for white space in a slower way
    except UnicodeDecodeError as error:
        raise InvalidMessage(f"not UTF-8: byte {error.start} is {body[error.start]:#04x}") from None
    except RecursionError:
        raise InvalidMessage("not a message: nested too deeply") from None
    except ValueError as error:
        raise InvalidMessage(f"not JSON: {shown(error)}") from None
    if end != len(text):
        raise InvalidMessage(f"not JSON: there is more after the object, from character {end} on")
    return fields


def _from_base64(body: bytes) -> bytes:
    if not body.strip():
        raise InvalidMessage("empty: neither a JSON object nor Base64 of one")
    try:
        decoded = base64.b64decode(b"".join(body.split()), validate=True).removeprefix(codecs.BOM_UTF8)
    except binascii.Error:
        decoded = b""
    if not decoded.lstrip().startswith(b"{"):  # many a word happens to be Base64 of something
        raise InvalidMessage("neither a JSON object nor Base64 of one")
    return decoded


def _unwrap(fields: dict[str, Any]) -> dict[str, Any]:
    """Take the message out of its CloudEvents 1.0 or Event Grid envelope, if it is in one."""
    if "specversion" in fields:
        if fields["specversion"] != "1.0":
            raise InvalidMessage("specversion: must be 1.0, the only version of CloudEvents that is read")
        if "data_base64" in fields:
            encoded = fields["data_base64"]
            if not isinstance(encoded, str):
                raise InvalidMessage("data_base64: must be text")
            return _load(encoded.encode("utf-8", "backslashreplace"))
    elif "eventType" not in fields:
        return fields
    data = fields.get("data")
    if not isinstance(data, dict):
        raise InvalidMessage("data: the envelope must carry the message as a JSON object")
    return data


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object, refusing a name given twice: which of the two was meant, nobody can tell."""
    fields = dict(pairs)
    if len(fields) == len(pairs):
        return fields
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise ValueError(f"field given twice: {shown(name)}")
        seen.add(name)
    raise AssertionError("fewer names than pairs, yet none twice")


def _no_constant(name: str) -> NoReturn:
    """Refuse NaN and the infinities, which Python would read although JSON has none."""
    raise ValueError(f"{name} is no JSON value")


_JSON_WHITESPACE = " \t\n\r"
_DECODER = json.JSONDecoder(object_pairs_hook=_distinct, parse_constant=_no_constant)


def _told(error: ValidationError) -> str:
    """One line for all of pydantic's findings: the field, its problem, and what stood there."""
    found = error.errors(include_url=False, include_context=False)
    told = [
        f"{shown(_path(item['loc']))}: {_problem(item['type'], item['msg'])}{_given(item)}"
        for item in found[:MAX_ERRORS_TOLD]
    ]
    if len(found) > MAX_ERRORS_TOLD:
        told.append(f"and {len(found) - MAX_ERRORS_TOLD} more")
    return "; ".join(told)


def _path(loc: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")


_PROBLEMS = {
    "extra_forbidden": "unknown field",
    "unexpected_keyword_argument": "unknown field",
    "missing": "missing",
    "tuple_type": _NO_UUID,
    "string_type": "must be text",
    "string_unicode": "must be text that UTF-8 can write",
    "bool_type": "must be true or false",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "timezone_aware": "must have a time zone, such as 2026-01-31T12:00:00Z has",
}


def _problem(kind: str, message: str) -> str:
    return _PROBLEMS.get(kind) or shown(message[:1].lower() + message[1:])


def _given(item: Any) -> str:
    value = item["input"]
    if isinstance(value, str):
        return f", not {shown(repr(value), 60)}"
    return f", not {shown(json.dumps(value), 60)}" if isinstance(value, int | float | bool | None) else ""
