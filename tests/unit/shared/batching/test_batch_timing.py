"""Which batch goes when: full or lingered, the fullest first, and as a probe an image that no failed call had."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from shared.batching.batch_timing import Partitions
from shared.batching.items import Batch, Group
from tests.unit.shared.batching.waiting import always, new_batch, new_item

if TYPE_CHECKING:
    from collections.abc import Hashable

    from shared.batching.items import Item


def partitions(**waiting: int) -> Partitions:
    """So many images of each key that arrived at 0. A batch has 4 images, lingers for 2 s and starves after 10."""
    made = Partitions(batch_size=4, linger=2.0, starvation=10.0)
    for key, count in waiting.items():
        for number in range(count):
            made.add(new_item(f"{key}{number}", key))
    return made


def whole(_: object, is_witness: bool) -> int:
    """Every call may go, with a whole batch."""
    return 4


def taken(made: Partitions, now: float) -> tuple[Hashable, int] | None:
    batch = made.next_batch(now, whole)
    return None if batch is None else (batch.key, len(batch.items))


class TestReady:
    def test_a_full_batch_is_ready_and_one_that_has_lingered(self) -> None:
        assert taken(partitions(a=3), 1.9) is None
        assert taken(partitions(a=3), 2.0) == ("a", 3)
        made = partitions(a=9)
        assert [taken(made, 0.0) for _ in range(3)] == [("a", 4), ("a", 4), None]

    def test_something_may_have_changed_with_the_first_image_and_with_a_full_batch(self) -> None:
        made = partitions()
        assert [made.add(new_item(str(number))) for number in range(6)] == [True, False, False, True, False, False]

    def test_the_next_one_is_due_when_its_oldest_has_lingered(self) -> None:
        made = partitions(a=1)
        made.add(new_item("later", "b", arrived=1.0))
        assert [made.next_due(now) for now in (0.0, 1.9, 2.0, 2.9, 3.0)] == [2.0, 2.0, 3.0, 3.0, math.inf]

    def test_an_image_that_leaves_is_not_waited_for(self) -> None:
        made = partitions()
        item = new_item("a")
        made.add(item)
        made.discard(item)
        made.discard(item)
        assert (made.next_due(0.0), taken(made, 100.0)) == (math.inf, None)


class TestOrder:
    def test_the_fullest_goes_first_and_of_equals_the_one_that_was_served_the_longest_ago(self) -> None:
        made = partitions(few=1, many=3, full=9, fuller=13)
        assert [taken(made, 2.0) for _ in range(9)] == [
            ("full", 4),
            ("fuller", 4),
            ("full", 4),
            ("fuller", 4),
            ("fuller", 4),
            ("many", 3),
            ("few", 1),
            ("full", 1),
            ("fuller", 1),
        ]

    @pytest.mark.parametrize(("now", "first"), [(9.9, "full"), (10.0, "few")])
    def test_one_that_starves_goes_before_the_fullest(self, now: float, first: str) -> None:
        assert taken(partitions(few=1, full=4), now) == (first, 1 if first == "few" else 4)


class TestSuspended:
    """`most` says how many images of a key may go: 0 while they are suspended, 1 as a probe."""

    def test_of_a_suspended_key_nothing_goes(self) -> None:
        made = partitions(a=4, b=4)
        batch = made.next_batch(0.0, lambda key, _: 4 * (key == "b"))
        assert batch is not None
        assert batch.key == "b"
        assert made.next_batch(0.0, lambda key, _: 4 * (key == "b")) is None

    def test_two_images_are_no_probe(self) -> None:
        batch = partitions(a=4).next_batch(0.0, lambda *_: 2)
        assert batch is not None
        assert batch.image_ids == ["a0", "a1"]

    @staticmethod
    def probes(*items: Item) -> list[str]:
        """The images of the probes, one after another, where calls of all keys are suspended."""
        made = Partitions(batch_size=4, linger=2.0, starvation=100.0)
        for item in items:
            made.add(item)
        found = []
        while (batch := made.next_batch(2.0, lambda *_: 1)) is not None:
            found += batch.image_ids
            assert len(batch.items) == 1
        return found

    def test_a_probe_is_an_image_that_no_failed_call_had(self) -> None:
        failed, good, other = new_item("failed", "x"), new_item("good", "x"), new_item("other", "y")
        failed.failed_calls = 1
        assert self.probes(failed, good, other) == ["good", "other", "failed"]

    def test_those_that_failed_are_asked_as_no_witnesses(self) -> None:
        failed, good = new_item("failed", "x"), new_item("good", "y")
        failed.failed_calls = 1
        made = Partitions(batch_size=4, linger=2.0, starvation=100.0)
        for item in (failed, good):
            made.add(item)
        asked: list[tuple[Hashable, bool]] = []

        def most(key: Hashable, is_witness: bool) -> int:
            asked.append((key, is_witness))
            return 1 if is_witness else 0

        batch = made.next_batch(2.0, most)
        assert batch is not None
        assert batch.image_ids == ["good"]
        assert asked == [("x", True), ("x", False), ("y", True)]
        assert made.next_batch(2.0, lambda _, is_witness: 1 if is_witness else 4) is not None

    def test_calls_are_counted_for_what_may_go_as_witnesses(self) -> None:
        made = partitions(a=9, b=4, c=1)
        assert made.count_calls(always) == 3 + 1 + 1
        assert made.count_calls(lambda key, is_witness: int(is_witness and key != "b")) == 4
        assert made.count_calls(lambda _, is_witness: int(not is_witness)) == 0


class TestWitness:
    @pytest.mark.parametrize(
        ("images", "failed_calls", "is_witness"), [("ab", 5, True), ("a", 0, True), ("a", 1, False)]
    )
    def test_one_image_that_failed_before_is_none(self, images: str, failed_calls: int, *, is_witness: bool) -> None:
        batch = new_batch(images)
        for item in batch.items:
            item.failed_calls = failed_calls
        assert batch.is_witness is is_witness

    @pytest.mark.parametrize("is_witness", [True, False])
    def test_suspects_are_what_their_search_says(self, *, is_witness: bool) -> None:
        items = new_batch("a").items
        items[0].failed_calls = int(is_witness)
        assert Batch("a", items, Group("a", is_witness)).is_witness is is_witness
