"""`make bench` and `make bench-quick`."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import calls, catalogue, cpu, http, limit, lone, report, searches, watches, whole_path, worker
from benchmarks.results import Figure
from benchmarks.sizes import FULL, QUICK, Sizes

PROJECT = Path(__file__).parents[1]
DOCUMENT = PROJECT / "docs" / "benchmarks.md"
PICTURES = PROJECT / "docs" / "benchmarks"
REFERENCE = PICTURES / "quick.json"

Results = Mapping[str, Sequence[Figure]]

CASES: Mapping[str, tuple[str, Callable[[Sizes], Sequence[Figure]]]] = {
    "calls": ("API calls for a backlog", calls.run),
    "searches": ("Searches for a bad message", searches.run),
    "instances": ("Instances on one limit", lambda sizes: limit.run(limit.sharing(sizes))),
    "scaling": ("Instances that stop and start", lambda sizes: limit.run(limit.scaling(sizes))),
    "limits": ("One limit when something is out of the ordinary", lambda sizes: limit.run(limit.unusual(sizes))),
    "watches": ("Training watches", watches.run),
    "cpu": ("CPU per message", cpu.run_cpu),
    "telemetry": ("CPU per message for telemetry", cpu.run_telemetry),
    "memory": ("Memory per waiting message", cpu.run_memory),
    "lone": ("A lone message", lone.run),
    "http": ("Over HTTP, beside other clients", http.run),
    "whole_path": ("From the queue to the API", whole_path.run),
    "catalogue": ("A catalogue of a million rows", catalogue.run),
    "worker": ("In Microsoft's worker", worker.run),
}
"""By name: the section of the document whose table it is, and what measures it."""


def main() -> int:
    """Run the cases; the exit code is 0 unless one failed, or a quick run found a ratio that has become worse."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="run all cases small; compare with the committed ratios")
    parser.add_argument("--only", action="append", choices=CASES, help="measure this case and leave the others alone")
    arguments = parser.parse_args()
    console = Console()
    chosen = [name for name in CASES if not arguments.only or name in arguments.only]
    if "worker" in chosen and not worker.PYTHON.exists():
        console.print(f"[yellow]worker: left out, there is no {worker.PYTHON}[/yellow]")
        chosen.remove("worker")
    reference = json.loads(REFERENCE.read_text())
    if arguments.quick:
        results = _measure(chosen, QUICK, console)
        worse = _tell_worse(results, reference, console)
        return 1 if worse or len(results) < len(chosen) else 0
    began = time.monotonic()
    results = _measure(chosen, FULL, console)
    text = DOCUMENT.read_text()
    for name, figures in results.items():
        text = report.with_table(text, CASES[name][0], report.table(figures))
    if not arguments.only:
        at = f"{datetime.now(UTC):%Y-%m-%d}, in {(time.monotonic() - began) / 60:.0f} min"
        text = report.with_table(text, "Machine and versions", report.machine(at))
    DOCUMENT.write_text(report.with_verdict(text))
    from benchmarks import plots  # matplotlib takes a second, and a quick run draws nothing

    plots.draw_all(results, PICTURES)
    console.print("Now the same small, for `make bench-quick` to compare with.")
    quick = _measure(chosen, QUICK, console)
    medians = {key: float(f"{figure.value:.4g}") for key, figure in _keyed(quick).items() if figure.is_compared}
    medians = {**reference, **medians} if arguments.only else medians
    REFERENCE.write_text(json.dumps(medians, indent=1, ensure_ascii=False) + "\n")
    console.print(f"Written: {DOCUMENT.relative_to(PROJECT)}, {PICTURES.relative_to(PROJECT)}")
    return 0 if len(results) == len(quick) == len(chosen) else 1


def _measure(chosen: Sequence[str], sizes: Sizes, console: Console) -> Results:
    """Run the cases. One that fails is told, and does not cost the others."""
    results: dict[str, Sequence[Figure]] = {}
    for name in chosen:
        title, run = CASES[name]
        began = time.monotonic()
        try:
            with console.status(title):
                results[name] = run(sizes)
        except Exception:
            console.print_exception()
            console.print(f"[red]failed, see above:[/red] {name}; `make bench ONLY={name}` measures it again")
        else:
            table = Table(*report.COLUMNS, title=f"{title}, {time.monotonic() - began:.0f} s", title_justify="left")
            for figure in results[name]:
                table.add_row(*figure.row())
            console.print(table)
    return results


def _keyed(results: Results) -> dict[str, Figure]:
    return {f"{name}: {figure.name}": figure for name, figures in results.items() for figure in figures}


def _tell_worse(results: Results, reference: Mapping[str, float], console: Console) -> bool:
    worse = [(k, f) for k, f in _keyed(results).items() if k in reference and f.is_worse(reference[k])]
    for key, figure in worse:
        console.print(f"[red]worse:[/red] {key}: {figure.value:.4g} {figure.unit}, committed {reference[key]}")
    if not worse:
        console.print("No ratio is worse than the committed one by more than its noise.")
        console.print("(Targets are for the sizes of `make bench`: one missed here says nothing.)")
    return bool(worse)


if __name__ == "__main__":
    sys.exit(main())
