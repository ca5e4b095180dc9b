"""What a case hands over: figures with their spread, targets and peers, and series for the plots.

A figure that is a ratio can be compared from one machine to the next; an absolute time cannot, and is not. `noise`
tells which it is, and from which relative difference on a difference means something.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # noqa: TC003 (pydantic reads them)
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median

SIMULATED_NOISE = 0.01
"""Of a ratio that is computed under the virtual clock: the same seeds give the same numbers until the code changes."""

MEASURED_NOISE = 0.35
"""Of a ratio of two real times, taken on machines that have other things to do."""


class Better(StrEnum):
    """Which way a figure gets better."""

    LOWER = "≤"
    HIGHER = "≥"


@dataclass(frozen=True, slots=True)
class Target:
    """What must be reached."""

    better: Better
    limit: float

    def is_met(self, value: float) -> bool:
        """Whether a figure reaches it."""
        return value <= self.limit if self.better is Better.LOWER else value >= self.limit

    def __str__(self) -> str:
        return f"{self.better} {number(self.limit)}"


def at_most(limit: float) -> Target:
    """A target from above."""
    return Target(Better.LOWER, limit)


def at_least(limit: float) -> Target:
    """A target from below."""
    return Target(Better.HIGHER, limit)


@dataclass(frozen=True, slots=True)
class Peer:
    """The same figure for another way of doing it, in the same run."""

    name: str
    samples: tuple[float, ...]

    @property
    def value(self) -> float:
        """The median."""
        return median(self.samples)


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of the report: the median of its samples. `noise` None: an absolute, which is never compared."""

    case: str
    name: str
    unit: str
    samples: tuple[float, ...]
    target: Target | None = None
    peers: tuple[Peer, ...] = ()
    noise: float | None = None

    @property
    def key(self) -> str:
        """What it is called from one run to the next."""
        return f"{self.case}: {self.name}"

    @property
    def value(self) -> float:
        """The median."""
        return median(self.samples)

    @property
    def spread(self) -> tuple[float, float]:
        """The least and the greatest sample."""
        return min(self.samples), max(self.samples)

    @property
    def is_met(self) -> bool | None:
        """Whether the target is reached; None where there is none."""
        return None if self.target is None else self.target.is_met(self.value)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a case: figures for the tables, series of numbers for the plots, and remarks for the reader."""

    figures: tuple[Figure, ...]
    series: Mapping[str, Sequence[float]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def is_worse(now: Figure, committed: Figure) -> bool:
    """Whether a ratio has become worse than the committed one by more than the noise of both.

    The noise is the wider of the two spreads, and never less than what `noise` says.
    """
    target = now.target
    if target is None or now.noise is None:
        return False
    widths = [most - least for least, most in (now.spread, committed.spread)]
    noise = max(*widths, abs(committed.value) * now.noise)
    lost = now.value - committed.value
    return (lost if target.better is Better.LOWER else -lost) > noise


def number(value: float) -> str:
    """A number with as many digits as mean something, thousands apart."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.3g}" if abs(value) < 0.1 else f"{value:.3f}".rstrip("0").rstrip(".")
