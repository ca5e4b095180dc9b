"""A whole catalogue into its database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.catalogue.csv_file import CsvFile
from ops.catalogue.database import CatalogueDatabase

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ops.catalogue.mapping import Mapping, Wanted
    from ops.catalogue.source import Source


def read_mapping(source: Source, wanted: Wanted) -> Mapping | None:
    """Which column is what; None where there are no columns. Raises `MappingError`."""
    with source.open() as text:
        reader = source.reader(text, wanted)
        return reader.mapping if isinstance(reader, CsvFile) else None


def read_catalogue(
    source: Source, wanted: Wanted, scratch: Path, on_read: Callable[[int], None]
) -> tuple[CatalogueDatabase, int]:
    """Read and check every row; return them and how many lines there were. The caller closes the database.

    `on_read` is told how many bytes of the file are read so far. Raises `MappingError`.
    """
    database = CatalogueDatabase(scratch / "catalogue.db")
    try:
        lines = 0
        with source.open() as text:
            for seen in database.add(source.reader(text, wanted).rows()):
                lines = seen
                on_read(text.buffer.tell())
        database.finish()
    except BaseException:
        database.close()
        raise
    return database, lines
