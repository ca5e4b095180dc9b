"""`vision-relay dead-letters`."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table
from rich.text import Text

from ops.commands.options import parse_duration
from ops.commands.running import Call, command
from ops.dead_letters import Filter, Letter, LetterReason, advice
from ops.output import EXIT_CODES_HELP, Exit, OpsError, Output, confirm, duration, plural, printable, printable_json
from ops.progress_bar import bar
from ops.redriving import DeadLetters, Handled, drop, look, redrive
from ops.storage import open_storage
from shared.text import one_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TextIO

    from ops.settings import OpsSettings
    from ops.storage import Storage

    Handler = Callable[[DeadLetters, Filter, datetime, Callable[[Letter], None], Handled], Awaitable[None]]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="List, read, redrive or drop dead letters: messages that could not be applied.",
    epilog=EXIT_CODES_HELP,
)

SHORT_ID = 8
MAX_SHOWN = 100


class Origin(StrEnum):
    """The queue from which dead letters came."""

    UPDATES = "updates"
    WATCHES = "watches"
    ALL = "all"


_which = partial(typer.Option, rich_help_panel="Which letters")
OriginOption = Annotated[Origin, _which("--queue", help="The queue from which the letters came.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show which letters are meant; change nothing.")]


def letter_filter(
    reason: Annotated[
        list[LetterReason] | None, _which("--reason", case_sensitive=False, help="May be repeated.")
    ] = None,
    code: Annotated[
        list[str] | None,
        _which("--code", metavar="CODE", help="Such as ErrorImageNotFound or 'BadRequest*'; may be repeated."),
    ] = None,
    project_id: Annotated[
        list[str] | None, _which("--project-id", metavar="UUID", help="The id or its beginning; may be repeated.")
    ] = None,
    correlation_id: Annotated[
        list[str] | None, _which("--correlation-id", metavar="TEXT", help="Such as 'catalogue-*'; may be repeated.")
    ] = None,
    older_than: Annotated[
        timedelta | None,
        _which("--older-than", metavar="DURATION", parser=parse_duration, help="Such as 2h or 3d."),
    ] = None,
    newer_than: Annotated[
        timedelta | None, _which("--newer-than", metavar="DURATION", parser=parse_duration, help="Such as 90m.")
    ] = None,
    id_: Annotated[
        list[str] | None, _which("--id", metavar="ID", help="The id or its beginning; may be repeated.")
    ] = None,
) -> Filter:
    """What the options say about the letters."""
    return Filter(
        _given("--id", id_),
        tuple(reason or ()),
        _given("--code", code),
        _given("--project-id", project_id),
        _given("--correlation-id", correlation_id),
        older_than,
        newer_than,
    )


def _given(option: str, values: list[str] | None) -> tuple[str, ...]:
    """The values of an option. An empty one, as of a variable that a script did not set, would begin every id."""
    if any(not value.strip() for value in values or ()):
        raise typer.BadParameter("is empty, so nobody knows which letters are meant", param_hint=option)
    return tuple(values or ())


def _queues(storage: Storage, settings: OpsSettings, origin: Origin) -> list[DeadLetters]:
    names = {Origin.UPDATES: settings.metadata_updates_queue, Origin.WATCHES: settings.training_watches_queue}
    return [DeadLetters.of(storage, name) for of, name in names.items() if origin in (of, Origin.ALL)]


async def _find(queues: list[DeadLetters], wanted: Filter) -> tuple[list[Letter], int]:
    now = datetime.now(UTC)
    every = [letter for queue in queues for letter in await look(queue)]
    letters = [letter for letter in every if wanted.means(letter, now)]
    return letters, len(every) - len(letters)


@app.command("list", epilog=EXIT_CODES_HELP)
@command(wanted=letter_filter)
async def list_command(
    call: Call,
    wanted: Filter,
    origin: OriginOption = Origin.ALL,
) -> Exit:
    """List dead letters: the causes first, with what to do, then the letters.

    Storage shows no more than 32 messages of a queue. Where there are as
    many, all letters are leased for some seconds and given back, so that
    all of them are counted.

    [bold]Examples[/bold]

      vision-relay dead-letters list
      vision-relay dead-letters list --reason refused --newer-than 2h
      vision-relay dead-letters list --json | jq -r '.[].imageIds[]'
    """
    output = call.output
    async with open_storage(call.settings) as storage:
        letters, others = await _find(_queues(storage, call.settings, origin), wanted)
    _show(output, letters, others)
    return Exit.OK


def _show(output: Output, letters: list[Letter], others: int) -> None:
    """Show the causes first: usually many letters have few causes."""
    output.document([letter.to_dict() for letter in letters])
    if not letters:
        output.say(f"no dead letter matches; {others:,} others do not" if others else "no dead letters")
        return
    output.show(Text(plural(len(letters), "dead letter"), style="bold"))
    causes = Counter((letter.reason, letter.code, advice(letter)) for letter in letters)
    for (reason, code, told), count in causes.most_common():
        output.say(f"{count:>6,}  {one_line(f'{reason} {code}'.rstrip(), 80)}: {told}")
    right = ("age", "images")
    names = ("id", "age", "reason", "about", "images")
    table = Table(*(Column(name, justify="right" if name in right else "left", overflow="fold") for name in names))
    now = datetime.now(UTC)
    for letter in letters[:MAX_SHOWN]:
        table.add_row(
            letter.message.id[:SHORT_ID],
            duration(max((now - letter.at).total_seconds(), 0)),
            Text(one_line(letter.reason, 40)),
            Text(one_line(_about(letter), 120)),
            f"{len(letter.image_ids):,}",
        )
    output.show(table)
    if len(letters) > MAX_SHOWN:
        output.say(f"… and {len(letters) - MAX_SHOWN:,} more: --json has all")


def _about(letter: Letter) -> str:
    if letter.code and letter.reason != "invalid":
        return f"{letter.code} {letter.sentence}".rstrip()
    return letter.sentence or letter.code


@app.command("show", epilog=EXIT_CODES_HELP)
@command()
async def show_command(
    call: Call,
    id_: Annotated[str, typer.Argument(metavar="ID", help="A letter's id, or its beginning.")],
    origin: OriginOption = Origin.ALL,
) -> Exit:
    """Show one dead letter in full.

    [bold]Example[/bold]

      vision-relay dead-letters show 6c0b3b1e
    """
    output = call.output
    wanted = Filter(ids=_given("ID", [id_]))
    async with open_storage(call.settings) as storage:
        letters, _ = await _find(_queues(storage, call.settings, origin), wanted)
    if not letters:
        raise OpsError(f"there is no dead letter {id_}", Exit.PROBLEM)
    for letter in letters:
        output.line({**letter.to_dict(), "body": _body(letter)})
        output.say(f"{letter.message.id}, {letter.kind}, since {letter.at.isoformat(timespec='seconds')}")
        if not output.as_json:
            output.say(_body_text(letter))
        output.hint(advice(letter))
    return Exit.OK


def _body(letter: Letter) -> object:
    return letter.document or letter.message.body.decode("utf-8", "backslashreplace")


def _body_text(letter: Letter) -> str:
    body = _body(letter)
    return printable_json(body, indent=2) if letter.document else printable(str(body))


@app.command("redrive", epilog=EXIT_CODES_HELP)
@command(wanted=letter_filter)
async def redrive_command(
    call: Call,
    wanted: Filter,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    origin: OriginOption = Origin.ALL,
) -> Exit:
    """Move dead letters back to their queue, so that they are tried again.

    If the command is killed, no letter is lost. At worst one is moved twice,
    which does no harm. Letters that come back during the redrive are left.
    So are letters that never were valid messages, unless --reason or --id
    names them.

    [bold]Examples[/bold]

      vision-relay dead-letters redrive --dry-run
      vision-relay dead-letters redrive --code ErrorImageNotFound
      vision-relay dead-letters redrive --reason host --older-than 1d --yes
    """
    output = call.output
    async with open_storage(call.settings) as storage:
        queues = _queues(storage, call.settings, origin)
        question = "Move {} back?"
        if not await _may(output, queues, wanted, question, "moved back", dry_run=dry_run, yes=yes, moves=True):
            return Exit.OK
        handled = await _handle_all(output, queues, "moving", redrive, wanted)
    return _report(output, handled, "moved back")


@app.command("drop", epilog=EXIT_CODES_HELP)
@command(wanted=letter_filter)
async def drop_command(
    call: Call,
    wanted: Filter,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    everything: Annotated[bool, typer.Option("--all", help="All letters.")] = False,
    save: Annotated[
        Path | None,
        typer.Option(
            "--save", metavar="FILE", help="Append the letters to this file, as JSON Lines, before they are gone."
        ),
    ] = None,
    origin: OriginOption = Origin.ALL,
) -> Exit:
    """Delete dead letters for ever.

    [bold]Examples[/bold]

      vision-relay dead-letters drop --reason invalid --older-than 30d --dry-run
      vision-relay dead-letters drop --reason invalid --save dropped.jsonl
    """
    output = call.output
    if wanted.is_empty and not everything:
        raise typer.BadParameter("name the letters, such as --reason invalid or --older-than 30d, or use --all")
    if not (yes or dry_run or sys.stdin.isatty()):
        raise typer.BadParameter("this is not a terminal, so nobody can confirm: use --yes")
    async with open_storage(call.settings) as storage:
        queues = _queues(storage, call.settings, origin)
        if not await _may(output, queues, wanted, "Drop {} for ever?", "dropped", dry_run=dry_run, yes=yes):
            return Exit.OK
        with ExitStack() as stop:
            file = stop.enter_context(save.open("a", encoding="utf-8")) if save is not None else None
            handled = await _handle_all(output, queues, "dropping", drop, wanted, file)
    return _report(output, handled, "dropped")


async def _may(
    output: Output,
    queues: list[DeadLetters],
    wanted: Filter,
    question: str,
    done: str,
    *,
    dry_run: bool,
    yes: bool,
    moves: bool = False,
) -> bool:
    """Whether the selected letters may be moved or dropped. Ask, where somebody can answer; of a dry run, show them."""
    if not dry_run and (yes or not (sys.stdin.isatty() and output.err.is_terminal)):
        return True
    found, others = await _find(queues, wanted)
    letters = [letter for letter in found if not moves or letter.was_valid or wanted.includes_invalid]
    if letters and not dry_run:
        return confirm(question.format(plural(len(letters), "letter")), default=moves)
    _show(output, letters, others + len(found) - len(letters))
    if letters:
        output.say(f"{plural(len(letters), 'letter')} would be {done}")
    return False


async def _handle_all(
    output: Output,
    queues: list[DeadLetters],
    doing: str,
    handle: Handler,
    wanted: Filter,
    save: TextIO | None = None,
) -> Handled:
    """Handle the letters that are in all queues at the beginning, by storage's clock."""
    total = Handled()
    for queue in queues:
        count = await queue.letters.count()
        if not count:
            continue
        now = await queue.letters.server_time()
        with bar(output.err, f"{doing} {queue.kind}", count, "letters") as progress:
            done = 0

            def on_done(letter: Letter) -> None:
                nonlocal done
                done += 1
                if save is not None:
                    _save(letter, save)
                progress(done)

            await handle(queue, wanted, now, on_done, total)
    return total


def _save(letter: Letter, file: TextIO) -> None:
    """Append a letter to a file. It is on the disk before it is deleted from its queue."""
    file.write(json.dumps(_body(letter), ensure_ascii=False) + "\n")
    file.flush()
    os.fsync(file.fileno())


def _report(output: Output, handled: Handled, what: str) -> Exit:
    output.document(
        {"done": handled.done, "left": handled.left, "neverValid": handled.never_valid, "leased": handled.leased}
    )
    output.say(f"{plural(handled.done, 'letter')} {what}" + (f", {handled.left:,} left" if handled.left else ""))
    if handled.never_valid:
        output.hint(
            f"{plural(handled.never_valid, 'letter')} left that never were valid messages: correct and send them, "
            "or redrive them with --reason invalid, --reason unreadable or --id"
        )
    if handled.leased:
        output.hint(
            f"{plural(handled.leased, 'letter')} leased by another process, perhaps the same command; try again later"
        )
    return Exit.OK
