"""API calls for a backlog, beside the fewest that could do it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

from benchmarks import load, parts
from benchmarks.permits import PermitStore, SimulatedPermitQueue
from benchmarks.results import SIMULATED_NOISE, Figure, Outcome, Peer, at_most
from benchmarks.service import LIMIT, Limit, Transport, all_ok
from benchmarks.virtual import run_virtual
from benchmarks.workers import run_all
from shared.services.custom_vision import MAX_IMAGES_PER_CALL
from shared.services.queues import MAX_RECEIVE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.sizes import Sizes

NAME = "calls"
TITLE = "API calls for a backlog"
ABOUT = """\
A backlog of one-image messages, the API at its limit of ten calls a second, so many messages in process at a
time (the window). Every message goes through the handler that the function calls, the batcher, the pace and the
HTTP client; only the network and the service are simulated. The figure is calls made ÷ fewest possible for the
whole backlog, which is the sum over the keys of ⌈images ÷ 64⌉; a call that was answered 429 counts. A *key* is
what images must have in common to share a call: project and metadata. Beside it: one call per message, and one
call per key for each receive of 32 messages.
"""

WINDOWS = (256, 512, 1024, 2048, 4096, 8192)
KEYS_OF_CURVES = (4, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class Mix:
    """A backlog: how many keys, spread how, in which window; and the target."""

    keys: int
    window: int
    limit: float
    zipf: bool = False

    @property
    def name(self) -> str:
        """How it is called in the table."""
        spread = "by Zipf's law" if self.zipf else "evenly"
        keys = "1 key" if self.keys == 1 else f"{self.keys} keys {spread}"
        return f"{keys}, window {self.window:,}"

    def draw(self, messages: int, rng: random.Random) -> list[int]:
        """The key of each message."""
        return (load.by_zipf if self.zipf else load.evenly)(self.keys, messages, rng)


MIXES = (
    Mix(1, 1024, 1.01),
    Mix(4, 1024, 1.01),
    Mix(16, 1024, 1.01),
    Mix(16, 1024, 1.01, zipf=True),
    Mix(32, 1024, 1.10),
    Mix(64, 4096, 1.02),
)


@dataclass(frozen=True, slots=True)
class Run:
    """One backlog to be worked off."""

    mix: Mix
    messages: int
    seed: int


@dataclass(frozen=True, slots=True)
class Ratios:
    """Calls ÷ fewest possible: ours and what others would have made of the same messages."""

    ours: float
    per_message: float
    per_receive: float


def run(sizes: Sizes, step: Callable[[], None]) -> Outcome:
    """Work off every mix with every seed, and the curves with one."""
    runs = [Run(mix, sizes.backlog, seed) for mix in MIXES for seed in range(sizes.samples)]
    curves = [Run(Mix(keys, window, 0), sizes.backlog, 0) for keys in KEYS_OF_CURVES for window in WINDOWS]
    ratios = run_all(work_off, [*runs, *(curves if sizes.curves else [])], step)
    figures = tuple(_figure(mix, ratios[at : at + sizes.samples]) for at, mix in _each(MIXES, sizes.samples))
    series = {
        f"{keys} keys": [ratio.ours for ratio in ratios[at : at + len(WINDOWS)]]
        for at, keys in _each(KEYS_OF_CURVES, len(WINDOWS), first=len(runs))
        if sizes.curves
    }
    return Outcome(figures, {"windows": WINDOWS, **series} if series else {})


def steps(sizes: Sizes) -> int:
    """How many pieces of work there are."""
    return len(MIXES) * sizes.samples + sizes.curves * len(KEYS_OF_CURVES) * len(WINDOWS)


def work_off(run: Run) -> Ratios:
    """Work off a backlog in virtual time."""
    rng = random.Random(run.seed)  # noqa: S311 (repeatable on purpose)
    keys = run.mix.draw(run.messages, rng)
    transport = Transport(Limit(), all_ok, rng)
    run_virtual(_handle_all(keys, run.mix.window, transport, rng))
    least = sum(ceil(images / MAX_IMAGES_PER_CALL) for images in Counter(keys).values())
    receives = (keys[at : at + MAX_RECEIVE] for at in range(0, len(keys), MAX_RECEIVE))
    return Ratios(
        ours=len(transport.calls) / least,
        per_message=len(keys) / least,
        per_receive=sum(len(set(receive)) for receive in receives) / least,
    )


async def _handle_all(keys: Sequence[int], window: int, transport: Transport, rng: random.Random) -> None:
    queue = SimulatedPermitQueue(PermitStore(int(LIMIT), rng))
    limiter = parts.shared_limit(LIMIT, queue, rng)
    batcher = parts.new_batcher(parts.new_api(transport.exchange).update_image_metadata, rng, limiter=limiter)
    handler = parts.new_handler(batcher)
    loop = asyncio.get_running_loop()
    messages = (loop.create_task(handler.handle(load.delivery(key, at))) for at, key in enumerate(keys))
    await load.keep_full(window, load.starter(messages))
    await batcher.aclose()


def _each(things: Sequence[Any], size: int, first: int = 0) -> list[tuple[int, Any]]:
    """Each thing with the place where its results begin."""
    return [(first + place * size, thing) for place, thing in enumerate(things)]


def _figure(mix: Mix, ratios: Sequence[Ratios]) -> Figure:
    return Figure(
        NAME,
        mix.name,
        "calls ÷ fewest possible",
        tuple(ratio.ours for ratio in ratios),
        at_most(mix.limit),
        (
            Peer("one call per key and receive", tuple(ratio.per_receive for ratio in ratios)),
            Peer("one call per message", tuple(ratio.per_message for ratio in ratios)),
        ),
        noise=SIMULATED_NOISE,
    )
