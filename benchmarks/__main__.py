"""`make bench` and `make bench-quick`."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks import machine, plots, report, store
from benchmarks.cases import CASES, hindrance
from benchmarks.results import Figure, is_worse, number
from benchmarks.sizes import FULL, QUICK

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.cases import Case
    from benchmarks.sizes import Sizes

PROJECT = Path(__file__).parents[1]
BUILD = PROJECT / "build"
DOCUMENT = PROJECT / "docs" / "benchmarks.md"
PLOTS = PROJECT / "docs" / "benchmarks"
COMMITTED = PLOTS / "quick.json"


def main() -> int:
    """Run the cases; the exit code is 0 unless a quick run found a ratio that has become worse."""
    arguments = _parse_arguments()
    console = Console()
    wanted = [case for case in CASES if case.NAME in arguments.only] if arguments.only else list(CASES)
    hindrances = {case.NAME: hindrance(case) for case in wanted}
    for reason in filter(None, hindrances.values()):
        console.print(f"[yellow]{reason}[/yellow]")
    chosen = [case for case in wanted if not hindrances[case.NAME]]
    if arguments.quick:
        return _quick(chosen, console)
    measured = BUILD / "bench.json"
    before = store.load(measured) if arguments.only and measured.exists() else None
    if before is None:
        measured.unlink(missing_ok=True)

    def keep(found: store.Results) -> None:
        store.save(store.merged(before, found) if before else found, measured)

    complete = _is_complete(_measure(chosen, FULL, console, keep), chosen, console)
    if not measured.exists():
        return 1
    results = store.load(measured)
    _show(results, console)
    plots.draw_all(results.outcomes, PLOTS)
    DOCUMENT.write_text(report.write(results))
    console.print("Written: docs/benchmarks.md, docs/benchmarks/, build/bench.json")
    if not arguments.only:
        console.print("Now the same small, for `make bench-quick` to compare with.")
        quick = _measure(chosen, QUICK, console)
        complete = _is_complete(quick, chosen, console) and complete
        store.save(quick, COMMITTED)
    return 0 if complete else 1


def _parse_arguments() -> argparse.Namespace:
    names = [case.NAME for case in CASES]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="run all cases small, and compare with the committed ratios"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=names,
        metavar="CASE",
        help=f"measure this case again and leave the others as build/bench.json has them; one of {', '.join(names)}",
    )
    return parser.parse_args()


def _quick(chosen: Sequence[Case], console: Console) -> int:
    results = _measure(chosen, QUICK, console)
    store.save(results, BUILD / "bench-quick.json")
    _show(results, console)
    if not _is_complete(results, chosen, console):
        return 1
    if not COMMITTED.exists():
        console.print("There is nothing committed to compare with: `make bench` makes it.")
        return 1
    worse = _worse(results, store.load(COMMITTED))
    for now, committed in worse:
        least, most = committed.spread
        console.print(
            f"[red]worse:[/red] {now.key}: {number(now.value)} {now.unit}, "
            f"committed {number(committed.value)} ({number(least)} to {number(most)})"
        )
    if not worse:
        console.print(
            "No ratio is worse than the committed one by more than its noise. "
            "(Targets are for the sizes of `make bench`: one missed here says nothing.)"
        )
    return 1 if worse else 0


def _worse(results: store.Results, committed: store.Results) -> list[tuple[Figure, Figure]]:
    before = {figure.key: figure for outcome in committed.outcomes.values() for figure in outcome.figures}
    now = [figure for outcome in results.outcomes.values() for figure in outcome.figures]
    return [
        (figure, before[figure.key]) for figure in now if figure.key in before and is_worse(figure, before[figure.key])
    ]


def _measure(
    chosen: Sequence[Case], sizes: Sizes, console: Console, keep: Callable[[store.Results], None] | None = None
) -> store.Results:
    """Run the cases and give `keep` what there is after each. One that fails is told, and does not cost the others."""
    began = time.monotonic()
    at = datetime.now(UTC).strftime("%Y-%m-%d")
    results = store.Results(sizes.name, machine.describe(), at, 0.0, {})
    columns = (TextColumn("{task.description:<36}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        for case in chosen:
            bar = progress.add_task(case.TITLE, total=case.steps(sizes))
            try:
                outcome = case.run(sizes, lambda bar=bar: progress.advance(bar))  # type: ignore[misc]
            except Exception:
                console.print_exception()
            else:
                outcomes = {**results.outcomes, case.NAME: outcome}
                results = replace(results, seconds=time.monotonic() - began, outcomes=outcomes)
                if keep:
                    keep(results)
            progress.stop_task(bar)
    return results


def _is_complete(results: store.Results, chosen: Sequence[Case], console: Console) -> bool:
    failed = [case.NAME for case in chosen if case.NAME not in results.outcomes]
    for name in failed:
        console.print(f"[red]failed, see above:[/red] {name}; `make bench ONLY={name}` measures it again")
    return not failed


def _show(results: store.Results, console: Console) -> None:
    table = Table(title=f"Benchmarks ({results.sizes}), {results.seconds:.0f} s", title_justify="left")
    for column in ("figure", "median", "spread", "unit", "target", ""):
        table.add_column(column, justify="right" if column in ("median", "spread", "target") else "left")
    for outcome in results.outcomes.values():
        for figure in outcome.figures:
            least, most = figure.spread
            verdict = {None: "", True: "[green]met[/green]", False: "[red]missed[/red]"}[figure.is_met]
            spread = f"{number(least)} to {number(most)}"
            target = "" if figure.target is None else str(figure.target)
            table.add_row(figure.key, number(figure.value), spread, figure.unit, target, verdict)
        table.add_section()
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
