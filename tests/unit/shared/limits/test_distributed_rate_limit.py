"""Permits: what one instance does with them, and what many instances do together whatever happens to them."""

from __future__ import annotations

import heapq
import json
import math
import random
from dataclasses import dataclass, field
from itertools import count, pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.limits.distributed_rate_limit import NEW_PERMIT, Permits, permits_for, read_permit

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.limits.distributed_rate_limit import Permit

TURN_SECONDS = 6.0
APART, APART_AFTER_REFUSAL = 1.015, 1.045
NETWORK_DOUBLINGS = 3
MAX_DOUBLINGS = 6
FORGIVEN_AFTER = 100
MAX_PERMITS = 32

ALL = 1000
WAY_SECONDS = 0.01


@dataclass
class Message:
    """A permit in the queue, as it is received."""

    id: str = "1"
    dequeue_count: int = 1
    body: bytes = NEW_PERMIT.encode()


def an_instance(rate: float = 10.0, calls: int = ALL, seed: int = 1) -> Permits:
    permits = Permits(rate, random.Random(seed))
    permits.want(calls, 0.0)
    return permits


def holding(messages: int = 1, rate: float = 10.0, at: float = 0.0, calls: int = ALL) -> Permits:
    """An instance that has just received so many permits."""
    permits = an_instance(rate, calls)
    assert permits.to_ask(at)
    permits.received([Message(str(number)) for number in range(messages)], at, at)
    return permits


def an_instance_with_one(seed: int) -> Permit:
    """The permit that an instance has received at 0.0."""
    permits = an_instance(seed=seed)
    permits.to_ask(0.0)
    (permit,) = permits.received([Message()], 0.0, 0.0)
    return permit


def others_waited(seconds: float, doublings: float = 0) -> bytes:
    """The text of a permit for which its receivers had to wait so long on average."""
    return json.dumps({"doublings": doublings, "meanWaitSeconds": seconds}).encode()


def refused(doublings: float, seed: int = 1, retry_after: float = 0.0) -> tuple[Permits, Permit]:
    """An instance whose only permit had rested so often, and whose call is refused with 429 at 1.0."""
    permits = an_instance(seed=seed)
    permits.to_ask(0.0)
    permits.received([Message(body=others_waited(0, doublings=doublings))], 0.0, 0.0)
    permit = permits.take(1.0)
    permits.limited(permit, retry_after, 1.0)
    return permits, permit


def call_until(permits: Permits, end: float, start: float = 0.0) -> list[tuple[float, Permit]]:
    """Call as soon as it may go, until a time."""
    calls = []
    now = start
    while (now := permits.ready_at(now)) < end:
        calls.append((now, permits.take(now)))
    return calls


class TestNumber:
    @pytest.mark.parametrize(
        ("rate", "permits", "seconds"),
        [
            (10, 10, 1.0),
            (2, 2, 1.0),
            (2.5, 5, 2.0),
            (1.25, 5, 4.0),
            (3.33, 10, 3.003),
            (0.33, 1, 3.0303),
            (1 / 3, 1, 3.0),
            (1 / 7, 1, 7.0),
            (9.7, 10, 1.0309),
            (32, 32, 1.0),
            (33, 17, 17 / 33),
            (40, 20, 0.5),
            (10_000, 32, 0.0032),
        ],
    )
    def test_it_is_that_of_the_shortest_window_with_a_whole_number_of_calls(
        self, rate: float, permits: int, seconds: float
    ) -> None:
        number, period = permits_for(rate)
        assert number == permits
        assert period == pytest.approx(seconds, rel=1e-3)

    @given(st.floats(0.001, 10_000))
    def test_permits_and_period_are_the_rate_and_one_receive_can_ask_for_all(self, rate: float) -> None:
        permits, seconds = permits_for(rate)
        assert permits / seconds == pytest.approx(rate)
        assert 1 <= permits <= MAX_PERMITS

    @given(st.floats(0.001, MAX_PERMITS))
    def test_a_second_never_has_more_calls_than_the_limit_rounded_up_has_in_its_window(self, rate: float) -> None:
        permits, seconds = permits_for(rate)
        assert seconds > 0.97
        assert permits <= math.ceil(rate * max(1.0, seconds) + 0.1)

    @pytest.mark.parametrize("rate", [0.0, -1.0, math.inf, math.nan])
    def test_a_rate_that_is_none_is_refused(self, rate: float) -> None:
        with pytest.raises(ValueError, match="positive and finite"):
            Permits(rate)

    @pytest.mark.parametrize(("rate", "seconds"), [(10, 8), (1 / 7, 13), (10_000, 8)])
    def test_a_lease_is_longer_than_a_turn_and_the_rest_of_a_period_after_it(self, rate: float, seconds: int) -> None:
        assert Permits(rate).lease_seconds == seconds

    def test_the_share_of_the_limit_is_that_of_the_permits_that_are_held(self) -> None:
        assert [holding(held).share for held in (0, 5, 10)] == [0.0, 0.5, 1.0]


