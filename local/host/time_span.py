"""The .NET TimeSpan as host.json writes it."""

import re
from datetime import timedelta

_TIME_SPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{2})(?::(\d{2})(\.\d{1,7})?)?")


def is_time_span(text: str) -> bool:
    """Whether the text has the form `[d.]hh:mm[:ss[.fffffff]]`."""
    return _TIME_SPAN.fullmatch(text) is not None


def parse_time_span(text: str) -> timedelta:
    """Read `[d.]hh:mm[:ss[.fffffff]]`. Raises ValueError."""
    match = _TIME_SPAN.fullmatch(text)
    if match is None:
        raise ValueError(f"'{text}' is not a time span such as 00:01:30")
    days, hours, minutes, seconds, fraction = match.groups()
    if int(hours) > 23 or int(minutes) > 59 or int(seconds or 0) > 59:
        raise ValueError(f"'{text}' has more than 23 hours, 59 minutes or 59 seconds")
    return timedelta(
        days=int(days or 0),
        hours=int(hours),
        minutes=int(minutes),
        seconds=int(seconds or 0) + float(fraction or 0),
    )
