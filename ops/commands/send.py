"""`vision-relay send`."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from azure.core.exceptions import AzureError
from rich.table import Table
from rich.text import Text

from ops.catalogue.invalid_rows import invalid_rows_path, write_invalid_rows
from ops.catalogue.reading import read_catalogue, read_mapping
from ops.catalogue.source import STANDARD_INPUT, Format, Source, open_source, scratch_folder
from ops.commands.options import (
    DelimiterOption,
    EncodingOption,
    FileArgument,
    FormatOption,
    IgnoreOption,
    ImageOption,
    JsonOption,
    MetadataOption,
    ProjectIdOption,
    ProjectOption,
    SettingsOption,
    wanted_columns,
)
from ops.commands.running import run
from ops.describing import describe_storage
from ops.output import Exit, OpsError, Output, confirm, duration, plural
from ops.plan import COMPLETE, Estimate, Journal, costliest_column, estimate
from ops.progress import BYTES, bar
from ops.sending import Stop, send
from ops.settings import load_ops_settings
from ops.storage import open_storage
from shared.services.custom_vision import MAX_IMAGES_PER_CALL

if TYPE_CHECKING:
    from ops.catalogue.database import CatalogueDatabase
    from ops.catalogue.mapping import Mapping, Wanted
    from ops.plan import Progress
    from ops.settings import OpsSettings
    from ops.storage import OpsQueue

STATE_VARIABLE = "VISION_RELAY_STATE"
MAX_SETS_COMPARED = 100_000
"""Of more sets of metadata it is not worked out which column costs the most: that would take memory."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for."""

    file: str
    format: Format | None
    wanted: Wanted
    delimiter: str | None
    encoding: str | None
    correlation_id: str | None
    skip_invalid: bool
    dry_run: bool
    again: bool
    ask: bool
    state: Path


def send_command(
    file: FileArgument,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Send the valid rows, and write the others to a file beside it.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and estimate; send nothing.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="From the beginning, although it was sent in part or whole.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
    correlation_id: Annotated[
        str | None,
        typer.Option(
            "--correlation-id",
            metavar="TEXT",
            help="Comes back in dead letters and events.",
            show_default="the file's name and digest",
        ),
    ] = None,
    format_: FormatOption = None,
    image: ImageOption = None,
    project: ProjectOption = None,
    project_id: ProjectIdOption = None,
    metadata: MetadataOption = None,
    ignore: IgnoreOption = None,
    correlation: Annotated[
        str | None,
        typer.Option(
            "--correlation",
            metavar="COLUMN",
            help="The column of a correlation id; rows share messages only if theirs are equal.",
            rich_help_panel="Columns and format",
        ),
    ] = None,
    delimiter: DelimiterOption = None,
    encoding: EncodingOption = None,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state",
            metavar="FOLDER",
            envvar=STATE_VARIABLE,
            help="Where it is kept how far a send has come.",
            show_default="~/.local/state/vision-relay",
        ),
    ] = None,
    as_json: JsonOption = False,
    settings: SettingsOption = None,
) -> None:
    """Send a catalogue: give each image in FILE the metadata of its row.

    All rows are checked before the first is sent, and each that is wrong is
    named with its line. Images of equal metadata share messages. You see
    beforehand what it costs at the API. If it is broken off, type the same
    again: it goes on where it was, sends nothing twice and leaves nothing
    out.

    In CSV, the columns of the image's and the project's id are found by
    their names, every other column is metadata under its own name, and an
    empty cell is left out.

    [bold]Examples[/bold]

      vision-relay send catalogue.csv
      vision-relay send catalogue.csv --project-id UUID --dry-run
      vision-relay send catalogue.csv --skip-invalid
      query-archive | vision-relay send - --format jsonl
    """
    output = Output(as_json)
    asked = Asked(
        file,
        format_,
        wanted_columns(image, project, project_id, metadata, ignore, correlation),
        delimiter,
        encoding,
        correlation_id,
        skip_invalid,
        dry_run,
        again,
        ask=not yes and sys.stdin.isatty() and output.human.is_terminal,
        state=state or default_state_folder(),
    )
    run(output, partial(load_ops_settings, settings), lambda loaded: _Send(asked, output, loaded).run())


