"""Whether a timer's schedule runs: the Functions host refuses some, and others never fire; neither names the setting.

The host reads NCRONTAB: six fields, with seconds in front. A name may be cut short (`J` is January), a range may be
turned round (`22-2` is `2-22`), a step of 0 is a step of 1, and day and weekday must both fit. Other crons' `?`, `L`,
`W` and `#` mean nothing. The scale controller of Flex Consumption reads six fields only: what has five, or is a time
span, is taken by the host and never fires there.
"""

from __future__ import annotations

import re
from datetime import date
from typing import NamedTuple


class _Field(NamedTuple):
    name: str
    first: int
    last: int
    names: tuple[str, ...] = ()


_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("weekday", 0, 6, _WEEKDAYS),
)

_ITEM = re.compile(r"(?:\*|([0-9]{1,9}|[A-Za-z]+)(?:-([0-9]{1,9}|[A-Za-z]+))?)(?:/([0-9]{1,9}))?")
_TIME_SPAN = re.compile(r"[-+]?[0-9.]+(:[0-9.]+)*")
_YEARS = range(2000, 2028)
"""A year begins on one of seven weekdays and has a 29 February or not: 28 years in a row have all fourteen kinds."""


def check_schedule(expression: str) -> None:
    """Raise `ValueError`, with a sentence that goes after the setting's name, unless it fires in every year."""
    fields = [text for text in expression.split(" ") if text]
    if len(fields) == 1 and _TIME_SPAN.fullmatch(fields[0]):
        raise ValueError(
            "is a time span, which never fires on Flex Consumption: it must be NCRONTAB with six fields, such as "
            "*/15 * * * * *"
        )
    if len(fields) != len(_FIELDS):
        raise ValueError(
            "must be NCRONTAB with six fields (second, minute, hour, day, month, weekday), such as */15 * * * * *, "
            f"and has {len(fields)}"
        )
    *_, days, months, weekdays = [_values(text, field) for text, field in zip(fields, _FIELDS, strict=True)]
    for year in _YEARS:
        dates = map(date.fromordinal, range(date(year, 1, 1).toordinal(), date(year + 1, 1, 1).toordinal()))
        if not any(
            each.day in days and each.month in months and each.isoweekday() % len(_WEEKDAYS) in weekdays
            for each in dates
        ):
            raise ValueError("must fire in every year: in some or all, no date has its day, month and weekday together")


def _values(text: str, field: _Field) -> set[int]:
    """What a field's text stands for."""
    try:
        return {value for item in text.split(",") for value in _range(item, field)}
    except ValueError:
        names = f", names such as {field.names[1][:3].upper()}" if field.names else ""
        raise ValueError(
            f"must be NCRONTAB with six fields, such as */15 * * * * *: its {field.name} takes numbers from "
            f"{field.first} to {field.last}{names}, ranges (1-5), steps (*/5), lists (1,5) of these, and nothing else"
        ) from None


def _range(item: str, field: _Field) -> range:
    match = _ITEM.fullmatch(item)
    if match is None:
        raise ValueError
    start, end, step = match.groups()
    if start is None:
        first, last = field.first, field.last
    else:
        first = _value(start, field)
        last = _value(end, field) if end else field.last if step else first
    first, last = min(first, last), max(first, last)
    if first < field.first or last > field.last:
        raise ValueError
    return range(first, last + 1, int(step or 1) or 1)


def _value(text: str, field: _Field) -> int:
    if text.isdigit():
        return int(text)
    for number, name in enumerate(field.names, field.first):
        if name.startswith(text.lower()):
            return number
    raise ValueError
