"""Which schedules stop the start: those that the Functions host refuses, and those that never fire."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.schedule import check_schedule
from tests.ncrontab import NOW, ROWS, Row

A_YEAR = timedelta(days=366)


def is_taken(expression: str) -> bool:
    try:
        check_schedule(expression)
    except ValueError:
        return False
    return True


def fires_within_a_year(row: Row) -> bool:
    return row.runs_on_flex and row.times[0] - NOW <= A_YEAR


@pytest.mark.parametrize("row", ROWS, ids=[row.expression for row in ROWS])
def test_a_schedule_is_taken_if_the_host_takes_it_and_it_fires_within_a_year(row: Row) -> None:
    assert is_taken(row.expression) == fires_within_a_year(row)


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("*/5 * * * *", "must be NCRONTAB with six fields .* and has 5"),
        ("00:00:15", "is a time span, which never fires on Flex Consumption"),
        ("24:00:00", "is a time span"),
        ("1.00:00:00", "is a time span"),
        ("60 * * * * *", "its second takes numbers from 0 to 59, ranges"),
        ("* * * * * 7", "its weekday takes numbers from 0 to 6, names such as MON"),
        ("0 0 12 ? * MON-FRI", "its day takes numbers from 1 to 31"),
        ("0 0 0 1 JANVIER *", "its month takes numbers from 1 to 12, names such as FEB"),
        ("0 0 0 31 2 *", "must fire in every year"),
        ("0 0 0 29 2 *", "must fire in every year"),
        ("0 0 0 1 1 MON", "must fire in every year"),
    ],
)
def test_the_sentence_says_what_is_wrong(expression: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        check_schedule(expression)


def test_a_schedule_that_fires_in_every_year_is_taken_in_whatever_year_the_app_starts() -> None:
    """Friday the 13th is in every year; 29 February would be taken today and refused after the next restart."""
    check_schedule("0 0 0 13 * FRI")
    check_schedule("0 0 0 25-31 12 FRI")


@given(st.text(st.sampled_from("0123456789*/-, ?LW#JANMONsat\t\u0661\u00a0"), max_size=30))
def test_whatever_stands_there_is_taken_or_refused_with_a_sentence(expression: str) -> None:
    try:
        check_schedule(expression)
    except ValueError as error:
        assert "six fields" in str(error) or "every year" in str(error)  # noqa: PT017
