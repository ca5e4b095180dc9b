"""The pictures of the document."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas

from benchmarks.results import Figure
from benchmarks.service import GATEWAYS, LIMIT

TARGET = "#cf222e"
COLOURS = ("#0969da", "#9a6700", "#8250df", "#57606a", "#1a7f37")
STYLE: dict[str, Any] = {
    "font.size": 9.5,
    "axes.grid": True,
    "grid.color": "#d0d7de",
    "legend.frameon": False,
    "figure.figsize": (8.4, 3.6),
    "figure.constrained_layout.use": True,
}


def draw_all(results: Mapping[str, Sequence[Figure]], folder: Path) -> None:
    """Draw what there are results for."""
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        for name, draw in (("calls", _calls), ("instances", _instances)):
            if name in results:
                draw(results[name]).savefig(folder / f"{name}.png", dpi=144)


def _calls(figures: Sequence[Figure]) -> Canvas:
    canvas = Canvas()
    axes = canvas.subplots()
    for row, figure in enumerate(reversed(figures)):
        everyone = {"Vision Relay": figure.samples, **figure.peers}
        for colour, (name, samples) in zip(COLOURS, everyone.items(), strict=False):
            axes.plot([min(samples), max(samples)], [row, row], color=colour, lw=2)
            axes.plot([median(samples)], [row], "o", color=colour, ms=6, label=None if row else name)
        if figure.most:
            axes.plot([figure.most] * 2, [row - 0.35, row + 0.35], color=TARGET, lw=1.6)
    axes.plot([], [], color=TARGET, lw=1.6, label="target")
    axes.set_yticks(range(len(figures)), [figure.name for figure in reversed(figures)])
    axes.set_xscale("log")
    axes.set_xticks([1, 2, 4, 8, 16, 32, 64], ["1", "2", "4", "8", "16", "32", "64"])
    axes.set_xlabel("API calls ÷ fewest possible (log scale)")
    canvas.legend(loc="outside lower center", ncols=4)
    return canvas


def _instances(figures: Sequence[Figure]) -> Canvas:
    """Goodput by the number of instances, one line a gateway."""
    canvas = Canvas()
    left, right = canvas.subplots(1, 2, sharey=True)
    for gateway, colour, mark in zip(GATEWAYS[LIMIT], COLOURS, "os^Dv", strict=True):
        found = [figure for figure in figures if figure.name.startswith(f"goodput, {gateway}, ")]
        counts = [figure.name.rsplit(", ", 1)[1].split()[0] for figure in found]
        peers = [median(samples) for figure in found for samples in figure.peers.values()]
        left.plot(counts, peers, mark, ls="-", ms=5, lw=1.4, color=colour)
        right.plot(counts, [figure.value for figure in found], mark, ls="-", ms=5, lw=1.4, color=colour, label=gateway)
    for axes, title in ((left, "Additive increase: each guesses from 429s"), (right, "Vision Relay: permits")):
        axes.axhline(0.97, color=TARGET, lw=1.2, label="target: 0.97" if axes is right else None)
        axes.set_ylim(0.5, 1.12)
        axes.set_xlabel("instances on one limit")
        axes.set_title(title)
    left.set_ylabel("calls that pass ÷ limit")
    canvas.legend(loc="outside lower center", ncols=3, title="how the API counts ten calls a second")
    return canvas