class TestWhatAPermitCarries:
    def test_it_is_carried_from_one_holder_to_the_next(self) -> None:
        permit = read_permit(Message(body=NEW_PERMIT.encode()))
        assert (permit.doublings, permit.mean_wait, permit.refused_at, permit.resource) == (0, 0, 0, "")
        permit.doublings, permit.mean_wait, permit.refused_at, permit.resource = 1.23456, 0.98765, 7, "ab"
        assert json.loads(permit.text) == {
            "doublings": 1.235,
            "meanWaitSeconds": 0.988,
            "refusedAt": 7,
            "resource": "ab",
        }
        read = read_permit(Message(body=permit.text.encode()))
        assert (read.doublings, read.mean_wait, read.refused_at, read.resource) == (1.235, 0.988, 7, "ab")

    def test_one_of_an_older_version_carries_less(self) -> None:
        permit = read_permit(Message(body=others_waited(3, doublings=6)))
        assert (permit.doublings, permit.mean_wait, permit.refused_at, permit.resource) == (6, 3, 0, "")

    def test_a_wait_is_believed_up_to_half_as_long_again_as_ones_own_and_a_turn(self) -> None:
        for says, believed in ((20.9, 20.9), (21.1, 21.0)):
            permits = an_instance()
            permits.to_ask(0.0)
            permits.received([], 0.0, 0.0)
            permits.to_ask(10.0)
            (permit,) = permits.received([Message(body=others_waited(says))], 10.0, 10.0)
            assert [permits.to_ask(10 + 0.85 * believed + late) for late in (-0.01, 0.01)] == [0, 1]
            assert permit.mean_wait == pytest.approx((believed + 10) / 2)


