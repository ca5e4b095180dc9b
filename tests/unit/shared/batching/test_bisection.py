"""How the message at fault is found: groups, turns, and what a search remembers of messages that left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.batching import bisection
from shared.batching.bisection import Bisection
from tests.unit.shared.batching.waiting import always, new_batch, new_item

if TYPE_CHECKING:
    from shared.batching.items import Batch, Item


def leave(search: Bisection, *items: Item) -> None:
    """The messages of these images go back to their queue."""
    for item in items:
        item.waiters = ()
        search.remember(item)


def taken(search: Bisection) -> str:
    """The images of the next call."""
    batch = search.take(always)
    return "".join(batch.image_ids) if batch else ""


class TestGroups:
    def test_a_refused_batch_is_halved(self) -> None:
        search = Bisection()
        search.split(new_batch("abcde"))
        assert [taken(search), taken(search), taken(search)] == ["ab", "cde", ""]

    def test_a_half_that_is_refused_too_goes_on_before_the_other(self) -> None:
        search = Bisection()
        search.split(new_batch("abcd"))
        first = search.take(always)
        assert first is not None
        search.split(first)
        assert [taken(search), taken(search), taken(search)] == ["a", "b", "cd"]

    def test_a_group_that_was_sent_in_vain_goes_behind_the_others(self) -> None:
        search = Bisection()
        search.split(new_batch("abcd"))
        first = search.take(always)
        assert first is not None
        for item in first.items:
            assert search.take_in(item)
        assert [taken(search), taken(search)] == ["cd", "ab"]

    def test_an_image_with_its_outcome_is_forgotten(self) -> None:
        search = Bisection()
        batch = new_batch("ab")
        search.split(batch)
        for item in batch.items:
            search.forget(item)
        assert len(search) == 0

    def test_it_is_halved_between_messages(self) -> None:
        """The images of one message need not be told apart: they have one outcome."""
        search = Bisection()
        batch = new_batch("abcdefgh")
        for item in batch.items[1:]:
            item.waiters = batch.items[1].waiters
        search.split(batch)
        assert [taken(search), taken(search)] == ["a", "bcdefgh"]

    def test_a_probe_is_one_image_and_the_rest_goes_behind_the_others(self) -> None:
        search = Bisection()
        search.split(new_batch("abcd"))
        probe = search.take(lambda _: 1)
        assert probe is not None
        assert probe.image_ids == ["a"]
        assert [taken(search), taken(search)] == ["cd", "b"]


class TestTurns:
    def test_searches_take_turns(self) -> None:
        search = Bisection()
        search.split(new_batch("abcd", "first"))
        search.split(new_batch("efgh", "second"))
        assert [taken(search) for _ in range(4)] == ["ab", "ef", "cd", "gh"]

    def test_a_search_whose_calls_are_suspended_is_passed_over(self) -> None:
        search = Bisection()
        search.split(new_batch("ab", "suspended"))
        search.split(new_batch("cd", "free"))
        batch = search.take(lambda key: 64 * (key == "free"))
        assert batch is not None
        assert batch.key == "free"
        assert not search.has_ready(lambda key: 64 * (key == "neither"))
        assert search.take(lambda key: 64 * (key == "neither")) is None


class TestMemory:
    def test_a_message_that_comes_back_goes_on_where_it_stopped(self) -> None:
        search = Bisection()
        batch = new_batch("abcd")
        search.split(batch)
        leave(search, *batch.items)
        assert not search.has_ready(always)
        for image_id in "dcba":
            assert search.take_in(new_item(image_id))
        assert {taken(search), taken(search)} == {"ba", "dc"}

    def test_an_image_that_is_not_suspected_has_no_group(self) -> None:
        search = Bisection()
        search.split(new_batch("ab"))
        assert not search.take_in(new_item("c"))
        assert not search.take_in(new_item("a", key="another key"))

    def test_who_leaves_while_its_group_is_on_the_wire_is_remembered_in_its_half(self) -> None:
        search = Bisection()
        search.split(new_batch("abcdefgh"))
        half = search.take(always)
        assert half is not None
        half.items[0].waiters = ()
        search.split(half)
        assert taken(search) == "b"
        assert search.take_in(new_item("a"))

    def test_who_is_alone_and_has_to_be_tried_again_stays_alone(self) -> None:
        search = Bisection()
        batch = new_batch("ab")
        search.split(batch)
        alone = search.take(always)
        assert alone is not None
        leave(search, *alone.items)
        assert search.take_in(new_item("a"))
        assert {taken(search), taken(search)} == {"a", "b"}

    def test_not_more_is_remembered_than_there_is_room_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bisection, "MAX_REMEMBERED", 2)
        search = Bisection()
        batch = new_batch("abc")
        search.split(batch)
        leave(search, *batch.items)
        assert (len(search), search.remembered) == (2, 2)
        assert not search.take_in(new_item("a"))
        assert search.take_in(new_item("c"))


def refused(batch: Batch, bad: set[str]) -> bool:
    return bool(bad & set(batch.image_ids))


@pytest.mark.parametrize("bad", [{"00"}, {"63"}, {"17", "18"}, {f"{n:02}" for n in range(0, 64, 5)}])
def test_a_search_ends_however_often_its_messages_leave(bad: set[str]) -> None:
    """Whoever waits leaves after every third call and is delivered again; each call goes on from what is known."""
    search = Bisection()
    batch = new_batch([f"{n:02}" for n in range(64)])
    waiting = {item.image_id: item for item in batch.items}
    search.split(batch)
    found: set[str] = set()
    calls = 0
    while waiting:
        group = search.take(always)
        assert group is not None
        calls += 1
        if refused(group, bad) and len(group.items) > 1:
            search.split(group)
        else:
            found |= set(group.image_ids) if refused(group, bad) else set()
            for item in group.items:
                search.forget(item)
                del waiting[item.image_id]
        if calls % 3 == 0:
            leave(search, *waiting.values())
            waiting = {image_id: new_item(image_id) for image_id in waiting}
            assert all(search.take_in(item) for item in waiting.values())
    assert found == bad
    assert calls <= 2 * len(bad) * 6
    assert len(search) == 0
