"""Instances on one limit under conditions that are not the usual ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmarks.before import BEFORE, FOREIGN, LATE, LOW
from benchmarks.fleet import TICK_SECONDS, Accidents, Done, Plan, Shift, View, work
from benchmarks.gateways import GATEWAYS, LOW_LIMITS
from benchmarks.permits import Ends
from benchmarks.results import SIMULATED_NOISE, Figure, Outcome, Peer, at_least, at_most
from benchmarks.service import INTERNET, LIMIT
from benchmarks.workers import run_all
from shared.limits.rate_limit_shared import permits_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.results import Target
    from benchmarks.sizes import Sizes

NAME = "limits"
TITLE = "One limit when something is out of the ordinary"
ABOUT = f"""\
As before, over five minutes after the first 15 s unless something else is said.

* **A foreign client** calls at even intervals, whatever the answer, beside 4 instances. Goodput is what the instances
  achieve ÷ what is left of the limit. Where a gateway counts in windows that are much longer than a second, or a window
  that slides, what is left is hard to find: only a 429 tells of it.
* **Late calls** reach the gateway 10 ms later on average, by chance, so that calls which went a second apart arrive
  nearer to one another.
* **Lower limits** of 2 a second and a third a second, 4 instances, ten minutes.
* **Whole seconds:** an invisibility ends at the whole second before or after, 16 instances, sliding second.
* **A permit lost, one too many:** 4 instances; the figure is the time until the number is right again, with the timer
  function every {TICK_SECONDS:g} s. *429* is over the minute after that.
* **Storage away** for 60 s, 16 instances. *After* is the minute from 15 s after its end, *meanwhile* the minute itself.

