"""Many callers, one call: what the batcher promises, on a virtual clock and with an API that answers from memory."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import random
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

from benchmarks.permits import PermitStore, SimulatedPermitQueue
from shared.batching.batcher import Batcher
from shared.batching.outcome_types import APPLIED, ImageOutcome, NotApplied, Refused, Retry
from shared.errors import (
    AccessDenied,
    CallRefused,
    MaxWaitExceeded,
    RateLimited,
    SharedFieldsRefused,
    Unavailable,
    UnexpectedResponse,
)
from shared.limits.admission import Admission
from shared.limits.distributed_rate_limit import Permits
from shared.limits.local_pacing import EvenSpacing
from shared.messages.custom_vision_ids import ImageId
from shared.services.permit_queue import SharedLimit
from tests.unit.shared.conftest import Call, FakeApi, image, images, new_batcher

pytestmark = pytest.mark.looptime

Submitted = asyncio.Task[Mapping[ImageId, NotApplied]]


async def submit(batcher: Batcher[str], key: str, ids: list[ImageId]) -> Mapping[ImageId, NotApplied]:
    return await batcher.submit(key, ids)


def submit_each(batcher: Batcher[str], ids: list[ImageId], key: str = "a") -> list[Submitted]:
    """One caller per image."""
    return [asyncio.ensure_future(submit(batcher, key, [image_id])) for image_id in ids]


async def all_applied(submitted: list[Submitted]) -> bool:
    return not any(await asyncio.gather(*submitted))


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


class TestBatches:
    async def test_a_call_never_has_more_than_64_images(self, api: FakeApi, batcher: Batcher[str]) -> None:
        assert await all_applied(submit_each(batcher, images(200)))
        assert api.sizes == [64, 64, 64, 8]

    async def test_a_message_with_many_images_is_split_and_has_one_outcome(
        self, api: FakeApi, batcher: Batcher[str]
    ) -> None:
        assert await batcher.submit("a", images(1000)) == {}
        assert api.sizes == [64] * 15 + [40]

    async def test_two_keys_never_share_a_call(self, api: FakeApi, batcher: Batcher[str]) -> None:
        submitted = [
            *submit_each(batcher, images(70), "a"),
            *submit_each(batcher, images(70, first=100), "b"),
        ]
        assert await all_applied(submitted)
        assert sorted((call.key, len(call.image_ids)) for call in api.calls) == [
            ("a", 6),
            ("a", 64),
            ("b", 6),
            ("b", 64),
        ]
        for call in api.calls:
            assert set(call.image_ids) <= set(images(70, first=0 if call.key == "a" else 100))

    async def test_each_message_has_its_own_outcome(self, api: FakeApi, batcher: Batcher[str]) -> None:
        told: dict[ImageId, ImageOutcome] = {
            image(0): APPLIED,
            image(1): Refused("ErrorImageNotFound"),
            image(2): Retry("status ErrorUnknown"),
        }
        api.answer = lambda call: {image_id: told[image_id] for image_id in call.image_ids}
        outcomes = await asyncio.gather(*submit_each(batcher, images(3)))
        assert outcomes == [{}, {image(1): told[image(1)]}, {image(2): told[image(2)]}]
        assert api.sizes == [3]

    async def test_an_image_that_the_answer_forgets_is_to_be_tried_again(
        self, api: FakeApi, batcher: Batcher[str]
    ) -> None:
        api.answer = lambda call: {image(0): APPLIED}
        assert await batcher.submit("a", images(2)) == {image(1): Retry("missing from the response")}

    async def test_the_same_image_twice_under_one_key_is_sent_once_and_answers_both(
        self, api: FakeApi, batcher: Batcher[str]
    ) -> None:
        api.answer = lambda call: dict.fromkeys(call.image_ids, Refused("ErrorLimitExceed"))
        first, second = await asyncio.gather(*submit_each(batcher, [image(1), image(1)]))
        assert api.times_sent == {image(1): 1}
        assert first == second == {image(1): Refused("ErrorLimitExceed")}

    async def test_the_same_image_twice_in_one_message_is_sent_once(self, api: FakeApi, batcher: Batcher[str]) -> None:
        assert await batcher.submit("a", [image(1), image(1)]) == {}
        assert api.times_sent == {image(1): 1}

    async def test_an_update_without_images_is_refused(self, batcher: Batcher[str]) -> None:
        with pytest.raises(ValueError, match="at least one image"):
            await batcher.submit("a", [])


class TestWhenABatchGoes:
    async def test_a_full_batch_goes_at_once(self, api: FakeApi, batcher: Batcher[str]) -> None:
        await asyncio.gather(*submit_each(batcher, images(64)))
        assert api.calls[0].began == 0

    async def test_a_batch_that_is_not_full_goes_when_its_oldest_update_has_lingered(
        self, api: FakeApi, batcher: Batcher[str]
    ) -> None:
        first = submit_each(batcher, [image(1)])
        await asyncio.sleep(0.7)
        assert await all_applied(first + submit_each(batcher, [image(2)]))
        assert [(call.began, len(call.image_ids)) for call in api.calls] == [(1.0, 2)]

    async def test_what_is_left_of_a_lane_lingers_for_itself(self, api: FakeApi, batcher: Batcher[str]) -> None:
        first = submit_each(batcher, images(10))
        await asyncio.sleep(0.5)
        assert await all_applied(first + submit_each(batcher, images(60, first=10)))
        assert [(call.began, len(call.image_ids)) for call in api.calls] == [(0.5, 64), (1.5, 6)]

    async def test_full_batches_go_before_others_that_have_lingered(self) -> None:
        api = FakeApi()
        batcher = new_batcher(api, calls_per_second=0.2)
        submitted = submit_each(batcher, images(64), "takes the first turn")
        await asyncio.sleep(0.1)
        submitted += submit_each(batcher, [image(9999)], "lingered")
        await asyncio.sleep(2)
        submitted += submit_each(batcher, images(64, first=100), "full")
        assert await all_applied(submitted)
        assert [call.key for call in api.calls] == ["takes the first turn", "full", "lingered"]

    async def test_while_calls_are_rationed_what_waits_fills_up(self) -> None:
        api = FakeApi()
        batcher = new_batcher(api, calls_per_second=0.1, linger=0.1)
        submitted: list[Submitted] = []
        for number in range(129):  # one every 0.1 s, while a call may go every 10 s
            submitted += submit_each(batcher, [image(number)])
            await asyncio.sleep(0.1)
        assert await all_applied(submitted)
        assert len(api.calls) <= 4

    async def test_the_fullest_goes_first(self) -> None:
        api = FakeApi()
        batcher = new_batcher(api, calls_per_second=1, linger=0.5)
        submitted = submit_each(batcher, images(64), "opens")
        for key, count in (("few", 3), ("many", 30), ("some", 10)):
            submitted += submit_each(batcher, images(count, first=1000 * count), key)
        assert await all_applied(submitted)
        assert [call.key for call in api.calls] == ["opens", "many", "some", "few"]

    async def test_a_rare_key_is_not_starved_by_keys_that_are_always_full(self) -> None:
        api = FakeApi()
        batcher = new_batcher(api, calls_per_second=1, starvation=10)
        rare = submit_each(batcher, [image(0)], "rare")[0]
        feeding = [
            asyncio.ensure_future(submit(batcher, "frequent", images(64, first=64 * number))) for number in range(1, 30)
        ]
        await rare
        assert 10 <= api.calls[-1].began <= 12
        assert not all(task.done() for task in feeding)
        await asyncio.gather(*feeding)

    async def test_no_more_calls_are_on_the_wire_than_allowed(self) -> None:
        api = FakeApi(latency=1.0)
        batcher = new_batcher(api, max_in_flight=2)
        assert await batcher.submit("a", images(64 * 5)) == {}
        assert [round(call.began, 3) for call in api.calls] == [0, 0, 1, 1, 2]

    async def test_calls_keep_to_the_rate(self) -> None:
        api = FakeApi()
        batcher = new_batcher(api, calls_per_second=10)
        await batcher.submit("a", images(64 * 50))
        began = [call.began for call in api.calls]
        assert all(later - earlier >= 1 - 1e-6 for earlier, later in zip(began, began[20:], strict=False))


class TestOrder:
    async def test_two_updates_of_an_image_are_applied_in_the_order_of_arrival_and_never_together(self) -> None:
        api = FakeApi(latency=5.0)
        batcher = new_batcher(api, linger=0.1)
        submitted = [asyncio.ensure_future(submit(batcher, key, [image(1)])) for key in ("a", "b", "a", "c")]
        assert await all_applied(submitted)
        assert [call.key for call in api.calls] == ["a", "b", "a", "c"]
        for earlier, later in zip(api.calls, api.calls[1:], strict=False):
            assert earlier.ended is not None
            assert earlier.ended <= later.began

    async def test_an_update_does_not_join_a_call_that_is_on_the_wire(self) -> None:
        api = FakeApi(latency=5.0)
        batcher = new_batcher(api, linger=0.1)
        first = submit_each(batcher, [image(1)])
        await asyncio.sleep(1)
        assert await all_applied(first + submit_each(batcher, [image(1)]))
        assert len(api.calls) == 2

    async def test_other_images_do_not_wait_for_an_image_that_is_behind_another_update(self) -> None:
        api = FakeApi(latency=5.0)
        batcher = new_batcher(api, linger=0.1)
        blocked = submit_each(batcher, [image(1)], "a") + submit_each(batcher, [image(1)], "b")
        free = submit_each(batcher, [image(2)], "b")
        await asyncio.gather(*free)
        assert not blocked[1].done()
        await asyncio.gather(*blocked)


class TestGivingUp:
    async def test_a_caller_that_gives_up_while_waiting_is_never_sent_and_leaves_nothing_behind(
        self, api: FakeApi, batcher: Batcher[str]
    ) -> None:
        gone, stays = submit_each(batcher, [image(1), image(2)])
        await asyncio.sleep(0.5)
        gone.cancel()
        assert await stays == {}
        assert api.times_sent == {image(2): 1}
        assert len(batcher) == 0

    async def test_a_caller_that_gives_up_while_its_batch_is_on_the_wire_does_not_disturb_it(self) -> None:
        api = FakeApi(latency=5.0)
        batcher = new_batcher(api, linger=0.1)
        gone, stays = submit_each(batcher, [image(1), image(2)])
        await asyncio.sleep(1)
        gone.cancel()
        assert await stays == {}
        assert len(batcher) == 0

    async def test_one_of_two_who_want_the_same_can_give_up(self, api: FakeApi, batcher: Batcher[str]) -> None:
        gone, stays = submit_each(batcher, [image(1), image(1)])
        await asyncio.sleep(0.5)
        gone.cancel()
        assert await stays == {}

    async def test_who_gives_up_behind_another_update_lets_the_next_one_through(self) -> None:
        api = FakeApi(latency=2.0)
        batcher = new_batcher(api, linger=0.1)
        first, gone, last = (asyncio.ensure_future(submit(batcher, key, [image(1)])) for key in "abc")
        await asyncio.sleep(1)
        gone.cancel()
        await asyncio.gather(first, last)
        assert [call.key for call in api.calls] == ["a", "c"]
        assert len(batcher) == 0

    async def test_who_has_waited_too_long_in_vain_leaves_and_the_others_stay(self) -> None:
        api = FakeApi(answer=raising(AccessDenied("401")))
        batcher = new_batcher(api, hold=100)
        first = submit_each(batcher, [image(1)])[0]
        await asyncio.sleep(90)
        second = submit_each(batcher, [image(2)])[0]
        with pytest.raises(MaxWaitExceeded):
            await first
        assert asyncio.get_running_loop().time() == pytest.approx(100)
        api.answer = FakeApi().answer
        assert await second == {}
        assert len(batcher) == 0

    async def test_who_gives_up_while_the_service_is_down_leaves_nothing_behind(
        self, api: FakeApi, batcher: Batcher[str]
    ) -> None:
        api.answer = raising(Unavailable("down"))
        tasks = submit_each(batcher, images(100))
        await asyncio.sleep(5)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        api.answer = FakeApi().answer
        await batcher.submit("b", [image(1000)])
        assert len(batcher) == 0


def raising(error: Exception):  # type: ignore[no-untyped-def]
    def answer(call: Call) -> Mapping[ImageId, ImageOutcome]:
        raise error

    return answer


def refusing(bad: set[ImageId], error: Exception):  # type: ignore[no-untyped-def]
    """An API that refuses every call with one of these images."""

    def answer(call: Call) -> Mapping[ImageId, ImageOutcome]:
        if bad & set(call.image_ids):
            raise error
        return dict.fromkeys(call.image_ids, APPLIED)

    return answer


@pytest.mark.usefixtures("no_garbage_collection")
class TestMemory:
    """What is done with leaves no reference cycles: thousands a second of them would keep the collector busy."""

    async def test_nothing_is_left_of_updates_that_have_their_outcome(self, batcher: Batcher[str]) -> None:
        updates = [asyncio.ensure_future(batcher.submit("a", images(3, first=number))) for number in range(100)]
        left = [weakref.ref(update) for update in updates]
        await asyncio.gather(*updates)
        updates.clear()
        await asyncio.sleep(0)
        assert not any(update() for update in left)

    async def test_nothing_is_left_of_updates_whose_callers_have_gone(
        self, api: FakeApi, batcher: Batcher[str]
    ) -> None:
        api.latency = 1.0
        updates = [asyncio.ensure_future(batcher.submit("a", images(3, first=number))) for number in range(100)]
        left = [weakref.ref(update) for update in updates]
        await asyncio.sleep(0.5)
        for update in updates:
            update.cancel()
        updates.clear()
        del update
        await asyncio.sleep(2.0)
        assert not any(ref() for ref in left)


class TestErrors:
    async def test_what_the_batch_has_in_common_is_refused_for_all_at_once(
        self, api: FakeApi, batcher: Batcher[str]
    ) -> None:
        api.answer = raising(SharedFieldsRefused("NotFoundProject", "no such project"))
        outcomes = await asyncio.gather(*submit_each(batcher, images(3)))
        assert outcomes == [{image(n): Refused("NotFoundProject", "no such project")} for n in range(3)]
        assert len(api.calls) == 1

    async def test_a_refused_image_does_not_fail_its_neighbours(self, api: FakeApi, batcher: Batcher[str]) -> None:
        api.answer = refusing({image(17)}, CallRefused("BadRequestInvalidIds", "an id is invalid"))
        outcomes = await asyncio.gather(*submit_each(batcher, images(64)))
        assert [outcome for outcome in outcomes if outcome] == [
            {image(17): Refused("BadRequestInvalidIds", "an id is invalid")}
        ]
        assert len(api.calls) <= 14, "one bad message among 64 costs at most 13 extra calls"

    async def test_the_images_of_one_message_are_not_told_apart(self, api: FakeApi, batcher: Batcher[str]) -> None:
        api.answer = refusing({image(3)}, CallRefused("BadRequestInvalidIds", "an id is invalid"))
        assert set(await batcher.submit("a", images(64))) == set(images(64))
        assert len(api.calls) == 1

    async def test_a_search_leaves_other_traffic_every_other_call(self) -> None:
        api = FakeApi(answer=refusing({image(17)}, CallRefused("BadRequest", "")))
        batcher = new_batcher(api, calls_per_second=1)
        submitted = submit_each(batcher, images(64), "suspect")
        submitted += submit_each(batcher, images(64 * 20, first=1000), "other")
        await asyncio.gather(*submitted)
        keys = [call.key for call in api.calls if call.began >= 3]
        assert set(keys[:4]) == {"suspect", "other"}

    async def test_who_wants_the_same_as_a_suspect_that_waits_shares_its_call_and_its_outcome(self) -> None:
        api = FakeApi(answer=refusing({image(1)}, CallRefused("BadRequest", "")))
        batcher = new_batcher(api, calls_per_second=0.5)
        first = submit_each(batcher, images(2))
        await asyncio.sleep(1.5)
        assert api.sizes == [2]
        outcomes = await asyncio.gather(*first, *submit_each(batcher, [image(1)]))
        assert outcomes == [{}, *[{image(1): Refused("BadRequest", "")}] * 2]
        assert api.sizes == [2, 1, 1]

    async def test_an_unforeseen_answer_costs_only_the_message_that_provokes_it(
        self, api: FakeApi, batcher: Batcher[str]
    ) -> None:
        api.answer = refusing({image(5)}, UnexpectedResponse("418"))
        outcomes = await asyncio.gather(*submit_each(batcher, images(64)))
        assert [outcome for outcome in outcomes if outcome] == [{image(5): Retry("418")}]

    async def test_our_own_error_costs_only_the_message_that_provokes_it(
        self, api: FakeApi, batcher: Batcher[str]
    ) -> None:
        api.answer = refusing({image(5)}, ZeroDivisionError("a bug"))
        outcomes = await asyncio.gather(*submit_each(batcher, images(64)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes if outcome] == [ZeroDivisionError]
        assert len(batcher) == 0

    async def test_an_image_that_makes_the_service_stumble_does_not_hold_up_its_neighbours(
        self, api: FakeApi, batcher: Batcher[str]
    ) -> None:
        api.answer = refusing({image(5)}, Unavailable("500"))
        tasks = submit_each(batcher, images(64))
        outcomes = await asyncio.gather(*tasks)
        assert [outcome for outcome in outcomes if outcome] == [{image(5): Retry("500")}]
        with_it = [len(call.image_ids) for call in api.calls if image(5) in call.image_ids]
        assert with_it == [64, 63, 62, 30, 15, 7, 3, 1]  # three times with all others; then it is searched for

    @pytest.mark.parametrize(
        ("error", "sizes"), [(UnexpectedResponse("418"), [1, 1]), (ZeroDivisionError("a bug"), [2])]
    )
    async def test_a_message_that_nobody_could_answer_for_goes_by_itself_when_it_comes_back(
        self, api: FakeApi, batcher: Batcher[str], error: Exception, sizes: list[int]
    ) -> None:
        api.answer = raising(error)
        await asyncio.gather(batcher.submit("a", [image(1)], message_id="1"), return_exceptions=True)
        api.answer = FakeApi().answer
        api.calls.clear()
        back = batcher.submit("a", [image(1)], message_id="1")
        assert not any(await asyncio.gather(back, batcher.submit("a", [image(2)])))
        assert api.sizes == sizes

    @pytest.mark.parametrize("error", [Unavailable("503"), RateLimited("429"), AccessDenied("401")])
    async def test_trouble_that_is_nobodys_fault_is_waited_out(
        self, api: FakeApi, batcher: Batcher[str], error: Exception
    ) -> None:
        tasks = submit_each(batcher, images(100))
        api.answer = raising(error)
        await asyncio.sleep(20)
        assert not any(task.done() for task in tasks)
        api.answer = FakeApi().answer
        assert await all_applied(tasks)

    async def test_after_an_outage_everything_goes_out_in_full_batches(
        self, api: FakeApi, batcher: Batcher[str]
    ) -> None:
        api.answer = raising(Unavailable("down"))
        tasks: list[Submitted] = []
        for number in range(256):
            tasks += submit_each(batcher, [image(number)])
            await asyncio.sleep(0.1)
        during = len(api.calls)
        api.answer = FakeApi().answer
        assert await all_applied(tasks)
        assert sorted(api.sizes[during:]) == [1, 63, 64, 64, 64]

    async def test_during_an_outage_one_probe_at_a_time_with_back_off(
        self, api: FakeApi, batcher: Batcher[str]
    ) -> None:
        api.answer = raising(Unavailable("down"))
        api.latency = 0.25
        tasks = submit_each(batcher, images(640))
        await asyncio.sleep(300)
        probes = api.calls[10:]
        assert len(probes) <= 12
        for earlier, later in itertools.pairwise(probes):
            assert earlier.ended is not None
            assert earlier.ended < later.began
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def test_closing_ends_the_calls_on_the_wire(self) -> None:
        api = FakeApi(latency=100)
        batcher = new_batcher(api)
        tasks = submit_each(batcher, images(65))
        await asyncio.sleep(0.1)
        await batcher.aclose()
        assert api.calls[0].ended == pytest.approx(0.1)
        tasks += submit_each(batcher, images(64, first=100))
        await asyncio.sleep(10)
        assert len(api.calls) == 1
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert len(batcher) == 0

    async def test_closing_hands_the_permits_back_and_asks_for_none(self, api: FakeApi) -> None:
        limiter = KeepingLimiter()
        batcher = new_batcher(api, limiter=limiter)
        tasks = submit_each(batcher, images(130))
        await asyncio.sleep(0)
        assert limiter.wanted[-1] == 1
        await batcher.aclose()
        assert limiter.is_closed
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        batcher._advance()
        assert limiter.wanted[-1] == 0


class KeepingLimiter(EvenSpacing):
    """Keeps how many calls are wanted, and whether it is closed."""

    def __init__(self) -> None:
        super().__init__(1e9)
        self.wanted: list[int] = []
        self.is_closed = False

    def want(self, calls: int, now: float) -> None:
        self.wanted.append(calls)

    async def aclose(self) -> None:
        self.is_closed = True


class TestOurOwnErrors:
    async def test_a_call_whose_end_breaks_our_code_leaves_nobody_waiting(
        self, batcher: Batcher[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        take_outcomes = batcher._backlog.take_outcomes

        def broken(*_: object) -> None:
            monkeypatch.setattr(batcher._backlog, "take_outcomes", take_outcomes)
            raise KeyError("ours")

        monkeypatch.setattr(batcher._backlog, "take_outcomes", broken)
        with pytest.raises(RuntimeError, match="KeyError"):
            await batcher.submit("a", [image(1)])
        assert "the end of a call broke the batcher" in caplog.text
        assert await batcher.submit("a", [image(1)]) == {}
        assert len(batcher) == 0


class TestSearchesThatOutlastTheWait:
    async def test_what_a_search_has_learnt_survives_the_return_of_its_messages(self) -> None:
        """Sixteen of 64 are at fault; at one call a second no message waits long enough for the search to end."""
        bad = {image(number) for number in range(0, 64, 4)}
        api = FakeApi(answer=refusing(bad, CallRefused("BadRequest", "")))
        batcher = new_batcher(api, calls_per_second=1, hold=8)
        refused = await asyncio.wait_for(asyncio.gather(*(deliver(batcher, image(n)) for n in range(64))), 600)
        assert {image_id for one in refused for image_id in one} == bad
        assert len(batcher) == 0


class TestThoseWhoComeBack:
    """A message that comes back is not overtaken by the later updates of its images that wait behind it."""

    @pytest.mark.parametrize("outcome", [Retry("status ErrorUnknown"), ZeroDivisionError("a bug")])
    async def test_it_takes_later_updates_of_its_image_along(
        self, api: FakeApi, batcher: Batcher[str], outcome: Retry | Exception
    ) -> None:
        def answer(call: Call) -> Mapping[ImageId, ImageOutcome]:
            if isinstance(outcome, Exception):
                raise outcome
            return {image(1): outcome}

        api.answer = answer
        submitted = [asyncio.ensure_future(submit(batcher, key, [image(1)])) for key in ("first", "second", "third")]
        await asyncio.wait(submitted)
        assert [call.key for call in api.calls] == ["first"]
        for later in submitted[1:]:
            (told,) = later.result().values()
            assert isinstance(told, Retry)
        assert len(batcher) == 0

    async def test_who_fails_alone_for_the_third_time_takes_them_along_too(
        self, api: FakeApi, batcher: Batcher[str]
    ) -> None:
        api.answer = refusing({image(5)}, Unavailable("500"))
        first = submit_each(batcher, images(64), "first")
        second = submit_each(batcher, [image(5)], "second")
        await asyncio.wait(first + second)
        assert first[5].result() == {image(5): Retry("500")}
        assert [isinstance(one, Retry) for one in second[0].result().values()] == [True]
        assert "second" not in {call.key for call in api.calls}

    async def test_who_has_waited_too_long_takes_them_along(self) -> None:
        api = FakeApi(answer=raising(Unavailable("down")))
        batcher = new_batcher(api, hold=100)
        first = submit_each(batcher, [image(1)], "first")
        await asyncio.sleep(50)
        second = submit_each(batcher, [image(1)], "second")
        await asyncio.wait(first + second)
        assert asyncio.get_running_loop().time() == pytest.approx(100)
        assert isinstance(first[0].exception(), MaxWaitExceeded)
        assert [isinstance(one, Retry) for one in second[0].result().values()] == [True]

    async def test_updates_of_other_images_in_the_same_message_are_not_touched(
        self, api: FakeApi, batcher: Batcher[str]
    ) -> None:
        api.answer = lambda call: {
            image_id: Retry("later") if (call.key, image_id) == ("first", image(1)) else APPLIED
            for image_id in call.image_ids
        }
        first = submit_each(batcher, [image(1)], "first")
        second = asyncio.ensure_future(submit(batcher, "second", [image(1), image(2)]))
        await asyncio.wait([*first, second])
        assert set(second.result()) == {image(1)}
        assert api.times_sent[image(2)] == 1


class TestProjects:
    """The scope of a key is its first letter: trouble that only one has is that one's."""

    @pytest.mark.parametrize("error", [AccessDenied("403"), Unavailable("500")])
    async def test_a_project_in_trouble_does_not_hold_up_the_others(self, error: Exception) -> None:
        def answer(call: Call) -> Mapping[ImageId, ImageOutcome]:
            if call.key.startswith("x"):
                raise error
            return dict.fromkeys(call.image_ids, APPLIED)

        api = FakeApi(answer=answer)
        batcher = new_batcher(api, linger=0.1, scope_of=lambda key: key[0])
        assert await batcher.submit("a", [image(0)]) == {}
        troubled = submit_each(batcher, images(100, first=1000), "x")
        for number in range(1, 60):
            before = asyncio.get_running_loop().time()
            assert await batcher.submit("a", [image(number)]) == {}
            assert asyncio.get_running_loop().time() - before == pytest.approx(0.1, abs=0.001)
            await asyncio.sleep(1)
        probes = [call for call in api.calls if call.key == "x"][1:]
        assert 2 < len(probes) < 12
        assert {len(call.image_ids) for call in probes} == {1}
        assert not any(task.done() for task in troubled)
        api.answer = FakeApi().answer
        assert await all_applied(troubled)

    async def test_two_projects_in_trouble_delay_a_third_once_at_most(self) -> None:
        def answer(call: Call) -> Mapping[ImageId, ImageOutcome]:
            if call.key in "xy":
                raise Unavailable("500")
            return dict.fromkeys(call.image_ids, APPLIED)

        batcher = new_batcher(FakeApi(answer=answer), linger=0.1, scope_of=lambda key: key[0])
        troubled = [submit_each(batcher, images(100, first=1000 * n), key) for n, key in enumerate("xy", 1)]
        await asyncio.sleep(60)
        assert await batcher.submit("a", [image(0)]) == {}
        for number in range(1, 60):
            before = asyncio.get_running_loop().time()
            assert await batcher.submit("a", [image(number)]) == {}
            assert asyncio.get_running_loop().time() - before == pytest.approx(0.1, abs=0.001)
            await asyncio.sleep(30)
        for task in itertools.chain(*troubled):
            task.cancel()
        await batcher.aclose()

    async def test_trouble_that_all_have_is_the_services_and_one_probe_at_a_time_tries_it(self) -> None:
        api = FakeApi(latency=0.25, answer=raising(Unavailable("down")))
        batcher = new_batcher(api, linger=0.1, scope_of=lambda key: key[0])
        tasks = [task for key in "abcdef" for task in submit_each(batcher, images(64, first=64 * ord(key)), key)]
        await asyncio.sleep(100)
        probes = api.calls[6:]
        assert len(probes) <= 12
        for earlier, later in itertools.pairwise(probes):
            assert earlier.ended is not None
            assert earlier.ended < later.began
        api.answer = FakeApi().answer
        before = len(api.calls)
        assert await all_applied(tasks)
        assert len(api.calls) - before <= 7

    async def test_a_suspended_project_without_messages_keeps_nobody_busy(
        self, api: FakeApi, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        api.answer = raising(AccessDenied("403"))
        batcher = new_batcher(api, linger=0.1, hold=5, scope_of=lambda key: key[0])
        with pytest.raises(MaxWaitExceeded):
            await batcher.submit("x", [image(1)])
        turns = 0
        advance = batcher._advance

        def counted() -> None:
            nonlocal turns
            turns += 1
            assert turns < 100, "it spins"
            advance()

        monkeypatch.setattr(batcher, "_advance", counted)
        await asyncio.sleep(100)
        assert turns < 10
        api.answer = FakeApi().answer
        assert await batcher.submit("x", [image(1)]) == {}

    async def test_a_suspended_project_is_tried_again_although_no_permit_is_held_meanwhile(self, api: FakeApi) -> None:
        rng = random.Random(1)
        limiter = SharedLimit(Permits(10.0, rng), SimulatedPermitQueue(PermitStore(10, rng)))
        api.answer = raising(Unavailable("500"))
        batcher = new_batcher(api, scope_of=lambda key: key[0], limiter=limiter)
        waiting = asyncio.ensure_future(submit(batcher, "x", [image(1)]))
        await asyncio.sleep(10)
        api.answer = FakeApi().answer
        async with asyncio.timeout(60):
            assert await waiting == {}
        await batcher.aclose()

    async def test_two_images_that_break_the_service_do_not_stop_their_project(self) -> None:
        bad = {image(3), image(40)}
        api = FakeApi(answer=refusing(bad, Unavailable("500")))
        batcher = new_batcher(api, hold=240, scope_of=lambda key: key[0])
        tasks = submit_each(batcher, images(64), "x")
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(outcome == {} for outcome in outcomes) == 62


class TestAround:
    async def test_a_call_is_told_with_its_size_its_longest_wait_and_its_callers(self, api: FakeApi) -> None:
        told: list[tuple[int, float, list[object]]] = []

        def around(images: int, waited: float, tags: Sequence[Any]) -> AbstractContextManager[None]:
            told.append((images, waited, list(tags)))
            return nullcontext()

        batcher = Batcher(
            api.send, Admission("API", EvenSpacing(1e9)), scope_of=lambda _: None, batch_size=64, linger_seconds=5.0,
            max_wait_seconds=100, starvation_seconds=10, max_in_flight=4, around=around,
        )  # fmt: skip
        first = asyncio.ensure_future(batcher.submit("a", images(2), tag="first"))
        await asyncio.sleep(3)
        others = [batcher.submit("a", [image(9)], tag="second"), batcher.submit("a", [image(10)])]
        await asyncio.gather(first, *others)
        ((count, waited, tags),) = told
        assert (count, tags) == (4, ["first", "second"])
        assert waited == pytest.approx(5.0)


class TestLog:
    async def test_our_own_error_is_an_error_in_one_line(
        self, api: FakeApi, batcher: Batcher[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        api.answer = raising(ZeroDivisionError("a\nbug"))
        with pytest.raises(ZeroDivisionError):
            await submit(batcher, "a", [image(1)])
        assert [(line.levelname, line.getMessage()) for line in caplog.records] == [
            ("ERROR", "unexpected error in a call: ZeroDivisionError: a\\nbug")
        ]

    async def test_what_the_api_says_is_no_line_of_its_own(
        self, api: FakeApi, batcher: Batcher[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        api.answer = raising(CallRefused("BadRequest", "no"))
        await submit(batcher, "a", [image(1)])
        assert caplog.records == []

    async def test_that_calls_are_suspended_and_resumed(
        self, api: FakeApi, batcher: Batcher[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        api.answer = raising(Unavailable("down"))
        tasks = submit_each(batcher, images(100))
        await asyncio.sleep(20)
        assert "API: calls are suspended: down" in caplog.text
        api.answer = FakeApi().answer
        assert await all_applied(tasks)
        assert "calls are resumed after" in caplog.text

    async def test_a_batch_is_one_line(
        self, api: FakeApi, batcher: Batcher[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "shared")
        api.answer = lambda call: dict.fromkeys(call.image_ids, APPLIED) | {image(0): Refused("ErrorImageNotFound")}
        await asyncio.gather(*submit_each(batcher, images(64)))
        assert [(record.name, record.message) for record in caplog.records] == [
            ("shared.batching.batcher", "63 of 64 images applied in 0.00 s (None)")
        ]


async def deliver(batcher: Batcher[str], image_id: ImageId) -> Mapping[ImageId, NotApplied]:
    """Deliver a message as often as it comes back, 20 s later."""
    while True:
        try:
            return await batcher.submit("a", [image_id])
        except MaxWaitExceeded:
            await asyncio.sleep(20)
