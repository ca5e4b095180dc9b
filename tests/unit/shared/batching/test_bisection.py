"""How the message at fault is found: groups, halves, turns, and what a search remembers of messages that left."""

from __future__ import annotations

from statistics import mean
from typing import TYPE_CHECKING

import pytest

from shared.batching.bisection import Bisection
from tests.unit.shared.batching.waiting import always, new_batch, new_item

if TYPE_CHECKING:
    from shared.batching.items import Batch, Item


MOST_AT_FAULT = 3


def leave(search: Bisection, *items: Item) -> None:
    """The messages of these images go back to their queue."""
    for item in items:
        item.waiters.clear()
        search.remember(item)


def split(search: Bisection, batch: Batch) -> None:
    search.split(batch, is_witness=True)
    assert all(search.join(item) for item in batch.items)


def accuse(search: Bisection, batch: Batch) -> None:
    search.accuse(batch)
    assert all(search.join(item) for item in batch.items)


def take(search: Bisection) -> Batch:
    batch = search.next_batch(always)
    assert batch is not None
    return batch


def taken(search: Bisection) -> str:
    """The images of the next call."""
    batch = search.next_batch(always)
    return "".join(batch.image_ids) if batch else ""


def accepted(search: Bisection, batch: Batch) -> None:
    search.end(batch, is_good=True)
    for item in batch.items:
        search.forget(item)


def searching(image_ids: str, key: str = "a") -> Bisection:
    search = Bisection()
    split(search, new_batch(image_ids, key))
    return search


class TestHalves:
    def test_the_second_half_is_held_back_until_the_first_has_its_response(self) -> None:
        search = searching("abcd")
        assert [taken(search), taken(search)] == ["ab", ""]

    def test_if_the_first_half_is_good_the_second_is_halved_without_a_call_of_its_own(self) -> None:
        search = searching("abcd")
        accepted(search, take(search))
        assert [taken(search), taken(search)] == ["c", ""]

    def test_if_the_first_half_is_bad_too_the_second_is_sent_whole(self) -> None:
        search = searching("abcd")
        split(search, take(search))
        assert {taken(search), taken(search)} == {"a", "cd"}

    def test_a_single_message_is_sent_although_it_is_known_to_be_bad(self) -> None:
        search = searching("ab")
        accepted(search, take(search))
        assert taken(search) == "b"

    def test_the_second_half_does_not_wait_for_a_first_half_whose_messages_left(self) -> None:
        search = searching("abcd")
        first = list(next(iter(search._ready)).items.values())
        leave(search, *first)
        assert taken(search) == "cd"

    def test_nor_for_one_whose_messages_left_while_it_was_sent_in_vain(self) -> None:
        search = searching("abcd")
        batch = take(search)
        assert all(search.join(item) for item in batch.items)
        leave(search, *batch.items)
        assert taken(search) == "cd"

    def test_a_group_that_was_sent_in_vain_waits_again(self) -> None:
        search = searching("abcd")
        batch = take(search)
        assert all(search.join(item) for item in batch.items)
        assert taken(search) == "ab"

    def test_an_image_with_its_outcome_is_forgotten(self) -> None:
        search = Bisection()
        batch = new_batch("ab")
        split(search, batch)
        for item in batch.items:
            search.forget(item)
        assert not search._groups

    def test_it_is_halved_between_messages(self) -> None:
        """The images of one message need not be told apart: they have one outcome."""
        search = Bisection()
        batch = new_batch("abcdefgh")
        for item in batch.items[1:]:
            item.waiters = batch.items[1].waiters
        split(search, batch)
        first = take(search)
        assert "".join(first.image_ids) == "a"
        accepted(search, first)
        assert taken(search) == "bcdefgh"

    def test_a_probe_is_one_image_and_tells_nothing_of_the_rest(self) -> None:
        search = searching("abcd")
        probe = search.next_batch(lambda _key, _is_witness: 1)
        assert probe is not None
        assert probe.image_ids == ["a"]
        accepted(search, probe)
        assert [taken(search), taken(search)] == ["b", ""]


class TestTurns:
    def test_searches_take_turns(self) -> None:
        search = searching("abcd", "first")
        split(search, new_batch("efgh", "second"))
        for batch in (take(search), take(search)):
            split(search, batch)
        assert {taken(search), taken(search)} == {"a", "cd"}
        assert {taken(search), taken(search)} == {"e", "gh"}

    def test_a_search_whose_calls_are_suspended_is_passed_over(self) -> None:
        search = searching("ab", "suspended")
        split(search, new_batch("cd", "free"))
        batch = search.next_batch(lambda key, _: 64 * (key == "free"))
        assert batch is not None
        assert batch.key == "free"
        assert search.next_batch(lambda key, _: 64 * (key == "neither")) is None

    def test_each_search_asks_for_the_calls_that_it_makes_next(self) -> None:
        search = searching("abcdefgh", "first")
        split(search, new_batch("abcdefgh", "second"))
        assert search.count_calls(always, []) == 6
        batch = take(search)
        assert search.count_calls(always, [batch]) == 6, "those on the wire are followed by others"