class TestAsking:
    def test_requests_that_find_nothing_follow_one_another_in_a_quarter_of_a_second(self) -> None:
        pauses = []
        for seed in range(200):
            permits = an_instance(seed=seed)
            permits.to_ask(0.0)
            permits.received([], 0.0, 0.0)
            pauses.append(permits.next_step_at(0.0))
        assert min(pauses) == pytest.approx(0.85 * 0.28, rel=0.01)
        assert max(pauses) == pytest.approx(0.28, rel=0.01)

    def test_ones_own_permits_are_asked_for_together_and_after_the_others_had_a_head_start(self) -> None:
        permits = an_instance()
        permits.to_ask(0.0)
        messages = [Message(str(number), body=others_waited(6)) for number in range(3)]
        held = permits.received(messages, 0.0, 0.0)
        permits.want(0, 0.1)
        assert [permit for permit, _ in permits.leaving(0.1)] == held
        for permit in held:
            permits.gone_back(permit, 0, 0.1)
        permits.want(ALL, 0.2)
        assert permits.to_ask(0.2) == 1
        permits.received([], 0.2, 0.2)
        due = permits.next_step_at(0.2)
        assert due == pytest.approx(0.1 + 0.035 * 10)  # ten instances share ten permits
        assert permits.to_ask(due - 0.001) == 0
        assert permits.to_ask(due) == 3

    def test_after_their_head_start_they_are_asked_for_once_and_then_like_any_other(self) -> None:
        permits = holding(3)
        permits.want(0, 1.0)
        for permit, unseen_seconds in permits.leaving(1.0):
            permits.gone_back(permit, unseen_seconds, 1.0)
        permits.want(ALL, 2.0)
        assert permits.to_ask(2.0) == 3
        permits.received([], 2.0, 2.0)
        assert permits.next_step_at(2.0) >= 2.0 + 0.85 * 0.28
        assert permits.to_ask(3.0) == 1

    def test_a_permit_that_rests_is_not_asked_for(self) -> None:
        permits = holding(1)
        permits.limited(permits.take(1.0), 60.0, 1.0)
        ((permit, unseen_seconds),) = permits.leaving(1.0)
        permits.gone_back(permit, unseen_seconds, 1.0)
        assert permits.to_ask(61.0) == 1
        permits.received([], 61.0, 61.0)
        assert permits.next_step_at(61.0) >= 61.2

    def test_nothing_is_asked_for_while_nothing_waits(self) -> None:
        permits = Permits(10.0)
        assert permits.next_step_at(5.0) == math.inf
        assert permits.to_ask(5.0) == 0

    def test_the_first_thing_to_send_asks_at_once(self) -> None:
        permits = an_instance()
        assert permits.next_step_at(0.0) == 0.0
        assert permits.to_ask(0.0) == 1

    def test_there_is_one_request_at_a_time(self) -> None:
        permits = an_instance()
        permits.to_ask(0.0)
        assert permits.to_ask(1.0) == 0
        assert permits.next_step_at(1.0) == math.inf

    def test_no_more_is_asked_for_than_there_are_calls(self) -> None:
        permits = holding(1, calls=1)
        assert permits.to_ask(1.0) == 0
        permits.want(2, 1.0)
        assert permits.to_ask(1.0) == 1

    def test_no_instance_asks_for_more_than_all(self) -> None:
        assert holding(10).to_ask(1.0) == 0

    def test_whoever_was_served_after_a_wait_leaves_others_time(self) -> None:
        permits = an_instance()
        permits.to_ask(0.0)
        permits.received([], 0.0, 0.0)
        permits.to_ask(10.0)
        permits.received([Message(body=others_waited(20))], 10.0, 10.0)
        assert permits.to_ask(26.0) == 0
        assert permits.to_ask(27.0) == 1

    def test_whoever_was_served_at_the_first_request_goes_on_asking(self) -> None:
        permits = an_instance()
        permits.to_ask(0.0)
        permits.received([Message(body=others_waited(20))], 0.0, 0.0)
        assert permits.to_ask(0.5) == 1

    @pytest.mark.parametrize("waited", [30.0, 3600.0, 1e300])
    def test_what_a_permit_says_of_waits_is_believed_only_as_far_as_it_can_be_true(self, waited: float) -> None:
        """A permit with another text must not stop a busy instance, nor travel on."""
        permits = an_instance()
        permits.to_ask(0.0)
        permits.received([], 0.0, 0.0)
        permits.to_ask(1.0)
        permits.received([Message(body=others_waited(waited))], 1.0, 1.0)
        assert permits.next_step_at(1.0) <= 1.0 + TURN_SECONDS + 2
        assert json.loads(permits.take(permits.ready_at(1.0)).text)["meanWaitSeconds"] < TURN_SECONDS

    @pytest.mark.parametrize(
        "body",
        [b"", b"[]", b"null", b"\xff", b'{"doublings": "x", "meanWaitSeconds": 1}', b'{"doublings": -1}',
         b'{"doublings": 1e99, "meanWaitSeconds": 1}', b'{"doublings": NaN, "meanWaitSeconds": NaN}',
         b'{"doublings": 1, "meanWaitSeconds": 1, "refusedAt": Infinity}', b'{"doublings": 1}',
         b"[" * 100_000],
    )  # fmt: skip
    def test_a_permit_with_a_strange_text_is_as_good_as_a_new_one(self, body: bytes) -> None:
        permits = an_instance()
        permits.to_ask(0.0)
        permits.received([Message(body=body)], 0.0, 0.0)
        ((went, permit),) = call_until(permits, 1.0)
        assert went < 1.0
        assert permit.doublings == 0


