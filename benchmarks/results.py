"""Figures: their spread, target and peers, and what counts as worse.

A ratio can be compared from one machine to the next; an absolute time cannot, and is not. `noise` says which a figure
is, and how large a relative difference must be to mean something.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

SIMULATED_NOISE = 0.01
"""Of a ratio that is computed under the virtual clock: the same seeds give the same numbers until the code changes."""
MEASURED_NOISE = 0.35
"""Of a ratio of two real times, taken on machines that have other things to do."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of the report: the median of its samples. `noise` None: an absolute, which is never compared.

    `most` or `least` is the target. `peers` are other ways to do the same, measured in the same run.
    """

    name: str
    unit: str
    samples: Sequence[float]
    most: float | None = None
    least: float | None = None
    peers: Mapping[str, Sequence[float]] = field(default_factory=dict)
    noise: float | None = SIMULATED_NOISE

    @property
    def value(self) -> float:
        """The median."""
        return median(self.samples)

    @property
    def spread(self) -> float:
        """The difference of the greatest and the least sample."""
        return max(self.samples) - min(self.samples)

    @property
    def target(self) -> str:
        """What must be reached; empty where there is no target."""
        if self.most is not None:
            return f"≤ {number(self.most)}"
        return "" if self.least is None else f"≥ {number(self.least)}"

    @property
    def is_met(self) -> bool:
        """Whether the target is reached."""
        enough = self.least is None or self.value >= self.least
        return enough and (self.most is None or self.value <= self.most)

    @property
    def is_compared(self) -> bool:
        """Whether it means the same on every machine, and one way is better."""
        return self.noise is not None and bool(self.target)

    def is_worse(self, reference: float) -> bool:
        """Whether it has become worse than the committed median by more than the noise."""
        lost = self.value - reference if self.least is None else reference - self.value
        return self.is_compared and lost > max(self.spread, abs(reference) * (self.noise or 0))

    def row(self) -> list[str]:
        """Its cells in a table."""
        spread = f"{number(min(self.samples))} to {number(max(self.samples))}"
        met = ("met" if self.is_met else "**missed**") if self.target else ""
        peers = "; ".join(f"{name} {number(median(samples))}" for name, samples in self.peers.items())
        return [self.name, number(self.value), spread, self.unit, self.target, met, peers]


def absolute(name: str, unit: str, costs: Mapping[str, Sequence[float]]) -> Figure:
    """A figure of the machine that it was measured on: of us, who come first, and of the peers."""
    (_, ours), *peers = costs.items()
    return Figure(name, unit, ours, peers=dict(peers), noise=None)


def ratio(
    name: str, ours: Sequence[float], theirs: Sequence[float], most: float | None = None, least: float | None = None
) -> Figure:
    """A figure of two real times or sizes, sample by sample."""
    samples = [one / other for one, other in zip(ours, theirs, strict=True)]
    return Figure(name, "ratio", samples, most, least, noise=MEASURED_NOISE)


def number(value: float) -> str:
    """A number with as many digits as mean something, thousands apart."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.3g}" if abs(value) < 0.1 else f"{value:.3f}".rstrip("0").rstrip(".")
