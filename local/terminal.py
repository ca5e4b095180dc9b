"""What the host logs, as `make run` shows it: the time of day and what happened, no line wider than a terminal.

UUIDs are shortened, so that most of it fits one line; the log itself has them in full.
"""

from __future__ import annotations

import re
import textwrap

WIDTH = 80
INDENT = " " * 9
"""As wide as the time."""

# "2026-01-31 12:00:00,123 WARNING shared.metadata_updates: …", as `local.host` writes it.
_LINE = re.compile(r"\d{4}-\d\d-\d\d (?P<time>\d\d:\d\d:\d\d),\d{3} (?P<level>[A-Z]+) +\S+: (?P<text>.*)")
_UUID = re.compile(r"\b([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_TOLD = {"ERROR", "CRITICAL"}


def shown(line: str) -> list[str]:
    """The lines that a terminal gets for one of the log; what is no log line, of a traceback say, is only indented."""
    match = _LINE.fullmatch(line)
    if match is None:
        return _wrapped(line, INDENT)
    level = f"{match['level']} " if match["level"] in _TOLD else ""
    return _wrapped(f"{level}{match['text']}", f"{match['time']} ")


def _wrapped(text: str, begin: str) -> list[str]:
    short = _UUID.sub(r"\1…", text)
    return textwrap.wrap(short, WIDTH, initial_indent=begin, subsequent_indent=INDENT, break_on_hyphens=False) or [""]
