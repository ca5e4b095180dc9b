"""Instances on one limit while most of them stop, or more of them start."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean, median
from typing import TYPE_CHECKING

from benchmarks.before import BEFORE, CHANGES_BEFORE
from benchmarks.fleet import BUCKET, Plan, Shift, View, work
from benchmarks.gateways import GATEWAYS
from benchmarks.results import SIMULATED_NOISE, Figure, Outcome, Peer, at_least, at_most, number
from benchmarks.service import LIMIT
from benchmarks.sizes import FULL, OURS
from benchmarks.workers import run_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from benchmarks.service import Calls
    from benchmarks.sizes import Sizes

NAME = "scaling"
TITLE = "Instances that stop and start"
WINDOW_SECONDS = 10
REPLACED_SECONDS = 10
BIN_SECONDS = 2
ABOUT = f"""\
As before, but 12 of 16 instances are killed at once, or 4 instances become 16. The figure is the end of the first
{WINDOW_SECONDS} s after the change in which all together make at least 0.90 x 10 calls a second that are not refused,
with fewer than 5 % of the calls answered 429: {WINDOW_SECONDS} s is the least that it can be, and {
    FULL.after_seconds:g} s means that
it did not happen while they were looked at. It is the worst of {
    FULL.scaling_samples
} seeds. What a killed instance held
is free when its leases end, after 8 s at most.

