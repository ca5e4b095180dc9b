"""Reads updates in JSON, in the form of the queue's messages: one object on each line, or an array of objects.

`imageId` may stand in place of `imageIds`, and `projectId` may be left out where all objects have the same.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from ops.catalogue.encodings import hint_of_encoding
from ops.catalogue.records import lines_of
from ops.catalogue.row import Problem, Row, plain_id, validated
from shared.errors import InvalidMessage
from shared.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shared.messages.update import MetadataLimits


_BETWEEN = re.compile(r"[\s,\[]*")
"""What stands before an array, between its elements, or between values one after another."""


class JsonRecord(NamedTuple):
    """The text of an object, and the lines that it stands on."""

    line: int
    last_line: int
    text: str


def json_lines(text: TextIO) -> Iterator[JsonRecord]:
    """Every line that is not empty."""
    for number, line in enumerate(lines_of(text), start=1):
        if line.strip():
            yield JsonRecord(number, number, line)


def json_values(text: TextIO) -> Iterator[JsonRecord]:
    """Every element of a JSON array, or every value of several one after another. All of the text is held in memory."""
    whole = "".join(lines_of(text)).rstrip("] \t\r\n")
    decoder = json.JSONDecoder()
    line, at = 1, 0
    while (begin := _BETWEEN.match(whole, at).end()) < len(whole):  # type: ignore[union-attr]
        line += whole.count("\n", at, begin)
        try:
            end = decoder.raw_decode(whole, begin)[1]
        except (ValueError, RecursionError):
            end = len(whole)  # where the next one begins, nobody can say
        last_line = line + whole.count("\n", begin, end)
        yield JsonRecord(line, last_line, whole[begin:end])
        line, at = last_line, end


class JsonObjects:
    """Checks objects. `correlation_id` is what objects without one of their own get: they are checked with it."""

    mapping = None

    def __init__(
        self,
        records: Iterable[JsonRecord],
        project_id: str | None,
        limits: MetadataLimits,
        correlation_id: str | None,
        encoding: str,
    ) -> None:
        self._records = records
        self._project_id = project_id
        self._limits = limits
        self._correlation_id = correlation_id
        self._encoding = encoding

    def records(self) -> Iterator[JsonRecord]:
        """Every object as it stands in the file."""
        return iter(self._records)

    def rows(self) -> Iterator[Row | Problem]:
        """Every row, or what is wrong with it."""
        for line, last_line, text in self.records():
            try:
                yield self._row(line, text)
            except InvalidMessage as error:
                yield Problem(line, last_line, str(error) + hint_of_encoding(text, self._encoding))

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
        project_id = fields.get("projectId", self._project_id)
        if isinstance(project_id, str):
            fields["projectId"] = project_id = plain_id(project_id)
        if self._project_id not in (None, project_id):
            raise InvalidMessage("projectId: is not the project that --project-id says")
        has_its_own = fields.get("correlationId") is not None
        if not has_its_own and self._correlation_id is not None:
            fields["correlationId"] = self._correlation_id
        update = validated(fields, self._limits)
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
