"""Instances on one limit: how much of it they use, what they waste, and how fairly they share it."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING

from benchmarks.fleet import Plan, Shift, View, work
from benchmarks.results import SIMULATED_NOISE, Figure, Outcome, Peer, at_least, at_most
from benchmarks.service import LIMIT
from benchmarks.sizes import OURS
from benchmarks.workers import run_all
from shared.services.custom_vision import MAX_IMAGES_PER_CALL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.results import Target
    from benchmarks.sizes import Sizes

NAME = "instances"
TITLE = "Instances on one limit"
ABOUT = """\
Instances that start together on one limit of ten calls a second, each with a backlog that never ends, one key
and a window of 1,024. They know nothing of one another; the bucket holds one second's worth, and a 429 carries
`Retry-After` in whole seconds. Goodput is images a second ÷ 640 and waste is calls answered 429 ÷ calls, both
over five minutes after the first 30 s; fairness is the images of the slowest instance ÷ the mean over ten
minutes from the start. Messages are handed to the batcher as objects, which leaves out their parsing. Beside
it: additive increase with multiplicative decrease (+0.1 calls/s each second, half at a 429), and a fixed rate
that waits for `Retry-After`.

The targets pull against one another: only a 429 tells an instance anything of the others, so fewer of them make
shares drift and free capacity go unnoticed for longer. Within 2 % of the calls, each of 16 instances learns
something about every 80 s, seven times in ten minutes: hence the wide spread of fairness. Those who waste more calls
learn more.
"""

GOODPUT = {1: at_least(0.98), 4: at_least(0.97), 16: at_least(0.97), 64: at_least(0.93)}
WASTE = {1: at_most(0.5), 4: at_most(2), 16: at_most(2), 64: at_most(5)}
FAIRNESS = {1: at_least(0.5), 4: at_least(0.5), 16: at_least(0.5), 64: at_least(0.3)}


@dataclass(frozen=True, slots=True)
class Run:
    """So many instances with one way to keep to the limit."""

    instances: int
    pace: str
    seed: int
    sizes: Sizes


@dataclass(frozen=True, slots=True)
class Shares:
    """What came of it."""

    goodput: float
    limited_percent: float
    slowest: float


def run(sizes: Sizes, step: Callable[[], None]) -> Outcome:
    """Every number of instances with every pace and every seed, the longest first."""
    seeds = sizes.seeds(sizes.sharing_samples)
    runs = [
        Run(instances, pace, seed, sizes)
        for instances in sorted(sizes.instances, reverse=True)
        for pace, seed in sizes.repetitions(sizes.sharing_samples)
    ]
    found = dict(zip(runs, run_all(simulate, runs, step), strict=True))
    figures: list[Figure] = []
    for instances in sizes.instances:
        shares = {pace: [found[Run(instances, pace, seed, sizes)] for seed in seeds[pace]] for pace in seeds}
        figures += _figures(instances, shares)
    return Outcome(tuple(figures))


def steps(sizes: Sizes) -> int:
    """How many pieces of work there are."""
    return len(sizes.instances) * len(sizes.repetitions(sizes.sharing_samples))


def simulate(run: Run) -> Shares:
    """Let the instances work for as long as has to be seen."""
    sizes = run.sizes
    seconds = sizes.fairness_seconds
    fleet = work(Plan((Shift(run.instances, 0, seconds),), seconds, run.seed, run.pace))
    settled = View.of(fleet, sizes.settled_seconds, sizes.settled_seconds + sizes.observed_seconds)
    each = [View.of([calls], 0, seconds).images_a_second for calls in fleet]
    return Shares(
        goodput=settled.images_a_second / (LIMIT * MAX_IMAGES_PER_CALL),
        limited_percent=settled.limited_percent,
        slowest=min(each) / mean(each),
    )


def _figures(instances: int, shares: dict[str, list[Shares]]) -> list[Figure]:
    def figure(name: str, unit: str, target: Target, value: Callable[[Shares], float]) -> Figure:
        def samples(of: Sequence[Shares]) -> tuple[float, ...]:
            return tuple(value(share) for share in of)

        peers = tuple(Peer(pace, samples(shares[pace])) for pace in shares if pace != OURS)
        title = f"{name}, {instances} instance{'s' if instances > 1 else ''}"
        return Figure(NAME, title, unit, samples(shares[OURS]), target, peers, noise=SIMULATED_NOISE)

    return [
        figure("goodput", "images/s ÷ 640", GOODPUT[instances], lambda share: share.goodput),
        figure("waste", "% of calls answered 429", WASTE[instances], lambda share: share.limited_percent),
        figure("fairness", "slowest ÷ mean", FAIRNESS[instances], lambda share: share.slowest),
    ]
