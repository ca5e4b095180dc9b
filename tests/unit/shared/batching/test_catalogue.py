"""What a catalogue of captions costs: the figures that docs/producing.md gives, on a virtual clock."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from math import ceil
from pathlib import Path

import pytest

from tests.unit.shared.conftest import FakeApi, images, new_batcher

PAGE = (Path(__file__).parents[4] / "docs" / "producing.md").read_text()
IMAGES = 10_000
WINDOW = 1024
CALLS_PER_SECOND = 10.0
LATENCY = 0.2


def figures(sets: int) -> tuple[int, int, int]:
    """The calls that the page says for so many different sets: in any order, sorted, and at the least."""
    row = re.search(rf"^\| {sets:,} \|(.*)\|$", PAGE, re.MULTILINE)
    assert row is not None
    any_order, in_order, least = (int(text.replace(",", "")) for text in re.findall(r"([\d,]+) calls", row[1]))
    return any_order, in_order, least


async def calls_for(keys: list[str]) -> int:
    """How many calls it takes to update as many images, `WINDOW` of them in process at any time."""
    api = FakeApi(latency=LATENCY)
    batcher = new_batcher(api, calls_per_second=CALLS_PER_SECOND)
    window = asyncio.Semaphore(WINDOW)

    async def update(key: str, number: int) -> None:
        try:
            await batcher.submit(key, images(1, number))
        finally:
            window.release()

    async with asyncio.TaskGroup() as tasks:
        for number, key in enumerate(keys):
            await window.acquire()
            tasks.create_task(update(key, number))
    await batcher.aclose()
    return len(api.calls)


@pytest.mark.looptime
@pytest.mark.parametrize("sets", [10, 50, 100])
async def test_the_figures_of_the_page_are_true(sets: int) -> None:
    any_order, in_order, least = figures(sets)
    keys = [str(number % sets) for number in range(IMAGES)]
    assert sum(ceil(count / 64) for count in Counter(keys).values()) == least
    assert await calls_for(sorted(keys)) <= in_order
    random.Random(1).shuffle(keys)
    assert await calls_for(keys) == pytest.approx(any_order, rel=0.1)
