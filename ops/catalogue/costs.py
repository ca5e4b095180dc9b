"""Estimates how many calls a catalogue needs, and which columns cause most of them. It counts on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.services.custom_vision import MAX_IMAGES_PER_CALL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ops.catalogue.database import CatalogueDatabase

MAX_KEYS_COMPARED = 32
MAX_SETS_COMPARED = 100_000
"""Only the first keys and sets of metadata are compared, since comparing takes as long as reading."""

WORTH_NAMING = 0.5
"""Without the columns that are named, at least this share of the extra calls would not be needed."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a catalogue costs at the API. `least_calls`: if all images of a project had equal metadata."""

    images: int
    metadata_sets: int
    calls: int
    least_calls: int

    @property
    def extra_calls(self) -> int:
        """The calls that differences in metadata cause."""
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
    """The fewest columns that cause at least half of the extra calls, and the number of calls without them.

    That is one column, or those with the most different values together: of two columns that are unique in every row,
    leaving out one saves nothing. None if there are no extra calls. In a large catalogue, the columns are chosen by its
    first sets; the calls are counted over all of it.
    """
    if not costs.extra_calls:
        return None
    first = database.connection.execute(f"SELECT metadata FROM {_SETS} LIMIT {_FIRST_SETS}")  # noqa: S608 - ours
    keys = list(dict.fromkeys(key for (metadata,) in first for key in json.loads(metadata)))[:MAX_KEYS_COMPARED]
    _write_digests(database, keys, MAX_SETS_COMPARED)
    positions = _choose(database, range(len(keys)))
    chosen = tuple(keys[position] for position in positions)
    if costs.metadata_sets > MAX_SETS_COMPARED:
        _write_digests(database, chosen, costs.metadata_sets)
        positions = range(len(chosen))
    return chosen, _calls_without(database, positions)


def _choose(database: CatalogueDatabase, positions: Sequence[int]) -> Sequence[int]:
    calls, least = _calls_without(database, ()), _total_calls(database, "digests", "project")
    worth = calls - WORTH_NAMING * (calls - least)
    best = min(positions, key=lambda position: _calls_without(database, (position,)))
    if _calls_without(database, (best,)) <= worth:
        return (best,)

    def values(position: int) -> int:
        counted = f"SELECT count(DISTINCT d{position}) FROM digests"  # noqa: S608 - ours
        return int(database.connection.execute(counted).fetchone()[0])

    by_values = sorted(positions, key=values, reverse=True)
    enough = (many for many in range(2, len(by_values)) if _calls_without(database, by_values[:many]) <= worth)
    return by_values[: next(enough, len(by_values))]


def _calls_without(database: CatalogueDatabase, positions: Iterable[int]) -> int:
    return _total_calls(database, "digests", " - ".join(("digest", *(f"d{position}" for position in positions))))


def _write_digests(database: CatalogueDatabase, keys: Sequence[str], most: int) -> None:
    """Write a row for each of the first sets of metadata: a number for each pair with one of these keys, and their sum.

    The sum covers all pairs. Less a pair's number, it stands for the set without that pair. With 56 bits each, sums fit
    in 64.
    """
    connection = database.connection
    columns = "".join(f", d{position}" for position in range(len(keys)))
    connection.execute("DROP TABLE IF EXISTS digests")
    connection.execute(f"CREATE TEMP TABLE digests (project, images, digest{columns})")

    def rows() -> Iterator[tuple[int, ...]]:
        sets = connection.execute(f"SELECT project, metadata, images FROM {_SETS} LIMIT {most}")  # noqa: S608 - ours
        for project, metadata, images in sets:
            numbers = {key: hash((key, value)) >> 8 for key, value in json.loads(metadata).items()}
            of_project = hash(project) >> 8
            yield of_project, images, of_project + sum(numbers.values()), *(numbers.get(key, 0) for key in keys)

    connection.executemany(f"INSERT INTO digests VALUES (?, ?, ?{', ?' * len(keys)})", rows())  # noqa: S608 - ours