Last, one of 16 instances is killed every {REPLACED_SECONDS} s and replaced by a new one.
"""

TARGET = at_most(20)
FULL_USE = 0.90
MOST_LIMITED_PERCENT = 5.0
CHANGES = {"16 become 4": (16, 4), "4 become 16": (4, 16)}
INSTANCES = 16


@dataclass(frozen=True, slots=True)
class Run:
    """A change with one way to keep to the limit."""

    change: str
    gateway: str
    pace: str
    seed: int
    before_seconds: float
    after_seconds: float

    @property
    def plan(self) -> Plan:
        """Those who stay work all the time, the others before or after the change."""
        before, after = CHANGES[self.change]
        end = self.before_seconds + self.after_seconds
        stay = Shift(min(before, after), 0, end)
        others = Shift(before - after, 0, self.before_seconds)
        if before < after:
            others = Shift(after - before, self.before_seconds, end)
        return Plan((stay, others), end, self.seed, self.pace, gateway=self.gateway)


@dataclass(frozen=True, slots=True)
class Replacing:
    """Instances that are replaced one after another."""

    gateway: str
    seed: int
    seconds: float

    @property
    def plan(self) -> Plan:
        """The first is killed and replaced after `REPLACED_SECONDS`, the second after as long again, and so on."""
        shifts = []
        for place in range(INSTANCES):
            ends = [*range((place + 1) * REPLACED_SECONDS, int(self.seconds), INSTANCES * REPLACED_SECONDS)]
            begins = [0, *ends]
            shifts += [Shift(1, begin, end) for begin, end in zip(begins, [*ends, self.seconds], strict=True)]
        return Plan(tuple(shifts), self.seconds, self.seed, gateway=self.gateway)


@dataclass(frozen=True, slots=True)
class Recovery:
    """Seconds until all is well again, and what all instances did in each `BIN_SECONDS` from the start."""

    seconds: float
    passed_a_second: tuple[float, ...]
    limited_percent: tuple[float, ...]


def run(sizes: Sizes, step: Callable[[], None]) -> Outcome:
    """Both changes on every gateway with every pace and every seed, and the replacing of instances."""
    lengths = sizes.scaling_seconds, sizes.after_seconds
    seeds = sizes.seeds(sizes.scaling_samples)
    runs = [
        Run(change, gateway, pace, seed, *lengths)
        for change in CHANGES
        for gateway in GATEWAYS
        for pace, seed in sizes.repetitions(sizes.scaling_samples)
    ]
    found = dict(zip(runs, run_all(simulate, runs, step), strict=True))

    def recoveries(change: str, gateway: str, pace: str) -> list[Recovery]:
        return [found[Run(change, gateway, pace, seed, *lengths)] for seed in seeds[pace]]

    figures = []
    medians = []
    for place, change in enumerate(CHANGES):
        for gateway in GATEWAYS:
            each = {pace: [one.seconds for one in recoveries(change, gateway, pace)] for pace in sizes.paces}
            peers = [Peer(pace, (max(each[pace]),)) for pace in sizes.paces if pace != OURS]
            peers.append(Peer(BEFORE, (CHANGES_BEFORE[gateway][place],)))
            name, unit = f"{change}, {gateway}", "s until well again, worst"
            worst = (max(each[OURS]),)
            figures.append(Figure(NAME, name, unit, worst, TARGET, tuple(peers), noise=SIMULATED_NOISE))
            medians.append(f"{name} {number(median(each[OURS]))} s")
    replaced = _replaced(sizes, step)
    series: dict[str, Sequence[float]] = {"changed at": (sizes.scaling_seconds,)}
    for change in CHANGES:
        for pace in sizes.paces:
            of_pace = recoveries(change, BUCKET, pace)
            series[f"{change}, {pace}, calls/s"] = _means(recovery.passed_a_second for recovery in of_pace)
            series[f"{change}, {pace}, % 429"] = _means(recovery.limited_percent for recovery in of_pace)
    remark = f"Medians: {', '.join(medians)}. The lines are the means of all samples on a {BUCKET}.\n"
    return Outcome((*figures, *replaced), series, (remark,))


def steps(sizes: Sizes) -> int:
    """How many pieces of work there are."""
    changes = len(CHANGES) * len(GATEWAYS) * len(sizes.repetitions(sizes.scaling_samples))
    return changes + len(GATEWAYS) * sizes.samples


def simulate(run: Run) -> Recovery:
    """Let the instances work before and after the change."""
    plan = run.plan
    fleet = work(plan).fleet
    bins = [View.of(fleet, at, at + BIN_SECONDS) for at in range(0, int(plan.seconds), BIN_SECONDS)]
    return Recovery(
        seconds=_recovered_after(fleet, run),
        passed_a_second=tuple(view.passed_a_second for view in bins),
        limited_percent=tuple(view.limited_percent for view in bins),
    )


def replace_one_by_one(run: Replacing) -> float:
    """The goodput meanwhile."""
    return View.of(work(run.plan).fleet, REPLACED_SECONDS, run.seconds).passed_a_second / LIMIT


def _replaced(sizes: Sizes, step: Callable[[], None]) -> list[Figure]:
    runs = [
        Replacing(gateway, seed, sizes.settled_seconds + sizes.observed_seconds)
        for gateway in GATEWAYS
        for seed in range(sizes.samples)
    ]
    found = dict(zip(runs, run_all(replace_one_by_one, runs, step), strict=True))
    unit, target = "goodput, calls/s ÷ 10", at_least(0.88)
    return [
        Figure(
            NAME,
            f"one replaced every {REPLACED_SECONDS} s, {gateway}",
            unit,
            tuple(goodput for run, goodput in found.items() if run.gateway == gateway),
            target,
            noise=SIMULATED_NOISE,
        )
        for gateway in GATEWAYS
    ]


def _means(of_seeds: Iterable[Sequence[float]]) -> list[float]:
    return [mean(values) for values in zip(*of_seeds, strict=True)]


def _recovered_after(fleet: Sequence[Calls], run: Run) -> float:
    for seconds in range(WINDOW_SECONDS, int(run.after_seconds)):
        at = run.before_seconds + seconds
        view = View.of(fleet, at - WINDOW_SECONDS, at)
        enough = view.passed_a_second >= FULL_USE * LIMIT
        if enough and view.limited_percent < MOST_LIMITED_PERCENT:
            return float(seconds)
    return run.after_seconds
