"""What a message costs that makes a call of many be refused: it is found by halving, and its neighbours are applied."""

import asyncio
from math import ceil
from random import Random
from statistics import mean

import httpx

from benchmarks import load, parts
from benchmarks.permits import PermitStore, SimulatedPermitQueue
from benchmarks.results import Figure
from benchmarks.service import LIMIT, Limit, Transport, all_ok, json_answer
from benchmarks.sizes import Sizes
from benchmarks.virtual import run_virtual
from benchmarks.workers import run_all

KEYS = 16
REFUSED = {"code": "BadRequestInvalidIds", "message": "Invalid image ids"}


def run(sizes: Sizes) -> list[Figure]:
    """One bad message of 64 at many places, eight of 64, and one in each of many batches."""
    cases = [
        ("one bad of 64", 1, 64, [[place] for place in range(0, 64, 4)], 2.7),
        ("eight bad of 64", 1, 64, [[*range(place, 64, 8)] for place in range(0, 8, 2)], 2.7),
        (f"{KEYS} keys, one bad of 63 in each", KEYS, 63, [[place] for place in (0, 20, 41, 62)], 1.5),
    ]
    figures = []
    for name, keys, size, places, most_time in cases:
        runs = [(keys, size, [at + seed % 4 for at in bad], seed) for seed in range(sizes.samples) for bad in places]
        found = run_all(_search, runs)
        by_seed = [found[at : at + len(places)] for at in range(0, len(found), len(places))]
        calls, times = ([mean(one[what] for one in some) for some in by_seed] for what in (0, 1))
        figures += [
            Figure(f"{name}: calls", "÷ fewest by halving", calls, 1.4),
            Figure(f"{name}: time", "÷ (calls ÷ 10 a second)", times, most_time),
        ]
    return figures


def _search(run: tuple[int, int, list[int], int]) -> tuple[float, float]:
    """Calls ÷ fewest possible, and time ÷ what the calls take at the limit."""
    keys, size, places, seed = run
    bad = [place % size for place in places]
    calls, seconds = run_virtual(_handle_all(keys, size, bad, Random(seed)))  # noqa: S311 (repeatable on purpose)
    return calls / keys / _fewest([place in bad for place in range(size)]), seconds * LIMIT / calls


def _fewest(bad: list[bool]) -> int:
    """Calls of the luckiest halving: of two halves of which one is good it sends that one, and not the other whole."""
    if not any(bad) or len(bad) == 1:
        return 1
    halves = [bad[: ceil(len(bad) / 2)], bad[ceil(len(bad) / 2) :]]
    is_spared = len(halves[0]) > 1 and not all(map(any, halves))
    return 1 + sum(map(_fewest, halves)) - is_spared


async def _handle_all(keys: int, size: int, bad: list[int], rng: Random) -> tuple[int, float]:
    """Returns calls and seconds."""
    bad_ids = [load.image(key * size + place) for key in range(keys) for place in bad]

    def answer(url: str) -> httpx.Response:
        return json_answer(400, REFUSED) if any(image in url for image in bad_ids) else all_ok(url)

    transport, written = Transport(Limit(), answer, rng), parts.ListQueue()
    limiter = parts.shared_limit(LIMIT, SimulatedPermitQueue(PermitStore(int(LIMIT), rng)), rng)
    batcher = parts.new_batcher(parts.new_send(transport.client), rng, limiter=limiter)
    handler = parts.new_handler(batcher, written=written)
    messages = (handler.handle(load.delivery(key, key * size + at)) for key in range(keys) for at in range(size))
    await load.keep_full(keys * size, messages)
    await batcher.aclose()
    if len(written.sent) != 2 * len(bad_ids):
        raise RuntimeError(f"{len(written.sent)} dead letters and events for {len(bad_ids)} bad messages")
    return len(transport.calls.passed), asyncio.get_running_loop().time()
