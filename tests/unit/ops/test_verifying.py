"""Which images are correct, what is known of the others, and until when they are waited for."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import httpx
import pytest

from ops.apis import ProjectMissing, read_response
from ops.catalogue.database import CatalogueDatabase
from ops.catalogue.row import Row
from ops.redriving import DeadLetters
from ops.storage import Seen
from ops.verifying import QUIET_SECONDS, Deviation, Fate, Standing, Verification, _Activity, is_as_wanted
from shared.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ops.apis import Found, ImageReader
    from ops.storage import OpsQueue

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
PROJECT = "7d1c3f0a-6a3e-4a52-9f1d-0b9f6b1f2a10"
ANOTHER = "7d1c3f0a-6a3e-4a52-9f1d-0b9f6b1f2a11"
IMAGE = "0f2b8b4e-8f0e-4b7e-9a53-2d6c1a3b4c5d"


@pytest.mark.parametrize(
    ("found", "is_right"),
    [
        ({"a": "1"}, True),
        ({"a": "1", "besides": "x"}, True),
        ({"a": "2"}, False),
        ({}, False),
        (None, False),
    ],
)
def test_an_image_is_right_if_it_has_all_pairs(found: dict[str, str] | None, *, is_right: bool) -> None:
    assert is_as_wanted({"a": "1"}, found) is is_right


def test_what_differs_is_told_pair_by_pair() -> None:
    wanted, found = {"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "x"}
    deviation = Deviation(2, "project", IMAGE, wanted, found, Fate.NOWHERE, "")
    assert deviation.difference == "b is 'x', not '2'; c is missing"

    assert Deviation(2, "project", IMAGE, wanted, None, Fate.NOWHERE, "").difference == "no such image"


@dataclass
class Images:
    """Custom Vision: the metadata of each image, by project. A read takes `latency` seconds."""

    metadata: dict[str, Found] = field(default_factory=lambda: {PROJECT: {}, ANOTHER: {}})
    latency: float = 0.0
    reads: list[list[str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    under_way: int = 0
    most_at_once: int = 0

    async def read(self, project_id: str, image_ids: Sequence[str]) -> Found:
        assert len(self.reads) < MOST, "it reads without end"
        self.reads.append(list(image_ids))
        self.times.append(asyncio.get_running_loop().time())
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        await asyncio.sleep(self.latency)
        self.under_way -= 1
        if project_id not in self.metadata:
            raise ProjectMissing(project_id)
        return {image: pairs for image, pairs in self.metadata[project_id].items() if image in image_ids}


@dataclass
class MemoryQueue:
    """A queue by what a peek shows, and by how many messages are invisible."""

    messages: list[Seen] = field(default_factory=list)
    invisible: int = 0
    counts: list[float] = field(default_factory=list)

    async def count(self) -> int | None:
        assert len(self.counts) < MOST, "it waits without end"
        self.counts.append(asyncio.get_running_loop().time())
        return len(self.messages) + self.invisible or None  # as of a queue that does not exist

    async def peek(self) -> list[Seen]:
        return self.messages


def message(**document: Any) -> Seen:
    return Seen("id", json.dumps(document).encode(), NOW, 1)


def letter(image: str, **changed: Any) -> Seen:
    failure = {"reason": "refused", "code": "ErrorImageNotFound", "message": "it is gone"}
    fields = {"projectId": PROJECT.upper(), "imageIds": ["no id", image.upper()], "metadata": {"a": "1"}}
    return message(**fields | {"failure": failure} | changed)


MOST = 5000
IDS = [str(UUID(int=number)) for number in range(1, 1001)]
CORRECT = {"a": "1", "besides": "x"}


@dataclass
class Scene:
    """A catalogue whose images should all have the pair a=1, and what is known of them."""

    database: CatalogueDatabase
    images: Images = field(default_factory=Images)
    updates: MemoryQueue = field(default_factory=MemoryQueue)
    letters: MemoryQueue = field(default_factory=MemoryQueue)

    def add(self, *ids: str, project: str = PROJECT) -> None:
        """Add rows; each image is on a line of its own, the last one first."""
        rows = [Row(len(ids) + 1 - number, project, (image,), (("a", "1"),)) for number, image in enumerate(ids)]
        self.database.add(rows, lambda: None)

    def apply(self, *ids: str) -> None:
        self.images.metadata[PROJECT] |= dict.fromkeys(ids, CORRECT)

    def verification(self) -> Verification:
        updates, letters = cast("OpsQueue", self.updates), cast("OpsQueue", self.letters)
        reader = cast("ImageReader", self.images)
        return Verification(self.database, reader, updates, DeadLetters("updates", letters, updates))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with closing(CatalogueDatabase(tmp_path / "rows")) as database:
        yield Scene(database)


def ignore(_: object) -> None:
    pass


def fates(verification: Verification) -> dict[str, Fate]:
    return {deviation.image_id: deviation.fate for deviation in verification.deviations()}


class TestLook:
    async def test_an_image_is_applied_from_the_first_look_on_that_finds_it_correct(self, scene: Scene) -> None:
        scene.add(*IDS[:3])
        scene.apply(*IDS[:3])
        verification = scene.verification()
        assert verification.standing == Standing(images=3, applied=0, queued_messages=0)
        await verification.look(ignore)
        assert verification.standing == Standing(images=3, applied=3, queued_messages=0)
        assert verification.standing.open == 0
        assert list(verification.deviations()) == []

    async def test_what_is_not_correct_comes_in_the_order_of_the_file(self, scene: Scene) -> None:
        right, different, missing = IDS[:3]
        scene.add(right, different, missing)
        scene.apply(right)
        scene.images.metadata[PROJECT][different] = {"a": "2"}
        verification = scene.verification()
        await verification.look(ignore)
        first, second = verification.deviations()
        assert (first.line, first.image_id, first.found) == (2, missing, None)
        assert second.to_dict() == {
            "line": 3,
            "projectId": PROJECT,
            "imageId": different,
            "wanted": {"a": "1"},
            "found": {"a": "2"},
            "state": "not under way",
            "why": None,
        }
        assert (verification.standing.applied, verification.standing.open) == (1, 2)

    async def test_a_project_that_does_not_exist_has_no_images(self, scene: Scene) -> None:
        scene.add(IDS[0])
        del scene.images.metadata[PROJECT]
        verification = scene.verification()
        await verification.look(ignore)
        assert [deviation.difference for deviation in verification.deviations()] == ["no such image"]

    async def test_while_the_queue_has_messages_an_update_may_be_among_them(self, scene: Scene) -> None:
        scene.add(*IDS[:2])
        scene.letters.messages = [letter(IDS[0])]
        scene.updates.invisible = 1
        verification = scene.verification()
        await verification.look(ignore)
        assert verification.standing.queued_messages == 1
        assert fates(verification) == {IDS[0]: Fate.DEAD_LETTER, IDS[1]: Fate.QUEUED}

    @pytest.mark.parametrize(
        ("changed", "why"),
        [
            ({}, "ErrorImageNotFound it is gone"),
            ({"failure": {"reason": "error"}}, "error"),
            ({"metadata": {"a": "2"}}, None),
            ({"projectId": ANOTHER}, None),
        ],
    )
    async def test_a_letter_says_why_if_it_is_about_the_image_and_its_metadata(
        self, scene: Scene, changed: dict[str, Any], why: str | None
    ) -> None:
        scene.add(IDS[0])
        scene.letters.messages = [letter(IDS[0], **changed)]
        verification = scene.verification()
        await verification.look(ignore)
        assert [deviation.to_dict()["why"] for deviation in verification.deviations()] == [why]

    async def test_a_letter_that_is_gone_is_no_reason_any_more(self, scene: Scene) -> None:
        scene.add(IDS[0])
        scene.letters.messages = [letter(IDS[0])]
        verification = scene.verification()
        await verification.look(ignore)
        assert fates(verification) == {IDS[0]: Fate.DEAD_LETTER}
        scene.letters.messages = []
        await verification.look(ignore)
        assert fates(verification) == {IDS[0]: Fate.NOWHERE}

    async def test_the_next_look_reads_only_what_was_not_correct_and_each_image_once(self, scene: Scene) -> None:
        scene.add(*IDS)
        scene.apply(*IDS[:300])
        verification = scene.verification()
        await verification.look(ignore)
        scene.images.reads.clear()
        scene.apply(*IDS[:990])
        await verification.look(ignore)
        assert Counter(image for read in scene.images.reads for image in read) == Counter(IDS[300:])
        assert [len(read) for read in scene.images.reads] == [256, 256, 188]
        assert sorted(fates(verification)) == IDS[990:]

    async def test_a_call_reads_at_most_256_images_of_one_project_and_eight_calls_are_under_way(
        self, scene: Scene
    ) -> None:
        for number in range(10):
            project = str(UUID(int=number))
            scene.images.metadata[project] = {}
            scene.add(*IDS[:257], project=project)
        scene.images.latency = 1.0
        told: list[int] = []
        await scene.verification().look(told.append)
        assert Counter(len(read) for read in scene.images.reads) == {256: 10, 1: 10}
        assert scene.images.most_at_once == 8
        assert told == sorted(told)
        assert told[-1] == 2570


@pytest.mark.looptime
class TestWait:
    async def test_an_empty_queue_is_not_waited_for(self, scene: Scene) -> None:
        scene.add(*IDS[:2])
        scene.apply(IDS[0])
        verification = scene.verification()
        told: list[Standing] = []
        await verification.wait(told.append)
        assert told[-1] == Standing(images=2, applied=1, queued_messages=0)
        assert fates(verification) == {IDS[1]: Fate.NOWHERE}
        assert asyncio.get_running_loop().time() == 0

    async def test_it_reads_as_soon_as_the_queue_is_empty_which_it_asks_every_second(self, scene: Scene) -> None:
        scene.add(IDS[0])
        scene.apply(IDS[0])
        scene.updates.messages = [message()]
        asyncio.get_running_loop().call_later(2.5, scene.updates.messages.clear)
        told: list[Standing] = []
        await scene.verification().wait(told.append)
        assert scene.images.times == [3]
        assert scene.updates.counts == [0, 1, 2, 3, 3]
        assert [standing.queued_messages for standing in told] == [1, 1, 1, 0, 0]
        assert told[-1].open == 0

    async def test_it_reads_after_20_seconds_at_the_latest_and_then_for_a_tenth_of_the_time(self, scene: Scene) -> None:
        scene.add(IDS[0])
        scene.images.latency = 3.0
        scene.updates.messages = [message()]
        asyncio.get_running_loop().call_later(60, scene.apply, IDS[0])
        await scene.verification().wait(ignore)
        assert scene.images.times == [20, 53, 86]

    async def test_it_ends_when_every_image_is_correct_or_has_a_letter(self, scene: Scene) -> None:
        scene.add(*IDS[:2])
        scene.apply(IDS[0])
        scene.letters.messages = [letter(IDS[1])]
        scene.updates.messages = [message()]
        await scene.verification().wait(ignore)
        assert asyncio.get_running_loop().time() == 20

    async def test_a_queue_in_which_nothing_moves_for_eleven_minutes_is_not_waited_for(self, scene: Scene) -> None:
        scene.add(IDS[0])
        scene.images.latency = 1.0
        scene.updates.invisible = 1
        verification = scene.verification()
        await verification.wait(ignore)
        assert fates(verification) == {IDS[0]: Fate.NOWHERE}
        assert scene.updates.counts[-1] == 661

    async def test_each_move_gives_it_eleven_minutes_more(self, scene: Scene) -> None:
        scene.add(IDS[0])
        scene.images.latency = 1.0
        scene.updates.invisible = 2

        def take_one() -> None:
            scene.updates.invisible = 1

        asyncio.get_running_loop().call_later(600, take_one)
        await scene.verification().wait(ignore)
        assert scene.updates.counts[-1] == 1261


class TestActivity:
    def test_a_queue_where_the_number_changes_is_active(self) -> None:
        activity = _Activity(0.0)
        activity.note(5, is_anything_visible=False, now=0.0)
        activity.note(4, is_anything_visible=False, now=QUIET_SECONDS)
        assert not activity.has_ceased(QUIET_SECONDS + 1)

    def test_so_is_one_that_has_something_to_receive(self) -> None:
        activity = _Activity(0.0)
        for now in (0.0, QUIET_SECONDS, 2 * QUIET_SECONDS):
            activity.note(5, is_anything_visible=True, now=now)
        assert not activity.has_ceased(2 * QUIET_SECONDS + 1)

    def test_places_that_nobody_fills_are_not_waited_for(self) -> None:
        activity = _Activity(0.0)
        for now in (0.0, QUIET_SECONDS / 2, QUIET_SECONDS + 1):
            activity.note(3, is_anything_visible=False, now=now)
        assert activity.has_ceased(QUIET_SECONDS + 1)


class TestAnswer:
    def test_ids_are_read_in_the_notation_of_the_catalogue(self) -> None:
        body = f'[{{"id": "{IMAGE.upper()}", "metadata": {{"a": "b"}}}}]'.encode()
        assert read_response(httpx.Response(200, content=body)) == {IMAGE: {"a": "b"}}

    def test_an_image_without_metadata_has_none(self) -> None:
        body = f'[{{"id": "{IMAGE}", "metadata": null}}]'.encode()
        assert read_response(httpx.Response(200, content=body)) == {IMAGE: {}}

    @pytest.mark.parametrize("body", [b"", b"<html>", b"{}3", b"[3]", b'[{"metadata": {}}]', b'[{"id": 7}]', b"7"])
    def test_anything_else_is_the_services_trouble(self, body: bytes) -> None:
        with pytest.raises(Unavailable):
            read_response(httpx.Response(200, content=body))
