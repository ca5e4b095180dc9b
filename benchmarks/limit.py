"""Instances on one limit: how much of it they use, waste and share; while some stop or start; when something is wrong.

A `Row` is one simulated situation with one figure or several; the three tables of the document are lists of rows.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import mean

from benchmarks.fleet import Done, Plan, seen, work
from benchmarks.results import Figure
from benchmarks.service import GATEWAYS, LIMIT
from benchmarks.sizes import FULL, Sizes
from benchmarks.workers import run_all
from shared.limits.distributed_rate_limit import permits_for

STRICTEST = ("sliding second", "sliding 3 s")
"""The only gateways of a quick run."""
SETTLED_SECONDS, START_SECONDS = 15.0, 30.0
WELL_SECONDS = 10
FULL_USE, MOST_LIMITED_PERCENT = 0.90, 5.0
FEW, MANY = 4, 16
AWAY = (60.0, 120.0)
ACCIDENT_AT, WATCHED_SECONDS, AFTERMATH_SECONDS = 47.0, 120.0, 60.0
OF_TEN, OF_LIMIT, PERCENT = "calls/s ÷ 10", "calls/s ÷ limit", "% of calls"

Values = Callable[[Done, Plan], tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Row:
    """What is simulated, and what is made of it: values for the figures, each a name, a unit, `most` and `least`."""

    plan: Plan
    values: Values
    figures: Sequence[tuple[str, str, float | None, float | None]]
    samples: int
    peer_samples: int = 0
    is_worst: bool = False
    """The worst sample counts, instead of the median."""

    def runs(self) -> list[tuple[Plan, Values]]:
        """Every seed, of ours and then of the peer."""
        ours = [replace(self.plan, seed=seed) for seed in range(self.samples)]
        peer = [replace(self.plan, seed=seed, increase=True) for seed in range(self.peer_samples)]
        return [(plan, self.values) for plan in ours + peer]

    def made_of(self, found: Sequence[tuple[float, ...]]) -> Iterator[Figure]:
        """The figures, from the values of each run."""
        for (name, unit, most, least), samples in zip(self.figures, zip(*found, strict=True), strict=False):
            ours, peer = samples[: self.samples], samples[self.samples :]
            if self.is_worst:
                ours, peer = (max(ours),), (max(peer),) if peer else ()
            yield Figure(name, unit, ours, most, least, {"additive increase": peer} if peer else {})


def run(every: Iterable[Row]) -> list[Figure]:
    """Simulate all rows of a table."""
    rows = list(every)
    found = iter(run_all(_simulate, [run for row in rows for run in row.runs()]))
    return [figure for row in rows for figure in row.made_of([next(found) for _ in row.runs()])]


def _simulate(run: tuple[Plan, Values]) -> tuple[float, ...]:
    plan, values = run
    return values(work(plan), plan)


def _gateways(sizes: Sizes, rate: float = LIMIT) -> list[str]:
    return [name for name in GATEWAYS[rate] if sizes.is_whole or name in STRICTEST]


def _together(instances: int, seconds: float) -> Plan:
    return Plan(((instances, 0, seconds),), seconds)


def sharing(sizes: Sizes) -> Iterator[Row]:
    """Every number of instances on every gateway."""
    ours, peer = sizes.sharing_samples, sizes.samples if sizes.is_whole else 0
    for gateway in _gateways(sizes):
        for count in sizes.instances:
            where = f"{gateway}, {_instances(count)}"
            figures = [
                (f"goodput, {where}", OF_TEN, None, 0.97),
                (f"429, {where}", PERCENT, 0.1, None),
                (f"start: goodput, {where}", OF_TEN, None, 0.93),
                (f"start: 429, {where}", PERCENT, 1, None),
            ]
            plan = replace(_together(count, SETTLED_SECONDS + sizes.observed_seconds), gateway=gateway)
            yield Row(plan, _use, figures if count == max(FULL.instances) else figures[:2], ours, peer)
    for count in sizes.instances:
        plan = _together(count, 2 * sizes.observed_seconds)
        fairness = f"fairness, {_instances(count)}", "slowest ÷ mean", None, 0.9 if count <= MANY else 0.7
        yield Row(plan, _fairness, [fairness], ours, peer)
        yield Row(plan, _operations, [(f"operations, {_instances(count)}", "an instance-hour", 15_000, None)], ours)


def scaling(sizes: Sizes) -> Iterator[Row]:
    """Instances of which most stop, or more start, on every gateway."""
    at, end = sizes.change_seconds, 2 * sizes.change_seconds
    changes = {
        "16 become 4": ((FEW, 0, end), (MANY - FEW, 0, at)),
        "4 become 16": ((FEW, 0, end), (MANY - FEW, at, end)),
    }
    peer = sizes.samples if sizes.is_whole else 0
    for change, shifts in changes.items():
        for gateway in _gateways(sizes):
            figure = f"{change}, {gateway}", "s until well again, worst", 20, None
            plan = Plan(shifts, end, gateway=gateway)
            yield Row(plan, _recovered, [figure], sizes.scaling_samples, peer, is_worst=True)


def unusual(sizes: Sizes) -> Iterator[Row]:
    """Everything that is not as usual."""
    seconds = SETTLED_SECONDS + sizes.observed_seconds

    def shared(name: str, plan: Plan, least: float, most: float) -> Row:
        figures = (f"{name}: goodput", OF_LIMIT, None, least), (f"{name}: 429", PERCENT, most, None)
        return Row(plan, _share, figures, sizes.samples)

    for foreign, most in ((2.0, 2), (6.0, 5)):
        for gateway in _gateways(sizes):
            plan = replace(_together(FEW, seconds), gateway=gateway, foreign=foreign)
            yield shared(f"foreign {foreign:g}/s, {gateway}", plan, 0.97, most)
    for count in FULL.instances:
        late = replace(_together(count, seconds), gateway="sliding second", late=0.010)
        yield shared(f"late calls, {count} on a sliding second", late, 0.93, 1)
    for rate in (2.0, 1 / 3):
        for gateway in _gateways(sizes, rate):
            plan = replace(_together(FEW, 2 * seconds), gateway=gateway, rate=rate)
            yield shared(f"{rate:.2g}/s, {gateway}", plan, 0.95, 0.1)
    for gateway in _gateways(sizes):
        yield from _accidents(gateway, sizes.samples)


def _accidents(gateway: str, samples: int) -> Iterator[Row]:
    few = replace(_together(FEW, ACCIDENT_AT + WATCHED_SECONDS), gateway=gateway)
    happens = {"one lost": replace(few, lost_at=ACCIDENT_AT), "one too many": replace(few, surplus_at=ACCIDENT_AT)}
    for name, plan in happens.items():
        after = f"{name}, {gateway}: 429 after", PERCENT, 5, None
        yield Row(plan, _repair, [(f"{name}, {gateway}: repaired", "s", 60, None), after], samples)
    many = _together(MANY, AWAY[1] + SETTLED_SECONDS + AFTERMATH_SECONDS)
    figures = [
        (f"storage away, {gateway}: goodput after", OF_LIMIT, None, 0.95),
        (f"storage away, {gateway}: 429", PERCENT, 1, None),
    ]
    yield Row(replace(many, gateway=gateway, away=(AWAY,)), _away, figures, samples)


def _instances(number: int) -> str:
    return f"{number} instance{'s' if number > 1 else ''}"


def _use(done: Done, plan: Plan) -> tuple[float, ...]:
    """Goodput and 429s, when all is settled and at the start."""
    a_second, limited = seen(done.fleet, SETTLED_SECONDS, plan.seconds)
    start, start_limited = seen(done.fleet, 0, START_SECONDS)
    return a_second / LIMIT, limited, start / LIMIT, start_limited


def _fairness(done: Done, plan: Plan) -> tuple[float, ...]:
    each = [seen([calls], 0, plan.seconds)[0] for calls in done.fleet]
    return (min(each) / mean(each),)


def _operations(done: Done, plan: Plan) -> tuple[float, ...]:
    return (max(calls.operations for calls in done.fleet) / plan.seconds * 3600,)


def _recovered(done: Done, plan: Plan) -> tuple[float, ...]:
    """The seconds from the change in the middle until all is well."""
    changed_at = plan.seconds / 2
    for seconds in range(WELL_SECONDS, int(changed_at)):
        a_second, limited = seen(done.fleet, changed_at + seconds - WELL_SECONDS, changed_at + seconds)
        if a_second >= FULL_USE * LIMIT and limited < MOST_LIMITED_PERCENT:
            return (float(seconds),)
    return (changed_at,)


def _share(done: Done, plan: Plan) -> tuple[float, ...]:
    """Goodput of what is left of the limit, and 429s."""
    a_second, limited = seen(done.fleet, SETTLED_SECONDS, plan.seconds)
    return a_second / (plan.rate - seen([done.foreign], SETTLED_SECONDS, plan.seconds)[0]), limited


def _repair(done: Done, plan: Plan) -> tuple[float, ...]:
    """When the number of permits was right again, and the 429s of the minute after."""
    wanted, _ = permits_for(plan.rate)
    repaired = next((at for at, found in done.permits if at > ACCIDENT_AT and found == wanted), plan.seconds)
    return repaired - ACCIDENT_AT, seen(done.fleet, repaired, repaired + AFTERMATH_SECONDS)[1]


def _away(done: Done, _: Plan) -> tuple[float, ...]:
    """Goodput when storage is back, and 429s of all the time."""
    settled_at = AWAY[1] + SETTLED_SECONDS
    after = seen(done.fleet, settled_at, settled_at + AFTERMATH_SECONDS)[0]
    return after / LIMIT, seen(done.fleet, AWAY[0], AWAY[1] + AFTERMATH_SECONDS)[1]
