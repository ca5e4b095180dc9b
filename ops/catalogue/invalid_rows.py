"""Writes the rows that cannot be sent to a file beside the catalogue, so that they can be mended and sent from there.

The same options read that file: it has the catalogue's encoding, delimiter and quoting. Rows of a workbook become CSV,
and objects of a JSON array become lines.
"""

from __future__ import annotations

import csv
from itertools import chain, count
from typing import TYPE_CHECKING

from ops.catalogue.encodings import KEEP
from ops.catalogue.mapping import PROBLEM_COLUMN
from ops.catalogue.records import Quoting
from ops.catalogue.source import Format
from ops.catalogue.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import TextIO

    from ops.catalogue.mapping import ColumnChoices
    from ops.catalogue.records import Record
    from ops.catalogue.row import Problem
    from ops.catalogue.source import Source
    from shared.messages.update import MetadataLimits


def invalid_rows_path(source: Source) -> Path:
    """A new name beside the catalogue; a file of an earlier send may be half mended."""
    is_kept = source.format in (Format.CSV, Format.JSONL) and source.beside.suffix
    is_table = source.format in (Format.CSV, Format.XLSX)
    suffix = source.beside.suffix if is_kept else ".csv" if is_table else ".jsonl"
    numbers = chain([""], (f"-{number}" for number in count(2)))
    paths = (source.beside.with_name(f"{source.beside.stem}.invalid{number}{suffix}") for number in numbers)
    return next(path for path in paths if not path.exists())


def write_invalid_rows(
    source: Source, choices: ColumnChoices, limits: MetadataLimits, bad: Iterator[Problem], path: Path
) -> None:
    """Write these rows. Those of a table get a last column that names the problem."""
    encoding = "utf-8-sig" if source.format is Format.XLSX else source.encoding
    with source.open(choices, limits) as rows, path.open("x", encoding=encoding, errors=KEEP, newline="") as file:
        if isinstance(rows.reader, Table):
            _write_table(rows.reader, rows.delimiter, bad, file, is_quoted=source.quoting is Quoting.DOUBLE)
        else:
            for record, _ in _bad_records(rows.reader.records, bad):
                file.write(record.text.strip("\r\n").replace("\r\n", " ").replace("\n", " ") + "\n")


def _bad_records(records: Iterator[Record], bad: Iterator[Problem]) -> Iterator[tuple[Record, Problem]]:
    """The records that have problems. Both come in the order of the file."""
    problem = next(bad, None)
    for record in records:
        while problem is not None and problem.line < record.line:
            problem = next(bad, None)
        if problem is None:
            return
        if problem.line == record.line:
            yield record, problem


def _write_table(table: Table, delimiter: str, bad: Iterator[Problem], file: TextIO, *, is_quoted: bool) -> None:
    write = csv.writer(
        file,
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if is_quoted else csv.QUOTE_NONE,
        quotechar='"' if is_quoted else None,
    ).writerow
    header = [*table.mapping.header]
    known = header.index(PROBLEM_COLUMN) if PROBLEM_COLUMN in header else None
    write(header if known is not None else [*header, PROBLEM_COLUMN])
    for record, problem in _bad_records(table.records, bad):
        if record.problem is not None:  # it has no cells
            file.write(record.text.rstrip("\r\n") + "\r\n")
            continue
        cells = [*record.cells]
        told = problem.text if is_quoted else problem.text.replace(delimiter, " ")
        if known is not None and known < len(cells) <= len(header):
            cells[known] = told
        else:
            cells += [*[""] * (len(header) - len(cells)), told]
        write(cells)
