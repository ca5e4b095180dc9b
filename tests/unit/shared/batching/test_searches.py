"""Searches for a message at fault at the API's rate: how fast they are, and that they slow nobody down."""

from __future__ import annotations

import asyncio
import random
from statistics import mean
from typing import TYPE_CHECKING

import pytest

from benchmarks.permits import PermitStore, SimulatedPermitQueue
from shared.batching.outcome_types import APPLIED, ImageOutcome, NotApplied, Refused
from shared.errors import CallRefused
from shared.limits.distributed_rate_limit import Permits
from shared.services.permit_queue import SharedLimit
from tests.unit.shared.conftest import Call, FakeApi, image, images, new_batcher

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.batching.batcher import Batcher
    from shared.limits.admission import Limiter
    from shared.messages.custom_vision_ids import ImageId

pytestmark = pytest.mark.looptime

CALLS_PER_SECOND = 10.0
REFUSED = CallRefused("BadRequestInvalidIds", "an id is invalid")


def refusing(bad: set[ImageId]) -> FakeApi:
    """An API that refuses every call with one of these images."""

    def answer(call: Call) -> Mapping[ImageId, ImageOutcome]:
        if bad & set(call.image_ids):
            raise REFUSED
        return dict.fromkeys(call.image_ids, APPLIED)

    return FakeApi(latency=0.2, answer=answer)


def limiter(kind: str) -> Limiter | None:
    """The limit of an instance that is alone, or of one that shares it by permits."""
    if kind == "alone":
        return None
    rng = random.Random(1)
    return SharedLimit(Permits(CALLS_PER_SECOND, rng), SimulatedPermitQueue(PermitStore(int(CALLS_PER_SECOND), rng)))


async def submit_each(batcher: Batcher[str], key: str, ids: list[ImageId]) -> list[Mapping[ImageId, NotApplied]]:
    """One message per image."""
    return await asyncio.gather(*(batcher.submit(key, [image_id]) for image_id in ids))


@pytest.mark.parametrize("kind", ["alone", "shared"])
async def test_sixteen_searches_go_at_the_rate_and_end_within_25_seconds(kind: str) -> None:
    bad = {image(1000 * key + key) for key in range(16)}
    api = refusing(bad)
    batcher = new_batcher(api, calls_per_second=CALLS_PER_SECOND, limiter=limiter(kind))
    outcomes = await asyncio.gather(
        *(submit_each(batcher, str(key), images(63, first=1000 * key)) for key in range(16))
    )
    assert asyncio.get_running_loop().time() <= 25
    refused = [one for of_key in outcomes for one in of_key if one]
    assert refused == [{image_id: Refused(REFUSED.code, REFUSED.message)} for image_id in sorted(bad)]
    alone = {call.image_ids[0] for call in api.calls if len(call.image_ids) == 1}
    assert bad <= alone, "what is dead-lettered was refused in a call of its own"
    await batcher.aclose()


@pytest.mark.parametrize("kind", ["alone", "shared"])
async def test_one_of_64_is_found_within_3_seconds_of_the_refusal_and_in_11_calls(kind: str) -> None:
    calls, seconds = [], []
    for place in range(64):
        api = refusing({image(place)})
        batcher = new_batcher(api, calls_per_second=CALLS_PER_SECOND, limiter=limiter(kind))
        await submit_each(batcher, "a", images(64))
        assert api.calls[0].ended is not None
        seconds.append(asyncio.get_running_loop().time() - api.calls[0].ended)
        calls.append(len(api.calls))
        await batcher.aclose()
    assert mean(calls) <= 11
    assert max(calls) <= 13
    assert max(seconds) <= 3


async def test_searches_beside_other_traffic_cost_it_no_more_than_every_other_call() -> None:
    bad = {image(1000 * key) for key in range(16)}
    api = refusing(bad)
    batcher = new_batcher(api, calls_per_second=CALLS_PER_SECOND)
    searches = [
        asyncio.ensure_future(submit_each(batcher, str(key), images(63, first=1000 * key))) for key in range(16)
    ]
    await asyncio.sleep(2)
    before = len(api.calls)
    await batcher.submit("other", images(64 * 20, first=10**6))
    during = api.calls[before:]
    assert sum(call.key == "other" for call in during) == 20
    assert len(during) <= 2 * 20 + 3
    await asyncio.gather(*searches)
