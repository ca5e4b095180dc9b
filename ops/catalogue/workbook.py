"""Reads the rows of a sheet of an Excel workbook. Numbers and dates become text as a person would write them.

Only this module imports openpyxl, which reads row by row but holds all distinct texts of a workbook in memory.
"""

from __future__ import annotations

import re
import zipfile
from contextlib import closing
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any

from ops.catalogue.mapping import shown
from ops.catalogue.records import Record
from ops.catalogue.row import CatalogueError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_WHOLE_BYTES = 100_000_000
"""The largest workbook or JSON array, since memory must hold it."""

_TEXTS = "xl/sharedStrings.xml"
_NOT_CALCULATED = re.compile(
    rb'<c\b(?:(?!t="str")[^>])*><f\b[^>]*(?:/>|>[^<]*</f>)(?:<v\s*/>|<v></v>)?</c>'
)  # a formula whose result is an empty text has t="str"
_OVERLAP = 16 * 1024
_PIECE = 1024 * 1024


def sheet_records(path: Path, sheet: str | None) -> Iterator[Record]:
    """The rows of the named sheet, or of the only one that has any. Raises `CatalogueError`."""
    try:
        from openpyxl import load_workbook
    except ImportError:
        raise CatalogueError("a workbook needs openpyxl (pip install openpyxl); or save it as CSV (UTF-8)") from None
    _check(path)
    with path.open("rb") as file:  # openpyxl refuses a path that does not end in .xlsx
        try:
            book = load_workbook(file, read_only=True, data_only=True)
            with closing(book):
                for number, row in enumerate(_chosen(book, sheet).iter_rows(values_only=True), start=1):
                    yield Record(number, number, "", [_text(value) for value in row])
        except (CatalogueError, OSError):
            raise
        except Exception as error:  # openpyxl raises errors of every kind
            raise CatalogueError(
                f"the workbook cannot be read ({type(error).__name__}): save it anew, or as CSV"
            ) from None


def _check(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        if max(path.stat().st_size, sizes.get(_TEXTS, 0)) > MAX_WHOLE_BYTES:
            raise CatalogueError("the workbook is too large (over 100 MB): save it as CSV (UTF-8)")
        for name in sizes:
            if name.startswith("xl/worksheets/") and _has_formula_without_result(archive, name):
                raise CatalogueError("the workbook has formulas without results: open it in Excel and save it")


def _has_formula_without_result(archive: zipfile.ZipFile, name: str) -> bool:
    rest = b""
    with archive.open(name) as file:
        while piece := file.read(_PIECE):
            rest += piece
            if b"<f" in rest and _NOT_CALCULATED.search(rest):
                return True
            rest = rest[-_OVERLAP:]
    return False


def _chosen(book: Any, name: str | None) -> Any:
    for each in book.worksheets:
        each.reset_dimensions()  # some programs write wrong ones
    names = ", ".join(shown(each.title) for each in book.worksheets)
    if name is not None:
        found = [each for each in book.worksheets if each.title == name]
        if not found:
            raise CatalogueError(f"--sheet {shown(name)}: there is no such sheet; the workbook has {names}")
        return found[0]
    filled = [each for each in book.worksheets if each.sheet_state == "visible" and _has_rows(each)]
    if not filled:
        raise CatalogueError("the workbook is empty")
    if len(filled) > 1:
        raise CatalogueError(f"the workbook has several sheets with rows: choose one of {names} with --sheet")
    return filled[0]


def _has_rows(sheet: Any) -> bool:
    return any(any(value is not None for value in row) for row in sheet.iter_rows(values_only=True, max_row=100))


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case str():
            return _unescaped(value)
        case bool():
            return str(value).upper()
        case float():
            return f"{value:.15g}" if abs(value) < 1e15 else repr(value)
        case datetime():
            return value.date().isoformat() if value.time() == time() else value.isoformat(sep=" ")
        case date() | time():
            return value.isoformat()
        case _:
            return str(value)


def _unescaped(text: str) -> str:
    """Decode characters that XML lacks, such as `_x000D_`."""
    if "_x" not in text:
        return text
    from openpyxl.utils.escape import unescape

    return str(unescape(text))
