"""How dates are read, strictly from a producer and leniently from a service, and how two of them are compared."""

import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

_FULL_DATE = "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_TIME = "([01][0-9]|2[0-3]):[0-5][0-9]"
DATE_TIME_PATTERN = (
    "^(?!0000|0001-01-01.*[+](?!00:00)|9999-12-31.{9}.*-(?!00:00))"
    f"{_FULL_DATE}[Tt]{_TIME}:[0-5][0-9]([.][0-9]+)?([Zz]|[+-]{_TIME})(?!\\n)$"
)
"""A date-time of RFC 3339, without a second 60, which no clock here has, and within the years 1 to 9999 also in UTC."""

_DATE_TIME = re.compile(DATE_TIME_PATTERN)
_EXAMPLE = "2026-01-31T12:00:00Z"


def _read_rfc_3339(value: object) -> datetime:
    """The date-time in UTC. Raises `PydanticCustomError` that says what is wrong."""
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    text = value if isinstance(value, str) else ""
    with suppress(ValueError):  # the 30th of February
        if _DATE_TIME.fullmatch(text):
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
    raise PydanticCustomError("date_time", _problem_of(text))


def _problem_of(text: str) -> str:
    if _DATE_TIME.fullmatch(f"{text}Z"):
        return f"must have a time zone, such as {_EXAMPLE} has"
    if ":60" in text and _DATE_TIME.fullmatch(re.sub(":60(?=[.Zz+-])", ":59", text)):
        return "must not have a second 60: no clock here has leap seconds"
    if re.match("0001-01-01|9999-12-31", text) and _DATE_TIME.fullmatch(f"2000{text[4:]}"):
        return "must have the offset Z: in UTC it would be before the year 1 or after the year 9999"
    return f"must be a date-time such as {_EXAMPLE}"


DateTime = Annotated[
    datetime,
    BeforeValidator(_read_rfc_3339),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": DATE_TIME_PATTERN}),
]
"""A date-time that a producer writes. In UTC."""


def is_later(one: datetime, other: datetime) -> bool:
    """Whether a date is later than another. A service writes the same date to 100 ns, milliseconds or seconds."""
    precision = "seconds" if 0 in (one.microsecond, other.microsecond) else "milliseconds"
    return one > other and text_of(one, precision) != text_of(other, precision)


def text_of(date: datetime | None, precision: str = "milliseconds") -> str:
    """A date in UTC, to so much precision; empty for none."""
    return "" if date is None else date.astimezone(UTC).isoformat(timespec=precision)


def read_date(value: object) -> datetime | None:
    """A service's date in UTC, in any form that was seen: ISO 8601, or `1/3/2017 4:11:35 AM`; without a zone it is UTC.

    None for one that cannot be read, or of the year 1, by which some services mean that there is none.
    """
    read = value if isinstance(value, datetime) else _parse(value.strip()) if isinstance(value, str) else None
    if read is None or read.year == 1:
        return None
    try:
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except OverflowError:
        return None


def _parse(text: str) -> datetime | None:
    with suppress(ValueError):
        return datetime.fromisoformat(text)
    with suppress(ValueError):
        return datetime.strptime(text if text[-1:] not in "mM" else f"{text} +0000", "%m/%d/%Y %I:%M:%S %p %z")
    return None


Date = Annotated[datetime | None, BeforeValidator(read_date)]