class TestCalls:
    def test_without_a_permit_there_is_no_call(self) -> None:
        permits = an_instance()
        assert permits.ready_at(0.0) == math.inf
        with pytest.raises(RuntimeError):
            permits.take(0.0)

    def test_the_first_call_waits_for_the_last_part_of_the_period(self) -> None:
        """Whoever had it may have called three quarters of a period before it was put back."""
        assert holding().ready_at(0.0) == pytest.approx(0.25 * APART)

    def test_one_permit_is_one_call_a_period(self) -> None:
        went = [at for at, _ in call_until(holding(), 4.0)]
        assert len(went) == 4
        assert all(later - earlier == pytest.approx(APART) for earlier, later in pairwise(went))

    def test_all_permits_are_the_full_rate_at_even_intervals(self) -> None:
        went = [at for at, _ in call_until(holding(10), 4.0)]
        assert len(went) >= 36
        assert min(later - earlier for earlier, later in pairwise(went)) >= 0.1 - 1e-9

    def test_no_call_goes_after_a_pause_of_the_process(self) -> None:
        permits = holding(10)
        assert permits.ready_at(1.0) == 1.0
        assert permits.ready_at(TURN_SECONDS) == math.inf
        with pytest.raises(RuntimeError):
            permits.take(TURN_SECONDS)

    def test_a_turn_has_six_seconds_or_a_little_less(self) -> None:
        turns = [read.ends_at for read in (an_instance_with_one(seed) for seed in range(200))]
        assert min(turns) == pytest.approx(0.85 * 6, rel=0.01)
        assert max(turns) == pytest.approx(6, rel=0.01)
        assert max(turns) <= 6

    def test_instances_do_not_keep_in_step(self) -> None:
        turns = set()
        for _ in range(5):
            permits = Permits(10.0)
            permits.want(1, 0.0)
            permits.to_ask(0.0)
            turns |= {permit.ends_at for permit in permits.received([Message()], 0.0, 0.0)}
        assert len(turns) == 5

    def test_after_the_pause_all_permits_go_back(self) -> None:
        permits = holding(10)
        assert len(permits.leaving(100.0)) == 10


class TestGoingBack:
    def test_a_permit_goes_back_so_long_after_its_last_call_that_the_next_holder_need_not_wait_a_period(self) -> None:
        permits = holding(calls=1)
        (last, permit) = call_until(permits, TURN_SECONDS)[-1]
        step_at = permits.next_step_at(last)
        assert step_at == pytest.approx(last + 0.75 * APART, abs=0.01)
        assert permits.leaving(step_at - 0.01) == []
        assert permits.leaving(step_at + 0.001) == [(permit, 0)]

    def test_it_goes_back_before_its_lease_ends(self) -> None:
        permits = holding(calls=1)
        (last, _) = call_until(permits, TURN_SECONDS)[-1]
        assert permits.next_step_at(last) < permits.lease_seconds - 1

    def test_permits_go_back_when_nothing_waits_any_more(self) -> None:
        permits = holding(10)
        permits.want(0, 0.3)
        assert len(permits.leaving(0.3)) == 10
        assert permits.next_step_at(0.3) == math.inf

    def test_those_beyond_what_waits_go_back(self) -> None:
        permits = holding(10)
        permits.want(3, 0.3)
        assert len(permits.leaving(0.3)) == 7

    def test_ones_own_permit_that_nobody_had_meanwhile_goes_on_as_if_it_had_not_been_away(self) -> None:
        permits = holding(calls=1)
        (last, permit) = call_until(permits, TURN_SECONDS)[-1]
        back_at = permits.next_step_at(last) + 0.001
        permits.leaving(back_at)
        permits.gone_back(permit, 0, back_at)
        assert permits.to_ask(back_at + 0.1) == 1
        permits.received([Message("0", dequeue_count=2)], back_at + 0.1, back_at + 0.1)
        assert permits.ready_at(back_at + 0.1) == pytest.approx(last + APART)

    def test_ones_own_permit_that_somebody_had_meanwhile_is_as_any_other(self) -> None:
        permits = holding(calls=1)
        (last, permit) = call_until(permits, TURN_SECONDS)[-1]
        back_at = permits.next_step_at(last) + 0.001
        permits.leaving(back_at)
        permits.gone_back(permit, 0, back_at)
        permits.to_ask(back_at + 0.1)
        permits.received([Message("0", dequeue_count=3)], back_at + 0.1, back_at + 0.1)
        assert permits.ready_at(back_at + 0.1) == pytest.approx(back_at + 0.1 + 0.25 * APART)


