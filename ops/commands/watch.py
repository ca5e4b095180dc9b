"""`vision-relay watch`."""

from __future__ import annotations

import asyncio
import json
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from ops.apis import open_trainings
from ops.commands.events import show_event
from ops.commands.options import check_timeout, parse_duration
from ops.commands.running import Call, command, need_queue
from ops.output import Exit, Output, duration
from ops.storage import open_storage
from ops.watching import until_settled
from shared.errors import InvalidMessage
from shared.messages.cloud_event import EventType
from shared.messages.watch import KINDS, TrainingWatch, parse_watch
from shared.text import to_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from ops.event_tail import Event

    Waiting = Callable[[Callable[[str, bool], None], Callable[[Event], None]], Awaitable[tuple[Event | None, str]]]

NOW = "now"


def as_kind(text: str) -> str:
    """Read what is trained, whatever the case of its letters."""
    for kind in KINDS:
        if text.lower() == kind.lower():
            return kind
    raise typer.BadParameter(f"{text!r} is none of {', '.join(KINDS)}")


@command()
async def watch_command(
    call: Call,
    kind: Annotated[
        str,
        typer.Argument(metavar="KIND", parser=as_kind, help=f"{', '.join(KINDS)}."),
    ],
    target_id: Annotated[str, typer.Argument(metavar="ID", help="The id of the group, list or iteration.")],
    project_id: Annotated[
        str | None, typer.Option("--project-id", metavar="UUID", help="The project of an iteration.")
    ] = None,
    repeat: Annotated[bool, typer.Option("--repeat", help="Continue after the first completion.")] = False,
    after: Annotated[
        str | None,
        typer.Option(
            "--after", metavar="TIME", help="Only a completion later than this: 2026-01-31T12:00:00Z, or now."
        ),
    ] = None,
    expires_in: Annotated[
        timedelta | None,
        typer.Option(
            "--expires-in", metavar="DURATION", parser=parse_duration, help="End the watch after this time, such as 2h."
        ),
    ] = None,
    correlation_id: Annotated[
        str | None,
        typer.Option("--correlation-id", metavar="TEXT", help="The event carries it.", show_default="a new one"),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Show its state until the event arrives.")] = False,
    within: Annotated[
        timedelta | None,
        typer.Option(
            "--timeout", metavar="DURATION", parser=parse_duration, help="With --wait: wait no longer than this."
        ),
    ] = None,
) -> Exit:
    """Get an event when a training is complete.

    With --wait, the exit code is 0 if the training succeeded; it is 1 if it
    failed, if the group does not exist, or if the time is over. With --repeat
    it shows every event until Ctrl-C.

    [bold]Examples[/bold]

      vision-relay watch personGroup employees
      vision-relay watch personGroup employees --after now --wait
      vision-relay watch largeFaceList visitors --repeat --expires-in 30d
      vision-relay watch customVisionIteration UUID --project-id UUID
    """
    output = call.output
    check_timeout(within, wait=wait)
    now = datetime.now(UTC)
    watch = _watch(
        {
            "kind": kind,
            "id": target_id,
            "projectId": project_id,
            "after": now.isoformat() if after == NOW else after,
            "repeat": repeat or None,
            "expiresAt": (now + expires_in).isoformat() if expires_in is not None else None,
            "correlationId": correlation_id or f"watch-{uuid4().hex[:12]}",
        }
    )
    settings = call.settings
    async with AsyncExitStack() as stop:
        storage = await stop.enter_async_context(open_storage(settings))
        queue = storage.queue(settings.training_watches_queue)
        await need_queue(queue, "TRAINING_WATCHES_QUEUE")
        message_id, receipt = await queue.put(to_json(watch.to_dict()))
        output.say(f"{watch.kind} {watch.id} is watched (correlation id {watch.correlation_id})")
        if not wait:
            output.document({"watch": watch.to_dict(), "messageId": message_id})
            return Exit.OK
        api = watch.target.api
        poll = await stop.enter_async_context(open_trainings(settings, api)) if settings.endpoint_of(api) else None
        events = storage.queue(settings.events_queue) if settings.events_queue else None
        waiting = partial(until_settled, watch, partial(queue.is_there, message_id, receipt), events, poll)
        return await _wait(output, waiting, within.total_seconds() if within is not None else None)


def _watch(fields: dict[str, Any]) -> TrainingWatch:
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        return parse_watch(json.dumps(given).encode())
    except InvalidMessage as error:
        raise typer.BadParameter(str(error)) from None


async def _wait(output: Output, waiting: Waiting, seconds: float | None) -> Exit:
    with _state_line(output) as (show, pause):

        def on_event(event: Event) -> None:
            with pause():
                show_event(output, event)

        try:
            async with asyncio.timeout(seconds):
                event, training = await waiting(show, on_event)
        except TimeoutError:
            output.hint("the time is over; the watch continues")
            return Exit.PROBLEM
    if event is not None:
        return Exit.OK if event.type == EventType.TRAINING_SUCCEEDED else Exit.PROBLEM
    output.say(f"the watch is settled; the training: {training}")
    output.hint("its consumer has taken the event, or it is behind 32 others, or it went to Event Grid")
    output.line({"training": training, "event": None})
    return Exit.OK if training == "succeeded" else Exit.PROBLEM


@contextmanager
def _state_line(
    output: Output,
) -> Iterator[tuple[Callable[[str, bool], None], Callable[[], AbstractContextManager[None]]]]:
    """Show the state: on a terminal in one line that changes, elsewhere in a line for each change.

    Yields what shows a state, and what hides the line while something else is printed.
    """
    began = asyncio.get_running_loop().time()

    def text(training: str, is_waiting: bool) -> str:
        return f"training {training}, {'its watch waits' if is_waiting else 'its watch is settled'}"

    if not output.err.is_terminal:
        last = ""

        def say(training: str, is_waiting: bool) -> None:
            nonlocal last
            if text(training, is_waiting) != last:
                last = text(training, is_waiting)
                output.hint(last)

        yield say, nullcontext
        return
    with output.err.status("looking") as status:

        def update(training: str, is_waiting: bool) -> None:
            status.update(f"{text(training, is_waiting)}, {duration(asyncio.get_running_loop().time() - began)}")

        @contextmanager
        def pause() -> Iterator[None]:
            status.stop()
            yield
            status.start()

        yield update, pause
