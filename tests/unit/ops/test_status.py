"""What is wrong with a snapshot, and what to do: pure, so a table."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from rich.console import Console

from ops.commands.status import render
from ops.doctor import Level, check_clock
from ops.output import Output, duration, plural
from ops.probing import ApiState
from ops.status import (
    EVENTS,
    UPDATE_LETTERS,
    UPDATES,
    WATCH_LETTERS,
    WATCHES,
    LimitState,
    QueueState,
    Snapshot,
    assess,
)

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
ROLES = (UPDATES, UPDATE_LETTERS, WATCHES, WATCH_LETTERS, EVENTS)
WELL = Snapshot(
    NOW,
    {role: QueueState(role.replace(" ", "-"), 0) for role in ROLES},
    LimitState("permits", 10, 10, 10),
    (ApiState("Custom Vision", "https://cv.example", 0.1), ApiState("Face", "")),
    Counter(),
)


def with_queue(role: str, age: timedelta, count: int = 1, *, never_received: bool = False) -> Snapshot:
    changed = QueueState(role, count, min(count, 32), NOW - age, never_received=never_received)
    return replace(WELL, queues={**WELL.queues, role: changed})


def test_nothing_is_wrong_where_nothing_waits() -> None:
    assert assess(WELL) == []


@pytest.mark.parametrize(
    ("snapshot", "problem"),
    [
        (with_queue(UPDATES, timedelta(minutes=2), never_received=True), "no instance processes them"),
        (with_queue(UPDATES, timedelta(minutes=20)), "the oldest update has waited for 20 min"),
        (with_queue(WATCHES, timedelta(minutes=6), never_received=True), "the timer has not received them"),
        (with_queue(EVENTS, timedelta(hours=5)), "the oldest event has waited for 5 h"),
        (with_queue(UPDATE_LETTERS, timedelta(0)), "1 dead letter"),
        (with_queue(WATCH_LETTERS, timedelta(0), 2), "2 dead letters"),
        (
            replace(WELL, apis=(ApiState("Face", "x", 0.1, "Face responded with 401", "set the key"),)),
            "Face responded with 401",
        ),
        (replace(WELL, apis=(ApiState("Face", "x", 6.5),)), "Face took 6.5 s"),
        (replace(WELL, apis=(ApiState("Face", "x", 0.1, is_rate_limited=True),)), "Face refused a call with 429"),
        (replace(WELL, limit=LimitState("p", 10, 10, 10, 5)), "Custom Vision refused calls with 429 in the last 2 min"),
        (replace(WELL, limit=LimitState("p", 10, 10, 1, 1)), "Custom Vision refused calls with 429 in the last 2 min"),
    ],
)
def test_what_is_wrong_is_told_with_what_to_do(snapshot: Snapshot, problem: str) -> None:
    [finding] = assess(snapshot)
    assert problem in finding.problem
    assert finding.advice


@pytest.mark.parametrize(
    "snapshot",
    [
        with_queue(UPDATES, timedelta(seconds=30), never_received=True),
        with_queue(UPDATES, timedelta(minutes=5), 100),
        replace(with_queue(UPDATES, timedelta(minutes=5), never_received=True), limit=LimitState("p", 10, 10, 3)),
        replace(WELL, limit=LimitState("p", 10, 10, 10, 4)),
        with_queue(WATCHES, timedelta(days=300)),
        with_queue(EVENTS, timedelta(minutes=30)),
    ],
)
def test_what_is_usual_is_no_finding(snapshot: Snapshot) -> None:
    assert assess(snapshot) == []


def printed(snapshot: Snapshot, width: int = 200) -> str:
    screen = StringIO()
    Output(out=Console(file=screen, width=width)).show(render(snapshot, assess(snapshot)))
    return screen.getvalue()


def test_a_429_is_never_shown_as_a_good_response() -> None:
    shown = printed(replace(WELL, apis=(ApiState("Custom Vision", "x", 0.003, is_rate_limited=True),)))
    assert "refuses calls with 429" in shown
    assert "responds in" not in shown


def test_what_a_peek_at_the_permits_cannot_show_is_said() -> None:
    shown = printed(replace(WELL, limit=LimitState("p", 10, 10, 8, 3)))
    assert "2 in use or resting after a 429; 3 of the 8 others were refused with 429" in shown
    assert "storage hides whether those were refused" in shown
    assert "storage hides" not in printed(WELL)


def test_advice_and_titles_keep_their_form_in_80_columns() -> None:
    gone = replace(WELL, queues={**WELL.queues, UPDATES: QueueState("updates", None)}, letters=Counter(host=1))
    lines = printed(gone, width=80).splitlines()
    assert "Dead letters by reason" in lines
    advice = lines[lines.index("! there is no queue updates") + 1 :]
    assert len(advice) > 1
    assert all(line.startswith("  ") for line in advice)


def test_a_queue_that_is_missing_comes_first() -> None:
    changed = {UPDATES: QueueState("updates", None), UPDATE_LETTERS: QueueState("letters", 1)}
    gone = replace(WELL, queues={**WELL.queues, **changed})
    assert [finding.problem for finding in assess(gone)] == ["there is no queue updates", "1 dead letter"]


@pytest.mark.parametrize(
    ("skew", "level"),
    [(0.9, Level.OK), (-9, Level.OK), (11, Level.WARNING), (-300, Level.WARNING), (601, Level.FAILED)],
)
def test_a_clock_may_be_off_by_seconds(skew: float, level: Level) -> None:
    assert check_clock(skew).level is level


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.05, "0.1 s"),
        (1.5, "1.5 s"),
        (45, "45 s"),
        (62, "1 min 2 s"),
        (720, "12 min"),
        (12_000, "3 h 20 min"),
        (187_200, "2 d 4 h"),
    ],
)
def test_durations_are_said_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_numbers_have_their_nouns() -> None:
    assert (plural(1, "message"), plural(2000, "message")) == ("1 message", "2,000 messages")
