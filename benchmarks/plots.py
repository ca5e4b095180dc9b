"""The plots, each as SVG and as PNG."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas

from benchmarks import calls, cpu, http, instances, scaling, sizes, whole_path
from benchmarks.before import BEFORE
from benchmarks.gateways import GATEWAYS
from benchmarks.results import number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from benchmarks.results import Figure, Outcome

INK, GRID, TARGET = "#24292f", "#d0d7de", "#cf222e"
OURS = "#0969da"
OTHERS = ("#9a6700", "#8250df", "#57606a", "#1a7f37")

STYLE: dict[str, Any] = {
    "svg.hashsalt": "benchmarks",  # the same numbers make the same file
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


def draw_all(outcomes: Mapping[str, Outcome], folder: Path) -> dict[str, str]:
    """Draw what there are results for. Returns the plots' captions by file name without its ending."""
    folder.mkdir(parents=True, exist_ok=True)
    captions = {}
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        for name, (case, caption, draw) in PLOTS.items():
            if case not in outcomes:
                continue
            canvas = draw(outcomes[case])
            canvas.savefig(folder / f"{name}.svg", metadata={"Date": None})
            canvas.savefig(folder / f"{name}.png", dpi=144)
            captions[name] = caption
    return captions


def of_case(case: str) -> list[str]:
    """The names of a case's plots."""
    return [name for name, (its_case, _, _) in PLOTS.items() if its_case == case]


def _calls(outcome: Outcome) -> Canvas:
    canvas = Canvas(figsize=(8.4, 3.6))
    axes = canvas.subplots()
    figures = outcome.figures[::-1]
    for row, figure in enumerate(figures):
        _spread(axes, row, figure.samples, OURS, label="Vision Relay" if not row else None)
        for peer, colour in zip(figure.peers, OTHERS, strict=False):
            _spread(axes, row, peer.samples, colour, label=peer.name if not row else None)
        if figure.target:
            axes.plot([figure.target.limit] * 2, [row - 0.35, row + 0.35], color=TARGET, lw=1.6)
    axes.plot([], [], color=TARGET, lw=1.6, label="target")
    axes.set_yticks(range(len(figures)), [figure.name for figure in figures])
    axes.set_xscale("log")
    axes.set_xticks([1, 2, 4, 8, 16, 32, 64], ["1", "2", "4", "8", "16", "32", "64"])
    axes.set_xlabel("API calls ÷ fewest possible (log scale)")
    canvas.legend(loc="outside lower center", ncols=4)
    return canvas


def _window(outcome: Outcome) -> Canvas:
    canvas = Canvas(figsize=(8.4, 3.6))
    axes = canvas.subplots()
    windows = [int(window) for window in outcome.series.get("windows", ())]
    for keys, colour in zip(calls.KEYS_OF_CURVES, (OURS, *OTHERS), strict=False):
        ratios = outcome.series.get(f"{keys} keys", ())
        axes.plot(windows, ratios, "o-", ms=4, color=colour, label=f"{keys} keys")
        axes.axvline(63 * keys + 1, color=colour, lw=0.9, ls=":")
    axes.set_xscale("log", base=2)
    axes.set_xticks(windows, [f"{window:,}" for window in windows])
    axes.minorticks_off()
    axes.set_xlabel("window: messages in process at a time (log scale)")
    axes.set_ylabel("API calls ÷ fewest possible")
    axes.legend(title="dotted: 63 x keys + 1")
    return canvas


def _instances(outcome: Outcome) -> Canvas:
    """Goodput by the number of instances, one line a gateway, before and after."""
    canvas = Canvas(figsize=(8.4, 3.6))
    before, after = canvas.subplots(1, 2, sharey=True)
    figures = {figure.name: figure for figure in outcome.figures}
    counts = sorted({int(name.rsplit(", ", 1)[1].split()[0]) for name in figures if name.startswith("goodput")})
    places = range(len(counts))
    for gateway, colour, mark in zip(GATEWAYS, (OURS, *OTHERS), "os^Dv", strict=False):
        of_gateway = [figures[f"goodput, {gateway}, {n} instance{'s' * (n > 1)}"] for n in counts]
        was = [next(peer for peer in figure.peers if peer.name == BEFORE).value for figure in of_gateway]
        before.plot(places, was, mark, ls="-", ms=5, lw=1.4, color=colour)
        after.plot(
            places, [figure.value for figure in of_gateway], mark, ls="-", ms=5, lw=1.4, color=colour, label=gateway
        )
    for axes, title in ((before, "Before: each guesses the others from 429s"), (after, "Now: permits")):
        axes.axhline(0.97, color=TARGET, lw=1.2, label="target: 0.97" if axes is after else None)
        axes.set_xticks(places, [str(count) for count in counts])
        axes.set_ylim(0.5, 1.12)
        axes.set_xlabel("instances on one limit")
        axes.set_title(title)
    before.set_ylabel("calls that pass ÷ limit")
    canvas.legend(loc="outside lower center", ncols=3, title="how the API counts ten calls a second")
    return canvas