class TestThoseThatFailedAlone:
    def test_a_few_wait_for_the_end_of_the_outage_in_one_group_that_is_no_witness(self) -> None:
        search = Bisection()
        for image_id in "abc":
            accuse(search, new_batch(image_id))
        assert search.pardon(always) == []
        batch = take(search)
        assert batch.image_ids == ["a", "b", "c"]
        assert not batch.is_witness

    def test_they_wait_with_their_like_only(self) -> None:
        search = searching("cd")
        accuse(search, new_batch("e"))
        accuse(search, new_batch("f", key="b"))
        accuse(search, new_batch("g"))
        assert [taken(search) for _ in range(4)] == ["c", "eg", "f", ""]

    def test_if_they_are_many_the_service_was_at_fault_and_they_wait_with_all_others(self) -> None:
        search = Bisection()
        for number in range(MOST_AT_FAULT + 1):
            accuse(search, new_batch([str(number)], key=str(number)))
        suspended = search.pardon(lambda _key, _is_witness: 1)
        assert suspended == []
        assert len(search.pardon(always)) == MOST_AT_FAULT + 1
        assert not search._groups
        assert search.next_batch(always) is None

    def test_none_is_pardoned_twice(self) -> None:
        search = Bisection()
        batches = [new_batch([str(number)]) for number in range(MOST_AT_FAULT + 1)]
        for batch in batches:
            accuse(search, batch)
        search.pardon(always)
        for batch in batches:
            accuse(search, batch)
        assert search.pardon(always) == []
        assert take(search).image_ids == ["0"]


class TestMemory:
    def test_a_message_that_comes_back_goes_on_where_it_stopped(self) -> None:
        search = Bisection()
        batch = new_batch("abcd")
        split(search, batch)
        leave(search, *batch.items)
        assert search.next_batch(always) is None
        for image_id in "dcba":
            assert search.join(new_item(image_id))
        assert {taken(search), taken(search)} == {"ba", "dc"}

    def test_an_image_that_is_not_suspected_has_no_group(self) -> None:
        search = searching("ab")
        assert not search.join(new_item("c"))
        assert not search.join(new_item("a", key="another key"))

    def test_who_leaves_while_its_group_is_on_the_wire_is_remembered_in_its_half(self) -> None:
        search = searching("abcdefgh")
        half = take(search)
        split(search, half)
        leave(search, half.items[0])
        assert {taken(search), taken(search)} == {"b", "efgh"}
        assert search.join(new_item("a"))

    def test_who_comes_back_to_a_half_that_was_divided_meanwhile_goes_without_the_others(self) -> None:
        search = Bisection()
        batch = new_batch("abcdefgh")
        split(search, batch)
        leave(search, batch.items[4])
        accepted(search, take(search))
        assert search.join(new_item("e"))
        assert [taken(search), taken(search), taken(search)] == ["f", "e", ""]

    def test_who_is_alone_and_has_to_be_tried_again_stays_alone(self) -> None:
        search = searching("ab")
        alone = take(search)
        search.end(alone, is_good=False)
        leave(search, *alone.items)
        assert search.join(new_item("a"))
        assert {taken(search), taken(search)} == {"a", "b"}

    def test_ten_thousand_images_are_remembered_and_the_longest_ago_is_forgotten(self) -> None:
        search = Bisection()
        batch = new_batch([str(number) for number in range(10_001)])
        split(search, batch)
        leave(search, *batch.items[:10_000])
        assert (len(search._groups), len(search._remembered)) == (10_001, 10_000)
        leave(search, batch.items[10_000])
        assert (len(search._groups), len(search._remembered)) == (10_000, 10_000)
        assert not search.join(new_item("0"))
        assert search.join(new_item("1"))

    def test_who_has_come_back_is_not_among_those_that_are_forgotten(self) -> None:
        search = Bisection()
        batch = new_batch([str(number) for number in range(10_001)])
        split(search, batch)
        leave(search, batch.items[0])
        assert search.join(new_item("0"))
        leave(search, *batch.items[1:])
        assert search.join(new_item("0"))
        assert search.join(new_item("1"))


def refused(batch: Batch, bad: set[str]) -> bool:
    return bool(bad & set(batch.image_ids))


def calls_to_find(bad: set[str], *, leaving: bool) -> int:
    """How many calls it takes to find the bad ones among 64, the first included."""
    search = Bisection()
    batch = new_batch([f"{n:02}" for n in range(64)])
    waiting = {item.image_id: item for item in batch.items}
    split(search, batch)
    found: set[str] = set()
    calls = 1
    while waiting:
        group = take(search)
        calls += 1
        if refused(group, bad) and len(group.items) > 1:
            split(search, group)
        else:
            if refused(group, bad):
                found |= set(group.image_ids)
            search.end(group, is_good=not refused(group, bad))
            for item in group.items:
                search.forget(item)
                del waiting[item.image_id]
        if leaving and calls % 3 == 0:
            leave(search, *waiting.values())
            waiting = {image_id: new_item(image_id) for image_id in waiting}
            assert all(search.join(item) for item in waiting.values())
    assert found == bad
    assert not search._groups
    assert search.next_batch(always) is None
    return calls


@pytest.mark.parametrize("bad", [{"00"}, {"63"}, {"17", "18"}, {f"{n:02}" for n in range(0, 64, 5)}])
def test_a_search_ends_however_often_its_messages_leave(bad: set[str]) -> None:
    """Whoever waits leaves after every third call and is delivered again; each call goes on from what is known."""
    assert calls_to_find(bad, leaving=True) <= 1 + 2 * len(bad) * 6


def test_one_of_64_is_found_in_11_calls_on_average_over_its_place() -> None:
    assert mean(calls_to_find({f"{n:02}"}, leaving=False) for n in range(64)) <= 11
