"""What is printed and where, and the exit codes.

What a command is asked for goes to standard output, everything else to standard error: progress, advice, errors. With
`--json`, standard output has nothing but JSON. Where it is no terminal, lines are 80 characters wide, without colour.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from datetime import timedelta
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console

if TYPE_CHECKING:
    from rich.console import RenderableType

PLAIN_WIDTH = 80


class Exit(IntEnum):
    """Exit codes, for scripts."""

    OK = 0
    PROBLEM = 1
    USAGE = 2
    SETTINGS = 3
    UNREACHABLE = 4
    INTERRUPTED = 130


EXIT_CODES_HELP = (
    "Exit codes: 0 all is well, 1 a problem was found, 2 wrong usage, 3 a setting is wrong or missing, "
    "4 storage or an API cannot be reached, 130 interrupted."
)


class OpsError(Exception):
    """A command cannot go on; the text says why and what to do."""

    def __init__(self, text: str, code: Exit = Exit.PROBLEM) -> None:
        super().__init__(text)
        self.code = code


def new_console(stream: TextIO) -> Console:
    """A console for a stream: as wide as the terminal, or 80 characters and no colour where there is none."""
    if stream.isatty():
        return Console(file=stream, highlight=False)
    return Console(file=stream, highlight=False, width=PLAIN_WIDTH, no_color=True, force_terminal=False)


@dataclass
class Output:
    """Where a command prints. `as_json`: standard output is for machines, what people read goes to standard error."""

    as_json: bool = False
    out: Console = field(default_factory=lambda: new_console(sys.stdout))
    err: Console = field(default_factory=lambda: new_console(sys.stderr))

    @property
    def human(self) -> Console:
        """Where people read."""
        return self.err if self.as_json else self.out

    def show(self, *what: RenderableType) -> None:
        """Print for people. Text with square brackets in it must be escaped, or be a `Text`."""
        for each in what:
            self.human.print(each)

    def say(self, text: str) -> None:
        """Print a line of plain text for people, whatever characters it has."""
        self.human.print(text, markup=False, soft_wrap=True)

    def document(self, document: Any) -> None:
        """Print a JSON document, if JSON was asked for."""
        if self.as_json:
            print(json.dumps(document, indent=2, ensure_ascii=False), file=self.out.file)

    def line(self, document: Any) -> None:
        """Print a JSON document on one line, if JSON was asked for."""
        if self.as_json:
            print(json.dumps(document, ensure_ascii=False), file=self.out.file, flush=True)

    def error(self, text: str) -> None:
        """Print what went wrong."""
        self.err.print("[bold red]error:[/] ", end="")
        self.err.print(text, markup=False, soft_wrap=True)

    def hint(self, text: str) -> None:
        """Print what to do, or what to know, beside the result."""
        self.err.print(text, markup=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """A duration as people say it: `45 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    whole = timedelta(seconds=round(seconds))
    minutes, rest = divmod(whole.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if whole.days:
        return f"{whole.days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    if minutes:
        return f"{minutes} min" if minutes >= 10 or not rest else f"{minutes} min {rest} s"
    return f"{seconds:.1f} s" if 0 < seconds < 9.95 else f"{rest} s"


def plural(count: int, one: str, several: str | None = None) -> str:
    """A number with its noun: `1 message`, `2,000 messages`."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"
