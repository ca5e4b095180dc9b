"""`vision-relay send`."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer
from azure.core.exceptions import AzureError
from rich.table import Column, Table
from rich.text import Text

from ops.catalogue.costs import Estimate, costliest_columns, estimate
from ops.catalogue.database import CatalogueDatabase
from ops.catalogue.invalid_rows import invalid_rows_path, write_invalid_rows
from ops.catalogue.row import CatalogueError, problem_of
from ops.catalogue.source import Format
from ops.commands.options import CatalogueOptions, catalogue_options
from ops.commands.problems import read_rows
from ops.commands.running import Call, command, need_queue
from ops.output import Exit, Output, confirm, duration, plural
from ops.progress_bar import BYTES, bar
from ops.resumable_send import Stop, send
from ops.send_journal import COMPLETE, Journal
from ops.storage import describe_storage, open_storage
from shared.services.custom_vision import MAX_IMAGES_PER_CALL
from shared.text import one_line

if TYPE_CHECKING:
    from ops.catalogue.mapping import Mapping
    from ops.catalogue.source import Source
    from ops.send_journal import Progress
    from ops.settings import OpsSettings
    from ops.storage import OpsQueue
    from shared.messages.update import MetadataLimits

STATE_VARIABLE = "VISION_RELAY_STATE"
FORMAT_NAMES = {Format.CSV: "CSV", Format.XLSX: "workbook", Format.JSONL: "JSON Lines", Format.JSON: "JSON"}


@command(options=catalogue_options)
async def send_command(
    call: Call,
    options: CatalogueOptions,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Send the valid rows, and write the others to a file beside it.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and estimate; send nothing.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Send from the beginning, even if it was sent before.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    correlation_id: Annotated[
        str | None,
        typer.Option(
            "--correlation-id",
            metavar="TEXT",
            help="Dead letters and events carry it.",
            show_default="the file's name and digest",
        ),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state",
            metavar="FOLDER",
            envvar=STATE_VARIABLE,
            help="The folder that keeps the progress of each send.",
            show_default="~/.local/state/vision-relay",
        ),
    ] = None,
) -> Exit:
    """Send a catalogue: give each image in FILE the metadata of its row.

    All rows are checked before the first is sent. Wrong rows are named with
    their lines. Images of equal metadata share messages. Before it sends,
    the command shows what that costs at the API. If it is broken off, type
    the same again: it resumes, and sends every message exactly once.

    In a table, the columns of the image's and the project's id are found by
    their names and by what they hold. Every other column is metadata under
    its own name. An empty cell is left out.

    [bold]Examples[/bold]

      vision-relay send catalogue.csv
      vision-relay send catalogue.xlsx --project-id UUID --dry-run
      vision-relay send catalogue.csv --skip-invalid
      query-archive | vision-relay send - --format jsonl
    """
    output = call.output
    ask = not yes and sys.stdin.isatty() and output.human.is_terminal
    folder = state or default_state_folder()
    send_all = _Send(options, output, call.settings, correlation_id, skip_invalid, dry_run, again, ask, folder)
    return await send_all.run()


def default_state_folder() -> Path:
    """Where programs keep what must outlive a restart, for this user."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "vision-relay"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "vision-relay"


