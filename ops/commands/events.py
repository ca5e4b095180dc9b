"""`vision-relay events`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from ops.commands.running import Call, command, need_queue
from ops.event_tail import POLL_SECONDS, WHAT_QUEUES_HIDE, Event, Tail, check_types, matches
from ops.output import EXIT_CODES_HELP, Exit, OpsError, Output
from ops.storage import open_storage
from shared.text import one_line

if TYPE_CHECKING:
    from ops.settings import OpsSettings
    from ops.storage import OpsQueue, Storage

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="See events without taking them from their consumer.",
    epilog=EXIT_CODES_HELP,
)


@app.command("tail", epilog=EXIT_CODES_HELP)
@command()
async def tail_command(
    call: Call,
    types: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="TYPE", help="Such as Training.Failed or 'ImageMetadata.*'; may be repeated."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Show only the events that are there now.")] = False,
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="End after so many events.")] = None,
) -> Exit:
    """Show events as they come, without taking them from their consumer.

    A queue shows only its first 32 messages. An event behind 32 others
    appears when those are gone. An event that its consumer takes between
    two looks, a second apart, is never shown. With --json, each event is a
    line.

    [bold]Examples[/bold]

      vision-relay events tail
      vision-relay events tail --type Training.Failed --json | jq .data
      vision-relay events tail --once
    """
    output = call.output
    wanted = tuple(types or ())
    try:
        check_types(wanted)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--type") from None
    left = count
    async with open_storage(call.settings) as storage:
        queue = await _queue(storage, call.settings)
        if not once:
            output.hint(f"{queue.name}. {WHAT_QUEUES_HIDE}")
        tail = Tail(queue)
        while True:
            for event in await tail.new():
                if left != 0 and matches(event.type, wanted):
                    show_event(output, event)
                    left = None if left is None else left - 1
            if once and tail.is_full:
                output.hint("there may be more behind these 32")
            if once or left == 0:
                return Exit.OK
            await asyncio.sleep(POLL_SECONDS)


async def _queue(storage: Storage, settings: OpsSettings) -> OpsQueue:
    if not settings.events_queue:
        raise OpsError(
            "there is no events queue: EVENTS_QUEUE is empty, so events go only to Event Grid", Exit.SETTINGS
        )
    queue = storage.queue(settings.events_queue)
    await need_queue(queue, "EVENTS_QUEUE")
    return queue


def show_event(output: Output, event: Event) -> None:
    """Show an event in one line."""
    output.line(event.document)
    if output.as_json:
        return
    about = [
        f"{key}={event.data[key]}" for key in ("status", "code", "message", "correlationId") if event.data.get(key)
    ]
    line = " ".join([event.time[:19], event.type.removeprefix("VisionRelay."), event.subject, *about])
    output.say(one_line(line, 400))
