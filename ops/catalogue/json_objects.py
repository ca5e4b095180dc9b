"""Reads updates in JSON: one object on each line, or an array. `imageId` may stand for `imageIds`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TextIO

from ops.catalogue.encodings import hint_of_encoding
from ops.catalogue.records import Record, lines_of
from ops.catalogue.row import Problem, Row, plain_id, validated
from shared.errors import InvalidMessage
from shared.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.messages.update import MetadataLimits

_BETWEEN = re.compile(r"[\s,\[]*")
"""What stands before an array, between its elements, or between values one after another."""


def json_lines(text: TextIO) -> Iterator[Record]:
    """Every line that is not empty."""
    for number, line in enumerate(lines_of(text), start=1):
        if line.strip():
            yield Record(number, number, line)


def json_values(text: TextIO) -> Iterator[Record]:
    """Every element of a JSON array, or every value of several one after another. It holds all of the text."""
    whole = "".join(lines_of(text)).rstrip("] \t\r\n")
    decoder = json.JSONDecoder()
    line, at = 1, 0
    while (begin := _BETWEEN.match(whole, at).end()) < len(whole):  # type: ignore[union-attr]
        line += whole.count("\n", at, begin)
        try:
            end = decoder.raw_decode(whole, begin)[1]
        except (ValueError, RecursionError):
            end = len(whole)  # nobody can say where the next one begins
        last_line = line + whole.count("\n", begin, end)
        yield Record(line, last_line, whole[begin:end])
        line, at = last_line, end


@dataclass(frozen=True, slots=True)
class JsonObjects:
    """Checks objects. `correlation_id` is for objects without one of their own; they are checked with it."""

    records: Iterator[Record]
    project_id: str | None
    limits: MetadataLimits
    correlation_id: str | None
    encoding: str
    mapping: ClassVar[None] = None

    def rows(self) -> Iterator[Row | Problem]:
        """Every row, or what is wrong with it."""
        for record in self.records:
            try:
                yield self._row(record.line, record.text)
            except InvalidMessage as error:
                hint = hint_of_encoding(record.text, self.encoding)
                yield Problem(record.line, record.last_line, str(error) + hint)

    def _row(self, line: int, text: str) -> Row:
        fields = _fields(text)
        around = [
            name for name, value in fields.items() if isinstance(value, list) and isinstance((value or [0])[0], dict)
        ]
        if around:
            raise InvalidMessage(
                f"{one_line(around[0])}: holds objects; write these as an array, or each on its own line"
            )
        if "imageId" in fields and "imageIds" not in fields:
            fields["imageIds"] = [fields.pop("imageId")]
        if isinstance(fields.get("imageIds"), list):
            fields["imageIds"] = [plain_id(each) if isinstance(each, str) else each for each in fields["imageIds"]]
        project_id = fields.get("projectId", self.project_id)
        if isinstance(project_id, str):
            fields["projectId"] = project_id = plain_id(project_id)
        if self.project_id not in (None, project_id):
            raise InvalidMessage("projectId: is not the project that --project-id says")
        has_its_own = fields.get("correlationId") is not None
        if not has_its_own and self.correlation_id is not None:
            fields["correlationId"] = self.correlation_id
        update = validated(fields, self.limits)
        pairs = tuple(update.metadata.items())
        correlation_id = update.correlation_id if has_its_own else None
        return Row(line, update.project_id, tuple(update.image_ids), pairs, correlation_id)


def _fields(text: str) -> dict[str, Any]:
    try:
        fields = json.loads(text, object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise InvalidMessage(f"not JSON: {one_line(error)}") from None
    if not isinstance(fields, dict):
        raise InvalidMessage("not a JSON object")
    return fields


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a field given twice")
    return fields
