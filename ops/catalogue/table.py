"""Checks the rows of a table with a header, from CSV or a workbook. An empty cell is no pair."""

from __future__ import annotations

import re
from itertools import chain, islice
from typing import TYPE_CHECKING

from ops.catalogue.encodings import hint_of_encoding
from ops.catalogue.mapping import is_image_name, map_columns, shown
from ops.catalogue.records import DELIMITERS
from ops.catalogue.row import NO_PAIRS, CatalogueError, Pairs, Problem, Row, is_uuid, plain_id, problem_of, validated
from shared.errors import InvalidMessage
from shared.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ops.catalogue.mapping import ColumnChoices, Mapping
    from ops.catalogue.records import Record
    from shared.messages.update import MetadataLimits

SAMPLE_ROWS = 50
MAX_CHECKED = 16_384
"""How many checked sets of metadata are remembered, so that equal ones are checked once."""

_ID_ON_NEXT_LINE = re.compile(r"[\r\n].*[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)
_NOT_QUOTED = "if the export does not quote its cells: --quoting none"


class Table:
    """Finds the header and checks the rows below it. Raises `CatalogueError` if the header cannot be used.

    `correlation_id` is for rows without one of their own; they are checked with it.
    """

    def __init__(
        self,
        records: Iterable[Record],
        choices: ColumnChoices,
        limits: MetadataLimits,
        correlation_id: str | None,
        encoding: str,
    ) -> None:
        self._limits = limits
        self._correlation_id = correlation_id
        self._encoding = encoding
        found = (record for record in records if record.problem or _has_text(record.cells))
        header = next(found, None)
        if header is None:
            raise CatalogueError("the file is empty")
        if header.problem:
            raise CatalogueError(f"the header cannot be read: {header.problem}; {_NOT_QUOTED}")
        if any(map(_ID_ON_NEXT_LINE.search, header.cells)):
            raise CatalogueError(f"the header goes over lines that look like rows; {_NOT_QUOTED}")
        sample = list(islice(found, SAMPLE_ROWS))
        self.records: Iterator[Record] = chain(sample, found)
        try:
            self.mapping: Mapping = map_columns(header.cells, choices, [record.cells for record in sample])
        except CatalogueError as error:
            hint = _hint_of_header(header, sample)
            if not hint:
                raise
            raise CatalogueError(error.text, hint) from None
        self._check_header()
        self._checked: set[int] = set()
        mapping = self.mapping
        fields = {"imageIds[0]:": mapping.image, "projectId:": mapping.project, "correlationId:": mapping.correlation}
        self._names = {
            field: f"{one_line(mapping.header[position], 40)}:"
            for field, position in fields.items()
            if position is not None
        }

    def _check_header(self) -> None:
        """Refuse a wrong header; otherwise each row would repeat its fault."""
        names = self.mapping.header
        for position, key in self.mapping.metadata:
            hint = hint_of_encoding(names[position] + key, self._encoding)
            if hint:
                raise CatalogueError(f"column {shown(names[position])}: has bytes that are no characters{hint}")
            problem = problem_of(self._limits, {key: "x"})
            if problem:
                raise CatalogueError(
                    f"column {shown(names[position])}: {problem}; "
                    "leave it out with --ignore, or name its key: --metadata COLUMN=KEY"
                )

    def rows(self) -> Iterator[Row | Problem]:
        """Every row, or what is wrong with it. A warning comes before its row."""
        for line, last_line, _, cells, problem in self.records:
            if problem is not None:
                yield Problem(line, last_line, f"{problem}; {_NOT_QUOTED}", rows=last_line - line + 1)
                continue
            try:
                row = self._row(line, cells)
            except InvalidMessage as error:
                text = str(error) + hint_of_encoding("".join(cells), self._encoding)
                if any(map(_ID_ON_NEXT_LINE.search, cells)):
                    yield Problem(line, last_line, f"{text}; {_NOT_QUOTED}", rows=last_line - line + 1)
                else:
                    yield Problem(line, last_line, text)
                continue
            if last_line != line and any(_ID_ON_NEXT_LINE.search(value) for _, value in row.pairs):
                text = f"a value goes over lines that look like rows; {_NOT_QUOTED}"
                yield Problem(line, last_line, text, is_warning=True)
            yield row

    def _row(self, line: int, cells: Sequence[str]) -> Row:
        mapping = self.mapping
        missing = len(mapping.header) - len(cells)
        if missing:
            if missing < 0 and _has_text(cells[missing:]):
                raise InvalidMessage(f"{len(cells)} columns, where the header has {len(mapping.header)}")
            cells = [*cells, *[""] * missing]  # Excel omits empty cells at the end, or adds some
        image_id = plain_id(cells[mapping.image])
        project_id = mapping.project_id or plain_id(cells[mapping.project or 0])
        correlation_id = cells[mapping.correlation].strip() or None if mapping.correlation is not None else None
        pairs = tuple([(key, cells[position]) for position, key in mapping.metadata if cells[position]])
        key = hash((project_id, pairs, correlation_id))
        if key not in self._checked or not is_uuid(image_id):
            self._check(project_id, image_id, pairs, correlation_id or self._correlation_id)
            if len(self._checked) >= MAX_CHECKED:
                self._checked.clear()
            self._checked.add(key)
        return Row(line, project_id, (image_id,), pairs, correlation_id)

    def _check(self, project_id: str, image_id: str, pairs: Pairs, correlation_id: str | None) -> None:
        """Check a row as the app will check its message."""
        if not pairs:
            raise InvalidMessage(NO_PAIRS)
        fields = {"projectId": project_id, "imageIds": [image_id], "metadata": dict(pairs)}
        try:
            validated(fields if correlation_id is None else {**fields, "correlationId": correlation_id}, self._limits)
        except InvalidMessage as error:
            raise InvalidMessage(self._by_column(str(error))) from None

    def _by_column(self, problem: str) -> str:
        for field, name in self._names.items():
            problem = problem.replace(field, name)
        return problem


def _hint_of_header(header: Record, sample: Sequence[Record]) -> str:
    if any(is_uuid(plain_id(name)) for name in header.cells):
        return f"line {header.line} holds an id: put a line with the names of the columns above it"
    names = ((record.line, re.split(f"[{DELIMITERS}]", "\t".join(record.cells))) for record in sample)
    found = next((line for line, cells in names if any(map(is_image_name, cells))), None)
    return f"line {found} looks like the header: delete the lines above it" if found else ""


def _has_text(cells: Sequence[str]) -> bool:
    return any(cells) and any(map(str.strip, cells))
