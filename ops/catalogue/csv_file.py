"""CSV with a header: one row per image."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, TextIO

from ops.catalogue.mapping import MappingError, map_columns
from ops.catalogue.row import NO_PAIRS, BadRow, Pairs, Row, hint_of_encoding, is_uuid, validated
from shared.errors import InvalidMessage
from shared.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ops.catalogue.mapping import Mapping, Wanted
    from shared.messages.update import MetadataLimits

DELIMITERS = ",;\t|"
MAX_CHECKED = 4096
"""So many sets of metadata are remembered as checked, so that equal ones are checked once."""


class CsvFile:
    """Reads the rows of a CSV file, of whatever size. Raises `MappingError` if its header cannot be used.

    An empty cell is no pair: a key without a value is not sent. Where no delimiter is given, it is the one of
    `, ; tab |` that the header has most of.
    """

    def __init__(self, text: TextIO, wanted: Wanted, limits: MetadataLimits, delimiter: str | None = None) -> None:
        self._limits = limits
        header = text.readline()
        if not header:
            raise MappingError("the file is empty")
        self.delimiter = delimiter or max(DELIMITERS, key=header.count)
        self._records = csv.reader(_after(header, text), delimiter=self.delimiter, strict=True)
        try:
            self.mapping: Mapping = map_columns(next(self._records), wanted)
        except csv.Error as error:
            raise MappingError(f"the header cannot be read: {error}") from None
        self._checked: dict[tuple[str, Pairs, str | None], None] = {}

    def records(self) -> Iterator[tuple[int, list[str] | str]]:
        """Every record with the number of its first line: its fields, or what is wrong with it. Empty ones are none."""
        while True:
            line = self._records.line_num + 1
            try:
                fields = next(self._records)
            except StopIteration:
                return
            except csv.Error as error:
                yield line, f"not CSV: {error}"
                continue
            if fields:
                yield line, fields

    def rows(self) -> Iterator[Row | BadRow]:
        """Every row, or what is wrong with it."""
        for line, fields in self.records():
            if isinstance(fields, str):
                yield BadRow(line, fields)
                continue
            try:
                yield self._row(line, fields)
            except InvalidMessage as error:
                yield BadRow(line, str(error) + hint_of_encoding("".join(fields)))

    def _row(self, line: int, fields: Sequence[str]) -> Row:
        mapping = self.mapping
        if len(fields) != len(mapping.header):
            raise InvalidMessage(f"{len(fields)} columns, where the header has {len(mapping.header)}")
        project_id = mapping.project_id if mapping.project is None else fields[mapping.project].strip()
        correlation_id = fields[mapping.correlation].strip() or None if mapping.correlation is not None else None
        pairs = tuple((key, fields[position]) for position, key in mapping.metadata if fields[position])
        if not pairs:
            raise InvalidMessage(NO_PAIRS)
        image_id = fields[mapping.image].strip()
        self._check(project_id or "", image_id, pairs, correlation_id)
        return Row(line, (project_id or "").lower(), (image_id.lower(),), pairs, correlation_id)

    def _check(self, project_id: str, image_id: str, pairs: Pairs, correlation_id: str | None) -> None:
        """Check all of a row where it is the first with such metadata, else its image alone."""
        key = (project_id, pairs, correlation_id)
        if key in self._checked and is_uuid(image_id):
            return
        fields = {"projectId": project_id, "imageIds": [image_id], "metadata": dict(pairs)}
        try:
            validated(fields if correlation_id is None else {**fields, "correlationId": correlation_id}, self._limits)
        except InvalidMessage as error:
            raise InvalidMessage(self._by_column(str(error))) from None
        if len(self._checked) >= MAX_CHECKED:
            self._checked.clear()
        self._checked[key] = None

    def _by_column(self, problem: str) -> str:
        """Name columns where the rules name fields."""
        header, mapping = self.mapping.header, self.mapping
        named = problem.replace("imageIds[0]:", f"{one_line(header[mapping.image], 40)}:")
        if mapping.project is not None:
            named = named.replace("projectId:", f"{one_line(header[mapping.project], 40)}:")
        return named


def _after(first: str, text: TextIO) -> Iterator[str]:
    yield first
    yield from text
