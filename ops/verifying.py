"""`verify`: reads the metadata of a catalogue's images from Custom Vision, and decides which are correct.

An image that is not correct has one of three states. A dead letter names it. Or the updates queue has messages, and its
update may be among them. Or it is not under way: it was never sent, or something else has changed it since.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

from ops.apis import MAX_IMAGES_PER_READ, ProjectMissing
from ops.catalogue.database import ExpectedImage, canonical
from ops.catalogue.row import id_bytes, id_text, is_uuid
from ops.redriving import DeadLetters, look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ops.apis import Found, ImageReader
    from ops.catalogue.database import CatalogueDatabase
    from ops.dead_letters import Letter
    from ops.storage import OpsQueue

READERS = 8
POLL_SECONDS = 1.0
FIRST_LOOK_SECONDS = 20.0
"""With --wait, all images are first read when the queue is empty, at the latest after this time."""

SHARE_OF_TIME_READING = 0.1
"""With --wait, later looks at images that were not correct take at most this share of the time."""

QUIET_SECONDS = 660.0
"""Longer than any visibility timeout of the app: if nothing moves in the queue for this long, nothing will."""


class Fate(StrEnum):
    """The state of an image that is not correct."""

    QUEUED = "queued"
    DEAD_LETTER = "dead letter"
    NOWHERE = "not under way"


@dataclass(frozen=True, slots=True)
class Deviation:
    """An image that is not correct. `found` is its metadata; None if there is no such image."""

    line: int
    project_id: str
    image_id: str
    wanted: dict[str, str]
    found: dict[str, str] | None
    fate: Fate
    why: str

    @property
    def difference(self) -> str:
        """What is wrong with it, in a few words."""
        if self.found is None:
            return "no such image"
        return "; ".join(
            f"{key} is {self.found[key]!r}, not {value!r}" if key in self.found else f"{key} is missing"
            for key, value in self.wanted.items()
            if self.found.get(key) != value
        )

    def to_dict(self) -> dict[str, Any]:
        """The deviation as `--json` prints it."""
        return {
            "line": self.line,
            "projectId": self.project_id,
            "imageId": self.image_id,
            "wanted": self.wanted,
            "found": self.found,
            "state": self.fate.value,
            "why": self.why or None,
        }


@dataclass(frozen=True, slots=True)
class Standing:
    """The numbers of a look: images, correct ones (`applied`), messages in the queue."""

    images: int
    applied: int
    queued_messages: int

    @property
    def open(self) -> int:
        """The number of images that are not correct."""
        return self.images - self.applied


def is_as_wanted(wanted: dict[str, str], found: dict[str, str] | None) -> bool:
    """Whether an image has all wanted pairs; it may have others."""
    return found is not None and all(found.get(key) == value for key, value in wanted.items())


_TABLES = """
    CREATE TABLE deviations (
        project TEXT NOT NULL, image BLOB NOT NULL, line INTEGER NOT NULL, wanted TEXT NOT NULL, found TEXT,
        PRIMARY KEY (project, image)
    ) WITHOUT ROWID;
    CREATE TABLE letters (
        project TEXT NOT NULL, image BLOB NOT NULL, metadata TEXT NOT NULL, why TEXT NOT NULL,
        PRIMARY KEY (project, image, metadata)
    ) WITHOUT ROWID;
