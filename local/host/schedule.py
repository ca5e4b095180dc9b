"""When a timer runs: NCRONTAB expressions and the next run, as values.

NCRONTAB differs from cron in two ways that matter here: there is a field for seconds in front, and where both the
day of the month and the day of the week are given, both must match. Times are UTC.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

from local.host.errors import HostStartError
from local.host.time_span import is_time_span

FIELDS = 6

# What other crons know; weekdays may be names, in which the letters are no such thing.
_NOT_IN_DAY_OF_MONTH = re.compile(r"[LW#?]", re.IGNORECASE)
_NOT_IN_DAY_OF_WEEK = re.compile(r"[#?]|\dL", re.IGNORECASE)


@dataclass(frozen=True)
class Run:
    """When a timer runs next, and whether that is later than its schedule says."""

    at: datetime
    is_past_due: bool


@dataclass(frozen=True)
class Schedule:
    """A checked six-field NCRONTAB expression."""

    expression: str

    def next_after(self, moment: datetime) -> datetime:
        """The first time after `moment` that the expression names. Raises StopIteration if there is none."""
        occurrences = CronSim(self.expression, moment.astimezone(UTC))
        occurrences.day_and = True
        return next(occurrences)


def parse_schedule(expression: str) -> Schedule:
    """Check a timer's schedule. Raises HostStartError."""
    if is_time_span(expression):
        raise HostStartError(
            f"the schedule '{expression}' is a time span, which Azure allows on a dedicated plan only: "
            "use a six-field NCRONTAB expression such as '*/15 * * * * *'"
        )
    fields = expression.split()
    if len(fields) != FIELDS:
        raise HostStartError(f"the schedule '{expression}' has {len(fields)} fields, NCRONTAB has {FIELDS}")
    _, _, _, day_of_month, _, day_of_week = fields
    if _NOT_IN_DAY_OF_MONTH.search(day_of_month) or _NOT_IN_DAY_OF_WEEK.search(day_of_week):
        raise HostStartError(f"the schedule '{expression}' uses L, W, # or ?, which NCRONTAB has not")
    schedule = Schedule(expression)
    try:
        schedule.next_after(datetime.now(UTC))
    except (CronSimError, StopIteration) as error:
        raise HostStartError(f"the schedule '{expression}' is not NCRONTAB: {error or 'it never comes'}") from error
    return schedule


def next_run(schedule: Schedule, last: datetime, now: datetime) -> Run:
    """The run after the one of `last`, seen from `now`.

    Runs never overlap, so a run may have outlasted the next time of the schedule. That run is then made up for at
    once, and however many were missed, one run makes up for all.
    """
    due = schedule.next_after(last)
    return Run(now, is_past_due=True) if due < now else Run(due, is_past_due=False)
