"""host.json, as far as queue and timer triggers need it, with the defaults of the Azure Functions host.

As in Azure, an app setting overrides a value of the file: `AzureFunctionsJobHost__extensions__queues__batchSize`.
"""

import json
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from local.host.errors import HostStartError
from local.host.time_span import parse_time_span

OVERRIDE_PREFIX = "AzureFunctionsJobHost__"
UNLIMITED = "-1"


def _time_span(value: object) -> timedelta:
    if not isinstance(value, str):
        raise ValueError("must be a time span such as 00:01:30")  # noqa: TRY004 - pydantic reports ValueError
    return parse_time_span(value)


def _time_limit(value: object) -> timedelta | None:
    return None if value == UNLIMITED else _time_span(value)


TimeSpan = Annotated[timedelta, BeforeValidator(_time_span)]
TimeLimit = Annotated[timedelta | None, BeforeValidator(_time_limit)]


class MessageEncoding(StrEnum):
    """How the body of an invocation is written in the message."""

    BASE64 = "base64"
    NONE = "none"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel)


class QueuesConfig(_Section):
    """`extensions.queues`: how queue triggers fetch, retry and give up."""

    batch_size: int = Field(default=16, ge=1, le=32)
    new_batch_threshold: int = Field(default_factory=lambda data: data["batch_size"] // 2, ge=0)
    max_dequeue_count: int = Field(default=5, ge=1)
    visibility_timeout: TimeSpan = timedelta(0)
    max_polling_interval: TimeSpan = Field(default=timedelta(minutes=1), ge=timedelta(milliseconds=100))
    message_encoding: Annotated[
        MessageEncoding, BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)
    ] = MessageEncoding.BASE64


class _Extensions(_Section):
    queues: QueuesConfig = QueuesConfig()


class HostConfig(_Section):
    """The parts of host.json that this host acts on; it leaves the others alone. `function_timeout` None: no limit."""

    version: Literal["2.0"]
    function_timeout: TimeLimit = timedelta(minutes=30)
    extensions: _Extensions = _Extensions()

    @property
    def queues(self) -> QueuesConfig:
        """What holds for all queue triggers."""
        return self.extensions.queues


def read_host_config(app_root: Path, settings: Mapping[str, str]) -> HostConfig:
    """Read the app root's host.json under the settings that override it. Raises HostStartError."""
    file = app_root / "host.json"
    try:
        document = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise HostStartError(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise HostStartError(f"{file} is not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise HostStartError(f"{file} must be an object")
    return parse_host_config(document, settings)


def parse_host_config(document: Mapping[str, object], settings: Mapping[str, str]) -> HostConfig:
    """Check host.json's content. Raises HostStartError with the place and the problem of the first error."""
    try:
        return HostConfig.model_validate(_overridden(document, settings))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise HostStartError(f"host.json: {place}: {first['msg']}") from error


def _overridden(document: Mapping[str, object], settings: Mapping[str, str]) -> dict[str, object]:
    merged = json.loads(json.dumps(document))
    for name, value in settings.items():
        if not name.startswith(OVERRIDE_PREFIX):
            continue
        *sections, key = name.removeprefix(OVERRIDE_PREFIX).split("__")
        place = merged
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise HostStartError(f"the setting {name} names no value of host.json")
        place[key] = value
    return dict(merged)
