"""`vision-relay send`."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from azure.core.exceptions import AzureError
from rich.table import Table
from rich.text import Text

from ops.catalogue.costs import Estimate, costliest_columns, estimate
from ops.catalogue.database import read_catalogue
from ops.catalogue.invalid_rows import invalid_rows_path, write_invalid_rows
from ops.catalogue.row import CatalogueError, problem_of
from ops.catalogue.source import Format, scratch_folder
from ops.commands.options import (
    CatalogueOptions,
    CorrelationOption,
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
    QuotingOption,
    SettingsOption,
    SheetOption,
    catalogue_options,
)
from ops.commands.problems import show_problems
from ops.commands.running import run
from ops.output import Exit, OpsError, Output, confirm, duration, plural
from ops.progress_bar import BYTES, bar
from ops.resumable_send import Stop, send
from ops.send_journal import COMPLETE, Journal
from ops.settings import load_ops_settings
from ops.storage import open_storage
from ops.storage_errors import describe_storage
from shared.services.custom_vision import MAX_IMAGES_PER_CALL
from shared.text import one_line

if TYPE_CHECKING:
    from ops.catalogue.database import CatalogueDatabase
    from ops.catalogue.mapping import Mapping
    from ops.catalogue.source import Rows, Source
    from ops.send_journal import Progress
    from ops.settings import OpsSettings
    from ops.storage import OpsQueue
    from shared.messages.update import MetadataLimits

STATE_VARIABLE = "VISION_RELAY_STATE"
FORMAT_NAMES = {
    Format.CSV: "CSV",
    Format.XLSX: "workbook",
    Format.JSONL: "JSON Lines",
    Format.JSON: "JSON",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for, besides the file and how it is read."""

    correlation_id: str | None
    skip_invalid: bool
    dry_run: bool
    again: bool
    ask: bool
    state: Path

    @property
    def flags(self) -> list[str]:
        """The options that decide what is sent, as they are typed."""
        said = {
            "--skip-invalid": self.skip_invalid,
            "--again": self.again,
            f"--correlation-id={self.correlation_id}": self.correlation_id is not None,
        }
        return [option for option, is_said in said.items() if is_said]


def send_command(
    file: FileArgument,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Send the valid rows, and write the others to a file beside it.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and estimate; send nothing.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Send from the beginning, even if it was sent before.")
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
    correlation: CorrelationOption = None,
    sheet: SheetOption = None,
    delimiter: DelimiterOption = None,
    quoting: QuotingOption = None,
    encoding: EncodingOption = None,
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
    as_json: JsonOption = False,
    settings: SettingsOption = None,
) -> None:
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
    output = Output(as_json)
    options = catalogue_options(
        file,
        format_=format_,
        image=image,
        project=project,
        project_id=project_id,
        metadata=metadata,
        ignore=ignore,
        correlation=correlation,
        sheet=sheet,
        delimiter=delimiter,
        quoting=quoting,
        encoding=encoding,
        settings=settings,
    )
    asked = Asked(
        correlation_id,
        skip_invalid,
        dry_run,
        again,
        ask=not yes and sys.stdin.isatty() and output.human.is_terminal,
        state=state or default_state_folder(),
    )
    run(output, partial(load_ops_settings, settings), lambda loaded: _Send(options, asked, output, loaded).run())


