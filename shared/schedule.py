"""Checks a timer's schedule: the Functions host refuses some and never fires others, and never names the setting.

The host reads NCRONTAB: six fields, with seconds in front. A name may be cut short (`J` is January), a range may be
turned round (`22-2` is `2-22`), a step of 0 is a step of 1, and day and weekday must both fit. `?`, `L`, `W` and `#`,
which other crons know, are refused. So are five fields and time spans: they never fire on Flex Consumption.
"""

import re
from datetime import date

_FIELDS = {
    "second": range(60),
    "minute": range(60),
    "hour": range(24),
    "day": range(1, 32),
    "month": range(1, 13),
    "weekday": range(7),
}
_NAMES = {
    "month": (
        *("january", "february", "march", "april", "may", "june"),
        *("july", "august", "september", "october", "november", "december"),
    ),
    "weekday": ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"),
}
_ITEM = re.compile(r"(?:\*|([0-9]{1,9}|[A-Za-z]+)(?:-([0-9]{1,9}|[A-Za-z]+))?)(?:/([0-9]{1,9}))?")
_TIME_SPAN = re.compile(r"[-+]?[0-9.]+(:[0-9.]+)*")
_YEARS = range(2000, 2028)
"""A year begins on one of seven weekdays and has a 29 February or not: 28 years in a row have all fourteen kinds."""


def check_schedule(expression: str) -> str:
    """Return it if it fires in every year. Raises `ValueError`, with a sentence that goes after the setting's name."""
    texts = [text for text in expression.split(" ") if text]
    if len(texts) == 1 and _TIME_SPAN.fullmatch(texts[0]):
        raise ValueError(
            "is a time span, which never fires on Flex Consumption: it must be NCRONTAB with six fields, such as "
            "*/15 * * * * *"
        )
    if len(texts) != len(_FIELDS):
        raise ValueError(
            "must be NCRONTAB with six fields (second, minute, hour, day, month, weekday), such as */15 * * * * *, "
            f"and has {len(texts)}"
        )
    *_, days, months, weekdays = [_values(field, text) for field, text in zip(_FIELDS, texts, strict=True)]
    dates = map(date.fromordinal, range(date(_YEARS[0], 1, 1).toordinal(), date(_YEARS[-1] + 1, 1, 1).toordinal()))
    fires_in = {
        each.year for each in dates if each.day in days and each.month in months and each.isoweekday() % 7 in weekdays
    }
    if len(fires_in) < len(_YEARS):
        raise ValueError("must fire in every year: in some or all, no date has its day, month and weekday together")
    return expression


def _values(field: str, text: str) -> set[int]:
    try:
        return {value for item in text.split(",") for value in _range(field, item)}
    except ValueError:
        allowed = _FIELDS[field]
        names = f", names such as {_NAMES[field][1][:3].upper()}" if field in _NAMES else ""
        raise ValueError(
            f"must be NCRONTAB with six fields, such as */15 * * * * *: its {field} takes numbers from "
            f"{allowed[0]} to {allowed[-1]}{names}, ranges (1-5), steps (*/5), lists (1,5) of these, and nothing else"
        ) from None


def _range(field: str, item: str) -> range:
    allowed = _FIELDS[field]
    match = _ITEM.fullmatch(item)
    if match is None:
        raise ValueError
    start, end, step = match.groups()
    first = _number(field, start) if start else allowed[0]
    if end:
        last = _number(field, end)
    elif start and not step:
        last = first
    else:
        last = allowed[-1]
    return range(min(first, last), max(first, last) + 1, int(step or 1) or 1)


def _number(field: str, text: str) -> int:
    """A number or the beginning of a name that the field has. Raises `ValueError` for any other."""
    for number, name in zip(_FIELDS[field], _NAMES.get(field, ()), strict=False):
        if name.startswith(text.lower()):
            return number
    if int(text) not in _FIELDS[field]:
        raise ValueError
    return int(text)
