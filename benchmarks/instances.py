"""Instances on one limit: how much of it they use, what they waste, how fairly they share it, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING

from benchmarks.before import BEFORE, SHARING
from benchmarks.fleet import BUCKET, Plan, Shift, View, work
from benchmarks.gateways import GATEWAYS
from benchmarks.results import SIMULATED_NOISE, Figure, Outcome, Peer, at_least, at_most
from benchmarks.service import LIMIT
from benchmarks.sizes import OURS
from benchmarks.workers import run_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from benchmarks.results import Target
    from benchmarks.sizes import Sizes

NAME = "instances"
TITLE = "Instances on one limit"
ABOUT = """\
Instances that start within a second on one limit of ten calls a second, and always have more to send than they may.
They share permits and know nothing else of one another. How the real API counts its calls is not documented, so it is
done in five ways. Goodput is calls that were not refused ÷ the limit, and *429* is calls answered 429 ÷ calls, both
over five minutes after the first 15 s; *start* is the first 30 s. Fairness is the calls of the slowest instance ÷ the
mean over ten minutes from the start, the same on each gateway, as long as none refuses anything. Operations are the
requests to storage of the busiest instance, as many as it would make in an hour.

Beside it: additive increase with multiplicative decrease (+0.1 calls/s each second, half at a 429), and what this app
did before, a law that took 429s for the only news of the others. That one is not there any more; its figures were
recorded on the same gateways.
"""

FAIRNESS = {1: at_least(0.9), 4: at_least(0.9), 16: at_least(0.9), 64: at_least(0.7)}
HOUR = 3600.0
START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Run:
    """So many instances on a gateway with one way to keep to the limit."""

    gateway: str
    instances: int
    pace: str
    seed: int
    sizes: Sizes


@dataclass(frozen=True, slots=True)
class Shares:
    """What came of it."""

    goodput: float
    limited_percent: float
    start_goodput: float
    start_limited_percent: float
    slowest: float
    operations_an_hour: float


def run(sizes: Sizes, step: Callable[[], None]) -> Outcome:
    """Every number of instances on every gateway, the longest first."""
    seeds = sizes.seeds(sizes.sharing_samples)
    runs = [
        Run(gateway, instances, pace, seed, sizes)
        for instances in sorted(sizes.instances, reverse=True)
        for gateway in GATEWAYS
        for pace, seed in sizes.repetitions(sizes.sharing_samples)
    ]
    found = dict(zip(runs, run_all(simulate, runs, step), strict=True))

    def shares(gateway: str, instances: int) -> dict[str, list[Shares]]:
        return {pace: [found[Run(gateway, instances, pace, seed, sizes)] for seed in seeds[pace]] for pace in seeds}

    figures = [
        figure
        for gateway in GATEWAYS
        for instances in sizes.instances
        for figure in _of_gateway(gateway, instances, shares(gateway, instances))
    ]
    for instances in sizes.instances:
        figures += _of_any_gateway(instances, shares(BUCKET, instances))
    return Outcome(tuple(figures))


def steps(sizes: Sizes) -> int:
    """How many pieces of work there are."""
    return len(GATEWAYS) * len(sizes.instances) * len(sizes.repetitions(sizes.sharing_samples))


def simulate(run: Run) -> Shares:
    """Let the instances work for as long as has to be seen."""
    sizes = run.sizes
    end = sizes.settled_seconds + sizes.observed_seconds
    seconds = max(end, sizes.fairness_seconds) if run.gateway == BUCKET else end
    fleet = work(Plan((Shift(run.instances, 0, seconds),), seconds, run.seed, run.pace, gateway=run.gateway)).fleet
    settled = View.of(fleet, sizes.settled_seconds, end)
    start = View.of(fleet, 0, START_SECONDS)
    each = [View.of([calls], 0, seconds).passed_a_second for calls in fleet]
    return Shares(
        goodput=settled.passed_a_second / LIMIT,
        limited_percent=settled.limited_percent,
        start_goodput=start.passed_a_second / LIMIT,
        start_limited_percent=start.limited_percent,
        slowest=min(each) / mean(each),
        operations_an_hour=max(calls.operations for calls in fleet) / seconds * HOUR,
    )


def figure(
    name: str, unit: str, target: Target, value: Callable[[Shares], float], shares: dict[str, list[Shares]],
    before: float | None = None,
) -> Figure:  # fmt: skip
    """A figure of ours with the peers that there are, and what it was before."""

    def samples(of: Iterable[Shares]) -> tuple[float, ...]:
        return tuple(value(share) for share in of)

    peers = [Peer(pace, samples(shares[pace])) for pace in shares if pace != OURS]
    if before is not None:
        peers.append(Peer(BEFORE, (before,)))
    return Figure(NAME, name, unit, samples(shares[OURS]), target, tuple(peers), noise=SIMULATED_NOISE)


def _of_gateway(gateway: str, instances: int, shares: dict[str, list[Shares]]) -> Sequence[Figure]:
    before = SHARING[gateway, instances]
    where = f"{gateway}, {_instances(instances)}"
    figures = [
        figure(
            f"goodput, {where}", "calls/s ÷ 10", at_least(0.97), lambda share: share.goodput, shares, before.goodput
        ),
        figure(
            f"429, {where}", "% of calls", at_most(0.1), lambda share: share.limited_percent, shares,
            before.limited_percent,
        ),
    ]  # fmt: skip
    if instances != max(SHARING)[1]:
        return figures
    return [
        *figures,
        figure(
            f"start: goodput, {where}", "calls/s ÷ 10", at_least(0.93), lambda share: share.start_goodput, shares,
            before.start_goodput,
        ),
        figure(
            f"start: 429, {where}", "% of calls", at_most(1), lambda share: share.start_limited_percent, shares,
            before.start_limited_percent,
        ),
    ]  # fmt: skip


def _of_any_gateway(instances: int, shares: dict[str, list[Shares]]) -> Sequence[Figure]:
    before = SHARING[BUCKET, instances]
    ours = {OURS: shares[OURS]}
    return [
        figure(
            f"fairness, {_instances(instances)}", "slowest ÷ mean", FAIRNESS[instances], lambda share: share.slowest,
            shares, before.fairness,
        ),
        figure(
            f"operations, {_instances(instances)}", "an instance-hour", at_most(15_000),
            lambda share: share.operations_an_hour, ours,
        ),
    ]  # fmt: skip


def _instances(number: int) -> str:
    return f"{number} instance{'s' if number > 1 else ''}"
