"""The result, for somebody who sees it for the first time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from rich.console import Console

    from local.account.account import Account


def show(account: Account, console: Console) -> None:
    """Print what came of the messages, and which promise was broken, if any."""
    table = Table(title="What came of it", show_header=False, title_justify="left")
    table.add_column()
    table.add_column(justify="right")
    table.add_row("messages sent to the queues", f"{account.messages:,}")
    table.add_row("  applied: every image checked, every event found", f"{account.applied:,}")
    table.add_row("  dead-lettered, as they had to be", f"{account.dead_lettered:,}")
    table.add_row("  lost", f"[bold]{account.lost:,}[/bold]")
    table.add_row("images in them", f"{account.images:,}")
    table.add_row("images applied, checked one by one", f"{account.applied_images:,}")
    table.add_section()
    table.add_row("API calls made", f"[bold]{account.api_calls:,}[/bold]")
    table.add_row("  the least possible (64 images each)", f"{account.least_api_calls:,}")
    table.add_row("  with one call per message", f"{account.messages:,}")
    table.add_section()
    for reason, count in sorted(account.dead_letters_by_reason.items()):
        table.add_row(f"dead letters, {reason}", f"{count:,}")
    for kind, count in sorted(account.events_by_type.items()):
        table.add_row(f"events, {kind}", f"{count:,}")
    table.add_row(f"the same at the Event Grid topic, in {account.publish_calls:,} calls", f"{account.published:,}")
    table.add_section()
    table.add_row("seconds", f"{account.seconds:,.1f}")
    table.add_row("seed, which repeats this run", f"{account.seed}")
    console.print(table)
    for promise, count in account.promises.items():
        if count:
            console.print(f"[red]promise broken:[/red] {promise}: {count:,}")
