"""Where a catalogue comes from: a file, or standard input, which is kept in a file as long as it is read."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from ops.catalogue.csv_file import CsvFile
from ops.catalogue.json_lines import JsonLinesFile
from ops.catalogue.mapping import MappingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TextIO

    from ops.catalogue.mapping import Wanted
    from shared.messages.update import MetadataLimits

STANDARD_INPUT = "-"
PIECE_BYTES = 1024 * 1024
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")


class Format(StrEnum):
    """How rows are written."""

    CSV = "csv"
    JSONL = "jsonl"


@dataclass(frozen=True, slots=True)
class Source:
    """A catalogue on disk, and how it is read. `name` is what it is called in errors, `size` is in bytes."""

    path: Path
    name: str
    size: int
    format: Format
    encoding: str
    delimiter: str | None
    limits: MetadataLimits

    def open(self) -> TextIO:
        """Open the text. What is not of its encoding is read as what no message may have, so that its row is bad."""
        return self.path.open(encoding=self.encoding, errors="surrogateescape", newline="")

    def reader(self, text: TextIO, wanted: Wanted) -> CsvFile | JsonLinesFile:
        """The reader of its rows. Raises `MappingError`."""
        if self.format is Format.JSONL:
            return JsonLinesFile(text, wanted.project_id, self.limits)
        return CsvFile(text, wanted, self.limits, self.delimiter)

    def digest(self, on_read: Callable[[int], None]) -> str:
        """The SHA-256 of the file, in hexadecimal; `on_read` is told how many bytes are read so far."""
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                digest.update(piece)
                on_read(file.tell())
        return digest.hexdigest()


def open_source(
    file: str,
    scratch: Path,
    format_: Format | None,
    encoding: str | None,
    delimiter: str | None,
    limits: MetadataLimits,
) -> Source:
    """Find the catalogue and what it is. Raises `MappingError` and `OSError`.

    Args:
        file: a path, or `-` for standard input.
        scratch: a folder for what has to be kept of standard input.
        format_: CSV or JSON Lines; by the file's name or beginning if not said.
        encoding: of the text; UTF-8 (or UTF-16 with a byte order mark) if not said.
        delimiter: of CSV; found out if not said.
        limits: how much metadata an image may have.
    """
    if file == STANDARD_INPUT:
        path, name = scratch / "standard-input", "standard input"
        with path.open("wb") as kept:
            shutil.copyfileobj(sys.stdin.buffer, kept, PIECE_BYTES)
    else:
        path, name = Path(file), file
    with path.open("rb") as beginning:
        head = beginning.read(4096)
    if not head.strip():
        raise MappingError(f"{name} is empty")
    chosen = encoding or _encoding(head)
    return Source(path, name, path.stat().st_size, format_ or _format(path, head), chosen, delimiter, limits)


def _format(path: Path, head: bytes) -> Format:
    if path.suffix.lower() in JSON_SUFFIXES:
        return Format.JSONL
    return Format.JSONL if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{") else Format.CSV


def _encoding(head: bytes) -> str:
    return "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for scratch files, gone at the end."""
    with tempfile.TemporaryDirectory(prefix="vision-relay-") as folder:
        yield Path(folder)