def _scaling(outcome: Outcome) -> Canvas:
    canvas = Canvas(figsize=(8.4, 5.0))
    grid = canvas.subplots(2, len(scaling.CHANGES), sharex=True, sharey="row")
    changed_at = outcome.series["changed at"][0]
    for column, change in enumerate(scaling.CHANGES):
        for row, what in enumerate(("calls/s", "% 429")):
            axes = grid[row][column]
            for pace, colour in zip(sizes.FULL.paces, (OURS, *OTHERS), strict=False):
                values = outcome.series[f"{change}, {pace}, {what}"]
                seconds = [(place + 0.5) * scaling.BIN_SECONDS - changed_at for place in range(len(values))]
                axes.plot(seconds, values, color=colour, lw=1.4, label=pace)
            axes.axvline(0, color=INK, lw=0.9, ls="--")
            axes.set_ylim(bottom=0)
        grid[0][column].axhline(0.9 * 10, color=TARGET, lw=1.2, label="0.90 x limit; 5 %")
        grid[1][column].axhline(5, color=TARGET, lw=1.2)
        grid[0][column].set_title(f"{change} instances")
        grid[1][column].set_xlabel("seconds from the change")
    grid[0][0].set_ylabel("calls/s, all together")
    grid[1][0].set_ylabel("% of calls answered 429")
    handles, names = grid[0][0].get_legend_handles_labels()
    canvas.legend(handles, names, loc="outside lower center", ncols=4)
    return canvas


def _cpu(outcome: Outcome) -> Canvas:
    canvas = Canvas(figsize=(8.4, 2.4))
    axes = canvas.subplots()
    figures = outcome.figures[len(cpu.WINDOWS) - 1 :: -1]
    for row, figure in enumerate(figures):
        floor = figure.peers[0]
        _bar(axes, row + 0.2, figure.samples, OURS, "Vision Relay" if not row else None, height=0.36)
        _bar(axes, row - 0.2, floor.samples, OTHERS[2], cpu_floor(figure) if not row else None, height=0.36)
        target = f"target: {cpu.MAX_RATIO:g} x the least possible" if not row else None
        axes.plot(
            [median(floor.samples) * cpu.MAX_RATIO] * 2, [row - 0.4, row + 0.4], color=TARGET, lw=1.4, label=target
        )
    axes.set_yticks(range(len(figures)), [figure.name for figure in figures])
    axes.set_xlabel("µs of processor time a message, body to outcome")
    canvas.legend(loc="outside lower center", ncols=3)
    return canvas


def cpu_floor(figure: Figure) -> str:
    """What the peer of the CPU case is called."""
    return f"{figure.peers[0].name} in asyncio"


def _http(outcome: Outcome) -> Canvas:
    speed, cost = outcome.figures[:2]
    return _side_by_side(speed, cost, http.OURS, ("images a second", "µs of processor time a message"))


def _whole_path(outcome: Outcome) -> Canvas:
    canvas = Canvas(figsize=(8.4, 2.4))
    axes = canvas.subplots()
    speed = outcome.figures[0]
    _bars(axes, whole_path.OURS, speed, "messages a second")
    azurite = next(peer for peer in speed.peers if peer.name == whole_path.AZURITE)
    axes.axvline(0.8 * azurite.value, color=TARGET, lw=1.4, label="target: 0.8 x Azurite alone")
    canvas.legend(loc="outside lower center")
    return canvas


def _side_by_side(first: Figure, second: Figure, ours: str, labels: tuple[str, str]) -> Canvas:
    canvas = Canvas(figsize=(8.4, 2.8))
    left, right = canvas.subplots(1, 2, sharey=True)
    for axes, figure, label in ((left, first, labels[0]), (right, second, labels[1])):
        _bars(axes, ours, figure, f"{label} (log scale)")
        axes.set_xscale("log")
        axes.margins(x=0.25)
    return canvas


def _bars(axes: Axes, ours: str, figure: Figure, label: str) -> None:
    """A bar for us and one for each peer, from top to bottom, with its value."""
    everyone: list[tuple[str, tuple[float, ...]]] = [(ours, figure.samples)]
    everyone += [(peer.name, peer.samples) for peer in figure.peers]
    for row, (name, samples) in enumerate(reversed(everyone)):
        _bar(axes, row, samples, OURS if name == ours else OTHERS[2], None, height=0.55)
        axes.annotate(
            number(_median(samples)), (max(samples), row), xytext=(5, 0), textcoords="offset points", va="center"
        )
    axes.set_yticks(range(len(everyone)), [name for name, _ in reversed(everyone)])
    axes.set_xlabel(label)


def _bar(axes: Axes, row: float, samples: Sequence[float], colour: str, label: str | None, *, height: float) -> None:
    value = _median(samples)
    error = [[value - min(samples)], [max(samples) - value]]
    axes.barh(row, value, height=height, color=colour, label=label, xerr=error, ecolor=INK, capsize=2)


def _spread(axes: Axes, row: int, samples: Sequence[float], colour: str, label: str | None) -> None:
    axes.plot([min(samples), max(samples)], [row, row], color=colour, lw=2)
    axes.plot([_median(samples)], [row], "o", color=colour, ms=6, label=label)


def _median(samples: Sequence[float]) -> float:
    return sorted(samples)[len(samples) // 2]


PLOTS: Mapping[str, tuple[str, str, Callable[[Outcome], Canvas]]] = {
    "calls": (calls.NAME, "API calls beside the fewest possible", _calls),
    "window": (calls.NAME, "API calls by window and number of keys", _window),
    "instances": (instances.NAME, "How much of one limit instances use together, by how the API counts", _instances),
    "scaling": (scaling.NAME, "Instances that stop and start", _scaling),
    "cpu": (cpu.NAME, "CPU per message", _cpu),
    "http": (http.NAME, "Over HTTP, beside other clients", _http),
    "whole-path": (whole_path.NAME, "Messages a second from queue to API", _whole_path),
}