Peer: what this app did before, recorded.
"""
FOREIGN_INSTANCES = 4
MANY = 16
SETTLED_SECONDS = 15.0
AWAY = (60.0, 120.0)
ACCIDENT_AT = 47.0
WATCHED_SECONDS = 120.0
AFTERMATH_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Case:
    """One row or two: what is simulated, and what is made of it, in the order of `names`."""

    names: tuple[str, ...]
    plan: Plan
    values: Callable[[Done, Plan], tuple[float, ...]]
    units: tuple[str, ...]
    targets: tuple[Target, ...]
    before: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """A case, by its place among all, with a seed."""

    place: int
    seed: int
    seconds: float


def _share(done: Done, plan: Plan) -> tuple[float, ...]:
    """Goodput of what is left of the limit, and 429s."""
    ours = View.of(done.fleet, SETTLED_SECONDS, plan.seconds)
    left = plan.rate - View.of([done.foreign], SETTLED_SECONDS, plan.seconds).passed_a_second
    return ours.passed_a_second / left, ours.limited_percent


def _repair(done: Done, plan: Plan) -> tuple[float, ...]:
    """When the number was right again, and the 429s of the minute after."""
    wanted, _ = permits_for(plan.rate)
    repaired = next((at for at, found in done.permits if at > ACCIDENT_AT and found == wanted), plan.seconds)
    return repaired - ACCIDENT_AT, View.of(done.fleet, repaired, repaired + AFTERMATH_SECONDS).limited_percent


def _away(done: Done, _: Plan) -> tuple[float, ...]:
    meanwhile = View.of(done.fleet, *AWAY)
    after = View.of(done.fleet, AWAY[1] + SETTLED_SECONDS, AWAY[1] + SETTLED_SECONDS + AFTERMATH_SECONDS)
    whole = View.of(done.fleet, AWAY[0], AWAY[1] + AFTERMATH_SECONDS)
    return after.passed_a_second / LIMIT, whole.limited_percent, meanwhile.passed_a_second / LIMIT


MEANWHILE_MOST = 0.5
"""Of the limit, while storage is away: turns that go on, and then what instances dare without permits."""
GOODPUT, PERCENT = "calls/s ÷ limit", "% of calls"


def cases(seconds: float) -> Iterator[Case]:
    """All of them; `seconds` are those of the usual ones."""
    yield from _foreign(seconds)
    yield from _late_and_low(seconds)
    yield from _accidents()


def _plan(instances: int, seconds: float, **what: object) -> Plan:
    return replace(Plan((Shift(instances, 0, seconds),), seconds, 0), **what)  # type: ignore[arg-type]


def _shared(name: str, plan: Plan, goodput: float, percent: float, before: tuple[float, ...] = ()) -> Case:
    targets = (at_least(goodput), at_most(percent))
    return Case((f"{name}: goodput", f"{name}: 429"), plan, _share, (GOODPUT, PERCENT), targets, before)


def _foreign(seconds: float) -> Iterator[Case]:
    for foreign, percent in ((2.0, 2), (6.0, 5)):
        for gateway in GATEWAYS:
            plan = _plan(FOREIGN_INSTANCES, seconds, gateway=gateway, foreign=foreign)
            yield _shared(f"foreign {foreign:g}/s, {gateway}", plan, 0.97, percent, FOREIGN[foreign, gateway])


def _late_and_low(seconds: float) -> Iterator[Case]:
    for instances in (1, 4, 16, 64):
        plan = _plan(instances, seconds, gateway="sliding second", network=replace(INTERNET, late=0.010))
        yield _shared(f"late calls, {instances} on a sliding second", plan, 0.93, 1, LATE[instances])
    for rate, gateways in LOW_LIMITS.items():
        for gateway in gateways:
            plan = _plan(FOREIGN_INSTANCES, 2 * seconds, gateway=gateway, rate=rate)
            yield _shared(f"{rate:.2g}/s, {gateway}", plan, 0.95, 0.1, LOW[rate, gateway])
    for ends in (Ends.EARLY, Ends.LATE):
        yield _shared(f"visible {ends.value}", _plan(MANY, seconds, gateway="sliding second", ends=ends), 0.97, 0.1)


def _accidents() -> Iterator[Case]:
    watched, until = ACCIDENT_AT + WATCHED_SECONDS, AWAY[1] + SETTLED_SECONDS + AFTERMATH_SECONDS
    happens = {"one lost": Accidents(lost_at=ACCIDENT_AT), "one too many": Accidents(surplus_at=ACCIDENT_AT)}
    for gateway in GATEWAYS:
        for name, accident in happens.items():
            names: tuple[str, ...] = (f"{name}, {gateway}: repaired", f"{name}, {gateway}: 429 after")
            plan = _plan(FOREIGN_INSTANCES, watched, gateway=gateway, accidents=accident)
            yield Case(names, plan, _repair, ("s", PERCENT), (at_most(60), at_most(5)))
        names = tuple(f"storage away, {gateway}: {what}" for what in ("goodput after", "429", "goodput meanwhile"))
        plan = _plan(MANY, until, gateway=gateway, accidents=Accidents(away=(AWAY,)))
        yield Case(
            names, plan, _away, (GOODPUT, PERCENT, GOODPUT), (at_least(0.95), at_most(1), at_most(MEANWHILE_MOST))
        )


def run(sizes: Sizes, step: Callable[[], None]) -> Outcome:
    """Every case with every seed."""
    seconds = SETTLED_SECONDS + sizes.observed_seconds
    every = list(cases(seconds))
    samples = [Sample(place, seed, seconds) for place in range(len(every)) for seed in range(sizes.samples)]
    found = dict(zip(samples, run_all(simulate, samples, step), strict=True))
    figures: list[Figure] = []
    for place, case in enumerate(every):
        values = [found[Sample(place, seed, seconds)] for seed in range(sizes.samples)]
        figures += _figures(case, values)
    return Outcome(tuple(figures))


def steps(sizes: Sizes) -> int:
    """How many pieces of work there are."""
    return sum(1 for _ in cases(1.0)) * sizes.samples


def simulate(sample: Sample) -> tuple[float, ...]:
    """One case with one seed."""
    case = list(cases(sample.seconds))[sample.place]
    plan = replace(case.plan, seed=sample.seed)
    return case.values(work(plan), plan)


def _figures(case: Case, values: Sequence[tuple[float, ...]]) -> Iterator[Figure]:
    before = case.before or (None,) * len(case.names)
    for name, unit, target, samples, was in zip(
        case.names, case.units, case.targets, zip(*values, strict=True), before, strict=True
    ):
        peers = () if was is None else (Peer(BEFORE, (was,)),)
        yield Figure(NAME, name, unit, tuple(samples), target, peers, noise=SIMULATED_NOISE)