@dataclass
class _Send:
    """One run of the command. `result` becomes the JSON document."""

    options: CatalogueOptions
    output: Output
    settings: OpsSettings
    correlation_id: str | None
    skip_invalid: bool
    dry_run: bool
    again: bool
    ask: bool
    state: Path
    database: CatalogueDatabase | None = None

    def __post_init__(self) -> None:
        self.result: dict[str, Any] = {"file": one_line(self.options.file)}

    async def run(self) -> Exit:
        limits = self.settings.metadata_limits
        if self.correlation_id is not None:
            _check_correlation_id(self.correlation_id, limits)
        with ExitStack() as stop:
            scratch = Path(stop.enter_context(TemporaryDirectory(prefix="vision-relay-")))
            source = self.options.open_source(scratch)
            with bar(self.output.err, "reading", source.size, BYTES) as progress:
                digest = source.digest(progress)
            correlation_id = self.correlation_id or default_correlation_id(source, digest)
            rows = stop.enter_context(source.open(self.options.choices, limits, correlation_id))
            show_mapping(self.output, source, rows.reader.mapping)
            async with open_storage(self.settings) as storage:
                queue = storage.queue(self.settings.metadata_updates_queue)
                where = [storage.address, queue.name]
                path = self.state / f"{self._identity(digest, correlation_id, where)}.journal"
                self.result |= {"queue": queue.name, "correlationId": correlation_id}
                if path.exists() and not self.again and not self.dry_run:
                    journal = stop.enter_context(closing(self._known(path)))
                else:
                    database = stop.enter_context(closing(CatalogueDatabase(scratch / "catalogue.db")))
                    self.database = database
                    read_rows(self.output, source, rows, database, limits)
                    code = self._check(database, source)
                    if code is not None:
                        return code
                    await need_queue(queue, "METADATA_UPDATES_QUEUE")
                    journal = stop.enter_context(closing(self._write(path, database, correlation_id)))
                return await self._transmit(journal, queue)

    def _known(self, path: Path) -> Journal:
        """The journal of a send that was broken off, or is complete."""
        journal = Journal(path)
        facts = journal.facts
        self.result |= json.loads(facts["result"])
        if COMPLETE in facts:
            self.output.hint(f"sent before, complete on {facts[COMPLETE]}; --again sends it once more")
        else:
            self.output.hint(f"resumes the send of {facts['begun']}; --again would begin anew")
        return journal

    def _check(self, database: CatalogueDatabase, source: Source) -> Exit | None:
        """Show what the valid rows cost. Return an exit code if nothing is to be sent."""
        output = self.output
        seen, bad = database.rows_read, database.count_bad_rows()
        self.result |= {"rows": seen, "badRows": bad}
        if bad and not self.skip_invalid:
            output.error(
                f"{plural(bad, 'row')} of {seen:,} cannot be sent, so nothing is; correct them, or use --skip-invalid"
            )
            return self._end(Exit.PROBLEM)
        costs = estimate(database)
        if not costs.images:
            output.error(f"no row can be sent{'' if seen else ': the file has none'}")
            return self._end(Exit.PROBLEM)
        self._show_costs(costs, costliest_columns(database, costs))
        if self.dry_run:
            if Path(self.options.file).is_file():
                output.hint("nothing is sent yet; to send it", self.options.command("send", *self._flags()))
            return self._end(Exit.OK)
        if self.ask and not confirm("Send?", default=True):
            return Exit.INTERRUPTED
        if bad:
            path = invalid_rows_path(source)
            write_invalid_rows(source, self.options.choices, self.settings.metadata_limits, database.problems(), path)
            self.result["badRowsFile"] = str(path)
            mended = self.options.command("send", file=str(path), as_csv=True)
            output.hint(f"{plural(bad, 'row')} left out. Mend {one_line(path)}, then", mended)
        return None

    def _end(self, code: Exit) -> Exit:
        """Print the JSON document with every problem, however many there are."""
        database = self.database
        found = (database.problems(), database.problems(warnings=True)) if database else ((), ())
        problems, warnings = ((problem.to_dict() for problem in each) for each in found)
        self.output.document(self.result, problems=problems, warnings=warnings)
        return code

    def _show_costs(self, costs: Estimate, columns: tuple[tuple[str, ...], int] | None) -> None:
        rate = self.settings.custom_vision_calls_per_second
        self.result |= {
            "images": costs.images,
            "metadataSets": costs.metadata_sets,
            "calls": costs.calls,
            "leastCalls": costs.least_calls,
            "callsPerSecond": rate,
            "seconds": costs.calls / rate,
            "costliestColumns": {"names": columns[0], "callsWithout": columns[1]} if columns else None,
        }
        self.output.show(estimate_table(costs, rate, columns))

    def _write(self, path: Path, database: CatalogueDatabase, correlation_id: str) -> Journal:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        facts = {"begun": _now(), "result": json.dumps(self.result)}
        return Journal.create(path, database.groups(), correlation_id, facts)

    async def _transmit(self, journal: Journal, queue: OpsQueue) -> Exit:
        before = journal.progress()
        stop = Stop()
        trouble: AzureError | None = None
        doubtful = 0
        with stop.listening(), bar(self.output.err, "sending", before.images, "images", before.images_sent) as shown:
            images = before.images_sent

            def on_sent(sent: int) -> None:
                nonlocal images
                images += sent
                shown(images)

            try:
                doubtful = await send(journal, queue, stop, on_sent)
            except AzureError as error:
                trouble = error
        return self._report(journal, before, doubtful, trouble)

    def _report(self, journal: Journal, before: Progress, doubtful: int, trouble: AzureError | None) -> Exit:
        after = journal.progress()
        now = after.messages_sent - before.messages_sent
        self.result |= {
            "messages": after.messages,
            "messagesSent": after.messages_sent,
            "imagesSent": after.images_sent,
            "messagesSentNow": now,
            "messagesPerhapsTwice": doubtful,
            "complete": after.is_complete,
        }
        if after.is_complete and not before.is_complete:
            journal.finish(_now())
        self.output.say(
            f"{plural(now, 'message')} sent, {after.messages_sent:,} of {after.messages:,} in all, "
            f"with {plural(after.images_sent, 'image')}"
        )
        if doubtful:
            self.output.hint(
                f"{plural(doubtful, 'message')} may be there twice, since the send was broken off over a week ago"
            )
        self._end(Exit.OK)
        if trouble is not None:
            text, code = describe_storage(trouble)
            self.output.error(f"{text}\ntype the same again, and it resumes")
            return code
        if not after.is_complete:
            self.output.hint("stopped; type the same again, and it resumes")
            return Exit.INTERRUPTED
        if Path(self.options.file).is_file():
            self.output.hint("to see what comes of it", self.options.command("verify", "--wait"))
        return Exit.OK

    def _flags(self) -> list[str]:
        """The options that decide what is sent, as they are typed."""
        said = {
            "--skip-invalid": self.skip_invalid,
            "--again": self.again,
            f"--correlation-id={self.correlation_id}": self.correlation_id is not None,
        }
        return [option for option, is_said in said.items() if is_said]

    def _identity(self, digest: str, correlation_id: str, where: list[str]) -> str:
        """What makes two sends the same: the content, how it is read, and where it goes."""
        options = self.options
        what = [digest, repr(options.choices), repr(options.reading), self.skip_invalid, correlation_id, *where]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]


