"""API calls for a backlog, beside the fewest that could do it."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from benchmarks import load, parts
from benchmarks.permits import PermitStore, SimulatedPermitQueue
from benchmarks.results import Figure
from benchmarks.service import LIMIT, Limit, Transport, all_ok
from benchmarks.sizes import Sizes
from benchmarks.virtual import run_virtual
from benchmarks.workers import run_all
from shared.services.custom_vision import MAX_IMAGES_PER_CALL
from shared.services.queues import MAX_RECEIVE


@dataclass(frozen=True, slots=True)
class Mix:
    """A backlog: how many keys, spread how, in which window; and the target."""

    keys: int
    window: int
    most: float | None = None
    zipf: bool = False

    @property
    def name(self) -> str:
        """How it is called in the table."""
        spread = " by Zipf's law" if self.zipf else "s evenly" if self.keys > 1 else ""
        return f"{self.keys} key{'s' * self.zipf}{spread}, window {self.window:,}"


MIXES = (
    Mix(1, 1024, 1.01),
    Mix(4, 1024, 1.01),
    Mix(16, 1024, 1.01),
    Mix(16, 1024, 1.01, zipf=True),
    Mix(32, 1024, 1.10),
    Mix(64, 4096, 1.02),
    Mix(4, 256),
    Mix(16, 512),
    Mix(32, 512),
    Mix(64, 1024),
    Mix(64, 2048),
)
"""The last ones have a window that is too small for their keys."""


def run(sizes: Sizes) -> list[Figure]:
    """Work off every mix with every seed."""
    runs = [(mix, sizes.backlog, seed) for mix in MIXES for seed in range(sizes.samples)]
    found = dict(zip(runs, run_all(_work_off, runs), strict=True))
    figures = []
    for mix in MIXES:
        ours, per_receive, per_message = zip(*(found[run] for run in runs if run[0] is mix), strict=True)
        peers = {"one call per key and receive": per_receive, "one call per message": per_message}
        figures.append(Figure(mix.name, "calls ÷ fewest possible", ours, mix.most, peers=peers))
    return figures


def _work_off(run: tuple[Mix, int, int]) -> tuple[float, float, float]:
    """Work off a backlog in virtual time. Returns calls ÷ fewest: ours, one a key and receive, one a message."""
    mix, messages, seed = run
    rng = random.Random(seed)  # noqa: S311 (repeatable on purpose)
    keys = (load.by_zipf if mix.zipf else load.evenly)(mix.keys, messages, rng)
    transport = Transport(Limit(), all_ok, rng)
    run_virtual(_handle_all(keys, mix.window, transport, rng))
    least = sum(ceil(images / MAX_IMAGES_PER_CALL) for images in Counter(keys).values())
    receives = (keys[at : at + MAX_RECEIVE] for at in range(0, len(keys), MAX_RECEIVE))
    per_receive = sum(len(set(receive)) for receive in receives)
    return len(transport.calls.passed) / least, per_receive / least, len(keys) / least


async def _handle_all(keys: Sequence[int], window: int, transport: Transport, rng: random.Random) -> None:
    queue = SimulatedPermitQueue(PermitStore(int(LIMIT), rng))
    limiter = parts.shared_limit(LIMIT, queue, rng)
    batcher = parts.new_batcher(parts.new_send(transport.client), rng, limiter=limiter)
    handler = parts.new_handler(batcher)
    await load.keep_full(window, (handler.handle(load.delivery(key, at)) for at, key in enumerate(keys)))
    await batcher.aclose()
