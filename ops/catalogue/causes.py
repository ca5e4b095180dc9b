"""Finds the likely cause of a problem that most rows have, such as a mistake in the header."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.catalogue.mapping import shown
from shared.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ops.catalogue.mapping import Mapping
    from shared.messages.update import MetadataLimits

MANY = 0.5
"""If at least this share of all rows has the same problem, the problem has one cause."""


def likely_causes(
    kinds: Sequence[tuple[str, int]], rows: int, mapping: Mapping | None, limits: MetadataLimits
) -> Iterator[str]:
    """The likely causes of problems; `kinds` are the kinds of problems, each with its number of rows."""
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
