"""`vision-relay status`."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from ops.commands.running import Call, command
from ops.output import Exit, Output, duration
from ops.status import (
    EVENTS,
    LETTERS,
    REFUSED_LATELY_SECONDS,
    UPDATES,
    WATCHES,
    Finding,
    Snapshot,
    assess,
    gather,
    to_dict,
)
from ops.storage import open_storage
from shared.services.queues import MAX_RECEIVE
from shared.text import one_line

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ops.settings import OpsSettings

FOLLOW_SECONDS = 2.0
LABELS = {UPDATES: "updates", WATCHES: "watches", EVENTS: "events"} | dict.fromkeys(LETTERS, "  dead letters")

PROBE_SECONDS = 15.0
"""With --follow, the APIs are probed no more often than this, since each call counts towards the limit."""


@command()
async def status_command(
    call: Call,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show it every two seconds, until Ctrl-C.")] = False,
) -> Exit:
    """Show the state of the app, and what to do where something is wrong.

    It shows how many messages wait in each queue and since when, the dead
    letters by reason, how many permits of the shared limit are in use,
    whether calls were refused with 429, and how fast the APIs respond.

    Storage counts roughly. It shows 32 messages of a queue, and no permit
    that is in use or rests after a 429. The number of instances is unknown.

    Exit code 1 if something is wrong. With --json, --follow prints a line
    each time.

    [bold]Examples[/bold]

      vision-relay status
      vision-relay status --follow
      vision-relay status --json | jq '.queues[] | select(.messages > 0)'
    """
    return await (_follow if follow else _once)(call.output, call.settings)


async def _once(output: Output, settings: OpsSettings) -> Exit:
    async with open_storage(settings) as storage:
        snapshot = await gather(storage, settings)
    output.document(to_dict(snapshot))
    findings = assess(snapshot)
    output.show(render(snapshot, findings))
    return Exit.PROBLEM if findings else Exit.OK


async def _follow(output: Output, settings: OpsSettings) -> Exit:
    async with open_storage(settings) as storage:
        snapshot = await gather(storage, settings)
        probed = time.monotonic()
        with Live(console=output.human, auto_refresh=False, screen=False) as live:
            while True:
                output.line(to_dict(snapshot))
                if output.human.is_terminal:
                    live.update(render(snapshot, assess(snapshot)), refresh=True)
                elif not output.as_json:
                    output.show(render(snapshot, assess(snapshot)))
                await asyncio.sleep(FOLLOW_SECONDS)
                is_due = time.monotonic() - probed > PROBE_SECONDS
                if is_due:
                    probed = time.monotonic()
                snapshot = await gather(storage, settings, apis=None if is_due else snapshot.apis)


def render(snapshot: Snapshot, findings: list[Finding]) -> RenderableType:
    """Draw a snapshot for people."""
    parts: list[RenderableType] = [_queues(snapshot)]
    if snapshot.letters:
        parts.append(_letters(snapshot))
    parts += [_limit(snapshot), _apis(snapshot)]
    for finding in findings:
        parts.append(Text.assemble(("! ", "bold red"), one_line(finding.problem, 300)))
        parts.append(Padding(Text(finding.advice, style="dim"), (0, 0, 0, 2)))
    if not findings:
        parts.append(Text("all is well", style="green"))
    return Group(*parts)


def _queues(snapshot: Snapshot) -> Table:
    numbers = (Column(name, justify="right") for name in ("messages", "oldest"))
    queue_column = Column("queue", overflow="fold")
    table = Table("what", queue_column, *numbers, title="Queues", title_justify="left", title_style="bold")
    for role, queue in snapshot.queues.items():
        missing = "none yet" if role in LETTERS else "does not exist"  # the first dead letter creates its queue
        count = missing if queue.count is None else f"{queue.count:,}"
        age = "" if queue.oldest is None else duration(max((snapshot.at - queue.oldest).total_seconds(), 0))
        table.add_row(LABELS[role], queue.name, count, age)
    return table


def _letters(snapshot: Snapshot) -> RenderableType:
    title = Text("Dead letters by reason", style="bold")  # as the table's own it would not be wider than the table
    table = Table("", Column(justify="right"), show_header=False)
    for kind, count in snapshot.letters.most_common():
        table.add_row(Text(one_line(kind, 60)), f"{count:,}")
    more = f"of the first {MAX_RECEIVE} of a queue; to look at all:\nvision-relay dead-letters list"
    return Group(title, table, *([more] if snapshot.has_more_letters else []))


def _limit(snapshot: Snapshot) -> Text:
    limit = snapshot.limit
    hidden = ""
    if limit.permits is None:
        shared = f"no queue {limit.name} yet: the app creates it with its first call"
    else:
        shared = f"{limit.permits} permits, {limit.in_use} in use or resting after a 429"
        if limit.refused:
            minutes = REFUSED_LATELY_SECONDS // 60
            shared += f"; {limit.refused} of the {limit.idle} others were refused with 429 in the last {minutes} min"
        if limit.in_use:
            hidden = "\n  storage hides whether those were refused; the app's log says it each minute"
    rate = f" {limit.calls_per_second:g} calls a second: "
    return Text.assemble(("Limit", "bold"), rate, shared, (hidden, "dim"))


def _apis(snapshot: Snapshot) -> Table:
    columns = (Column(overflow="fold") for _ in range(3))
    table = Table(*columns, title="APIs", title_justify="left", title_style="bold", show_header=False)
    for api in snapshot.apis:
        if not api.is_known:
            table.add_row(api.name, "", Text("no endpoint is set", style="dim"))
        elif api.problem:
            table.add_row(api.name, api.endpoint, Text("does not respond as it should", style="bold red"))
        elif api.is_rate_limited:
            table.add_row(api.name, api.endpoint, Text("refuses calls with 429", style="yellow"))
        else:
            table.add_row(api.name, api.endpoint, Text(f"responds in {api.seconds * 1000:,.0f} ms", style="green"))
    return table
