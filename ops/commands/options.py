"""Options that several commands have, and the objects that they make."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from ops.catalogue.mapping import Wanted
from ops.catalogue.source import Format
from ops.letters import parse_duration

SettingsOption = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        metavar="FILE",
        help="Settings file such as local.settings.json. The environment goes before it.",
        show_default="local.settings.json, if there is one",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on standard output, everything else on standard error.")]
FileArgument = Annotated[
    str, typer.Argument(metavar="FILE", help="CSV with a header, or JSON Lines; - for standard input.")
]

_COLUMNS = "Columns and format"
FormatOption = Annotated[
    Format | None,
    typer.Option("--format", help="By default told by the file's name or beginning.", rich_help_panel=_COLUMNS),
]
ImageOption = Annotated[
    str | None,
    typer.Option("--image", metavar="COLUMN", help="The column of the image's id.", rich_help_panel=_COLUMNS),
]
ProjectOption = Annotated[
    str | None,
    typer.Option("--project", metavar="COLUMN", help="The column of the project's id.", rich_help_panel=_COLUMNS),
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
DelimiterOption = Annotated[
    str | None,
    typer.Option("--delimiter", metavar="CHARACTER", help="By default told by the header.", rich_help_panel=_COLUMNS),
]
EncodingOption = Annotated[
    str | None,
    typer.Option(
        "--encoding", metavar="NAME", help="UTF-8 if not said; Excel may write cp1252.", rich_help_panel=_COLUMNS
    ),
]


def wanted_columns(
    image: str | None,
    project: str | None,
    project_id: str | None,
    metadata: list[str] | None,
    ignore: list[str] | None,
    correlation: str | None = None,
) -> Wanted:
    """What was said about the columns."""
    return Wanted(image, project, project_id, correlation, tuple(metadata or ()), tuple(ignore or ()))


def check_timeout(timeout: timedelta | None, *, wait: bool) -> None:
    """Refuse `--timeout` where nothing is waited for."""
    if timeout is not None and not wait:
        raise typer.BadParameter("it goes with --wait", param_hint="--timeout")


def as_duration(text: str) -> timedelta:
    """Read a duration such as `90m`."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
