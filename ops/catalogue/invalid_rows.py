"""Writes the rows that cannot be sent to a file beside the catalogue. Mended there, they can be sent as they are.

The file is written as the catalogue is (encoding, delimiter, quoting), so that the same options read it. Rows of a
workbook become CSV, and so do objects of a JSON array become lines.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from ops.catalogue.encodings import KEEP
from ops.catalogue.mapping import PROBLEM_COLUMN
from ops.catalogue.records import Quoting
from ops.catalogue.source import Format
from ops.catalogue.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import Any, TextIO

    from ops.catalogue.mapping import ColumnChoices
    from ops.catalogue.records import CsvRecords, Record
    from ops.catalogue.row import Problem
    from ops.catalogue.source import Source
    from shared.messages.update import MetadataLimits

_SUFFIXES = {Format.CSV: ".csv", Format.XLSX: ".csv", Format.JSONL: ".jsonl", Format.JSON: ".jsonl"}


def invalid_rows_path(source: Source) -> Path:
    """A name beside the catalogue that no file has yet: what is there may be half mended."""
    is_kept = source.format in (Format.CSV, Format.JSONL) and source.beside.suffix
    suffix = source.beside.suffix if is_kept else _SUFFIXES[source.format]
    number = 1
    while True:
        path = source.beside.with_name(f"{source.beside.stem}.invalid{'' if number == 1 else f'-{number}'}{suffix}")
        if not path.exists():
            return path
        number += 1


def write_invalid_rows(
    source: Source, choices: ColumnChoices, limits: MetadataLimits, bad: Iterator[Problem], path: Path
) -> None:
    """Write these rows; of a table with a last column that says what is wrong, which `send` leaves out."""
    encoding = "utf-8-sig" if source.format is Format.XLSX else source.encoding
    with source.open(choices, limits) as rows, path.open("x", encoding=encoding, errors=KEEP, newline="") as file:
        if isinstance(rows.reader, Table):
            _write_table(rows.reader, rows.csv, bad, file, source)
        else:
            for record, _ in _bad_records(rows.reader.records(), bad):
                file.write(record.text.strip("\r\n").replace("\r\n", " ").replace("\n", " ") + "\n")


def _bad_records(records: Iterable[Any], bad: Iterator[Problem]) -> Iterator[tuple[Any, Problem]]:
    """The records that have problems, with them. Both come in the order of the file."""
    problem = next(bad, None)
    for record in records:
        while problem is not None and problem.line < record.line:
            problem = next(bad, None)
        if problem is None:
            return
        if problem.line == record.line:
            yield record, problem


def _write_table(table: Table, read: CsvRecords | None, bad: Iterator[Problem], file: TextIO, source: Source) -> None:
    delimiter = read.delimiter if read else ","
    is_quoted = source.quoting is Quoting.DOUBLE
    write = csv.writer(
        file,
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if is_quoted else csv.QUOTE_NONE,
        quotechar='"' if is_quoted else None,
    ).writerow
    header = [*table.mapping.header]
    known = header.index(PROBLEM_COLUMN) if PROBLEM_COLUMN in header else None
    write(header if known is not None else [*header, PROBLEM_COLUMN])
    record: Record
    for record, problem in _bad_records(table.records(), bad):
        if record.problem is not None:  # it has no cells: only its text can be kept
            file.write("".join(record.text).rstrip("\r\n") + "\r\n")
            continue
        cells = [*record.cells]
        told = problem.text if is_quoted else problem.text.replace(delimiter, " ")
        if known is not None and known < len(cells) <= len(header):
            cells[known] = told
        else:
            cells += [*[""] * (len(header) - len(cells)), told]
        write(cells)
