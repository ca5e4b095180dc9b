"""A catalogue's rows in a scratch database, since a file may be larger than memory: sorted, and checked together.

What a row alone cannot tell is told here: the same image twice with different metadata. Queues promise no order across
instances, so nobody could say which of the two would stay.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ops.catalogue.row import BadRow, Pairs, Row, id_bytes, id_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

CACHE_KIB = 4 * 1024
ROWS_AT_ONCE = 2000
MAX_KEYS_KEPT = 16_384

_TABLES = """
    CREATE TABLE keys (id INTEGER PRIMARY KEY, project TEXT NOT NULL, metadata TEXT NOT NULL, digest BLOB UNIQUE);
    CREATE TABLE rows (key INTEGER NOT NULL, image BLOB NOT NULL, line INTEGER NOT NULL, correlation TEXT);
    CREATE TABLE bad (line INTEGER NOT NULL, problem TEXT NOT NULL);
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
    INSERT INTO bad
        SELECT line, 'its image has other metadata on line '
            || CASE line WHEN min(first) THEN max(last) ELSE min(first) END || ': put all of its pairs into one row'
        FROM contradictory GROUP BY line;
    DELETE FROM rows WHERE line IN (SELECT line FROM contradictory);
    DROP TABLE contradictory;
    DROP TABLE twice;
"""


def canonical(metadata: Mapping[str, str]) -> str:
    """Metadata as text, the same whatever the order of its pairs."""
    return json.dumps(metadata, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Wanted:
    """An image of the catalogue, the line that names it, and the pairs that it is to have."""

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
    """All rows of a catalogue on disk: memory does not grow with them. First `add`, then `finish`, then read."""

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

    def add(self, rows: Iterable[Row | BadRow]) -> Iterator[int]:
        """Add rows; yields how many lines were seen so far, every few thousand."""
        self.connection.execute("BEGIN")
        batch: list[tuple[int, bytes, int, str | None]] = []
        seen = 0
        for seen, row in enumerate(rows, start=1):
            if isinstance(row, BadRow):
                self.connection.execute("INSERT INTO bad VALUES (?, ?)", (row.line, row.problem))
            else:
                key = self._key(row)
                batch.extend((key, id_bytes(image), row.line, row.correlation_id) for image in row.image_ids)
            if seen % ROWS_AT_ONCE == 0:
                self._insert(batch)
                yield seen
        self._insert(batch)
        self.connection.execute("COMMIT")
        yield seen

    def finish(self) -> None:
        """Find the rows that contradict one another: all of them are bad."""
        self.connection.executescript(_CONTRADICTIONS)

    def bad_rows(self) -> Iterator[BadRow]:
        """Every bad row, in the order of the file."""
        for line, problem in self.connection.execute("SELECT line, problem FROM bad ORDER BY line"):
            yield BadRow(line, problem)

    def count(self, table: str) -> int:
        """How many there are: `rows` (an image each), `bad` or `keys` (of which some may be of bad rows alone)."""
        return int(self._one(f"SELECT count(*) FROM {table}"))  # noqa: S608 - a name of ours

    def count_images(self) -> int:
        """How many images there are, each once."""
        return int(self._one("SELECT count(*) FROM (SELECT DISTINCT project, image FROM rows JOIN keys ON id = key)"))

    def images(self) -> Iterator[Wanted]:
        """Every image once, by project and id."""
        found = self.connection.execute(
            "SELECT min(line), project, image, metadata FROM rows JOIN keys ON keys.id = rows.key "
            "GROUP BY project, image ORDER BY project, image"
        )
        for line, project, image, metadata in found:
            yield Wanted(line, project, id_text(image), json.loads(metadata))

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

    def images_by_key(self) -> Iterator[tuple[str, dict[str, str], int]]:
        """Project, metadata and number of images of each set of images that can share calls."""
        found = self.connection.execute(
            "SELECT project, metadata, images FROM keys JOIN "
            "(SELECT key, count(DISTINCT image) AS images FROM rows GROUP BY key) AS counted ON keys.id = counted.key"
        )
        for project, metadata, images in found:
            yield project, json.loads(metadata), images

    def _one(self, statement: str) -> Any:
        return self.connection.execute(statement).fetchone()[0]

    def _insert(self, batch: list[tuple[int, bytes, int, str | None]]) -> None:
        self.connection.executemany("INSERT INTO rows VALUES (?, ?, ?, ?)", batch)
        batch.clear()

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
