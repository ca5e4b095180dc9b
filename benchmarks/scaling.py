"""Instances on one limit while most of them stop, or more of them start."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING

from benchmarks.fleet import Plan, Shift, View, work
from benchmarks.results import SIMULATED_NOISE, Figure, Outcome, Peer, at_most
from benchmarks.service import LIMIT
from benchmarks.sizes import FULL, OURS
from benchmarks.workers import run_all
from shared.services.custom_vision import MAX_IMAGES_PER_CALL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from benchmarks.service import Calls
    from benchmarks.sizes import Sizes

NAME = "scaling"
TITLE = "Instances that stop and start"
WINDOW_SECONDS = 10
BIN_SECONDS = 5
ABOUT = f"""\
As before, but 12 of 16 instances stop at once, or 4 instances become 16. The figure is the end of the first
{WINDOW_SECONDS} s after the change in which all together update at least 0.90 x 640 images a second with fewer than 5 %
of the calls answered 429; {FULL.after_seconds:g} s means that this did not happen while they were looked at.

Those who stay when others stop are told nothing: one of them has to try, which costs about three 429s where nothing
is free. With 2 % of the calls to spend on that and on all else, each of 16 instances can try after some two minutes,
counted anew from each 429. So when the first of the four that are left tries is a matter of chance: hence the wide
spread, and {FULL.scaling_samples} samples.
"""

TARGET = at_most(60)
FULL_USE = 0.90
MOST_LIMITED_PERCENT = 5.0
CHANGES = {"16 become 4": (16, 4), "4 become 16": (4, 16)}


@dataclass(frozen=True, slots=True)
class Run:
    """A change with one way to keep to the limit."""

    change: str
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
        return Plan((stay, others), end, self.seed, self.pace)


@dataclass(frozen=True, slots=True)
class Recovery:
    """Seconds until all is well again, and what all instances did in each `BIN_SECONDS` from the start."""

    seconds: float
    images_a_second: tuple[float, ...]
    limited_percent: tuple[float, ...]


def run(sizes: Sizes, step: Callable[[], None]) -> Outcome:
    """Both changes with every pace and every seed."""
    lengths = sizes.scaling_seconds, sizes.after_seconds
    seeds = sizes.seeds(sizes.scaling_samples)
    runs = [
        Run(change, pace, seed, *lengths)
        for change in CHANGES
        for pace, seed in sizes.repetitions(sizes.scaling_samples)
    ]
    found = dict(zip(runs, run_all(simulate, runs, step), strict=True))

    def recoveries(change: str, pace: str) -> list[Recovery]:
        return [found[Run(change, pace, seed, *lengths)] for seed in seeds[pace]]

    def seconds(change: str, pace: str) -> tuple[float, ...]:
        return tuple(recovery.seconds for recovery in recoveries(change, pace))

    figures = tuple(
        Figure(
            NAME,
            f"{change} instances",
            "s until well again",
            seconds(change, OURS),
            TARGET,
            tuple(Peer(pace, seconds(change, pace)) for pace in sizes.paces if pace != OURS),
            noise=SIMULATED_NOISE,
        )
        for change in CHANGES
    )
    series: dict[str, Sequence[float]] = {"changed at": (sizes.scaling_seconds,)}
    for change in CHANGES:
        for pace in sizes.paces:
            of_pace = recoveries(change, pace)
            series[f"{change}, {pace}, images/s"] = _means(recovery.images_a_second for recovery in of_pace)
            series[f"{change}, {pace}, % 429"] = _means(recovery.limited_percent for recovery in of_pace)
    return Outcome(figures, series, (_distribution(figures),))


def steps(sizes: Sizes) -> int:
    """How many pieces of work there are."""
    return len(CHANGES) * len(sizes.repetitions(sizes.scaling_samples))


def simulate(run: Run) -> Recovery:
    """Let the instances work before and after the change."""
    plan = run.plan
    fleet = work(plan)
    bins = [View.of(fleet, at, at + BIN_SECONDS) for at in range(0, int(plan.seconds), BIN_SECONDS)]
    return Recovery(
        seconds=_recovered_after(fleet, run),
        images_a_second=tuple(view.images_a_second for view in bins),
        limited_percent=tuple(view.limited_percent for view in bins),
    )


def _means(of_seeds: Iterable[Sequence[float]]) -> list[float]:
    return [mean(values) for values in zip(*of_seeds, strict=True)]


def _distribution(figures: Iterable[Figure]) -> str:
    """What the median does not say."""
    lines = ["The lines are the means of all samples. Of ours, so many were well again in time:", ""]
    for figure in figures:
        shares = (
            f"{sum(seconds <= most for seconds in figure.samples) / len(figure.samples) * 100:.0f} % within {most} s"
            for most in (30, 60, 90)
        )
        lines.append(f"* {figure.name}: {', '.join(shares)}")
    return "\n".join([*lines, ""])


def _recovered_after(fleet: Sequence[Calls], run: Run) -> float:
    for seconds in range(WINDOW_SECONDS, int(run.after_seconds)):
        at = run.before_seconds + seconds
        view = View.of(fleet, at - WINDOW_SECONDS, at)
        enough = view.images_a_second >= FULL_USE * LIMIT * MAX_IMAGES_PER_CALL
        if enough and view.limited_percent < MOST_LIMITED_PERCENT:
            return float(seconds)
    return run.after_seconds