def default_state_folder() -> Path:
    """Where programs keep what has to outlive a restart, for this user."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "vision-relay"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "vision-relay"


class _Send:
    """One run of the command."""

    def __init__(self, options: CatalogueOptions, asked: Asked, output: Output, settings: OpsSettings) -> None:
        self._options = options
        self._asked = asked
        self._output = output
        self._settings = settings
        self._result: dict[str, Any] = {"file": one_line(options.file)}
        self._database: CatalogueDatabase | None = None

    async def run(self) -> Exit:
        """Do it and return the exit code."""
        asked, limits = self._asked, self._settings.metadata_limits
        if asked.correlation_id is not None:
            _check_correlation_id(asked.correlation_id, limits)
        with ExitStack() as stop:
            scratch = stop.enter_context(scratch_folder())
            source = self._options.open_source(scratch)
            with bar(self._output.err, "reading", source.size, BYTES) as progress:
                digest = source.digest(progress.to)
            correlation_id = asked.correlation_id or default_correlation_id(source, digest)
            rows = stop.enter_context(source.open(self._options.choices, limits, correlation_id))
            show_mapping(self._output, source, rows.reader.mapping)
            async with open_storage(self._settings) as storage:
                queue = storage.queue(self._settings.metadata_updates_queue)
                where = [storage.address, queue.name]
                path = asked.state / f"{_identity(self._options, asked, digest, correlation_id, where)}.journal"
                self._result |= {"queue": queue.name, "correlationId": correlation_id}
                journal = stop.enter_context(closing(self._known(path))) if self._is_known(path) else None
                if journal is None:
                    database, seen = self._read(source, rows, scratch)
                    stop.callback(database.close)
                    self._database = database
                    go_on = self._check(database, source, rows, seen)
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
            self._output.hint(f"sent before, complete on {facts[COMPLETE]}; --again sends it once more")
        else:
            self._output.hint(f"resumes the send of {facts['begun']}; --again would begin anew")
        return journal

    def _read(self, source: Source, rows: Rows, scratch: Path) -> tuple[CatalogueDatabase, int]:
        with bar(self._output.err, "checking", source.size, BYTES) as progress:
            return read_catalogue(rows, scratch, progress.to)

    def _check(self, database: CatalogueDatabase, source: Source, rows: Rows, seen: int) -> Exit | None:
        """Show what is wrong and what the rest costs; an exit code if that is all."""
        output, asked, limits = self._output, self._asked, self._settings.metadata_limits
        bad = database.count_bad_rows()
        self._result |= {"rows": seen, "badRows": bad}
        show_problems(output, source.name, database, seen, rows.reader.mapping, limits)
        if bad and not asked.skip_invalid:
            output.error(
                f"{plural(bad, 'row')} of {seen:,} cannot be sent, so nothing is; correct them, or use --skip-invalid"
            )
            return self._end(Exit.PROBLEM)
        if not database.has_rows():
            output.error(f"no row can be sent{'' if seen else ': the file has none'}")
            return self._end(Exit.PROBLEM)
        self._estimate(database)
        if asked.dry_run:
            if Path(self._options.file).is_file():
                output.hint("nothing is sent yet; to send it", self._options.command("send", *asked.flags))
            return self._end(Exit.OK)
        if asked.ask and not confirm("Send?", default=True):
            return Exit.INTERRUPTED
        if bad:
            path = invalid_rows_path(source)
            write_invalid_rows(source, self._options.choices, limits, database.problems(), path)
            self._result["badRowsFile"] = str(path)
            mended = self._options.command("send", file=str(path), as_csv=True)
            output.hint(f"{plural(bad, 'row')} left out. Mend {one_line(path)}, then", mended)
        return None

    def _end(self, code: Exit) -> Exit:
        """Print the JSON document, if it is wanted, with every problem however many there are."""
        database = self._database
        found = (database.problems(), database.problems(warnings=True)) if database else ((), ())
        problems, warnings = ((problem.to_dict() for problem in each) for each in found)
        self._output.document(self._result, problems=problems, warnings=warnings)
        return code

    def _estimate(self, database: CatalogueDatabase) -> None:
        costs = estimate(database)
        columns = costliest_columns(database, costs)
        rate = self._settings.custom_vision_calls_per_second
        self._result |= {
            "images": costs.images,
            "metadataSets": costs.metadata_sets,
            "calls": costs.calls,
            "leastCalls": costs.least_calls,
            "callsPerSecond": rate,
            "seconds": costs.seconds(rate),
            "costliestColumns": {"names": columns[0], "callsWithout": columns[1]} if columns else None,
        }
        self._output.show(estimate_table(costs, rate, columns))

    def _write(self, path: Path, database: CatalogueDatabase, correlation_id: str) -> Journal:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        facts = {"begun": _now(), "result": json.dumps(self._result)}
        return Journal.create(path, database.groups(), correlation_id, facts)

    async def _need(self, queue: OpsQueue) -> None:
        if await queue.count() is None:
            raise OpsError(
                f"there is no queue {queue.name}: check METADATA_UPDATES_QUEUE and the storage account, or create it",
                Exit.SETTINGS,
                "vision-relay doctor --create-queues",
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
        self._end(Exit.OK)
        if trouble is not None:
            text, code = describe_storage(trouble)
            self._output.error(f"{text}\ntype the same again, and it resumes")
            return code
        if not after.is_complete:
            self._output.hint("stopped; type the same again, and it resumes")
            return Exit.INTERRUPTED
        if Path(self._options.file).is_file():
            self._output.hint("to see what comes of it", self._options.command("verify", "--wait"))
        return Exit.OK


def default_correlation_id(source: Source, digest: str) -> str:
    """The file's name and digest. Characters that a message may not have become underscores."""
    stem = "standard input" if source.beside.name == "standard-input" else source.beside.stem
    return "".join(char if char.isprintable() else "_" for char in stem[:100]) + f"-{digest[:8]}"


def _check_correlation_id(correlation_id: str, limits: MetadataLimits) -> None:
    problem = problem_of(limits, correlationId=correlation_id)
    if problem is not None:
        raise CatalogueError(f"--correlation-id: {problem.removeprefix('correlationId: ')}")


def show_mapping(output: Output, source: Source, mapping: Mapping | None) -> None:
    """Show how a file is read."""
    if mapping is None:
        output.say(f"{source.name}: {FORMAT_NAMES[source.format]}")
        return
    output.say(Text(f"{source.name}: {FORMAT_NAMES[source.format]}", style="bold"))
    table = Table()
    table.add_column("column")
    table.add_column("is")
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
    if columns is not None:
        names, calls = columns
        table.add_row(
            Text(f"  without {' and '.join(map(repr, names))}"), f"{calls:,}", duration(calls / calls_per_second)
        )
    return table


def _identity(options: CatalogueOptions, asked: Asked, digest: str, correlation_id: str, where: list[str]) -> str:
    """What makes two sends the same: the content, how it is read, and where it goes."""
    what = [digest, repr(options.choices), repr(options.reading), asked.skip_invalid, correlation_id, *where]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
