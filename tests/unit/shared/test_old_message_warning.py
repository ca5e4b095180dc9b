"""What the log is told of messages that wait long."""

import logging
from datetime import UTC, datetime, timedelta

import pytest

from shared.old_message_warning import LOGGED_EVERY_SECONDS, LOGGED_FROM_SECONDS, OldMessageWarning

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now.timestamp()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def age(clock: Clock) -> OldMessageWarning:
    return OldMessageWarning(clock)


def test_a_message_that_has_waited_long_is_told_with_its_age(
    age: OldMessageWarning, caplog: pytest.LogCaptureFixture
) -> None:
    age.seen(NOON - timedelta(hours=2))
    assert caplog.messages == ["a message has waited 7200 s since it was put into its queue"]
    assert caplog.records[0].levelno == logging.WARNING


@pytest.mark.parametrize(
    "inserted_at", [None, NOON, NOON - timedelta(seconds=LOGGED_FROM_SECONDS - 1), NOON + timedelta(hours=1)]
)
def test_a_message_that_has_not_is_not_told(
    age: OldMessageWarning, caplog: pytest.LogCaptureFixture, inserted_at: datetime | None
) -> None:
    age.seen(inserted_at)
    assert caplog.messages == []


def test_many_old_messages_are_told_once_a_minute(
    age: OldMessageWarning, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3 * LOGGED_EVERY_SECONDS):
        age.seen(NOON - timedelta(hours=1))
        clock.now += timedelta(seconds=1)
    assert len(caplog.messages) == 3


def test_a_message_seen_long_ago_does_not_make_a_new_one_old(
    age: OldMessageWarning, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    age.seen(NOON)
    clock.now += timedelta(hours=3)
    age.seen(clock.now)
    assert caplog.messages == []