class TestRefusal:
    def test_a_refused_permit_rests_as_long_as_asked(self) -> None:
        for seed in range(100):
            _, permit = refused(0, seed, retry_after=3.0)
            assert permit.next_at >= 4.0

    def test_others_of_the_same_instance_go_on(self) -> None:
        permits = holding(2)
        permits.limited(permits.take(1.0), 3.0, 1.0)
        assert permits.ready_at(1.2) == 1.2

    @pytest.mark.parametrize("doublings", [2, 4, MAX_DOUBLINGS])
    def test_a_rest_is_twice_as_long_on_average_after_each_refusal(self, doublings: int) -> None:
        rests = [refused(doublings, seed)[1].next_at - 1.0 for seed in range(400)]
        assert sum(rests) / len(rests) == pytest.approx(2.0**doublings, rel=0.2)

    def test_permits_that_are_refused_together_do_not_come_back_together(self) -> None:
        """A gateway that counts in long windows would refuse them together again."""
        rests = sorted(refused(3, seed)[1].next_at - 1.0 for seed in range(400))
        assert rests[100] < 3
        assert rests[300] > 9

    def test_the_number_of_doublings_has_an_end(self) -> None:
        assert refused(MAX_DOUBLINGS)[1].doublings == MAX_DOUBLINGS

    def test_what_one_permit_has_learnt_the_next_that_is_refused_rests_by(self) -> None:
        rests = []
        for seed in range(400):
            permits, learnt = refused(4, seed)
            permits.to_ask(2.0)
            permits.received([Message("2", body=NEW_PERMIT.encode())], 2.0, 2.0)
            at = permits.ready_at(2.0)
            permit = permits.take(at)
            permits.limited(permit, 0.0, at)
            if permit is not learnt:
                assert permit.doublings == 5 / 2 + 1
                rests.append(permit.next_at - at)
        assert sum(rests) / len(rests) == pytest.approx(2.0 ** (5 / 2), rel=0.2)

    def test_a_rest_that_is_longer_than_the_lease_is_left_to_the_queue(self) -> None:
        permits, permit = refused(0, retry_after=60.0)
        ((gone, unseen_seconds),) = permits.leaving(1.0)
        assert gone is permit
        assert 59 <= unseen_seconds <= 62

    def test_whoever_shall_wait_longer_than_permits_are_held_makes_no_call_and_holds_none(self) -> None:
        permits = holding(3)
        permits.limited(permits.take(1.0), 60.0, 1.0)
        assert permits.ready_at(1.5) >= 61.0
        assert len(permits.leaving(1.0)) == 3
        assert permits.to_ask(60.9) == 0
        assert permits.next_step_at(1.0) == 61.0
        assert permits.to_ask(61.0) == 1

    def test_a_later_answer_does_not_shorten_that(self) -> None:
        permits = holding(2)
        first, second = permits.take(1.0), permits.take(1.2)
        permits.limited(first, 60.0, 1.3)
        permits.limited(second, 9.0, 1.4)
        permits.leaving(1.5)
        assert permits.next_step_at(1.5) == pytest.approx(61.3)

    def test_being_silent_does_not_count_as_waiting_for_others(self) -> None:
        permits = holding(1)
        permits.limited(permits.take(1.0), 60.0, 1.0)
        permits.leaving(2.0)
        assert permits.to_ask(61.0) == 1
        permits.received([Message("2", body=others_waited(0.5))], 61.0, 61.2)
        permit = permits.take(permits.ready_at(61.2))
        assert permit.mean_wait < 1

    def test_a_second_of_refusals_costs_no_permit_more_than_two_doublings(self) -> None:
        """If each added to what the one before has learnt, they would rest for minutes because of a hiccup."""
        permits = holding(10)
        now = 0.0
        for _ in range(10):
            now = permits.ready_at(now)
            permit = permits.take(now)
            permits.limited(permit, 1.0, now)
            assert permit.doublings <= 2

    def test_a_rest_that_the_queue_ends_a_second_early_is_still_long_enough(self) -> None:
        permits = holding(calls=1)
        (last, permit) = call_until(permits, TURN_SECONDS)[-1]
        permits.limited(permit, 7.0, last)
        ((_, unseen_seconds),) = permits.leaving(last + 0.1)
        assert last + 0.1 + unseen_seconds - 1 >= permit.next_at - 0.25 * APART

    def test_a_short_rest_is_waited_out(self) -> None:
        permits = holding()
        permits.limited(permits.take(1.0), 1.0, 1.0)
        assert permits.leaving(1.0) == []
        assert len(call_until(permits, TURN_SECONDS, 1.0)) >= 2

    @pytest.mark.parametrize(("longer", "at_once"), [(-0.01, 0), (0.01, 1)])
    def test_and_so_is_one_that_ends_up_to_a_period_after_the_turn(self, longer: float, at_once: int) -> None:
        permits = holding()
        permit = permits.take(1.0)
        permits.limited(permit, permit.ends_at + 1.0 + 0.25 * APART + longer - 1.0, 1.0)
        assert len(permits.leaving(1.0)) == at_once

    @pytest.mark.parametrize(
        ("doublings", "apart"),
        [(0, APART), (0.01, APART_AFTER_REFUSAL), (NETWORK_DOUBLINGS, APART_AFTER_REFUSAL), (3.01, APART)],
    )
    def test_calls_are_farther_apart_as_long_as_it_may_be_the_network(self, doublings: float, apart: float) -> None:
        permits = an_instance()
        permits.to_ask(0.0)
        permits.received([Message(body=others_waited(0, doublings=doublings))], 0.0, 0.0)
        permit = permits.take(1.0)
        assert permit.next_at - 1.0 == pytest.approx(apart)

    def test_a_hundred_successes_undo_a_doubling(self) -> None:
        permits, permit = refused(0)
        for left in (0.75, 0.5, 0.25, 0.0, 0.0):
            for _ in range(FORGIVEN_AFTER // 4):
                permits.succeeded(permit)
            assert permit.doublings == pytest.approx(left, abs=1e-9)
            assert permits._doublings == pytest.approx(max(0.0, left - 0.5), abs=1e-9)

    def test_a_rest_that_is_shorter_than_the_period_does_not_shorten_it(self) -> None:
        permits = holding(rate=0.2)
        at = permits.ready_at(0.0)
        permit = permits.take(at)
        due = permit.next_at
        permits.limited(permit, 1.0, at)
        assert permit.next_at == due

    def test_an_answer_that_comes_after_its_permit_has_gone_back_changes_nothing(self) -> None:
        permits = holding(calls=1)
        (last, permit) = call_until(permits, TURN_SECONDS)[-1]
        back_at = permits.next_step_at(last) + 0.001
        permits.leaving(back_at)
        permits.limited(permit, 60.0, back_at + 1)
        assert permits.leaving(back_at + 1) == []


class TestStorageAway:
    def test_whoever_holds_a_permit_goes_on_to_the_end_of_the_turn(self) -> None:
        permits = holding(9)
        permits.to_ask(1.0)
        permits.failed(1.0)
        assert permits.ready_at(1.5) == 1.5

    def test_whoever_has_none_makes_no_call_however_long_it_lasts(self) -> None:
        permits = an_instance()
        for now in range(0, 3600, 2):
            assert permits.to_ask(now)
            permits.failed(now)
            assert permits.ready_at(now) == math.inf

    def test_waiting_for_storage_does_not_count_as_waiting_for_others(self) -> None:
        permits = an_instance()
        permits.to_ask(0.0)
        permits.failed(60.0)
        permits.to_ask(62.0)
        permits.received([Message()], 62.0, 62.0)
        (permit,) = {permit for _, permit in call_until(permits, 63.0, 62.0)}
        assert permit.mean_wait < 2

    def test_storage_is_asked_again_after_about_a_second(self) -> None:
        permits = an_instance()
        permits.to_ask(0.0)
        permits.failed(0.0)
        assert 1.0 <= permits.next_step_at(0.0) <= 1.2


@dataclass
class Received(Message):
    """A message with its pop receipt."""

    receipt: int = 0


@dataclass
class Stored:
    """A permit in the queue."""

    id: str
    visible_at: float = 0.0
    receipt: int = 0
    dequeue_count: int = 0
    body: bytes = NEW_PERMIT.encode()


@dataclass
class World:
    """A queue of permits, and a time in which what is due happens. `ends` is when an invisibility until then ends."""

    rate: float
    rng: random.Random
    ends: Callable[[float], float]
    permits: list[Stored] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)
    agenda: list[tuple[float, int, Callable[[float], None]]] = field(default_factory=list)
    tie: count[int] = field(default_factory=count)

    def at(self, when: float, what: Callable[[float], None]) -> None:
        heapq.heappush(self.agenda, (when, next(self.tie), what))

    def soon(self, now: float, what: Callable[[float], None]) -> None:
        """After the way to or from storage."""
        self.at(now + self.rng.uniform(0.2, 1.0) * WAY_SECONDS, what)

    def run(self, until: float) -> None:
        while self.agenda and self.agenda[0][0] < until:
            when, _, what = heapq.heappop(self.agenda)
            what(when)

    def put_back(self, message: Received, body: bytes, unseen: int, now: float) -> bool:
        stored = next(one for one in self.permits if one.id == message.id)
        if stored.receipt != message.receipt:
            return False
        stored.receipt += 1
        stored.body = body
        stored.visible_at = self.ends(now + unseen) if unseen else now
        return True

    def receive(self, most: int, lease_seconds: int, now: float) -> list[Received]:
        taken = [one for one in self.permits if one.visible_at <= now][:most]
        for one in taken:
            one.receipt += 1
            one.dequeue_count += 1
            one.visible_at = self.ends(now + lease_seconds)
        return [Received(one.id, one.dequeue_count, one.body, one.receipt) for one in taken]


