"""`vision-relay doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ops.commands.running import Call, command
from ops.doctor import Check, Level, examine
from ops.output import Exit, Output
from ops.settings import where_from
from ops.storage import open_storage
from shared.text import one_line

STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.FAILED: "bold red", Level.SKIPPED: "dim"}
MAX_LINE = 400


@command()
async def doctor_command(
    call: Call,
    create_queues: Annotated[
        bool, typer.Option("--create-queues", help="Create the queues that do not exist.")
    ] = False,
    folder: Annotated[
        Path, typer.Option("--app", metavar="FOLDER", help="The folder of the app's host.json.")
    ] = Path(),
) -> Exit:
    """Check everything that is needed: settings, queues, keys and roles, clock, host.json, endpoints, APIs.

    It prints a line for each check, with what to do. Exit code 1 if a check failed.

    [bold]Examples[/bold]

      vision-relay doctor
      vision-relay doctor --settings production.settings.json
      vision-relay doctor --create-queues
    """
    output = call.output
    settings = call.settings
    output.say(where_from(call.settings_file))
    checks: list[Check] = []
    async with open_storage(settings) as storage:
        async for check in examine(storage, settings, folder, create_queues=create_queues):
            checks.append(check)
            _show(output, check)
    output.document([check.to_dict() for check in checks])
    return Exit.PROBLEM if any(check.level is Level.FAILED for check in checks) else Exit.OK


def _show(output: Output, check: Check) -> None:
    command = check.advice if check.advice.startswith("vision-relay ") else ""
    advice = f"; {check.advice}" if check.advice and not command else ""
    line = one_line(f"{check.name}: {check.found}{advice}", MAX_LINE)
    output.say(Text.assemble((f"{check.level:<8}", STYLES[check.level]), line), command)
