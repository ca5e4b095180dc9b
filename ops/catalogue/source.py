"""Finds a catalogue, and decides its format and encoding: as the options say, or as its first bytes show."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
import sys
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from ops.catalogue.encodings import KEEP, choose_encoding
from ops.catalogue.json_objects import JsonObjects, json_lines, json_values
from ops.catalogue.records import Quoting, csv_records, parse_delimiter
from ops.catalogue.row import CatalogueError, is_uuid, plain_id
from ops.catalogue.table import Table
from ops.catalogue.workbook import MAX_WHOLE_BYTES, sheet_records
from shared.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO, TextIO

    from ops.catalogue.mapping import ColumnChoices
    from shared.messages.update import MetadataLimits

STANDARD_INPUT = "-"
PIECE_BYTES = 1024 * 1024
HEAD_BYTES = 64 * 1024
MAX_CONTROLS = 8
"""A text may have as many control characters by mistake."""


class Format(StrEnum):
    """The format of a file. `json` is an array of objects, or objects that go over several lines."""

    CSV = "csv"
    XLSX = "xlsx"
    JSONL = "jsonl"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Reading:
    """What the options say about a file's form."""

    format: Format | None = None
    encoding: str | None = None
    delimiter: str | None = None
    quoting: Quoting | None = None
    sheet: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A catalogue on disk and its form. `name` is for people, `size` is in bytes.

    `path` is the file itself, or a copy of standard input or of what gzip held; `beside` is the path that was given.
    """

    path: Path
    beside: Path
    name: str
    size: int
    format: Format
    encoding: str
    delimiter: str | None
    quoting: Quoting
    sheet: str | None

    @contextmanager
    def open(self, choices: ColumnChoices, limits: MetadataLimits, correlation_id: str | None = None) -> Iterator[Rows]:
        """Open the file. `correlation_id` is for rows without one. Raises `CatalogueError`."""
        choices = replace(choices, project_id=_checked_project_id(choices.project_id))
        if self.format in (Format.JSONL, Format.JSON) and choices.of_columns:
            raise CatalogueError(f"{', '.join(choices.of_columns)}: JSON has no columns; leave this out")
        if self.format is Format.XLSX:
            sheet = sheet_records(self.path, self.sheet)
            yield Rows(Table(sheet, choices, limits, correlation_id, self.encoding), lambda: 0)
            return
        with self._text() as text:
            if self.format is Format.CSV:
                delimiter, records = csv_records(text, self.delimiter, self.quoting)
                table = Table(records, choices, limits, correlation_id, self.encoding)
                yield Rows(table, text.buffer.tell, delimiter)
            else:
                values = json_lines(text) if self.format is Format.JSONL else json_values(text)
                objects = JsonObjects(values, choices.project_id, limits, correlation_id, self.encoding)
                yield Rows(objects, text.buffer.tell)

    def _text(self) -> TextIO:
        return self.path.open(encoding=self.encoding, errors=KEEP, newline="")

    def digest(self, on_read: Callable[[int], None]) -> str:
        """The SHA-256 of the file, in hexadecimal. `on_read` gets the number of bytes read so far."""
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                digest.update(piece)
                on_read(file.tell())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Rows:
    """An open catalogue. `position` returns the number of bytes read so far."""

    reader: Table | JsonObjects
    position: Callable[[], int]
    delimiter: str = ","


def open_source(file: str, scratch: Path, reading: Reading) -> Source:
    """Find a catalogue and its form. Copies go to the folder `scratch`. Raises `CatalogueError` and `OSError`."""
    name = "standard input" if file == STANDARD_INPUT else one_line(file)
    beside = Path("standard-input" if file == STANDARD_INPUT else file)
    if file == STANDARD_INPUT:
        path = _kept(sys.stdin.buffer, scratch)
    elif beside.is_fifo():
        with beside.open("rb") as pipe:
            path = _kept(pipe, scratch)
    else:
        path = beside
    head = _head(path)
    if head.startswith(b"\x1f\x8b"):
        path = _unpacked(path, scratch / "unpacked", name)
        beside = beside.with_suffix("") if beside.suffix.lower() == ".gz" else beside
        head = _head(path)
    if not head.strip():
        raise CatalogueError(f"{name} is empty")
    is_workbook = _is_workbook(path, head, name)
    encoding = "utf-8-sig" if is_workbook else choose_encoding(head, reading.encoding)
    found = Format.XLSX if is_workbook else _format(beside, _text_of(head, encoding), reading.format)
    _check_options(found, reading, is_workbook=is_workbook)
    size = path.stat().st_size
    if found is Format.JSON and size > MAX_WHOLE_BYTES:
        raise CatalogueError(f"{name} is too large for a JSON array (over 100 MB): write each object on its own line")
    delimiter = None if reading.delimiter is None else parse_delimiter(reading.delimiter)
    return Source(
        path, beside, name, size, found, encoding, delimiter, reading.quoting or Quoting.DOUBLE, reading.sheet
    )


def _kept(stream: BinaryIO, scratch: Path) -> Path:
    path = scratch / "standard-input"
    with path.open("wb") as kept:
        shutil.copyfileobj(stream, kept, PIECE_BYTES)
    return path


def _head(path: Path) -> bytes:
    with path.open("rb") as beginning:
        return beginning.read(HEAD_BYTES)


def _unpacked(path: Path, into: Path, name: str) -> Path:
    try:
        with gzip.open(path) as packed, into.open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked, PIECE_BYTES)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise CatalogueError(f"{name}: the gzip file is damaged: {error}") from None
    return into


_UNREADABLE = {
    rb"\xd0\xcf\x11\xe0": "an old Excel workbook (.xls) or one with a password: save it as .xlsx or CSV",
    rb"%PDF-": "a PDF",
    rb"7z\xbc\xaf": "a 7z archive: unpack it first",
    rb"Rar!": "a RAR archive: unpack it first",
    rb"BZh[1-9]1AY": "bzip2: unpack it first",
    rb"\xfd7zXZ": "xz: unpack it first",
    rb"\x28\xb5\x2f\xfd": "zstd: unpack it first",
    rb"\x1f\x8b": "gzip inside gzip: unpack it first",
    rb"[\s\S]{257}ustar": "a tar archive: unpack it first",
    rb"SQLite format 3": "an SQLite database: export it as CSV",
    rb"PAR1": "Parquet: export it as CSV",
    rb"\x89PNG|\xff\xd8\xff|II\*\0|MM\0\*|GIF8": "a picture",
    rb"(?:\xef\xbb\xbf)?\s*<[?!a-zA-Z]": "XML or HTML: export it as CSV",
}
_PACKED = {
    "xl/workbook.bin": "a binary workbook (.xlsb): save it as .xlsx or CSV",
    "word/document.xml": "a Word document",
    "content.xml": "an OpenDocument file: save it as .xlsx or CSV",
}


def _is_workbook(path: Path, head: bytes, name: str) -> bool:
    """Whether a file is a workbook. Raises `CatalogueError` if it is neither that nor text, and says what it is."""
    for beginning, what in _UNREADABLE.items():
        if re.match(beginning, head):
            raise CatalogueError(f"{name} is {what}")
    if not head.startswith(b"PK\x03\x04"):
        if _is_binary(head.decode(json.detect_encoding(head), KEEP)):
            raise CatalogueError(f"{name} is no text: a catalogue is CSV, a workbook (.xlsx) or JSON")
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            entries = set(archive.namelist())
    except zipfile.BadZipFile:
        raise CatalogueError(f"{name} is a damaged ZIP archive or workbook") from None
    if "xl/workbook.xml" in entries:
        return True
    what = next((what for entry, what in _PACKED.items() if entry in entries), "a ZIP archive: unpack it first")
    raise CatalogueError(f"{name} is {what}")


def _text_of(head: bytes, encoding: str) -> str:
    try:
        return head.decode(encoding, KEEP)
    except UnicodeError as error:  # some codecs ignore the error handler
        raise CatalogueError(f"the file is not {encoding}: {one_line(error)}") from None


def _is_binary(head: str) -> bool:
    controls = sum(char < " " and char not in "\t\r\n\f\v" for char in head)
    return controls > MAX_CONTROLS and controls * 100 > len(head)


def _format(path: Path, head: str, said: Format | None) -> Format:
    text = head.lstrip("\ufeff \t\r\n")
    if said in (Format.CSV, Format.XLSX, Format.JSON):
        return said
    if re.match(r"\[\s*[{\]]", text):
        return Format.JSON
    is_json = re.match(r"\{(?![0-9a-fA-F]{8})", text) or path.suffix.lower() in (".jsonl", ".ndjson", ".json")
    if said is None and not is_json:
        return Format.CSV
    return Format.JSON if said is None and _goes_over_lines(text) else Format.JSONL


def _goes_over_lines(text: str) -> bool:
    first, _, rest = text.partition("\n")
    return first.rstrip() == "{" or (bool(re.match(r"[ \t]+\"", rest)) and not first.rstrip().endswith("}"))


def _check_options(found: Format, reading: Reading, *, is_workbook: bool) -> None:
    """Refuse an option without effect, and a format that the file does not have."""
    if (reading.format is Format.XLSX) is not is_workbook and reading.format is not None:
        raise CatalogueError(f"--format {reading.format}: the file is {'a' if is_workbook else 'no'} workbook")
    of_text = {"--delimiter": reading.delimiter, "--quoting": reading.quoting}
    unused = {
        Format.CSV: {"--sheet": reading.sheet},
        Format.XLSX: {**of_text, "--encoding": reading.encoding},
    }.get(found, {**of_text, "--sheet": reading.sheet})
    for option, value in unused.items():
        if value is not None:
            raise CatalogueError(f"{option}: this has no meaning for {found.value}; leave it out")


def _checked_project_id(project_id: str | None) -> str | None:
    """The project of all rows as the queue requires it. Raises `CatalogueError`."""
    if project_id is None:
        return None
    plain = plain_id(project_id)
    if not is_uuid(plain):
        raise CatalogueError(f"--project-id {one_line(project_id, 40)!r}: must be a UUID; --project names a column")
    return plain
