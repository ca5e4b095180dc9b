"""A message that comes back sends only what it still lacks: an old value does not replace a newer one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from shared.batching.batcher import Batcher
from shared.batching.outcome_types import APPLIED, ImageOutcome, NotApplied, Refused, Retry
from shared.errors import MaxWaitExceeded
from shared.limits.admission import Admission
from shared.limits.local_pacing import EvenSpacing
from shared.messages.update import BatchKey, left_of
from tests.unit.shared.conftest import Call, FakeApi, image, images, new_batcher

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.messages.custom_vision_ids import ImageId

pytestmark = pytest.mark.looptime

A, B = images(2)
LATER = Retry("status ErrorUnknown")


class Service:
    """Keeps the key that each image was updated with last. `again`: what is to be tried again, once each."""

    def __init__(self, *again: tuple[str, ImageId]) -> None:
        self.again = set(again)
        self.refused: set[ImageId] = set()
        self.values: dict[ImageId, str] = {}
        self.api = FakeApi(latency=0.2, answer=self._answer)

    def _answer(self, call: Call) -> Mapping[ImageId, ImageOutcome]:
        return {image_id: self._update(call.key, image_id) for image_id in call.image_ids}

    def _update(self, key: str, image_id: ImageId) -> ImageOutcome:
        if (key, image_id) in self.again:
            self.again.remove((key, image_id))
            return LATER
        if image_id in self.refused:
            return Refused("ErrorImageNotFound")
        self.values[image_id] = key
        return APPLIED


def submit(batcher: Batcher[str], name: str, ids: list[ImageId]) -> asyncio.Task[Mapping[ImageId, NotApplied]]:
    """A message that is known by the key it has."""
    return asyncio.ensure_future(batcher.submit(name, ids, message_id=name))


async def test_an_image_that_is_applied_is_not_sent_again() -> None:
    service = Service(("old", B))
    batcher = new_batcher(service.api)
    old, new = submit(batcher, "old", [A, B]), submit(batcher, "new", [A])
    assert await old == {B: LATER}
    assert await new == {}
    assert await submit(batcher, "old", [A, B]) == {}
    assert service.values == {A: "new", B: "old"}
    assert service.api.times_sent == {A: 2, B: 2}


@pytest.mark.parametrize("first", ["old", "new"])
async def test_two_that_come_back_end_in_the_order_of_their_first_arrival(first: str) -> None:
    service = Service(("old", B))
    batcher = new_batcher(service.api)
    assert [set(one) for one in await asyncio.gather(submit(batcher, "old", [A, B]), submit(batcher, "new", [B]))] == [
        {B},
        {B},
    ]
    ids = {"old": [A, B], "new": [B]}
    for name in (first, "new" if first == "old" else "old"):
        assert await submit(batcher, name, ids[name]) == {}
    assert service.values == {A: "old", B: "new"}


@pytest.mark.parametrize("pause", [0.0, 0.5, 1.1])
async def test_an_earlier_message_that_waits_behind_a_later_one_has_nothing_left_to_send(pause: float) -> None:
    """Whether the later one waits, or is on the wire."""
    service = Service(("old", B))
    batcher = new_batcher(service.api)
    await asyncio.gather(submit(batcher, "old", [A, B]), submit(batcher, "new", [B]))
    new = submit(batcher, "new", [B])
    await asyncio.sleep(pause)
    assert await submit(batcher, "old", [A, B]) == {}
    assert await new == {}
    assert service.values == {A: "old", B: "new"}
    assert service.api.times_sent[B] == 2
    assert len(batcher) == 0


async def test_a_later_message_counts_while_the_earlier_one_still_waits_for_other_images() -> None:
    service = Service(("old", B))
    batcher = new_batcher(service.api, calls_per_second=0.1)
    old = submit(batcher, "old", [B, *images(64, first=100)])
    await asyncio.sleep(2)
    assert await submit(batcher, "new", [B]) == {}
    await old
    assert await submit(batcher, "old", [B, *images(64, first=100)]) == {}
    assert service.values[B] == "new"


async def test_a_new_message_that_restores_the_old_value_is_sent() -> None:
    service = Service()
    batcher = new_batcher(service.api)
    for name, key in (("1", "old"), ("2", "new"), ("3", "old")):
        assert await batcher.submit(key, [A], message_id=name) == {}
    assert service.values == {A: "old"}


async def test_who_has_waited_too_long_keeps_what_is_applied() -> None:
    service = Service()
    batcher = new_batcher(service.api, calls_per_second=0.1, hold=25)
    with pytest.raises(MaxWaitExceeded):
        await submit(batcher, "large", images(200))
    assert await submit(batcher, "large", images(200)) == {}
    assert set(service.api.times_sent.values()) == {1}


async def test_a_refusal_is_remembered_until_the_message_is_done_with() -> None:
    service = Service(("old", B))
    service.refused = {A}
    batcher = new_batcher(service.api)
    refused = Refused("ErrorImageNotFound")
    assert await submit(batcher, "old", [A, B]) == {A: refused, B: LATER}
    assert await submit(batcher, "old", [A, B]) == {A: refused}
    assert await submit(batcher, "old", [A, B]) == {A: refused}, "as when its dead letter could not be written"
    assert service.api.times_sent == {A: 1, B: 2}
    batcher.forget("old")
    assert not batcher._memory._messages
    assert not batcher._memory._lacking


async def test_the_same_message_delivered_twice_at_a_time_is_as_old_as_its_first_delivery() -> None:
    service = Service()
    batcher = new_batcher(service.api)
    deliveries = [submit(batcher, name, [A]) for name in ("old", "new", "old")]
    assert await asyncio.gather(*deliveries) == [{}, {}, {}]
    assert service.values == {A: "new"}


async def test_ten_thousand_images_are_remembered_and_the_longest_ago_are_forgotten() -> None:
    service = Service(("1", image(0)), ("2", image(10)))
    batcher = new_batcher(service.api)
    await submit(batcher, "1", images(2))
    await submit(batcher, "2", images(9_998, first=10))
    await submit(batcher, "1", images(2))
    assert service.api.times_sent[image(1)] == 1
    service.again.add(("3", image(20_000)))
    await submit(batcher, "3", images(2, first=20_000))
    memory = batcher._memory
    assert set(memory._messages) == {"1", "3"}
    assert set(memory._lacking) == {image(20_000)}
    await submit(batcher, "2", [image(11)])
    assert service.api.times_sent[image(11)] == 2, "one that is forgotten sends all of its images again"


async def test_a_message_that_comes_back_often_takes_the_room_of_one() -> None:
    service = Service(("1", A))
    batcher = new_batcher(service.api)
    for _ in range(5):
        await submit(batcher, "1", images(4_000))
    assert service.api.times_sent[B] == 1
    assert batcher._memory._images_away == 4_000


class TestPairsOfTheirOwn:
    """The service keeps pairs that an update does not name, so a newer one may replace only a part of an older one."""

    @staticmethod
    def key(**pairs: str) -> BatchKey:
        return BatchKey("p", frozenset(pairs.items()))

    @pytest.mark.parametrize(
        "pause", [None, 0.0, 0.5, 1.1], ids=["after it", "behind it", "still behind it", "on the wire"]
    )
    @pytest.mark.parametrize(
        ("old", "new", "left", "value"),
        [
            ({"decade": "1950s"}, {"decade": "1960s"}, None, {"decade": "1960s"}),
            ({"decade": "1950s"}, {"review": "ok"}, {"decade": "1950s"}, {"decade": "1950s", "review": "ok"}),
            (
                {"decade": "1950s", "place": "Harbour"},
                {"decade": "1960s", "review": "ok"},
                {"place": "Harbour"},
                {"decade": "1960s", "place": "Harbour", "review": "ok"},
            ),
        ],
    )
    async def test_what_a_newer_update_has_not_replaced_is_still_sent(
        self,
        old: dict[str, str],
        new: dict[str, str],
        left: dict[str, str] | None,
        value: dict[str, str],
        pause: float | None,
    ) -> None:
        sent: list[dict[str, str]] = []
        stored: dict[str, str] = {}

        async def send(key: BatchKey, image_ids: Sequence[str]) -> Mapping[str, ImageOutcome]:
            await asyncio.sleep(0.2)
            sent.append(dict(key.metadata))
            if len(sent) == 1:
                return dict.fromkeys(image_ids, LATER)
            stored.update(key.metadata)
            return dict.fromkeys(image_ids, APPLIED)

        batcher = Batcher(
            send,
            Admission("API", EvenSpacing(1000.0)),
            scope_of=lambda _: None,
            batch_size=64,
            linger_seconds=1.0,
            max_wait_seconds=100.0,
            starvation_seconds=30.0,
            max_in_flight=8,
            left_of=left_of,
        )

        def deliver(name: str, pairs: dict[str, str]) -> asyncio.Task[Mapping[str, NotApplied]]:
            return asyncio.ensure_future(batcher.submit(self.key(**pairs), [A], message_id=name))

        first = await asyncio.gather(deliver("old", old), deliver("new", new))
        assert [set(one) for one in first] == [{A}, {A}], "both come back"
        newer = deliver("new", new)
        if pause is None:
            assert await newer == {}
        else:
            await asyncio.sleep(pause)
        assert await deliver("old", old) == {}
        assert await newer == {}
        assert stored == value
        assert sent == [old, new, *([left] if left is not None else [])]
        assert len(batcher) == 0
        assert not batcher._memory._lacking
