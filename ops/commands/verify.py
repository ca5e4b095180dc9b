"""`vision-relay verify`."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, ExitStack, closing
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table
from rich.text import Text

from ops.apis import open_image_reader
from ops.catalogue.database import CatalogueDatabase
from ops.commands.options import CatalogueOptions, catalogue_options, check_timeout, parse_duration
from ops.commands.problems import read_rows
from ops.commands.running import Call, command
from ops.output import Exit, Output, plural
from ops.progress_bar import bar
from ops.redriving import DeadLetters
from ops.storage import open_storage
from ops.verifying import Deviation, Fate, Standing, Verification
from shared.text import one_line

if TYPE_CHECKING:
    from ops.catalogue.source import Source

MAX_SHOWN = 50
MAX_LINE = 500
STYLES = {Fate.QUEUED: "yellow", Fate.DEAD_LETTER: "red", Fate.NOWHERE: "bold red"}


@command(options=catalogue_options)
async def verify_command(
    call: Call,
    options: CatalogueOptions,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until nothing of the file is under way any more.")] = False,
    within: Annotated[
        timedelta | None,
        typer.Option(
            "--timeout",
            metavar="DURATION",
            parser=parse_duration,
            help="With --wait: wait no longer than this, such as 90m.",
        ),
    ] = None,
    calls_per_second: Annotated[
        float | None,
        typer.Option(
            "--calls-per-second",
            min=0.01,
            help="Reads (of up to 256 images each) besides the app's own calls.",
            show_default="a share of the app's limit, by its permits",
        ),
    ] = None,
    show_all: Annotated[
        bool, typer.Option("--all", help=f"Show every image that is not correct, not only {MAX_SHOWN}.")
    ] = False,
) -> Exit:
    """Prove that a catalogue is applied: read each image's metadata from Custom Vision.

    It lists every image that lacks a pair of its row, or has another value,
    with its line and its state: still queued, a dead letter and why, or not
    under way. An image may have other pairs besides.

    Exit code 0 only if all images are correct.

    [bold]Examples[/bold]

      vision-relay verify catalogue.csv
      vision-relay verify catalogue.csv --wait --timeout 2h
      vision-relay verify catalogue.csv --json | jq '.deviations[].line'
    """
    output = call.output
    check_timeout(within, wait=wait)
    seconds = within.total_seconds() if within is not None else None
    settings = call.settings
    with ExitStack() as stop:
        scratch = Path(stop.enter_context(TemporaryDirectory(prefix="vision-relay-")))
        source = options.open_source(scratch)
        rows = stop.enter_context(source.open(options.choices, settings.metadata_limits))
        database = stop.enter_context(closing(CatalogueDatabase(scratch / "catalogue.db")))
        read_rows(output, source, rows, database, settings.metadata_limits)
        async with AsyncExitStack() as connections:
            storage = await connections.enter_async_context(open_storage(settings))
            permits = storage.permits(settings.permits_queue)
            reader = await connections.enter_async_context(open_image_reader(settings, permits, calls_per_second))
            verification = Verification(
                database,
                reader,
                storage.queue(settings.metadata_updates_queue),
                DeadLetters.of(storage, settings.metadata_updates_queue),
            )
            is_over = await _look(output, verification, wait=wait, seconds=seconds)
        return _report(output, source, options, verification, database, show_all=show_all, is_over=is_over)


async def _look(output: Output, verification: Verification, *, wait: bool, seconds: float | None) -> bool:
    """Look once, or until nothing is under way. Return False if the time was not enough."""
    with bar(output.err, "asking Custom Vision", verification.images, "images") as progress:
        if not wait:
            await verification.look(progress)
            return True

        def show(standing: Standing) -> None:
            progress(standing.applied, f"applied, {plural(standing.queued_messages, 'message')} in the queue")

        try:
            async with asyncio.timeout(seconds):
                await verification.wait(show)
        except TimeoutError:
            return False
        return True


def _report(
    output: Output,
    source: Source,
    options: CatalogueOptions,
    verification: Verification,
    database: CatalogueDatabase,
    *,
    show_all: bool,
    is_over: bool,
) -> Exit:
    standing = verification.standing
    bad = database.count_bad_rows()
    counts = Counter(deviation.fate for deviation in verification.deviations())
    output.say(Text(f"{source.name}, as Custom Vision has it", style="bold"))
    output.show(_table(standing, counts, bad))
    for number, deviation in enumerate(verification.deviations()):
        if number == MAX_SHOWN and not show_all:
            output.say(f"… and {standing.open - number:,} more: --all or --json shows them")
            break
        output.say(_line(source, deviation))
    _advise(output, options, counts, bad, is_over=is_over)
    output.document(
        {
            "file": source.name,
            "images": standing.images,
            "applied": standing.applied,
            "states": {fate.value: counts[fate] for fate in Fate},
            "queuedMessages": standing.queued_messages,
            "timedOut": not is_over,
        },
        problems=(problem.to_dict() for problem in database.problems()),
        deviations=(deviation.to_dict() for deviation in verification.deviations()),
    )
    return Exit.PROBLEM if standing.open or bad else Exit.OK


def _table(standing: Standing, counts: Counter[Fate], bad: int) -> Table:
    table = Table("", Column(justify="right"), show_header=False)
    table.add_row("images", f"{standing.images:,}")
    table.add_row("correct", Text(f"{standing.applied:,}", style="green"))
    for fate in Fate:
        if counts[fate]:
            table.add_row(fate.value, Text(f"{counts[fate]:,}", style=STYLES[fate]))
    if bad:
        table.add_row("rows that cannot be sent", Text(f"{bad:,}", style="red"))
    table.add_row("messages in the queue", f"{standing.queued_messages:,}")
    return table


def _line(source: Source, deviation: Deviation) -> str:
    why = f": {deviation.why}" if deviation.why else f": {deviation.difference}"
    return one_line(f"{source.name}:{deviation.line}: {deviation.image_id} {deviation.fate.value}{why}", MAX_LINE)


def _advise(output: Output, options: CatalogueOptions, counts: Counter[Fate], bad: int, *, is_over: bool) -> None:
    if bad:
        output.hint("mend the rows that cannot be sent, then", options.command("send"))
    if counts[Fate.DEAD_LETTER]:
        output.hint("mend what the dead letters name, then", "vision-relay dead-letters redrive")
    if counts[Fate.NOWHERE]:
        output.hint("some images are not under way; to send all of it once more", options.command("send", "--again"))
    if not is_over:
        output.hint("the time is over; queued updates may still be applied")
    elif counts[Fate.QUEUED]:
        output.hint("to wait for what is queued", options.command("verify", "--wait"))
