"""The options that several commands have, and what is made of them."""

from __future__ import annotations

import re
import shlex
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
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


@dataclass(frozen=True, slots=True)
class CatalogueOptions:
    """A file and how it is read, as it was typed."""

    file: str
    reading: Reading
    choices: ColumnChoices
    settings: Path | None

    def open_source(self, scratch: Path) -> Source:
        """Find the file and its form. Raises `CatalogueError` and `OSError`."""
        return open_source(self.file, scratch, self.reading)

    def command(self, name: str, *more: str, file: str | None = None, as_csv: bool = False) -> str:
        """A command with the same options, to be typed in a shell, for this file or another one.

        `as_csv`: the other file is CSV or JSON Lines, whatever this one is.
        """
        said = asdict(self.choices) | asdict(self.reading) | {"settings": self.settings}
        if as_csv:
            said |= {"format": None, "sheet": None}
        path = file or self.file
        words = ["vision-relay", name, f"./{path}" if path.startswith("-") and path != "-" else path, *more]
        for field, value in said.items():
            option = f"--{field.replace('_', '-')}"
            for each in map(str, value if isinstance(value, tuple) else () if value is None else (value,)):
                words += [f"{option}={each}"] if each.startswith("-") else [option, each]
        return shlex.join(words)


_column = partial(typer.Option, rich_help_panel="Columns and format")


def catalogue_options(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="CSV with a header, a workbook (.xlsx) or JSON; each also as .gz; - for standard input.",
        ),
    ],
    format_: Annotated[
        Format | None, _column("--format", help="By default, found from the file's content and name.")
    ] = None,
    image: Annotated[str | None, _column("--image", metavar="COLUMN", help="The column with the image's id.")] = None,
    project: Annotated[
        str | None, _column("--project", metavar="COLUMN", help="The column with the project's id.")
    ] = None,
    project_id: Annotated[str | None, _column("--project-id", metavar="UUID", help="The project of all rows.")] = None,
    metadata: Annotated[
        list[str] | None,
        _column(
            "--metadata",
            metavar="COLUMN[=KEY]",
            help="A metadata column, under its own name or another key; may be repeated. By default all others.",
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None, _column("--ignore", metavar="COLUMN", help="A column to leave out; may be repeated.")
    ] = None,
    correlation: Annotated[
        str | None,
        _column(
            "--correlation",
            metavar="COLUMN",
            help="The column with a correlation id; rows share messages only if theirs are equal.",
        ),
    ] = None,
    sheet: Annotated[str | None, _column("--sheet", metavar="NAME", help="The sheet of a workbook.")] = None,
    delimiter: Annotated[
        str | None,
        _column("--delimiter", metavar="CHARACTER", help="A character or 'tab'; by default, found from the header."),
    ] = None,
    quoting: Annotated[
        Quoting | None,
        _column(
            "--quoting",
            help="'none' for exports that do not quote: a quotation mark is then a character like any other.",
            show_default="double",
        ),
    ] = None,
    encoding: Annotated[
        str | None,
        _column(
            "--encoding",
            metavar="NAME",
            help="Such as cp1252, which Excel may write.",
            show_default="UTF-8, or UTF-16 if it looks so",
        ),
    ] = None,
    settings: SettingsOption = None,
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
    """Read `45s`, `90m`, `2h` or `3d`: more than 0, at most ten years. Raises `typer.BadParameter`."""
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a duration such as 45s, 90m, 2h or 3d")
    seconds = float(match[1]) * _UNITS[match[2]]
    if not 0 < seconds <= LONGEST.total_seconds():
        raise typer.BadParameter(f"{text!r} is not between 0 s and {LONGEST.days} d")
    return timedelta(seconds=seconds)
