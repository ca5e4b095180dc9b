"""Reads the records of a CSV file, and defines what a record is for every format."""

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
    """A record and the lines that it stands on. `text` is how it stands there; in a workbook it is empty.

    A record of a table has `cells`, or `problem` says why it has none. A JSON object has only its text.
    """

    line: int
    last_line: int
    text: str
    cells: Sequence[str] = ()
    problem: str | None = None


def lines_of(text: TextIO) -> Iterator[str]:
    """The lines of a text. Raises `CatalogueError` if one is too long for memory."""
    try:
        for number, line in enumerate(iter(lambda: text.readline(MAX_LINE), ""), start=1):
            if len(line) == MAX_LINE:
                raise CatalogueError(
                    f"line {number:,} has more than {MAX_LINE:,} characters: this is not a file of rows"
                )
            yield line
    except UnicodeError as error:  # some codecs ignore the error handler
        raise CatalogueError(f"the file has another encoding: {one_line(error)}; --encoding names it") from None


def parse_delimiter(name: str) -> str:
    """The character that `--delimiter` means. Raises `CatalogueError`."""
    delimiter = DELIMITER_NAMES.get(name.lower(), name)
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise CatalogueError(f"--delimiter {one_line(name, 40)!r}: must be one character, or tab")
    return delimiter


def _delimiter_of(header: str) -> str:
    """The delimiter that isolates the name of an id's column, or else the most frequent one."""
    found = [delimiter for delimiter in DELIMITERS if delimiter in header]
    by_names = [delimiter for delimiter in found if any(map(is_image_name, header.split(delimiter)))]
    return max(by_names or found or [","], key=header.count)


def csv_records(text: TextIO, delimiter: str | None, quoting: Quoting) -> tuple[str, Iterator[Record]]:
    """Return the delimiter of a CSV file, and its records.

    Without `delimiter`, it is guessed from the first line, or a first line such as `sep=;` says it (Excel writes that).
    """
    lines = lines_of(text)
    first = next(lines, "")
    said = _SEP.fullmatch(first)
    head = [] if said or not first else [first]
    while not any(map(str.strip, head)) and (line := next(lines, "")):
        head.append(line)
    header = head[-1] if head else ""
    guessed = said[1] if said else _delimiter_of(_QUOTED.sub("", header) if quoting is Quoting.DOUBLE else header)
    found = delimiter or guessed
    return found, _records(chain(head, lines), found, quoting, lines_before=1 if said else 0)


def _records(lines: Iterator[str], delimiter: str, quoting: Quoting, lines_before: int) -> Iterator[Record]:
    text: list[str] = []

    def remembered() -> Iterator[str]:
        for line in lines:
            text.append(line)
            yield line

    reader = csv.reader(
        remembered(),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quoting is Quoting.DOUBLE else csv.QUOTE_NONE,
        strict=True,
    )
    while True:
        text.clear()
        line = reader.line_num + lines_before + 1
        cells: Sequence[str] = ()
        problem = None
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            swallowed = "a quotation mark begins a cell that does not end: " if len(text) > 1 else ""
            problem = f"not CSV: {swallowed}{error}"
        yield Record(line, reader.line_num + lines_before, "".join(text), cells, problem)