class Instance:
    """Calls whenever it may until it is killed; at times its process stands still, or a call is refused with 429."""

    def __init__(self, world: World, begin: float, end: float) -> None:
        self._world = world
        self._end = end
        self._permits = Permits(world.rate, world.rng)
        world.at(begin, self._begin)

    def _begin(self, now: float) -> None:
        self._permits.want(ALL, now)
        self._step(now)

    def _step(self, now: float) -> None:
        if now >= self._end:
            return
        for permit, unseen in self._permits.leaving(now):
            self._world.soon(now, self._putting_back(permit, unseen))
        if most := self._permits.to_ask(now):
            self._world.soon(now, self._asking(most, now))
        if self._permits.ready_at(now) <= now:
            self._call(now)
        pause = self._world.rng.choice([0.0] * 50 + [2.0, 9.0])
        following = min(self._permits.next_step_at(now), self._permits.ready_at(now))
        if following < math.inf:
            self._world.at(max(following, now + 1e-3) + pause, self._step)

    def _call(self, now: float) -> None:
        self._world.calls.append(now)
        permit = self._permits.take(now)
        if self._world.rng.random() < 0.02:
            retry_after = self._world.rng.choice([None, 1.0, 20.0])
            self._world.at(now + 0.1, lambda at: self._permits.limited(permit, retry_after, at))

    def _putting_back(self, permit: Permit, unseen: int) -> Callable[[float], None]:
        def arrive(now: float) -> None:
            assert isinstance(permit.message, Received)
            if self._world.put_back(permit.message, permit.text.encode(), unseen, now):
                self._permits.gone_back(permit, unseen, now)
                self._step(now)

        return arrive

    def _asking(self, most: int, asked_at: float) -> Callable[[float], None]:
        def arrive(now: float) -> None:
            messages = self._world.receive(most, self._permits.lease_seconds, now)

            def answered(at: float) -> None:
                self._permits.received(messages, asked_at, at)
                self._step(at)

            self._world.soon(now, answered)

        return arrive


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    rate=st.sampled_from([10.0, 2.0, 2.5, 1 / 3, 0.33, 9.7, 3.33]),
    instances=st.integers(1, 8),
    ends=st.sampled_from([lambda end: end, math.floor, math.ceil]),
)
def test_no_window_of_a_period_ever_has_more_calls_than_permits(
    seed: int, rate: float, instances: int, ends: Callable[[float], float]
) -> None:
    """Whoever starts, is killed, is paused or refused, and however storage ends an invisibility."""
    rng = random.Random(seed)
    number, period = permits_for(rate)
    world = World(rate, rng, ends, [Stored(str(place)) for place in range(number)])
    for _ in range(instances):
        begin = rng.uniform(0, 20)
        Instance(world, begin, begin + rng.choice([5.0, 15.0, 100.0]))
    world.run(60.0)
    went = sorted(world.calls)
    for first, next_period in zip(went, went[number:], strict=False):
        assert next_period - first >= period - 1e-6
