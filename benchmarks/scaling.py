"""Instances on one limit while most of them stop, or more of them start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.fleet import Plan, Shift, View, work
from benchmarks.results import SIMULATED_NOISE, Figure, Outcome, Peer, at_most
from benchmarks.service import LIMIT
from benchmarks.sizes import FULL, OURS
from benchmarks.workers import run_all
from shared.custom_vision import MAX_IMAGES_PER_CALL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.service import Calls
    from benchmarks.sizes import Sizes

NAME = "scaling"
TITLE = "Instances that stop and start"
WINDOW_SECONDS = 10
BIN_SECONDS = 5
ABOUT = f"""\
As before, but 12 of 16 instances stop at once, or 4 instances become 16. The figure is the end of the first
{WINDOW_SECONDS} s after the change in which all together update at least 0.90 x 640 images a second with fewer
than 5 % of the calls answered 429; {FULL.after_seconds:g} s means that this did not happen while they were looked
at.

Those who stay when others stop are told nothing: one of them has to try, which costs three or four 429s where nothing
is free. With 2 % of the calls to spend on that, each of 16 instances can try every two and a half minutes, counted
anew from each 429. So when the first of the four that are left tries is a matter of chance: hence the wide spread.
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
    runs = [Run(change, pace, seed, *lengths) for change in CHANGES for pace, seed in sizes.repetitions]
    found = dict(zip(runs, run_all(simulate, runs, step), strict=True))

    def seconds(change: str, pace: str) -> tuple[float, ...]:
        return tuple(found[Run(change, pace, seed, *lengths)].seconds for seed in sizes.seeds(pace))

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
            recovery = found[Run(change, pace, 0, *lengths)]
            series[f"{change}, {pace}, images/s"] = recovery.images_a_second
            series[f"{change}, {pace}, % 429"] = recovery.limited_percent
    return Outcome(figures, series)


def steps(sizes: Sizes) -> int:
    """How many pieces of work there are."""
    return len(CHANGES) * len(sizes.repetitions)


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


def _recovered_after(fleet: Sequence[Calls], run: Run) -> float:
    for seconds in range(WINDOW_SECONDS, int(run.after_seconds)):
        at = run.before_seconds + seconds
        view = View.of(fleet, at - WINDOW_SECONDS, at)
        enough = view.images_a_second >= FULL_USE * LIMIT * MAX_IMAGES_PER_CALL
        if enough and view.limited_percent < MOST_LIMITED_PERCENT:
            return float(seconds)
    return run.after_seconds
