"""Reads the rows of a catalogue, and shows of each kind of problem the first rows, their number and a likely cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.catalogue.encodings import NAME_THE_ENCODING
from ops.catalogue.mapping import shown
from ops.output import plural
from ops.progress_bar import BYTES, bar
from shared.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ops.catalogue.database import CatalogueDatabase
    from ops.catalogue.mapping import Mapping
    from ops.catalogue.source import Rows, Source
    from ops.output import Output
    from shared.messages.update import MetadataLimits

MAX_SHOWN = 20
MAX_KINDS = 20
MANY = 0.5
"""If at least this share of all rows has the same problem, the problem has one cause."""


def read_rows(output: Output, source: Source, rows: Rows, database: CatalogueDatabase, limits: MetadataLimits) -> None:
    """Read all rows into the database, and show what is wrong with them. Raises `CatalogueError`."""
    with bar(output.err, "checking", source.size, BYTES) as progress:
        database.add(rows.reader.rows(), lambda: progress(rows.position()))
    _show_problems(output, source.name, database, rows.reader.mapping, limits)


def _show_problems(
    output: Output, name: str, database: CatalogueDatabase, mapping: Mapping | None, limits: MetadataLimits
) -> None:
    """Show the problems of a catalogue, then the warnings. Of a wrong encoding, the first row says it all."""
    for is_warning in (False, True):
        kinds = database.kinds(MAX_KINDS + 1, warnings=is_warning)
        for kind, rows_of_kind in kinds[:MAX_KINDS]:
            most = 1 if kind == NAME_THE_ENCODING else MAX_SHOWN
            problems = list(database.problems(kind, most, warnings=is_warning))
            for problem in problems:
                output.hint(f"{name}:{problem.where}: {'warning: ' if is_warning else ''}{problem.text}")
            rest = rows_of_kind - sum(problem.rows for problem in problems)
            if rest:
                output.hint(f"… and {plural(rest, 'more row')} like the last; --json names all")
        if len(kinds) > MAX_KINDS:
            output.hint("… and other problems; --json names all")
        if not is_warning:
            for cause in likely_causes(kinds, database.rows_read, mapping, limits):
                output.hint(f"nearly every row: {cause}")


def likely_causes(
    kinds: Sequence[tuple[str, int]], rows: int, mapping: Mapping | None, limits: MetadataLimits
) -> Iterator[str]:
    """The likely causes of problems that most rows have. `kinds` has each kind with its number of rows."""
    for kind, count in kinds:
        if mapping is None or count < MANY * rows or count < 2:
            continue
        names = mapping.header
        if kind.startswith(f"{one_line(names[mapping.image], 40)}:"):
            others = [position for position in mapping.ids if position not in (mapping.image, mapping.project)]
            found = f" {shown(names[others[0]])} holds UUIDs: --image {shown(names[others[0]])}" if others else ""
            yield f"is {shown(names[mapping.image])} the column with the image's id?{found}"
        elif mapping.project is not None and kind.startswith(f"{one_line(names[mapping.project], 40)}:"):
            yield (
                f"is {shown(names[mapping.project])} the column with the project's id? "
                "--project COLUMN names another, --project-id UUID gives all rows one"
            )
        elif kind.startswith("metadata: must have at most") and len(mapping.metadata) > limits.pairs:
            yield (
                f"{len(mapping.metadata)} columns of metadata, the service takes {limits.pairs}: "
                "choose with --metadata or --ignore"
            )
        elif "where the header has" in kind:
            yield "is the delimiter right? --delimiter names another"