"""


class Verification:
    """Looks at all images of a catalogue once, and then again at those that are not correct."""

    def __init__(
        self, database: CatalogueDatabase, reader: ImageReader, updates: OpsQueue, dead_letters: DeadLetters
    ) -> None:
        self._database = database
        self._connection = database.connection
        self._reader = reader
        self._updates = updates
        self._dead_letters = dead_letters
        self._connection.executescript(_TABLES)
        self.images = database.count_images()
        self._queued = 0
        self._has_looked = False

    @property
    def standing(self) -> Standing:
        """The numbers of the last look."""
        deviations = int(self._connection.execute("SELECT count(*) FROM deviations").fetchone()[0])
        applied = self.images - deviations if self._has_looked else 0
        return Standing(self.images, applied, self._queued)

    def deviations(self) -> Iterator[Deviation]:
        """Every image that is not correct, in the order of the file."""
        found = self._connection.execute(
            "SELECT line, deviations.project, deviations.image, wanted, found, why FROM deviations LEFT JOIN letters "
            "ON letters.project = deviations.project AND letters.image = deviations.image "
            "AND letters.metadata = deviations.wanted ORDER BY line, deviations.project, deviations.image"
        )
        for line, project, image, wanted, has, why in found:
            fate = Fate.DEAD_LETTER if why is not None else Fate.QUEUED if self._queued else Fate.NOWHERE
            metadata = None if has is None else json.loads(has)
            yield Deviation(line, project, id_text(image), json.loads(wanted), metadata, fate, why or "")

    async def look(self, on_read: Callable[[int], None]) -> None:
        """Read all images, or those that were not correct at the last look. Raises `ApiError`, `AzureError`.

        The queue is counted before and dead letters are read after, so that no update is missed in between.
        """
        self._queued = await self._updates.count() or 0
        work = _chunks(self._open() if self._has_looked else self._database.images())
        read = 0

        async def read_chunks() -> None:
            nonlocal read
            for chunk in work:
                self._note(chunk, await self._read(chunk))
                read += len(chunk)
                on_read(read)

        await asyncio.gather(*(read_chunks() for _ in range(READERS)))
        self._has_looked = True
        self._note_letters(await look(self._dead_letters))

    async def wait(self, on_state: Callable[[Standing], None]) -> None:
        """Look until every image is correct, or has a dead letter, or is not under way."""
        clock = asyncio.get_running_loop().time
        activity = _Activity(clock())
        await self._queue_moves(activity, FIRST_LOOK_SECONDS, on_state)
        while True:
            began = clock()
            await self.look(lambda _: None)
            on_state(self.standing)
            if activity.has_ceased(clock()):
                self._queued = 0
            if not self._is_under_way():
                return
            await self._queue_moves(activity, (clock() - began) / SHARE_OF_TIME_READING, on_state)

    def _is_under_way(self) -> bool:
        return any(deviation.fate is Fate.QUEUED for deviation in self.deviations())

    async def _queue_moves(self, activity: _Activity, seconds: float, on_state: Callable[[Standing], None]) -> None:
        """Wait until the queue is empty or nothing moves in it, at most for `seconds`."""
        clock = asyncio.get_running_loop().time
        end = clock() + seconds
        while True:
            self._queued = await self._updates.count() or 0
            activity.note(self._queued, bool(await self._updates.peek()), clock())
            on_state(self.standing)
            if not self._queued or activity.has_ceased(clock()) or clock() >= end:
                return
            await asyncio.sleep(POLL_SECONDS)

    def _open(self) -> Iterator[ExpectedImage]:
        """The images that were not correct at the last look, in pieces, since the table changes meanwhile."""
        last: tuple[str, bytes] = ("", b"")
        while rows := self._connection.execute(
            "SELECT line, project, image, wanted FROM deviations WHERE (project, image) > (?, ?) "
            "ORDER BY project, image LIMIT ?",
            (*last, MAX_IMAGES_PER_READ),
        ).fetchall():
            for line, project, image, wanted in rows:
                yield ExpectedImage(line, project, id_text(image), json.loads(wanted))
            last = rows[-1][1:3]

    async def _read(self, chunk: list[ExpectedImage]) -> Found:
        try:
            return await self._reader.read(chunk[0].project_id, [wanted.image_id for wanted in chunk])
        except ProjectMissing:
            return {}

    def _note(self, chunk: list[ExpectedImage], found: Found) -> None:
        for wanted in chunk:
            key = (wanted.project_id, id_bytes(wanted.image_id))
            has = found.get(wanted.image_id)
            if is_as_wanted(wanted.pairs, has):
                self._connection.execute("DELETE FROM deviations WHERE project = ? AND image = ?", key)
            else:
                self._connection.execute(
                    "INSERT OR REPLACE INTO deviations VALUES (?, ?, ?, ?, ?)",
                    (*key, wanted.line, canonical(wanted.pairs), None if has is None else canonical(has)),
                )

    def _note_letters(self, letters: Iterable[Letter]) -> None:
        self._connection.execute("DELETE FROM letters")
        for letter in letters:
            why = " ".join(filter(None, (letter.code or letter.reason, letter.sentence)))
            for image_id in filter(is_uuid, letter.image_ids):
                self._connection.execute(
                    "INSERT OR REPLACE INTO letters VALUES (?, ?, ?, ?)",
                    (letter.project_id.lower(), id_bytes(image_id), canonical(letter.metadata), why),
                )


@dataclass(slots=True)
class _Activity:
    """Notices whether anything moves in a queue, so that `verify` does not wait for messages that nobody processes."""

    since: float
    count: int = -1

    def note(self, count: int, is_anything_visible: bool, now: float) -> None:
        """Note how many messages there are, and whether one of them is visible."""
        if count != self.count or is_anything_visible:
            self.count, self.since = count, now

    def has_ceased(self, now: float) -> bool:
        """Whether nothing has moved for longer than any visibility timeout."""
        return now - self.since > QUIET_SECONDS


def _chunks(images: Iterator[ExpectedImage]) -> Iterator[list[ExpectedImage]]:
    """Divide images into pieces that one call can read."""
    for _, of_project in groupby(images, key=lambda wanted: wanted.project_id):
        while chunk := list(islice(of_project, MAX_IMAGES_PER_READ)):
            yield chunk
