"""Dates: strict where a producer writes them, and in any form that was seen where a service does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator
from pydantic_core import PydanticCustomError


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


_US_FORMATS = ("%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M:%S %p %z")


def read_date(value: object) -> datetime | None:
    """A service's date in UTC, in any of the forms that were seen; None for one that is missing or cannot be read.

    ISO 8601 with 0 to 7 fractional digits, with a time zone or (UTC) without; `1/3/2017 4:11:35 AM`, UTC. The year 1
    is how some of them say that there is none.
    """
    read = value if isinstance(value, datetime) else _parse(value.strip()) if isinstance(value, str) else None
    if read is None or read.year == 1:
        return None
    try:
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except OverflowError:
        return None


def _parse(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        for pattern in _US_FORMATS:
            try:
                return datetime.strptime(text, pattern)  # noqa: DTZ007 - the caller adds the time zone
            except ValueError:
                continue
    return None


Date = Annotated[datetime | None, BeforeValidator(read_date)]