def default_correlation_id(source: Source, digest: str) -> str:
    """The file's name and digest. Characters that a message may not have become underscores."""
    stem = "standard input" if source.beside.name == "standard-input" else source.beside.stem
    return "".join(char if char.isprintable() else "_" for char in stem[:100]) + f"-{digest[:8]}"


def _check_correlation_id(correlation_id: str, limits: MetadataLimits) -> None:
    problem = problem_of(limits, correlationId=correlation_id)
    if problem is not None:
        raise CatalogueError(f"--correlation-id: {problem.removeprefix('correlationId: ')}")


def show_mapping(output: Output, source: Source, mapping: Mapping | None) -> None:
    """Show what the file is, and what its columns are."""
    output.say(Text(f"{source.name}: {FORMAT_NAMES[source.format]}", style="bold"))
    if mapping is None:
        return
    table = Table("column", "is")
    names = [one_line(name, 200) for name in mapping.header]
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


def estimate_table(costs: Estimate, calls_per_second: float, columns: tuple[tuple[str, ...], int] | None) -> Table:
    """What a catalogue costs at the API."""
    table = Table(
        "", Column(justify="right"), "", title="At the API", title_justify="left", title_style="bold", show_header=False
    )
    table.add_row("images", f"{costs.images:,}")
    table.add_row("different metadata sets", f"{costs.metadata_sets:,}")
    rate = f"{duration(costs.calls / calls_per_second)} at {calls_per_second:g} a second"
    table.add_row(f"calls of up to {MAX_IMAGES_PER_CALL} images", f"{costs.calls:,}", rate)
    extra = f"{duration(costs.extra_calls / calls_per_second)}: only images of equal metadata share a call"
    table.add_row("  because metadata differs", f"{costs.extra_calls:,}", extra if costs.extra_calls else "")
    if columns is not None:
        names, calls = columns
        label = Text(f"  without {' and '.join(map(repr, names))}")
        table.add_row(label, f"{calls:,}", duration(calls / calls_per_second))
    return table


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
