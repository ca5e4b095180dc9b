"""Which column of a CSV file is what: guessed from the header, unless it is said."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.text import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

PROBLEM_COLUMN = "vision-relay: problem"
"""What `send --skip-invalid` adds to the rows that it leaves out, so that these can be mended and sent as they are."""

IMAGE_NAMES = ("imageid", "image", "imageuuid", "imageguid", "id", "uuid", "guid")
PROJECT_NAMES = ("projectid", "project", "projectuuid", "projectguid")
CORRELATION_NAMES = ("correlationid", "correlation")
METADATA_PREFIXES = ("metadata.", "metadata:", "metadata/")


class MappingError(Exception):
    """The columns of a file are not what is needed; the text says which option helps."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was said about the columns; what was not is guessed.

    `metadata` and `ignore` name columns; a metadata column may be `COLUMN=KEY`.
    """

    image: str | None = None
    project: str | None = None
    project_id: str | None = None
    correlation: str | None = None
    metadata: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mapping:
    """The positions of the columns, and the metadata key that each other column stands for.

    Either `project` or `project_id` is there.
    """

    header: tuple[str, ...]
    image: int
    project: int | None
    project_id: str | None
    correlation: int | None
    metadata: tuple[tuple[int, str], ...]
    ignored: tuple[int, ...]


def map_columns(header: Sequence[str], wanted: Wanted) -> Mapping:
    """Say which column is what. Raises `MappingError`."""
    names = tuple(name.strip() for name in header)
    _check_names(names)
    image = _find(names, wanted.image, IMAGE_NAMES)
    if image is None:
        raise MappingError(f"no column looks like the image's id among {_list(names)}; name it: --image COLUMN")
    project = None if wanted.project_id else _find(names, wanted.project, PROJECT_NAMES)
    if project is None and wanted.project_id is None:
        raise MappingError(
            f"no column looks like the project's id among {_list(names)}; "
            "name it: --project COLUMN, or give all rows one: --project-id UUID"
        )
    correlation = _find(names, wanted.correlation, CORRELATION_NAMES)
    taken = {position for position in (image, project, correlation) if position is not None}
    metadata = _metadata(names, wanted, taken)
    if not metadata:
        raise MappingError(f"no column is left for metadata among {_list(names)}")
    used = taken | {position for position, _ in metadata}
    ignored = tuple(position for position in range(len(names)) if position not in used)
    return Mapping(names, image, project, wanted.project_id, correlation, metadata, ignored)


def _check_names(names: tuple[str, ...]) -> None:
    if len(names) == 1 and not names[0]:
        raise MappingError("the first line is empty: it must name the columns")
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        raise MappingError(f"two columns have the same name: {_list(twice)}")


def _find(names: tuple[str, ...], wanted: str | None, known: tuple[str, ...]) -> int | None:
    """The position of the column of this name, or else of the first that has a known one."""
    if wanted is not None:
        return _position(names, wanted)
    plain = [re.sub(r"[^a-z]", "", name.lower()) for name in names]
    return next((plain.index(name) for name in known if name in plain), None)


def _position(names: tuple[str, ...], wanted: str) -> int:
    if wanted not in names:
        raise MappingError(f"there is no column {one_line(wanted)!r}; the file has {_list(names)}")
    return names.index(wanted)


def _metadata(names: tuple[str, ...], wanted: Wanted, taken: set[int]) -> tuple[tuple[int, str], ...]:
    if wanted.metadata:
        return tuple(_named(names, said) for said in wanted.metadata)
    left_out = {_position(names, name) for name in wanted.ignore} | taken
    if PROBLEM_COLUMN in names:
        left_out.add(names.index(PROBLEM_COLUMN))
    return tuple((position, _key(name)) for position, name in enumerate(names) if position not in left_out and name)


def _named(names: tuple[str, ...], said: str) -> tuple[int, str]:
    """A column by its name, with the key after the last `=` if the whole is no column's name."""
    if said in names:
        return names.index(said), _key(said)
    column, found, key = said.rpartition("=")
    return (_position(names, column), key) if found else (_position(names, said), said)


def _key(name: str) -> str:
    for prefix in METADATA_PREFIXES:
        if name.lower().startswith(prefix) and len(name) > len(prefix):
            return name[len(prefix) :]
    return name


def _list(names: Sequence[str]) -> str:
    return ", ".join(repr(one_line(name, 40)) for name in names[:12]) + (", …" if len(names) > 12 else "")
