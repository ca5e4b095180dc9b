"""When a timer runs: NCRONTAB expressions and the next run, as values.

NCRONTAB is what the Functions host reads. It has a field for seconds in front, names that may be cut short (`J` is
January), ranges that may be turned round (`22-2` is `2-22`), steps of 0 that are steps of 1, and no `?`, `L`, `W` or
`#`. Day and weekday must both match. Times are UTC.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import product

from local.host.errors import HostStartError
from local.host.time_span import is_time_span

MONTHS = [
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
]
WEEKDAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
FIELDS: tuple[tuple[int, int, list[str]], ...] = (
    (0, 59, []),
    (0, 59, []),
    (0, 23, []),
    (1, 31, []),
    (1, 12, MONTHS),
    (0, 6, WEEKDAYS),
)
"""Seconds to weekdays: the lowest number, the highest, and the numbers' names."""

MOST_DIGITS = 9
LONGEST_GAP_DAYS = 41 * 366
"""29 February on one weekday comes every 28 years, and after 40 where a century's year has none."""


@dataclass(frozen=True)
class Run:
    """When a timer runs next, and whether that is later than its schedule says."""

    at: datetime
    is_past_due: bool


@dataclass(frozen=True)
class Schedule:
    """A six-field NCRONTAB expression, and what its fields stand for."""

    expression: str
    fields: tuple[frozenset[int], ...]

    def next_after(self, moment: datetime) -> datetime:
        """The first time after `moment` that the expression names. Raises StopIteration if there is none."""
        earliest = moment.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
        days = (earliest.date() + timedelta(days=after) for after in range(LONGEST_GAP_DAYS))
        return next(at for day in days if self._is_on(day) for at in self._times(day, earliest))

    def _times(self, day: date, earliest: datetime) -> Iterator[datetime]:
        """The day's times, in order, from `earliest` on."""
        seconds, minutes, hours, *_ = map(sorted, self.fields)
        for hour, minute in product(hours, minutes):
            if datetime(day.year, day.month, day.day, hour, minute, 59, tzinfo=UTC) >= earliest:
                times = (datetime(day.year, day.month, day.day, hour, minute, each, tzinfo=UTC) for each in seconds)
                yield from (at for at in times if at >= earliest)

    def _is_on(self, day: date) -> bool:
        *_, days, months, weekdays = self.fields
        return day.day in days and day.month in months and day.isoweekday() % len(WEEKDAYS) in weekdays


def parse_schedule(expression: str) -> Schedule:
    """Check a timer's schedule. Raises HostStartError."""
    if is_time_span(expression):
        raise HostStartError(
            f"the schedule '{expression}' is a time span, which Azure allows on a dedicated plan only: "
            "use a six-field NCRONTAB expression such as '*/15 * * * * *'"
        )
    texts = [text for text in expression.split(" ") if text]
    if len(texts) != len(FIELDS):
        raise HostStartError(f"the schedule '{expression}' has {len(texts)} fields, NCRONTAB has {len(FIELDS)}")
    try:
        schedule = Schedule(expression, tuple(map(_values, texts, FIELDS)))
    except ValueError as error:
        raise HostStartError(f"the schedule '{expression}' is not NCRONTAB: {error}") from None
    try:
        schedule.next_after(datetime.now(UTC))
    except StopIteration:
        raise HostStartError(f"the schedule '{expression}' never comes") from None
    return schedule


def _values(text: str, field: tuple[int, int, list[str]]) -> frozenset[int]:
    """What a field stands for. Raises ValueError."""
    return frozenset(value for part in text.split(",") for value in _part(part, field))


def _part(text: str, field: tuple[int, int, list[str]]) -> range:
    lowest, highest, _ = field
    values, slash, step = text.partition("/")
    start, dash, end = values.partition("-")
    every = _number(step) if slash else 1
    if values == "*":
        return range(lowest, highest + 1, every or 1)
    first = _value(start, field)
    last = _value(end, field) if dash else highest if slash else first
    first, last = min(first, last), max(first, last)
    if first < lowest or last > highest:
        raise ValueError(f"'{text}' is not within {lowest} to {highest}")
    return range(first, last + 1, every or 1)


def _value(text: str, field: tuple[int, int, list[str]]) -> int:
    lowest, _, names = field
    found = [number for number, name in enumerate(names, lowest) if text and name.lower().startswith(text.lower())]
    return found[0] if found else _number(text)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS):
        raise ValueError(f"'{text}' is no number")
    return int(text)


def next_run(schedule: Schedule, last: datetime, now: datetime) -> Run:
    """The run after the one of `last`, seen from `now`.

    Runs never overlap, so a run may have outlasted the next time of the schedule. That run is then made up for at
    once, and however many were missed, one run makes up for all.
    """
    due = schedule.next_after(last)
    return Run(now, is_past_due=True) if due < now else Run(due, is_past_due=False)
