"""docs/benchmarks.md, written from the results alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import plots
from benchmarks.cases import CASES
from benchmarks.results import Figure, number

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.results import Outcome
    from benchmarks.store import Results

INTRODUCTION = """\
# Benchmarks

How many calls, how fast and how cheap, measured on the code that is deployed. `make bench` runs all of it and
writes this page, its plots and `build/bench.json`; `make bench-quick` runs every case small in some eight minutes,
and fails if a ratio has become worse than the committed one by more than its noise. Absolute times are never
compared: they are the machine's.

Every figure with a spread is the median of at least five samples, with the least and the greatest of them; each
sample has a seed of its own where chance is simulated, and is a fresh process where cost is measured. A target is for
the median: where the spread is wide, single runs miss it. *Peers* are other ways to do the same, measured in the same
run.
"""

SIMULATION = """\
## What is simulated

The cases about calls, instances and watches need hours, so they run in virtual time: an event loop whose clock
jumps to the next timer. Batcher, admission, permits, handler and the clients of Custom Vision and Face are
the deployed ones, up to and including the HTTP library; where only the sharing of a limit is looked at, the permits and
all that asks for them and puts them back. Simulated are what lies beyond: a gateway (ten calls a second; a bucket with
one second's worth of burst unless another way to count is named; 429 with `Retry-After` in whole seconds), a network (5
to 15 ms each way), a service (log-normal latency, median 80 ms, one in a hundred above 320 ms), and a queue of permits
(4 to 12 ms each way).

This leaves out:

* the processor time that the app needs, which is nothing in virtual time (it is measured apart, below);
* the queue and the host: a message that ends is replaced at once, while the host receives 32 at a time, and
  `Retry-After` or a slow queue can leave a window less full than it is here;
* sockets: no connection breaks, none has to be made anew;
* errors of the service other than 429, which have tests of their own.

The last case below runs the same thing in real time to see whether this matters.
"""

WINDOW = """\
### How to choose the window

The window is how many messages one instance has in process at a time: `batchSize` + `newBatchThreshold` in
host.json (32 + 992 = 1,024 as delivered). A full batch always exists while (window - 1) ÷ 63 ≥ keys: with fewer
messages than that, every key may have 63 images waiting and none 64. So choose

    newBatchThreshold ≥ 63 x keys + 1 - 32

for as many keys (different pairs of project and metadata) as are busy at the same time; one host that has 64 of
them wants 4,096. Less costs little at first, as the plot shows, because the fullest batch is sent first; more
costs memory, which the table below gives per message, and a longer way for messages that were received early.
Each instance has a window of its own. Scaling out is decided by the queue's length, not by the window, so a
large window also keeps work on fewer instances.
"""


def write(results: Results) -> str:
    """The whole document."""
    sections = [INTRODUCTION, _verdict(results), _machine(results), SIMULATION]
    sections += [
        _section(case.NAME, case.TITLE, case.ABOUT, results.outcomes[case.NAME])
        for case in CASES
        if case.NAME in results.outcomes
    ]
    return "\n".join(sections)


def _verdict(results: Results) -> str:
    figures = [figure for outcome in results.outcomes.values() for figure in outcome.figures if figure.target]
    missed = [figure for figure in figures if not figure.is_met]
    unmeasured = [case.TITLE for case in CASES if case.NAME not in results.outcomes]
    absent = [f"Not measured yet: {', '.join(unmeasured)}.", ""] if unmeasured else []
    if not missed:
        return "\n".join([f"All {len(figures)} targets are reached.", "", *absent])
    lines = [*absent, f"{len(figures) - len(missed)} of {len(figures)} targets are reached. **Missed:**", ""]
    lines += [f"* {figure.key}: {number(figure.value)} {figure.unit}, target {figure.target}" for figure in missed]
    return "\n".join([*lines, ""])


def _machine(results: Results) -> str:
    rows = [("measured", f"{results.at}, in {results.seconds / 60:.0f} min"), *results.machine.items()]
    return "\n".join(["## Machine and versions", "", "| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows), ""])


def _section(name: str, title: str, about: str, outcome: Outcome) -> str:
    pictures = [f"![{title}](benchmarks/{plot}.svg)\n" for plot in plots.of_case(name) if plot != "window"]
    parts = [f"## {title}", "", about, *_table(outcome.figures), "", *pictures, *outcome.remarks]
    if name == "calls":
        parts += [WINDOW, "![API calls by window and number of keys](benchmarks/window.svg)\n"]
    return "\n".join(parts)


def _table(figures: Iterable[Figure]) -> list[str]:
    head = ["| figure | median | spread | unit | target | | peers |", "|---|---:|---:|---|---:|---|---|"]
    return head + [_row(figure) for figure in figures]


def _row(figure: Figure) -> str:
    least, most = figure.spread
    target = "" if figure.target is None else str(figure.target)
    met = {None: "", True: "met", False: "**missed**"}[figure.is_met]
    peers = "; ".join(f"{peer.name} {number(peer.value)}" for peer in figure.peers)
    spread = f"{number(least)} to {number(most)}"
    return f"| {figure.name} | {number(figure.value)} | {spread} | {figure.unit} | {target} | {met} | {peers} |"
