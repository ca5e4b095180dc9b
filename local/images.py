"""`python -m local.images`: give the simulated Custom Vision the images that a catalogue names.

`make run` puts it into the terminal as `add_images`. Options are those of `vision-relay send`.
"""

import argparse
import asyncio
import csv
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID

from openpyxl import load_workbook

from local.simulation.control import ControlError, SimulationControl


def images_of(
    rows: Iterator[Sequence[object]], image: str, project: str, project_id: UUID | None
) -> dict[UUID, set[UUID]]:
    """The images of each project, of rows of which the first one names the columns. What is no UUID is left out.

    Raises ValueError if there is no such column.
    """
    header = [str(name) for name in next(rows, ())]
    for column in (image, *([] if project_id else [project])):
        if column not in header:
            raise ValueError(f"there is no column {column!r} among {', '.join(map(repr, header))}")
    found: dict[UUID, set[UUID]] = defaultdict(set)
    for row in rows:
        cells = dict(zip(header, map(str, row), strict=False))
        try:
            found[project_id or UUID(cells[project])].add(UUID(cells[image]))
        except (KeyError, ValueError):
            continue
    return found


def read_rows(file: Path) -> Iterator[Sequence[object]]:
    """The rows of a CSV file, or of the first sheet of a workbook."""
    if file.suffix.lower() == ".xlsx":
        yield from load_workbook(file, read_only=True).worksheets[0].iter_rows(values_only=True)
        return
    with file.open(newline="", encoding="utf-8-sig", errors="replace") as text:
        yield from csv.reader(text)


async def add(address: str, images: dict[UUID, set[UUID]]) -> None:
    """Add the images to the simulation at this address."""
    async with SimulationControl(address) as control:
        for project, ids in images.items():
            await control.add_images(project, sorted(ids))


def main() -> int:
    """Add a file's images; the exit code is 0 if there are any."""
    parser = argparse.ArgumentParser(prog="add_images", description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="CSV with a header, or a workbook (.xlsx)")
    parser.add_argument("--image", default="image_id", metavar="COLUMN", help="the column with the image's id")
    parser.add_argument("--project", default="project_id", metavar="COLUMN", help="the column with the project's id")
    parser.add_argument("--project-id", type=UUID, metavar="UUID", help="the project of all rows")
    parser.add_argument("--simulation", required=True, help=argparse.SUPPRESS)
    told = parser.parse_args()
    try:
        images = images_of(read_rows(told.file), told.image, told.project, told.project_id)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    if not images:
        print(f"no row of {told.file.name} has the UUIDs of an image and of a project", file=sys.stderr)
        return 1
    try:
        asyncio.run(add(told.simulation, images))
    except ControlError as error:
        print(f"the simulation does not take them; is `make run` still up? {error}", file=sys.stderr)
        return 1
    for project, ids in images.items():
        print(f"{len(ids):,} images of {told.file.name} are in project {project}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
