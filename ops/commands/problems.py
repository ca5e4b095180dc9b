"""Shows what is wrong with the rows of a catalogue: the first rows of each kind, their number, and the likely cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.catalogue.causes import likely_causes
from ops.output import plural

if TYPE_CHECKING:
    from ops.catalogue.database import CatalogueDatabase
    from ops.catalogue.mapping import Mapping
    from ops.output import Output
    from shared.messages.update import MetadataLimits

MAX_SHOWN = 20
MAX_KINDS = 20


def show_problems(
    output: Output, name: str, database: CatalogueDatabase, rows: int, mapping: Mapping | None, limits: MetadataLimits
) -> None:
    """Show the problems of a catalogue of so many rows, then the warnings."""
    for is_warning in (False, True):
        kinds = database.kinds(MAX_KINDS + 1, warnings=is_warning)
        for kind, rows_of_kind in kinds[:MAX_KINDS]:
            shown = database.problems_of(kind, MAX_SHOWN)
            for problem in shown:
                output.hint(f"{name}:{problem.where}: {'warning: ' if is_warning else ''}{problem.text}")
            rest = rows_of_kind - sum(problem.rows for problem in shown)
            if rest:
                output.hint(f"… and {plural(rest, 'more row')} like the last; --json names all")
        if len(kinds) > MAX_KINDS:
            output.hint("… and other problems; --json names all")
        if not is_warning:
            for cause in likely_causes(kinds, rows, mapping, limits):
                output.hint(f"nearly every row: {cause}")
