"""Dates: what a service may write, how precisely two of them are compared, and what is wrong with a producer's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.messages.dates import DateTime, is_later, read_date, text_of

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def at(milliseconds: float) -> datetime:
    return NOON + timedelta(milliseconds=milliseconds)


@pytest.mark.parametrize(
    ("one", "other", "later"),
    [
        (at(1), at(0.4), True),
        (at(999), at(0), False),  # a date of whole seconds may have been cut
        (at(0.001), at(0), False),
        (at(1000), at(999), True),
        (at(1000), at(0), True),
        (at(0), at(1000), False),
        (at(2.2), at(1.1), True),
        (at(1.9), at(1.1), False),
        (at(1.1), at(1.9), False),
        (at(1.1), at(2.2), False),
        (at(0.001), at(-0.5), True),
        (at(5), at(5), False),
    ],
)
def test_a_date_is_later_by_a_millisecond_or_a_second_as_precise_as_both_are(
    one: datetime, other: datetime, *, later: bool
) -> None:
    assert is_later(one, other) is later


def test_a_date_is_written_in_utc_to_milliseconds() -> None:
    here = at(1.5).astimezone(timezone(timedelta(hours=2)))
    assert text_of(here) == "2026-01-31T12:00:00.001+00:00"
    assert text_of(here, "seconds") == "2026-01-31T12:00:00+00:00"
    assert text_of(None) == ""


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-01-31T12:00:00Z", NOON),
        (" 2026-01-31T14:00:00+02:00 ", NOON),
        ("2026-01-31T12:00:00", NOON),
        ("1/31/2026 12:00:00 PM", NOON),
        ("1/31/2026 12:00:00 PM +00:00", NOON),
        ("1/31/2026 2:00:00 PM +02:00", NOON),
        ("1/31/2026 12:00:00 pm", NOON),
        (NOON, NOON),
        (NOON.astimezone(timezone(timedelta(hours=2))), NOON),
        (NOON.replace(tzinfo=None), NOON),
        ("0002-01-01T00:00:00Z", datetime(2, 1, 1, tzinfo=UTC)),
        ("0001-12-31T00:00:00Z", None),
        ("9999-12-31T23:59:59-01:00", None),
        ("yesterday", None),
        ("", None),
        (5, None),
        (None, None),
    ],
)
def test_a_services_date_is_read_in_any_form_that_was_seen(written: object, read: datetime | None) -> None:
    found = read_date(written)
    assert found == read
    assert found is None or found.tzinfo is UTC


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("2026-01-31T12:00:00", "must have a time zone"),
        ("2026-12-31T23:59:60Z", "must not have a second 60"),
        ("2026-12-31T23:60:59Z", "must be a date-time such as"),
        ("2026-12-31T23:60:60Z", "must be a date-time such as"),
        ("0001-01-01T00:00:00+01:00", "must have the offset Z"),
        ("9999-12-31T23:00:00-01:00", "must have the offset Z"),
        ("0001-01-01T00:00:99+01:00", "must be a date-time such as"),
        ("2026-02-30T12:00:00Z", "must be a date-time such as"),
        ("tomorrow", "must be a date-time such as"),
        (5, "must be a date-time such as"),
    ],
)
def test_what_is_wrong_with_a_producers_date_is_said(written: object, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        TypeAdapter(DateTime).validate_python(written)


def test_a_producers_date_is_read_in_utc() -> None:
    for written in ("2026-01-31T14:00:00+02:00", NOON.astimezone(timezone(timedelta(hours=2)))):
        read = TypeAdapter(DateTime).validate_python(written)
        assert (read, read.tzinfo) == (NOON, UTC)
