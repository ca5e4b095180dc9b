"""Decides what each column of a table is: as the options say, or else by the columns' names and cells."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops.catalogue.row import CatalogueError, is_uuid, plain_id, plain_name
from shared.text import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

PROBLEM_COLUMN = "vision-relay: problem"
"""The column that `send --skip-invalid` adds to the rows that it leaves out. It is no metadata."""

IMAGE_NAMES = ("imageid", "image", "imageuuid", "imageguid", "id", "uuid", "guid")
PROJECT_NAMES = ("projectid", "project", "projectuuid", "projectguid")
CORRELATION_NAMES = ("correlationid", "correlation")
METADATA_PREFIXES = ("metadata.", "metadata:", "metadata/")


@dataclass(frozen=True, slots=True)
class ColumnChoices:
    """What the options say about the columns. `metadata` has `COLUMN` or `COLUMN=KEY`."""

    image: str | None = None
    project: str | None = None
    project_id: str | None = None
    correlation: str | None = None
    metadata: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    @property
    def of_columns(self) -> tuple[str, ...]:
        """The options that name columns."""
        names = ("image", "project", "correlation", "metadata", "ignore")
        return tuple(f"--{name}" for name in names if getattr(self, name))


@dataclass(frozen=True, slots=True)
class Mapping:
    """The positions of the columns, with `project` or `project_id`. `ids` are columns whose first cells are UUIDs."""

    header: tuple[str, ...]
    image: int
    project: int | None
    project_id: str | None
    correlation: int | None
    metadata: tuple[tuple[int, str], ...]
    ignored: tuple[int, ...]
    ids: tuple[int, ...] = ()


def map_columns(header: Sequence[str], choices: ColumnChoices, sample: Sequence[Sequence[str]] = ()) -> Mapping:
    """Decide what each column is. `sample` has the cells of some rows. Raises `CatalogueError`."""
    _check(choices)
    names = tuple(map(plain_name, header))
    ids = tuple(position for position in range(len(names)) if _holds_ids(position, sample))
    project = _find(names, choices.project, PROJECT_NAMES, ids)
    image = _find(names, choices.image, IMAGE_NAMES, [position for position in ids if position != project])
    correlation = _find(names, choices.correlation, CORRELATION_NAMES, ())
    if image is None:
        raise CatalogueError(
            f"no column looks like the image's id among {_list(names)}", _image_option(names, ids, project)
        )
    overruled = None
    if choices.project_id is not None:
        overruled = project if project in ids else None  # without ids, it is metadata like any other column
        project = None
    _check_ids(names, [position for position in (image, project, correlation) if position is not None])
    if project is None and choices.project_id is None:
        raise CatalogueError(
            f"no column looks like the project's id among {_list(names)}",
            "name it: --project COLUMN, or give all rows one: --project-id UUID",
        )
    metadata = _metadata(names, choices, {image, project, correlation, overruled})
    used = {image, project, correlation, *(position for position, _ in metadata)}
    ignored = tuple(position for position in range(len(names)) if position not in used)
    return Mapping(names, image, project, choices.project_id, correlation, metadata, ignored, ids)


def _check(choices: ColumnChoices) -> None:
    if choices.project is not None and choices.project_id is not None:
        raise CatalogueError("--project names a column and --project-id the project of all rows: only one can be meant")
    if choices.metadata and choices.ignore:
        raise CatalogueError("--metadata names all columns that are sent, so --ignore would do nothing: leave one out")


def _holds_ids(position: int, sample: Sequence[Sequence[str]]) -> bool:
    """Whether at least half of the cells that are not empty are UUIDs."""
    cells = [cells[position] for cells in sample if position < len(cells) and cells[position].strip()]
    return bool(cells) and 2 * sum(is_uuid(plain_id(cell)) for cell in cells) >= len(cells)


def _image_option(names: tuple[str, ...], ids: Sequence[int], project: int | None) -> str:
    found = [names[position] for position in ids if position != project and names[position]]
    if not found:
        return "name it: --image COLUMN"
    return f"{_list(found)} {'holds' if len(found) == 1 else 'hold'} UUIDs: --image {shown(found[0])}"


def _find(names: tuple[str, ...], chosen: str | None, known: tuple[str, ...], ids: Sequence[int]) -> int | None:
    """The position of the chosen column, or else of one with a known name, preferably one that holds UUIDs."""
    if chosen is not None:
        return _position(names, chosen)
    plain = [_letters_and_digits(name) for name in names]
    numbered = [re.sub(r"[0-9]", "", name) for name in plain]
    found = [spelt.index(name) for spelt in (plain, numbered) for name in known if name in spelt]
    found += [position for position, name in enumerate(numbered) if name in known]
    return next((position for position in found if position in ids), found[0] if found else None)


def _letters_and_digits(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def is_image_name(name: str) -> bool:
    """Whether a column of this name looks like the image's id."""
    return _letters_and_digits(name).rstrip("0123456789") in IMAGE_NAMES


def _position(names: tuple[str, ...], chosen: str) -> int:
    if chosen not in names:
        raise CatalogueError(f"there is no column {shown(chosen)}; the file has {_list(names)}")
    if names.count(chosen) > 1:
        raise CatalogueError(f"two columns have the name {shown(chosen)}: which one is meant?")
    return names.index(chosen)


def _metadata(names: tuple[str, ...], choices: ColumnChoices, used: set[int | None]) -> tuple[tuple[int, str], ...]:
    if choices.metadata:
        found = tuple(_named(names, said) for said in choices.metadata)
    else:
        for name in choices.ignore:
            _check_ignored(names, name, used)
        left_out = {*choices.ignore, PROBLEM_COLUMN, ""}
        found = tuple((at, _key(name)) for at, name in enumerate(names) if at not in used and name not in left_out)
    if not found:
        raise CatalogueError(f"no column is left for metadata among {_list(names)}")
    twice = [key for key, count in Counter(key for _, key in found).items() if count > 1]
    if twice:
        raise CatalogueError(
            f"two columns have the same name: {_list(twice)}; leave them out with --ignore, or rename one in the file"
        )
    return found


def _check_ignored(names: tuple[str, ...], name: str, used: set[int | None]) -> None:
    if name not in names:
        raise CatalogueError(f"--ignore {shown(name)}: there is no such column; the file has {_list(names)}")
    if names.index(name) in used and names.count(name) == 1:
        raise CatalogueError(f"--ignore {shown(name)}: this column holds the ids; --image or --project names another")


def _named(names: tuple[str, ...], said: str) -> tuple[int, str]:
    """A column and its key, which stands after the last `=` unless a column has the whole text as its name."""
    if said in names:
        return _position(names, said), _key(said)
    column, found, key = said.rpartition("=")
    return (_position(names, column), key) if found else (_position(names, said), said)


def _check_ids(names: tuple[str, ...], used: Sequence[int]) -> None:
    ambiguous = [names[position] for position in used if names.count(names[position]) > 1]
    if ambiguous:
        raise CatalogueError(f"two columns have the same name: {_list(ambiguous)}; rename one in the file")


def _key(name: str) -> str:
    for prefix in METADATA_PREFIXES:
        if name.lower().startswith(prefix) and len(name) > len(prefix):
            return name[len(prefix) :]
    return name


def shown(name: str) -> str:
    """A column's name in quotes, on one line."""
    return f"'{one_line(name, 40)}'"


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(shown, names[:12])) + (", …" if len(names) > 12 else "")
