"""`make chaos`: two hosts on the app, every fault that is known, and an account of every message."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from local.account.report import show
from local.chaos.run import BUILD, Chaos
from local.chaos.workload import GROUPS

if TYPE_CHECKING:
    from local.chaos.faults import Faults

LEAST_MESSAGES = 200
EXIT_BROKEN_OFF = 130


def main() -> int:
    """Run; the exit code is 0 only if every promise was kept and every fault really struck."""
    parser = argparse.ArgumentParser(prog="python -m local.chaos", description=__doc__)
    parser.add_argument("--messages", type=int, default=2400, help="updates to send (default: 2400)")
    parser.add_argument("--seed", type=int, default=1, help="another seed makes another run (default: 1)")
    parser.add_argument("--groups", type=int, default=GROUPS, help=f"groups that are trained (default: {GROUPS})")
    parser.add_argument("--polls", type=float, help="polls of trainings a second (default: as many as calls)")
    arguments = parser.parse_args()
    if arguments.messages < LEAST_MESSAGES:
        parser.error(f"--messages must be at least {LEAST_MESSAGES}, or some faults find nothing to strike")
    if arguments.groups < GROUPS:
        parser.error(f"--groups must be at least {GROUPS}")
    if arguments.polls is not None and arguments.polls <= 0:
        parser.error("--polls must be more than 0")
    console = Console()
    BUILD.mkdir(exist_ok=True)
    (BUILD / "chaos.json").unlink(missing_ok=True)
    chaos = Chaos(
        arguments.messages, arguments.seed, console, groups=arguments.groups, polls_per_second=arguments.polls
    )
    try:
        account, faults = asyncio.run(chaos.run())
    except TimeoutError:
        console.print("[red]not done in time[/red]; see build/chaos-host-*.log")
        return 1
    except KeyboardInterrupt:
        console.print("broken off; everything that was started is stopped")
        return EXIT_BROKEN_OFF
    show(account, console)
    show_faults(faults, console)
    passed = account.is_balanced and faults.passed
    if passed:
        console.print("Every fault struck, and every message is accounted for.")
    result = {**asdict(account), **asdict(faults), "missing_faults": faults.missing}
    (BUILD / "chaos.json").write_text(json.dumps(result, indent=2) + "\n")
    return 0 if passed else 1


def show_faults(found: Faults, console: Console) -> None:
    """Print what struck, and what went wrong with the hosts meanwhile."""
    table = Table("what struck", "times", title="Faults", title_justify="left")
    table.columns[1].justify = "right"
    for kind, count in sorted(found.faults.items()):
        table.add_row(kind.replace("_", " "), f"{count:,}")
    console.print(table)
    for promise, count in found.promises.items():
        if count:
            console.print(f"[red]promise broken:[/red] {promise}: {count:,}")
    for kind in found.missing:
        console.print(f"[red]not tested:[/red] {kind.replace('_', ' ')} did not strike, or not often enough")


if __name__ == "__main__":
    sys.exit(main())
