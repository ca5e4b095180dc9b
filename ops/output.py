"""Decides what goes to which stream and in what form, and has the exit codes.

Results go to standard output; progress, advice and errors go to standard error. With `--json`, standard output has only
JSON. Elsewhere than on a terminal, tables are 80 characters wide and without colour.

Terminals obey control characters, and producers may write them into messages: every one is escaped.
"""

from __future__ import annotations

import json
import re
import signal
import sys
from dataclasses import dataclass, field
from datetime import timedelta
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TextIO

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import ConsoleOptions, RenderableType

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
    """A command cannot go on. The text says why and what to do. `command` is what to type then."""

    def __init__(self, text: str, code: Exit = Exit.PROBLEM, command: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.command = command


def printable(text: str) -> str:
    """Escape every character that is neither printable nor a line break."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def printable_json(document: Any, indent: int | None = None) -> str:
    """Write JSON, and escape every character that cannot be printed as JSON does."""
    text = json.dumps(document, ensure_ascii=False, indent=indent)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


class SafeConsole(Console):
    """A console that escapes control characters in texts. Rich's own colours and movements of the cursor stay."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Render as rich does, but printable."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def new_console(stream: TextIO) -> Console:
    """A console as wide as the terminal; elsewhere of 80 characters, without colour."""
    if stream.isatty():
        return SafeConsole(file=stream, highlight=False)
    return SafeConsole(file=stream, highlight=False, width=PLAIN_WIDTH, no_color=True, force_terminal=False)


@dataclass
class Output:
    """Where a command prints. `command`, wherever it is a parameter, is what to type next."""

    as_json: bool = False
    out: Console = field(default_factory=lambda: new_console(sys.stdout))
    err: Console = field(default_factory=lambda: new_console(sys.stderr))

    @property
    def human(self) -> Console:
        """The console for results in words: standard error, if standard output has JSON."""
        return self.err if self.as_json else self.out

    def show(self, *what: RenderableType) -> None:
        """Print something rich, in words. A string is markup: give a `Text` for what came from outside."""
        for each in what:
            self.human.print(each)

    def say(self, text: str | Text, command: str = "") -> None:
        """Print a result in words, whatever characters it has."""
        _print(self.human, text if isinstance(text, Text) else Text(text), command)

    def document(self, document: Any, **lists: Iterable[Any]) -> None:
        """Print a JSON document, if JSON is wanted. `lists` are further fields, written item by item."""
        if not self.as_json:
            return
        text = printable_json(document, indent=2)
        write = self.out.file.write
        if lists:
            text = text.removesuffix("}").rstrip()
        write(text)
        for name, items in lists.items():
            write(f',\n  "{name}": [')
            for number, item in enumerate(items):
                write(f"{',' if number else ''}\n    {printable_json(item)}")
            write("]")
        write("\n}\n" if lists else "\n")

    def line(self, document: Any) -> None:
        """Print a JSON document on one line, if JSON is wanted."""
        if self.as_json:
            print(printable_json(document), file=self.out.file, flush=True)

    def error(self, text: str, command: str = "") -> None:
        """Print what went wrong."""
        _print(self.err, Text.assemble(("error: ", "bold red"), text), command)

    def hint(self, text: str, command: str = "") -> None:
        """Print advice or news beside the result."""
        _print(self.err, Text(text), command)


def _print(console: Console, text: Text, command: str = "") -> None:
    """Print a sentence and the command that ends it.

    A terminal gets lines broken between words, and the command on a line of its own without breaks, so that it can be
    pasted. Elsewhere all is one line, which can be searched.
    """
    if command:
        text = Text.assemble(text, ":", "\n" if console.is_terminal else " ")
    if console.is_terminal:
        text.plain = wrapped(text.plain, console.width)
    console.print(text, command, markup=False, soft_wrap=True, sep="")


def wrapped(text: str, width: int) -> str:
    """Break lines between words, so that none is wider unless a single word is."""
    return "\n".join(_wrapped_line(line, width) for line in text.split("\n"))


def _wrapped_line(line: str, width: int) -> str:
    characters = list(line)
    column = 0
    for word in re.finditer(r"( *)([^ ]+)", line):
        needed = cell_len(word[0])
        if word[1] and column and column + needed > width:
            characters[word.start(2) - 1] = "\n"
            column = 0
            needed = cell_len(word[2])
        column += needed
    return "".join(characters)


def confirm(question: str, *, default: bool = False) -> bool:
    """Ask on the terminal. Raises `KeyboardInterrupt` on Ctrl-C and at the end of the input."""
    # The event loop's own handler would only cancel a task, which cannot run before the question is answered.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return typer.confirm(question, default=default, err=True)
    except typer.Abort:
        raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGINT, before)


def duration(seconds: float) -> str:
    """A duration in words: `45 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
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


def plural(count: int, one: str) -> str:
    """A number with its noun: `1 message`, `2,000 messages`."""
    return f"{count:,} {one if count == 1 else one + 's'}"
