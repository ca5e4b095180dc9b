"""When the local host runs a timer, and when it asks an empty queue again."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.host.errors import HostStartError
from local.host.polling import PollingBackOff
from local.host.schedule import Run, next_run, parse_schedule
from tests.ncrontab import NOW, ROWS, Row

NOON = datetime(2026, 5, 13, 12, 0, 0, tzinfo=UTC)  # a Wednesday


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("*/15 * * * * *", NOON + timedelta(seconds=15)),
        ("0 */5 * * * *", NOON + timedelta(minutes=5)),
        ("30 0 13 * * *", NOON + timedelta(hours=1, seconds=30)),
        ("0 0 0 * * 0", datetime(2026, 5, 17, tzinfo=UTC)),
        ("0 0 0 * * SUN", datetime(2026, 5, 17, tzinfo=UTC)),
        ("0 0 0 * * Mon-Fri", datetime(2026, 5, 14, tzinfo=UTC)),
        ("0 0 0 1 JUL *", datetime(2026, 7, 1, tzinfo=UTC)),
        ("0 30 9 29 2 *", datetime(2028, 2, 29, 9, 30, tzinfo=UTC)),
    ],
)
def test_the_next_time_of_a_schedule(expression: str, expected: datetime) -> None:
    assert parse_schedule(expression).next_after(NOON) == expected


def test_day_of_month_and_day_of_week_must_both_match_unlike_in_cron() -> None:
    # The next Friday that is a 13th, not the next Friday or 13th.
    assert parse_schedule("0 0 0 13 * 5").next_after(NOON) == datetime(2026, 11, 13, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("00:00:15", "time span.*dedicated plan"),
        ("*/5 * * * *", "has 5 fields"),
        ("0 0 0 L * *", "not NCRONTAB: 'L' is no number"),
        ("60 * * * * *", "not NCRONTAB: '60' is not within 0 to 59"),
        ("0 0 0 31 2 *", "never comes"),
    ],
)
def test_a_schedule_that_azure_does_not_run_is_told(expression: str, problem: str) -> None:
    with pytest.raises(HostStartError, match=problem):
        parse_schedule(expression)


@pytest.mark.parametrize("row", ROWS, ids=[row.expression for row in ROWS])
def test_a_schedule_is_read_as_the_functions_host_reads_it(row: Row) -> None:
    if not row.runs_on_flex:
        with pytest.raises(HostStartError):
            parse_schedule(row.expression)
        return
    schedule = parse_schedule(row.expression)
    last = NOW
    for expected in row.times:
        last = schedule.next_after(last)
        assert last == expected


def test_a_run_that_ended_in_time_is_followed_by_the_next_slot() -> None:
    schedule = parse_schedule("*/10 * * * * *")
    run = next_run(schedule, last=NOON, now=NOON + timedelta(seconds=4))
    assert run == Run(NOON + timedelta(seconds=10), is_past_due=False)


@pytest.mark.parametrize("missed", [1, 2, 7])
def test_one_past_due_run_makes_up_for_all_that_were_missed(missed: int) -> None:
    schedule = parse_schedule("*/10 * * * * *")
    now = NOON + timedelta(seconds=10 * missed + 3)
    late = next_run(schedule, last=NOON, now=now)
    assert late == Run(now, is_past_due=True)
    after = next_run(schedule, last=late.at, now=late.at)
    assert after == Run(NOON + timedelta(seconds=10 * (missed + 1)), is_past_due=False)


@given(st.datetimes(timezones=st.just(UTC)), st.floats(0, 10_000))
def test_the_next_run_is_never_in_the_past(last: datetime, elapsed_seconds: float) -> None:
    if last.year > 9990:
        return
    now = last + timedelta(seconds=elapsed_seconds)
    assert next_run(parse_schedule("*/15 * * * * *"), last, now).at >= now


def test_an_empty_queue_is_asked_less_and_less_often() -> None:
    back_off = PollingBackOff(2.0, random.Random(1))
    delays = [back_off.delay_after(found=False) for _ in range(10)]
    for delay, expected in zip(delays, (0.1, 0.2, 0.3, 0.5, 0.9, 1.7, 2.0, 2.0, 2.0, 2.0), strict=True):
        assert 0.8 * expected <= delay <= 1.2 * expected


def test_a_message_ends_the_back_off() -> None:
    back_off = PollingBackOff(60.0, random.Random(1))
    for _ in range(8):
        back_off.delay_after(found=False)
    assert back_off.delay_after(found=True) == 0
    assert back_off.delay_after(found=False) <= 0.12


@given(st.integers(0, 10_000), st.floats(0.1, 600), st.randoms())
def test_the_back_off_stays_between_100_ms_and_the_maximum(times: int, maximum: float, source: random.Random) -> None:
    back_off = PollingBackOff(maximum, source)
    for _ in range(min(times, 100)):
        assert 0.1 <= back_off.delay_after(found=False) <= maximum
