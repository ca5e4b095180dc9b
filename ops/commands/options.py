"""Options that several commands have, and the objects that they make."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ops.catalogue.mapping import ColumnChoices
from ops.catalogue.records import Quoting
from ops.catalogue.source import Format, Reading, open_source

if TYPE_CHECKING:
    from ops.catalogue.source import Source

SettingsOption = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        metavar="FILE",
        help="Settings file such as local.settings.json. Environment variables take precedence.",
        show_default="local.settings.json, if there is one",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on standard output, everything else on standard error.")]
FileArgument = Annotated[
    str,
    typer.Argument(
        metavar="FILE", help="CSV with a header, a workbook (.xlsx) or JSON; each also as .gz; - for standard input."
    ),
]

_COLUMNS = "Columns and format"
FormatOption = Annotated[
    Format | None,
    typer.Option("--format", help="By default, found from the file's content and name.", rich_help_panel=_COLUMNS),
]
ImageOption = Annotated[
    str | None,
    typer.Option("--image", metavar="COLUMN", help="The column with the image's id.", rich_help_panel=_COLUMNS),
]
ProjectOption = Annotated[
    str | None,
    typer.Option("--project", metavar="COLUMN", help="The column with the project's id.", rich_help_panel=_COLUMNS),
]
ProjectIdOption = Annotated[
    str | None,
    typer.Option("--project-id", metavar="UUID", help="The project of all rows.", rich_help_panel=_COLUMNS),
]
MetadataOption = Annotated[
    list[str] | None,
    typer.Option(
        "--metadata",
        metavar="COLUMN[=KEY]",
        help="A column that is metadata, under its own name or another key; repeat it. By default all others are.",
        rich_help_panel=_COLUMNS,
    ),
]
IgnoreOption = Annotated[
    list[str] | None,
    typer.Option("--ignore", metavar="COLUMN", help="A column to leave out; repeat it.", rich_help_panel=_COLUMNS),
]
CorrelationOption = Annotated[
    str | None,
    typer.Option(
        "--correlation",
        metavar="COLUMN",
        help="The column with a correlation id; rows share messages only if theirs are equal.",
        rich_help_panel=_COLUMNS,
    ),
]
SheetOption = Annotated[
    str | None,
    typer.Option("--sheet", metavar="NAME", help="The sheet of a workbook.", rich_help_panel=_COLUMNS),
]
DelimiterOption = Annotated[
    str | None,
    typer.Option(
        "--delimiter",
        metavar="CHARACTER",
        help="A character or 'tab'; by default what the header has most of.",
        rich_help_panel=_COLUMNS,
    ),
]
QuotingOption = Annotated[
    Quoting | None,
    typer.Option(
        "--quoting",
        help="'none' for exports that do not quote: a quotation mark is then a character like any other.",
        show_default="double",
        rich_help_panel=_COLUMNS,
    ),
]
EncodingOption = Annotated[
    str | None,
    typer.Option(
        "--encoding",
        metavar="NAME",
        help="Such as cp1252, which Excel may write.",
        show_default="UTF-8, or UTF-16 if it looks so",
        rich_help_panel=_COLUMNS,
    ),
]


@dataclass(frozen=True, slots=True)
class CatalogueOptions:
    """A file and how it is read, as it was typed."""

    file: str
    reading: Reading
    choices: ColumnChoices
    settings: Path | None

    def open_source(self, scratch: Path) -> Source:
        """Find the file and what it is. Raises `CatalogueError` and `OSError`."""
        return open_source(self.file, scratch, self.reading)

    def command(self, name: str, *more: str, file: str | None = None, as_csv: bool = False) -> str:
        """A command with the same options, as it can be typed in a shell: for this file or another one.

        `as_csv`: the other file is CSV or JSON Lines, whatever this one was.
        """
        reading, choices = self.reading, self.choices
        said: list[tuple[str, object]] = [
            ("--format", None if as_csv else reading.format),
            ("--sheet", None if as_csv else reading.sheet),
            ("--image", choices.image),
            ("--project", choices.project),
            ("--project-id", choices.project_id),
            *(("--metadata", each) for each in choices.metadata),
            *(("--ignore", each) for each in choices.ignore),
            ("--correlation", choices.correlation),
            ("--delimiter", reading.delimiter),
            ("--quoting", reading.quoting),
            ("--encoding", reading.encoding),
            ("--settings", self.settings),
        ]
        path = file or self.file
        words = ["vision-relay", name, f"./{path}" if path.startswith("-") and path != "-" else path, *more]
        for option, value in said:
            if value is not None:
                words += [f"{option}={value}"] if str(value).startswith("-") else [option, str(value)]
        return shlex.join(words)


def catalogue_options(
    file: str,
    *,
    format_: Format | None,
    image: str | None,
    project: str | None,
    project_id: str | None,
    metadata: list[str] | None,
    ignore: list[str] | None,
    correlation: str | None,
    sheet: str | None,
    delimiter: str | None,
    quoting: Quoting | None,
    encoding: str | None,
    settings: Path | None,
) -> CatalogueOptions:
    """What the options say about a file."""
    choices = ColumnChoices(image, project, project_id, correlation, tuple(metadata or ()), tuple(ignore or ()))
    return CatalogueOptions(file, Reading(format_, encoding, delimiter, quoting, sheet), choices, settings)


def check_timeout(timeout: timedelta | None, *, wait: bool) -> None:
    """Refuse `--timeout` without `--wait`."""
    if timeout is not None and not wait:
        raise typer.BadParameter("use it with --wait", param_hint="--timeout")


_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d)")
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
LONGEST = timedelta(days=3650)


def parse_duration(text: str) -> timedelta:
    """Read `45s`, `90m`, `2h` or `3d`: more than 0, at most ten years. Raises `ValueError`."""
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError(f"{text!r} is not a duration such as 45s, 90m, 2h or 3d")
    seconds = float(match[1]) * _UNITS[match[2]]
    if not 0 < seconds <= LONGEST.total_seconds():
        raise ValueError(f"{text!r} is not between 0 s and {LONGEST.days} d")
    return timedelta(seconds=seconds)


def as_duration(text: str) -> timedelta:
    """Read a duration such as `90m`."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
