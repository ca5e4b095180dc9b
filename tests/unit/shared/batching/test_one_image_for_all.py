"""An image that the service cannot take delays nobody else; an outage of the service is still an outage."""

from __future__ import annotations

import asyncio
import random
from statistics import mean, median
from typing import TYPE_CHECKING

import pytest

from shared.app import new_batcher
from shared.batching.outcome_types import APPLIED, ImageOutcome, Retry
from shared.errors import MaxWaitExceeded, Unavailable
from shared.limits.admission import Admission
from shared.limits.local_pacing import EvenSpacing
from shared.messages.update import BatchKey
from tests.unit.shared.conftest import image

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shared.batching.batcher import Batcher
    from shared.messages.custom_vision_ids import ImageId

    Response = Callable[[Sequence[ImageId]], Mapping[ImageId, ImageOutcome]]

pytestmark = pytest.mark.looptime


def in_production(rng: random.Random, answer: Response, calls: list[float], hangs: float = 0.0) -> Batcher[BatchKey]:
    """A batcher as the app builds it, before a service that takes 0.15 s for a call."""

    async def send(_: BatchKey, image_ids: Sequence[ImageId]) -> Mapping[ImageId, ImageOutcome]:
        calls.append(now())
        await asyncio.sleep(0.15)
        try:
            return answer(image_ids)
        except Unavailable:
            await asyncio.sleep(hangs)
            raise

    admission = Admission("Custom Vision", EvenSpacing(10.0), uniform=rng.uniform)
    return new_batcher(send, admission, linger_seconds=1.0, max_wait_seconds=240.0)


def now() -> float:
    return asyncio.get_running_loop().time()


def key(project: int, value: str) -> BatchKey:
    return BatchKey(image(project), frozenset({("k", value)}))


async def deliver(batcher: Batcher[BatchKey], of: BatchKey, image_ids: Sequence[ImageId]) -> float:
    """Deliver a message until it is applied, 60 s after it came back. Returns when that was."""
    while True:
        try:
            not_applied = await batcher.submit(of, image_ids)
            if not any(isinstance(outcome, Retry) for outcome in not_applied.values()):
                return now()
        except MaxWaitExceeded:
            pass
        await asyncio.sleep(60)


def failing(bad: set[ImageId], how: str) -> Response:
    """A service that fails for these images, as a whole or image by image."""

    def answer(image_ids: Sequence[ImageId]) -> Mapping[ImageId, ImageOutcome]:
        if (bad & set(image_ids) and how != "207") or bad >= set(image_ids):
            raise Unavailable(how)
        return {one: Retry("status ErrorUnknown") if one in bad else APPLIED for one in image_ids}

    return answer


@pytest.mark.parametrize("how", ["207", "500", "no response for 30 s"])
@pytest.mark.parametrize("every", [60.0, 10.0, 2.0])
@pytest.mark.parametrize(
    ("bad_in", "good_in", "images_each"), [((1,), 1, 1), ((1, 2), 3, 1), ((1,), 1, 3), ((1, 2, 3, 4, 5), 6, 1)]
)
async def test_images_that_always_fail_alone_delay_nobody_else(
    how: str, every: float, bad_in: tuple[int, ...], good_in: int, images_each: int
) -> None:
    rng = random.Random(1)
    messages = [(project, [image(1000 * project + n) for n in range(images_each)]) for project in bad_in]
    bad = {image_id for _, ids in messages for image_id in ids}
    hangs = 30.0 if how.startswith("no response") else 0.0
    batcher = in_production(rng, failing(bad, how), [], hangs)
    stuck = [asyncio.ensure_future(deliver(batcher, key(project, "bad"), ids)) for project, ids in messages]
    waits: list[float] = []

    async def good(number: int) -> None:
        arrived = now()
        waits.append(await deliver(batcher, key(good_in, "good"), [image(10**6 + number)]) - arrived)

    async with asyncio.TaskGroup() as tasks:
        number = 0
        while now() < 1500:
            await asyncio.sleep(rng.expovariate(1 / every))
            number += 1
            tasks.create_task(good(number))
    assert median(waits) <= 2
    assert max(waits) <= 10
    assert not any(one.done() for one in stuck)
    for one in stuck:
        one.cancel()
    await asyncio.gather(*stuck, return_exceptions=True)
    await batcher.aclose()


BEFORE = {(1, 1, 0.0): 40.3, (5, 20, 0.0): 45.2, (1, 1, 0.5): 98.2}
"""Calls that it took when every failure was evidence against the service, on average."""


@pytest.mark.parametrize(("projects", "keys", "pause"), BEFORE)
async def test_an_outage_of_ten_minutes_takes_at_most_half_as_many_calls_again(
    projects: int, keys: int, pause: float
) -> None:
    counts = []
    for seed in range(3):
        began = now()
        calls: list[float] = []

        def answer(image_ids: Sequence[ImageId], began: float = began) -> Mapping[ImageId, ImageOutcome]:
            if now() < began + 600:
                raise Unavailable("503")
            return dict.fromkeys(image_ids, APPLIED)

        batcher = in_production(random.Random(seed), answer, calls)

        async def message(number: int, batcher: Batcher[BatchKey] = batcher) -> None:
            await asyncio.sleep(number * pause)
            await deliver(batcher, key(number % projects, str(number % keys)), [image(1000 + number)])

        await asyncio.gather(*(message(number) for number in range(1000)))
        await batcher.aclose()
        counts.append(len(calls))
    assert mean(counts) <= 1.5 * BEFORE[projects, keys, pause]
