"""Sorts the rows of a catalogue on disk, since a file may be larger than memory, and finds rows that contradict others.

Rows that give one image different metadata are all refused. Queues promise no order, so nobody could say which of them
would be applied last.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from ops.catalogue.encodings import NAME_THE_ENCODING
from ops.catalogue.row import Pairs, Problem, Row, id_bytes, id_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

CACHE_KIB = 4 * 1024
ROWS_AT_ONCE = 2000
MAX_KEYS_KEPT = 1024

_TABLES = """
    CREATE TABLE keys (id INTEGER PRIMARY KEY, project TEXT NOT NULL, metadata TEXT NOT NULL, digest BLOB UNIQUE);
    CREATE TABLE rows (key INTEGER NOT NULL, image BLOB NOT NULL, line INTEGER NOT NULL, correlation TEXT);
    CREATE TABLE problems (
        line INTEGER NOT NULL, last_line INTEGER NOT NULL, rows INTEGER NOT NULL, is_warning INTEGER NOT NULL,
        kind TEXT NOT NULL, text TEXT NOT NULL
    );
"""

_CONTRADICTIONS = """
    CREATE TEMP TABLE twice AS
        SELECT project, image, min(line) AS first, max(line) AS last
        FROM rows JOIN keys ON keys.id = rows.key
        GROUP BY image, project HAVING min(key) < max(key);
    CREATE UNIQUE INDEX temp.twice_image ON twice (image, project);
    CREATE TEMP TABLE contradictory AS
        SELECT DISTINCT line, twice.first, twice.last
        FROM rows JOIN keys ON keys.id = rows.key JOIN twice USING (image, project);
    INSERT INTO problems
        SELECT line, line, 1, 0, 'other metadata', 'its image has other metadata on line '
            || CASE line WHEN min(first) THEN max(last) ELSE min(first) END || ': put all of its pairs into one row'
        FROM contradictory GROUP BY line;
    DELETE FROM rows WHERE line IN (SELECT line FROM contradictory);
    DROP TABLE contradictory;
    DROP TABLE twice;
"""


def canonical(metadata: Mapping[str, str]) -> str:
    """Metadata as text that does not depend on the order of the pairs."""
    return json.dumps(metadata, sort_keys=True, separators=(",", ":"))


_VARIABLE = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[0-9]+""")
"""What differs between problems of one kind: quoted texts, and numbers."""


def _kind(problem: str) -> str:
    """What problems with one cause have in common. A wrong encoding is one cause, whatever columns it spoils."""
    return NAME_THE_ENCODING if NAME_THE_ENCODING in problem else _VARIABLE.sub("…", problem)


@dataclass(frozen=True, slots=True)
class ExpectedImage:
    """An image of the catalogue, the line that names it, and the pairs that it should have."""

    line: int
    project_id: str
    image_id: str
    pairs: dict[str, str]


@dataclass(frozen=True, slots=True)
class Group:
    """Images with the same project, metadata and correlation id. Each is there once, in the order of its id."""

    project_id: str
    metadata: dict[str, str]
    correlation_id: str | None
    image_ids: Iterator[str]


