"""Sorts the rows of a catalogue on disk and checks them together, since a file may be larger than memory.

It refuses rows that give one image different metadata. Queues promise no order across instances, so nobody could say
which of them would stay.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ops.catalogue.row import Pairs, Problem, Row, id_bytes, id_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from ops.catalogue.source import Rows

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


def _kind(text: str) -> str:
    return _VARIABLE.sub("…", text)


def canonical(metadata: Mapping[str, str]) -> str:
    """Metadata as text, the same whatever the order of its pairs."""
    return json.dumps(metadata, sort_keys=True, separators=(",", ":"))


_VARIABLE = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[0-9]+""")
"""What differs between problems of one kind: what stands in the cell, and numbers."""


@dataclass(frozen=True, slots=True)
class ExpectedImage:
    """An image of the catalogue, the line that names it, and the pairs that it should have."""

    line: int
    project_id: str
    image_id: str
    pairs: dict[str, str]


@dataclass(frozen=True, slots=True)
class Group:
    """Images that have project, metadata and correlation id in common. Each is there once, in the order of its id."""

    project_id: str
    metadata: dict[str, str]
    correlation_id: str | None
    image_ids: Iterator[str]


class CatalogueDatabase:
    """All rows of a catalogue on disk: memory does not grow with them. `read_catalogue` fills one."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = OFF")  # a scratch file: who is killed begins anew
        self.connection.execute("PRAGMA synchronous = OFF")
        self.connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self.connection.execute("PRAGMA temp_store = FILE")
        self.connection.executescript(_TABLES)
        self._keys: dict[tuple[str, Pairs], int] = {}

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def add(self, rows: Iterable[Row | Problem]) -> Iterator[int]:
        """Add rows; yields how many there were so far, every few thousand."""
        self.connection.execute("BEGIN")
        batch: list[tuple[int, bytes, int, str | None]] = []
        problems: list[Problem] = []
        seen = shown = 0
        for row in rows:
            if isinstance(row, Problem):
                problems.append(row)
                seen += 0 if row.is_warning else row.rows
            else:
                key = self._key(row)
                batch.extend([(key, id_bytes(image), row.line, row.correlation_id) for image in row.image_ids])
                seen += 1
            if seen - shown >= ROWS_AT_ONCE or len(batch) + len(problems) >= ROWS_AT_ONCE:
                self._insert(batch, problems)
                shown = seen
                yield seen
        self._insert(batch, problems)
        self.connection.execute("COMMIT")
        yield seen

    def finish(self) -> None:
        """Find the rows that contradict one another: all of them are bad."""
        self.connection.executescript(_CONTRADICTIONS)

    def problems(self, *, warnings: bool = False) -> Iterator[Problem]:
        """Everything that is wrong, in the order of the file; or the warnings."""
        return self._problems("is_warning = ? ORDER BY line, last_line", warnings)

    def kinds(self, most: int, *, warnings: bool = False) -> list[tuple[str, int]]:
        """The kinds of problems by their first line, each with its number of rows; at most so many."""
        return self.connection.execute(
            "SELECT kind, sum(rows) FROM problems WHERE is_warning = ? GROUP BY kind ORDER BY min(line) LIMIT ?",
            (warnings, most),
        ).fetchall()

    def problems_of(self, kind: str, most: int) -> list[Problem]:
        """The first problems of a kind."""
        return list(self._problems("kind = ? ORDER BY line LIMIT ?", kind, most))

    def _problems(self, which: str, *values: object) -> Iterator[Problem]:
        found = self.connection.execute(
            f"SELECT line, last_line, text, is_warning, rows FROM problems WHERE {which}",  # noqa: S608 - texts of ours
            values,
        )
        for line, last_line, text, is_warning, rows in found:
            yield Problem(line, last_line, text, bool(is_warning), rows)

    def count_bad_rows(self) -> int:
        """How many rows cannot be sent."""
        return int(self._one("SELECT total(rows) FROM problems WHERE is_warning = 0"))

    def has_rows(self) -> bool:
        """Whether there is anything to send."""
        return bool(self._one("SELECT EXISTS (SELECT 1 FROM rows)"))

    def count_images(self) -> int:
        """How many images there are, each once."""
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
        """The images by what they have in common, always in the same order. Read each before the next."""
        found = self.connection.execute(
            "SELECT DISTINCT key, correlation, image FROM rows ORDER BY key, correlation, image"
        )
        row = found.fetchone()

        def images_of(key: int, correlation: str | None) -> Iterator[str]:
            nonlocal row
            while row is not None and (row[0], row[1]) == (key, correlation):
                yield id_text(row[2])
                row = found.fetchone()

        while row is not None:
            key, correlation = row[0], row[1]
            project, metadata = self.connection.execute(
                "SELECT project, metadata FROM keys WHERE id = ?", (key,)
            ).fetchone()
            images = images_of(key, correlation)
            yield Group(project, json.loads(metadata), correlation, images)
            for _ in images:
                pass

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
        """The number of what a row has in common with others, whatever the order of its pairs."""
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


def read_catalogue(rows: Rows, scratch: Path, on_read: Callable[[int], None]) -> tuple[CatalogueDatabase, int]:
    """Read and check every row; return them and how many there were. The caller closes the database.

    `on_read` gets how many bytes of the file are read so far. Raises `CatalogueError`.
    """
    database = CatalogueDatabase(scratch / "catalogue.db")
    try:
        rows_seen = 0
        for seen in database.add(rows.reader.rows()):
            rows_seen = seen
            on_read(rows.position())
        database.finish()
    except BaseException:
        database.close()
        raise
    return database, rows_seen
