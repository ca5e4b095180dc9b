"""What a catalogue costs at the API, and which columns cost most of that. Counted on disk, whatever its size."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.services.custom_vision import MAX_IMAGES_PER_CALL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ops.catalogue.database import CatalogueDatabase

MAX_KEYS_COMPARED = 32
"""So many metadata keys are compared: the first ones."""

WORTH_NAMING = 0.5
"""The columns that are named save this part of the calls that unequal metadata costs, if any do."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a catalogue costs at the API. `least_calls`: with equal metadata for all images of a project."""

    images: int
    metadata_sets: int
    calls: int
    least_calls: int

    def seconds(self, calls_per_second: float) -> float:
        """How long the calls take at a rate."""
        return self.calls / calls_per_second

    @property
    def extra_calls(self) -> int:
        """Calls that would not be needed if images did not differ in their metadata."""
        return self.calls - self.least_calls


_COUNTED = """
    CREATE TEMP TABLE IF NOT EXISTS counted AS SELECT key, count(DISTINCT image) AS images FROM rows GROUP BY key
"""
_CALLS = f"(sum(images) + {MAX_IMAGES_PER_CALL - 1}) / {MAX_IMAGES_PER_CALL}"
_SETS = "counted JOIN keys ON keys.id = counted.key"
_FIRST_SETS = 1000


def estimate(database: CatalogueDatabase) -> Estimate:
    """Count the calls: only images of the same project and metadata share one."""
    connection = database.connection
    connection.execute(_COUNTED)
    images, sets = connection.execute("SELECT total(images), count(*) FROM counted").fetchone()
    calls, least = (_total_calls(database, _SETS, by) for by in ("key", "project"))
    return Estimate(int(images), sets, calls, least)


def _total_calls(database: CatalogueDatabase, sets: str, by: str) -> int:
    counted = f"SELECT total(calls) FROM (SELECT {_CALLS} AS calls FROM {sets} GROUP BY {by})"  # noqa: S608 - ours
    return int(database.connection.execute(counted).fetchone()[0])


def costliest_columns(database: CatalogueDatabase, costs: Estimate) -> tuple[tuple[str, ...], int] | None:
    """The fewest columns that cause at least half of the extra calls, and how many calls there are without them.

    One column is enough, or those with the most different values are taken together: two columns that are unique in
    every row cost nothing each, as long as the other is there. None if metadata costs nothing.
    """
    if not costs.extra_calls:
        return None
    keys = _write_digests(database)
    connection = database.connection

    def calls_without(positions: Sequence[int]) -> int:
        return _total_calls(database, "digests", " - ".join(("digest", *(f"d{position}" for position in positions))))

    def values(position: int) -> int:
        return int(connection.execute(f"SELECT count(DISTINCT d{position}) FROM digests").fetchone()[0])  # noqa: S608

    try:
        found = min((calls_without([position]), [position]) for position in range(len(keys)))
        worth = costs.calls - WORTH_NAMING * costs.extra_calls
        by_values = sorted(range(len(keys)), key=values, reverse=True) if found[0] > worth else []
        for many in range(2, len(by_values) + 1):
            found = calls_without(by_values[:many]), by_values[:many]
            if found[0] <= worth:
                break
    finally:
        connection.execute("DROP TABLE digests")
    return tuple(keys[position] for position in found[1]), found[0]


def _write_digests(database: CatalogueDatabase) -> list[str]:
    """For each set of metadata, write a number for each of its pairs, and their sum; return the keys in that order.

    The sum less a pair's number stands for the set without that pair. With 56 bits each, sums fit in 64.
    """
    connection = database.connection
    first = connection.execute(f"SELECT metadata FROM {_SETS} LIMIT {_FIRST_SETS}")  # noqa: S608 - texts of ours
    keys = list(dict.fromkeys(key for (metadata,) in first for key in json.loads(metadata)))[:MAX_KEYS_COMPARED]
    columns = ", ".join(f"d{position}" for position in range(len(keys)))
    connection.execute(f"CREATE TEMP TABLE digests (images, digest, {columns})")

    def rows() -> Iterator[tuple[int, ...]]:
        for project, metadata, images in connection.execute(f"SELECT project, metadata, images FROM {_SETS}"):  # noqa: S608
            digests = {key: hash((key, value)) >> 8 for key, value in json.loads(metadata).items()}
            total = (hash(project) >> 8) + sum(digests.values())
            yield images, total, *(digests.get(key, 0) for key in keys)

    connection.executemany(f"INSERT INTO digests VALUES (?, ?{', ?' * len(keys)})", rows())  # noqa: S608
    return keys