class CatalogueDatabase:
    """All rows of a catalogue, on disk."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = OFF")  # a scratch file, not read again after a crash
        self.connection.execute("PRAGMA synchronous = OFF")
        self.connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self.connection.execute("PRAGMA temp_store = FILE")
        self.connection.executescript(_TABLES)
        self._keys: dict[tuple[str, Pairs], int] = {}
        self.rows_read = 0

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def add(self, rows: Iterable[Row | Problem], on_batch: Callable[[], None]) -> None:
        """Add all rows, then refuse those that contradict one another. `on_batch` is called every few thousand."""
        self.connection.execute("BEGIN")
        batch: list[tuple[int, bytes, int, str | None]] = []
        problems: list[Problem] = []
        for row in rows:
            if isinstance(row, Problem):
                problems.append(row)
                self.rows_read += 0 if row.is_warning else row.rows
            else:
                key = self._key(row)
                batch.extend([(key, id_bytes(image), row.line, row.correlation_id) for image in row.image_ids])
                self.rows_read += 1
            if len(batch) + len(problems) >= ROWS_AT_ONCE:
                self._insert(batch, problems)
                on_batch()
        self._insert(batch, problems)
        on_batch()
        self.connection.executescript(_CONTRADICTIONS)  # commits first

    def kinds(self, most: int, *, warnings: bool = False) -> list[tuple[str, int]]:
        """At most so many kinds of problems, or of warnings, with the number of rows of each, by their first line."""
        return self.connection.execute(
            "SELECT kind, sum(rows) FROM problems WHERE is_warning = ? GROUP BY kind ORDER BY min(line) LIMIT ?",
            (warnings, most),
        ).fetchall()

    def problems(self, kind: str | None = None, most: int = -1, *, warnings: bool = False) -> Iterator[Problem]:
        """The problems or the warnings, in the order of the file: all, or the first of one kind."""
        found = self.connection.execute(
            "SELECT line, last_line, text, is_warning, rows FROM problems "
            "WHERE is_warning = ? AND kind = coalesce(?, kind) ORDER BY line, last_line LIMIT ?",
            (warnings, kind, most),
        )
        for line, last_line, text, is_warning, rows in found:
            yield Problem(line, last_line, text, bool(is_warning), rows)

    def count_bad_rows(self) -> int:
        """The number of rows that cannot be sent."""
        return int(self._one("SELECT total(rows) FROM problems WHERE is_warning = 0"))

    def count_images(self) -> int:
        """The number of different images."""
        return int(self._one("SELECT count(*) FROM (SELECT DISTINCT project, image FROM rows JOIN keys ON id = key)"))

    def images(self) -> Iterator[ExpectedImage]:
        """Every image once, by project and id."""
        found = self.connection.execute(
            "SELECT min(line), project, image, metadata FROM rows JOIN keys ON keys.id = rows.key "
            "GROUP BY project, image ORDER BY project, image"
        )
        for line, project, image, metadata in found:
            yield ExpectedImage(line, project, id_text(image), json.loads(metadata))

    def groups(self) -> Iterator[Group]:
        """The images by what they have in common, always in the same order. Read each group before the next."""
        found = self.connection.execute(
            "SELECT DISTINCT key, correlation, image FROM rows ORDER BY key, correlation, image"
        )
        for (key, correlation), rows in groupby(found, itemgetter(0, 1)):
            of_key = self.connection.execute("SELECT project, metadata FROM keys WHERE id = ?", (key,))
            project, metadata = of_key.fetchone()
            yield Group(project, json.loads(metadata), correlation, (id_text(image) for _, _, image in rows))

    def _one(self, statement: str) -> Any:
        return self.connection.execute(statement).fetchone()[0]

    def _insert(self, batch: list[tuple[int, bytes, int, str | None]], problems: list[Problem]) -> None:
        self.connection.executemany("INSERT INTO rows VALUES (?, ?, ?, ?)", batch)
        self.connection.executemany(
            "INSERT INTO problems VALUES (?, ?, ?, ?, ?, ?)",
            [(each.line, each.last_line, each.rows, each.is_warning, _kind(each.text), each.text) for each in problems],
        )
        batch.clear()
        problems.clear()

    def _key(self, row: Row) -> int:
        """The number of the row's project and metadata, whatever the order of its pairs."""
        known = self._keys.get((row.project_id, row.pairs))
        if known is None:
            if len(self._keys) >= MAX_KEYS_KEPT:
                self._keys.clear()
            known = self._keys[row.project_id, row.pairs] = self._find_key(row)
        return known

    def _find_key(self, row: Row) -> int:
        metadata = canonical(dict(row.pairs))
        digest = hashlib.sha256(f"{row.project_id}\n{metadata}".encode()).digest()[:16]
        found = self.connection.execute("SELECT id FROM keys WHERE digest = ?", (digest,)).fetchone()
        if found is not None:
            return int(found[0])
        inserted = self.connection.execute(
            "INSERT INTO keys (project, metadata, digest) VALUES (?, ?, ?)", (row.project_id, metadata, digest)
        )
        return int(inserted.lastrowid or 0)