def default_state_folder() -> Path:
    """Where programs keep what has to outlive a restart, for this user."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "vision-relay"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "vision-relay"


class _Send:
    """One run of the command."""

    def __init__(self, asked: Asked, output: Output, settings: OpsSettings) -> None:
        self._asked = asked
        self._output = output
        self._settings = settings
        self._result: dict[str, Any] = {"file": asked.file}

    async def run(self) -> Exit:
        """Do it and return the exit code."""
        asked = self._asked
        with ExitStack() as stop:
            scratch = stop.enter_context(scratch_folder())
            limits = self._settings.metadata_limits
            source = open_source(asked.file, scratch, asked.format, asked.encoding, asked.delimiter, limits)
            show_mapping(self._output, source, read_mapping(source, asked.wanted))
            async with open_storage(self._settings) as storage:
                queue = storage.queue(self._settings.metadata_updates_queue)
                with bar(self._output.err, "reading", source.size, BYTES) as progress:
                    digest = source.digest(progress.to)
                correlation_id = asked.correlation_id or f"{Path(source.name).stem[:100]}-{digest[:8]}"
                identity = _identity(asked, digest, correlation_id, [storage.address, queue.name])
                path = asked.state / f"{identity}.journal"
                self._result |= {"queue": queue.name, "correlationId": correlation_id}
                journal = stop.enter_context(closing(self._known(path))) if self._is_known(path) else None
                if journal is None:
                    database, rows = self._read(source, scratch)
                    stop.callback(database.close)
                    go_on = self._check(database, source, rows)
                    if go_on is not None:
                        return go_on
                    await self._need(queue)
                    journal = stop.enter_context(closing(self._write(path, database, correlation_id)))
                return await self._transmit(journal, queue)

    def _is_known(self, path: Path) -> bool:
        return path.exists() and not self._asked.again and not self._asked.dry_run

    def _known(self, path: Path) -> Journal:
        """The journal of a send that was broken off, or is complete."""
        journal = Journal(path)
        facts = journal.facts
        self._result |= json.loads(facts["result"])
        if COMPLETE in facts:
            self._output.hint(f"sent already, complete on {facts[COMPLETE]}; --again sends it once more")
        else:
            self._output.hint(f"goes on with the send of {facts['begun']}; --again would begin anew")
        return journal

    def _read(self, source: Source, scratch: Path) -> tuple[CatalogueDatabase, int]:
        with bar(self._output.err, "checking", source.size, BYTES) as progress:
            return read_catalogue(source, self._asked.wanted, scratch, progress.to)

    def _check(self, database: CatalogueDatabase, source: Source, rows: int) -> Exit | None:
        """Show what is wrong and what the rest costs; an exit code if that is all."""
        output, asked = self._output, self._asked
        bad = database.count("bad")
        self._result |= {"rows": rows, "badRows": bad}
        for row in database.bad_rows():
            output.hint(f"{source.name}:{row.line}: {row.problem}")
        if output.as_json:
            self._result["problems"] = [asdict(row) for row in database.bad_rows()]
        if bad and not asked.skip_invalid:
            return self._give_up(
                f"{plural(bad, 'row')} of {rows:,} cannot be sent, so nothing is; mend them, or say --skip-invalid"
            )
        if database.count("rows") == 0:
            return self._give_up("no row can be sent")
        self._estimate(database)
        if asked.dry_run:
            output.document(self._result)
            return Exit.OK
        if asked.ask and not confirm("Send?", default=True):
            return Exit.INTERRUPTED
        if bad:
            path = invalid_rows_path(source)
            write_invalid_rows(source, asked.wanted, database.bad_rows(), path)
            self._result["badRowsFile"] = str(path)
            output.hint(f"{plural(bad, 'row')} left out; mend and send: {path}")
        return None

    def _give_up(self, why: str) -> Exit:
        self._output.error(why)
        self._output.document(self._result)
        return Exit.PROBLEM

    def _estimate(self, database: CatalogueDatabase) -> None:
        costs = estimate(database.images_by_key())
        column = None
        if costs.extra_calls and costs.metadata_sets <= MAX_SETS_COMPARED:
            column = costliest_column(list(database.images_by_key()), costs.calls)
        rate = self._settings.custom_vision_calls_per_second
        self._result |= {
            "images": costs.images,
            "metadataSets": costs.metadata_sets,
            "calls": costs.calls,
            "leastCalls": costs.least_calls,
            "callsPerSecond": rate,
            "seconds": costs.seconds(rate),
            "costliestColumn": {"name": column[0], "callsWithout": column[1]} if column else None,
        }
        self._output.show(estimate_table(costs, rate, column))

    def _write(self, path: Path, database: CatalogueDatabase, correlation_id: str) -> Journal:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        facts = {"begun": _now(), "result": json.dumps({**self._result, "problems": []})}
        return Journal.create(path, database.groups(), correlation_id, facts)

    async def _need(self, queue: OpsQueue) -> None:
        if await queue.count() is None:
            raise OpsError(
                f"there is no queue {queue.name}: look at METADATA_UPDATES_QUEUE and at the storage account, "
                "or create it: vision-relay doctor --create-queues",
                Exit.SETTINGS,
            )

    async def _transmit(self, journal: Journal, queue: OpsQueue) -> Exit:
        before = journal.progress()
        stop = Stop()
        trouble: AzureError | None = None
        doubtful = 0
        with stop.listening(), bar(self._output.err, "sending", before.images, "images", before.images_sent) as shown:
            images = before.images_sent

            def on_sent(_: int, sent: int) -> None:
                nonlocal images
                images += sent
                shown.to(images)

            try:
                doubtful = await send(journal, queue, stop, on_sent)
            except AzureError as error:
                trouble = error
        return self._report(journal, before, doubtful, trouble)

    def _report(self, journal: Journal, before: Progress, doubtful: int, trouble: AzureError | None) -> Exit:
        after = journal.progress()
        now = after.messages_sent - before.messages_sent
        self._result |= {
            "messages": after.messages,
            "messagesSent": after.messages_sent,
            "imagesSent": after.images_sent,
        }
        self._result |= {"messagesSentNow": now, "messagesPerhapsTwice": doubtful, "complete": after.is_complete}
        if after.is_complete and before.is_complete is False:
            journal.finish(_now())
        self._output.say(
            f"{plural(now, 'message')} sent, {after.messages_sent:,} of {after.messages:,} in all, "
            f"with {plural(after.images_sent, 'image')}"
        )
        if doubtful:
            self._output.hint(
                f"{plural(doubtful, 'message')} may be there twice: the send was broken off over a week ago"
            )
        self._output.document(self._result)
        if trouble is not None:
            text, code = describe_storage(trouble)
            self._output.error(f"{text}\ntype the same again, and it goes on where it was")
            return code
        if not after.is_complete:
            self._output.hint("stopped; type the same again, and it goes on where it was")
            return Exit.INTERRUPTED
        if self._asked.file != STANDARD_INPUT:
            self._output.hint(f"what comes of it: vision-relay verify {self._asked.file} --wait")
        return Exit.OK


def show_mapping(output: Output, source: Source, mapping: Mapping | None) -> None:
    """Show how a file is read."""
    if mapping is None:
        output.say(f"{source.name}: JSON Lines")
        return
    table = Table(title=Text(f"{source.name}: CSV"), title_justify="left", title_style="bold")
    table.add_column("column")
    table.add_column("is")
    names = mapping.header
    table.add_row(Text(names[mapping.image]), "the image's id")
    if mapping.project is None:
        table.add_row("", Text(f"project {mapping.project_id}"))
    else:
        table.add_row(Text(names[mapping.project]), "the project's id")
    if mapping.correlation is not None:
        table.add_row(Text(names[mapping.correlation]), "the correlation id")
    for position, key in mapping.metadata:
        table.add_row(Text(names[position]), Text(f"metadata {key!r}"))
    for position in mapping.ignored:
        table.add_row(Text(names[position] or "(no name)"), Text("left out", style="dim"))
    output.show(table)


def estimate_table(costs: Estimate, calls_per_second: float, column: tuple[str, int] | None) -> Table:
    """What a catalogue costs at the API."""
    table = Table(title="At the API", title_justify="left", title_style="bold", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    table.add_row("images", f"{costs.images:,}", "")
    table.add_row("different metadata sets", f"{costs.metadata_sets:,}", "")
    rate = f"{duration(costs.seconds(calls_per_second))} at {calls_per_second:g} a second"
    table.add_row(f"calls of up to {MAX_IMAGES_PER_CALL} images", f"{costs.calls:,}", rate)
    extra = f"{duration(costs.extra_calls / calls_per_second)}: only images of equal metadata share a call"
    table.add_row("  because metadata differs", f"{costs.extra_calls:,}", extra if costs.extra_calls else "")
    if column is not None:
        name, calls = column
        table.add_row(Text(f"  without {name!r}"), f"{calls:,}", duration(calls / calls_per_second))
    return table


def _identity(asked: Asked, digest: str, correlation_id: str, where: list[str]) -> str:
    """What makes two sends the same: the content, how it is read, and where it goes."""
    what = [digest, repr(asked.wanted), asked.format, asked.delimiter, asked.encoding, asked.skip_invalid]
    return hashlib.sha256(json.dumps([*what, correlation_id, *where]).encode()).hexdigest()[:32]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
