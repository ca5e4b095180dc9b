"""The result, for somebody who sees it for the first time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from rich.console import Console

    from local.chaos.audit import Audit


def show(account: Audit, console: Console) -> None:
    """Print what came of the messages, what struck them, and whether every promise was kept."""
    console.print(_faults(account))
    console.print(_messages(account))
    for name, count in account.broken_promises.items():
        console.print(f"[red]promise broken:[/red] {name.replace('_', ' ')}: {count:,}")
    for kind in account.missing_faults:
        console.print(f"[red]not tested:[/red] {kind.replace('_', ' ')} did not strike, or not often enough")
    if account.passed:
        console.print("Every fault struck, and every message is accounted for.")


def _faults(account: Audit) -> Table:
    table = Table("what struck", "times", title="Faults", title_justify="left")
    table.columns[1].justify = "right"
    for kind, count in sorted(account.faults.items()):
        table.add_row(kind.replace("_", " "), f"{count:,}")
    return table


def _messages(account: Audit) -> Table:
    table = Table(title="What came of it", show_header=False, title_justify="left")
    table.add_column()
    table.add_column(justify="right")
    table.add_row("messages sent", f"{account.messages:,}")
    table.add_row("  applied: every image checked, every event found", f"{account.applied:,}")
    table.add_row("  dead-lettered, as they had to be", f"{account.dead_lettered:,}")
    table.add_row("  still in their queue", f"{account.still_queued:,}")
    table.add_row("  lost", f"[bold]{account.lost:,}[/bold]")
    table.add_section()
    table.add_row("images with wrong metadata", f"{account.wrong_state:,}")
    table.add_row("dead letters nobody deserved", f"{account.unjustified_dead_letters:,}")
    table.add_row("messages poisoned by an outage", f"{account.poisoned_by_outage:,}")
    table.add_row("events repeated under a new id", f"{account.duplicate_events_with_new_id:,}")
    table.add_row("events in the queue only, or at the topic only", f"{account.events_in_one_place:,}")
    table.add_row("dead letters without an event", f"{account.untold_dead_letters:,}")
    table.add_row("hosts that crashed", f"{account.crashes:,}")
    table.add_row("tracebacks in the hosts' logs", f"{account.tracebacks:,}")
    table.add_row("calls over the limit that the hosts share", f"{account.over_limit:,}")
    table.add_section()
    table.add_row("dead letters written again (a host was killed, or cut off)", f"{account.repeated_dead_letters:,}")
    table.add_row("seconds", f"{account.seconds:,.1f}")
    table.add_row("seed, which repeats this run", f"{account.seed}")
    return table
