"""Reads the records of a CSV file, and defines what a record is, for workbooks too."""

from __future__ import annotations

import csv
import re
from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, TextIO

from ops.catalogue.mapping import is_image_name
from ops.catalogue.row import CatalogueError
from shared.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DELIMITERS = "\t;|,"
DELIMITER_NAMES = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "pipe": "|", "space": " "}
MAX_LINE = 16 * 1024 * 1024

_SEP = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
_QUOTED = re.compile(r'"(?:[^"]|"")*"')


class Quoting(StrEnum):
    """Whether quotation marks enclose cells, or are characters like any other."""

    DOUBLE = "double"
    NONE = "none"


class Record(NamedTuple):
    """One record: its lines, its cells, or why it has none, and its text as it stands in the file (if that is text)."""

    line: int
    last_line: int
    cells: Sequence[str]
    problem: str | None
    text: Sequence[str] = ()


def lines_of(text: TextIO) -> Iterator[str]:
    """The lines of a text. Raises `CatalogueError` for one that is too long to be held in memory."""
    try:
        for number, line in enumerate(iter(lambda: text.readline(MAX_LINE), ""), start=1):
            if len(line) == MAX_LINE:
                raise CatalogueError(f"line {number:,} has more than {MAX_LINE:,} characters: this is no file of rows")
            yield line
    except UnicodeError as error:  # a codec that does not leave it to the error handler
        raise CatalogueError(f"the encoding is another: {one_line(error)}; --encoding names it") from None


def parse_delimiter(name: str) -> str:
    """The character that `--delimiter` means. Raises `CatalogueError`."""
    delimiter = DELIMITER_NAMES.get(name.lower(), name)
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise CatalogueError(f"--delimiter {one_line(name, 40)!r}: must be one character, or tab")
    return delimiter


def _delimiter_of(header: str) -> str:
    """The delimiter that makes the name of an id's column, or else the one that a header has most."""
    found = [delimiter for delimiter in DELIMITERS if delimiter in header]
    by_names = [delimiter for delimiter in found if any(map(is_image_name, header.split(delimiter)))]
    return max(by_names or found or [","], key=header.count)


class CsvRecords:
    """Reads the records of a CSV file. A delimiter that is not said is guessed from the first line.

    A first line `sep=;`, as Excel writes it, says the delimiter and is no record.
    """

    def __init__(self, text: TextIO, delimiter: str | None, quoting: Quoting) -> None:
        lines = lines_of(text)
        first = next(lines, "")
        said = _SEP.fullmatch(first)
        self._lines_before = 1 if said else 0
        if said:
            first = next(lines, "")
        blank: list[str] = []
        while first and not first.strip():
            blank.append(first)
            first = next(lines, "")
        plain = _QUOTED.sub("", first) if quoting is Quoting.DOUBLE else first
        self.delimiter = delimiter or (said[1] if said else _delimiter_of(plain))
        self._text: list[str] = []
        self._reader = csv.reader(
            self._remembered(chain(blank, (first,) if first else (), lines)),
            delimiter=self.delimiter,
            quoting=csv.QUOTE_NONE if quoting is Quoting.NONE else csv.QUOTE_MINIMAL,
            strict=True,
        )

    def _remembered(self, lines: Iterator[str]) -> Iterator[str]:
        for line in lines:
            self._text.append(line)
            yield line

    def __iter__(self) -> Iterator[Record]:
        """Every record, in the order of the file."""
        reader, before = self._reader, self._lines_before
        while True:
            text: list[str] = []
            self._text = text
            line = reader.line_num + before + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                last_line = reader.line_num + before
                swallowed = "a quotation mark begins a cell that does not end: " if last_line > line else ""
                yield Record(line, last_line, (), f"not CSV: {swallowed}{error}", text)
                continue
            yield Record(line, reader.line_num + before, cells, None, text)
