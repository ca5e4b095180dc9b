"""The rows that cannot be sent, in a file beside the catalogue: mended there, they can be sent as they are."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from ops.catalogue.csv_file import CsvFile
from ops.catalogue.mapping import PROBLEM_COLUMN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ops.catalogue.mapping import Wanted
    from ops.catalogue.row import BadRow
    from ops.catalogue.source import Source


def invalid_rows_path(source: Source) -> Path:
    """A name beside the catalogue that no file has yet: what is there may be half mended."""
    named = Path(source.name.replace(" ", "-") + ".csv") if source.path.name == "standard-input" else source.path
    suffix = named.suffix or f".{source.format}"
    number = 1
    while True:
        path = named.with_name(f"{named.stem}.invalid{'' if number == 1 else f'-{number}'}{suffix}")
        if not path.exists():
            return path
        number += 1


def write_invalid_rows(source: Source, wanted: Wanted, bad: Iterator[BadRow], path: Path) -> None:
    """Write these rows of a catalogue; in CSV with a last column that says what is wrong, which `send` leaves out."""
    problems = {row.line: row.problem for row in bad}
    with source.open() as text, path.open("x", encoding="utf-8", errors="surrogateescape", newline="") as file:
        reader = source.reader(text, wanted)
        if not isinstance(reader, CsvFile):
            file.writelines(line.rstrip("\r\n") + "\n" for number, line in reader.records() if number in problems)
            return
        write = csv.writer(file, delimiter=reader.delimiter).writerow
        header = [*reader.mapping.header]
        known = header.index(PROBLEM_COLUMN) if PROBLEM_COLUMN in header else None
        write(header if known is not None else [*header, PROBLEM_COLUMN])
        for number, fields in reader.records():
            if number not in problems:
                continue
            row = [fields] if isinstance(fields, str) else fields
            if known is not None and len(row) > known:
                row[known] = problems[number]
            else:
                row = [*row, *[""] * (len(header) - len(row)), problems[number]]
            write(row)
