"""JSON Lines: one object per line, as the updates queue takes them.

`imageId` may stand in place of `imageIds`, and `projectId` be left out where all lines have the same.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TextIO

from ops.catalogue.row import BadRow, Row, hint_of_encoding, validated
from shared.errors import InvalidMessage
from shared.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.messages.update import MetadataLimits


class JsonLinesFile:
    """Reads the lines of a JSON Lines file, of whatever size."""

    def __init__(self, text: TextIO, project_id: str | None, limits: MetadataLimits) -> None:
        self._text = text
        self._limits = limits
        self._project_id = project_id

    def records(self) -> Iterator[tuple[int, str]]:
        """Every line that is not empty, as it stands, with its number."""
        for number, line in enumerate(self._text, start=1):
            if line.strip():
                yield number, line

    def rows(self) -> Iterator[Row | BadRow]:
        """Every line, or what is wrong with it."""
        for number, line in self.records():
            try:
                update = validated(self._fields(line), self._limits)
            except InvalidMessage as error:
                yield BadRow(number, str(error) + hint_of_encoding(line))
            else:
                pairs = tuple(update.metadata.items())
                yield Row(number, update.project_id, tuple(update.image_ids), pairs, update.correlation_id)

    def _fields(self, line: str) -> dict[str, Any]:
        try:
            fields = json.loads(line, object_pairs_hook=_distinct)
        except (ValueError, RecursionError) as error:
            raise InvalidMessage(f"not JSON: {one_line(error)}") from None
        if not isinstance(fields, dict):
            raise InvalidMessage("not a JSON object")
        if "imageId" in fields and "imageIds" not in fields:
            fields["imageIds"] = [fields.pop("imageId")]
        if self._project_id is not None:
            fields.setdefault("projectId", self._project_id)
        return fields


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a field given twice")
    return fields
