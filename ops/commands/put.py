"""`vision-relay put`."""

from __future__ import annotations

import json
from typing import Annotated
from uuid import uuid4

import typer

from ops.commands.running import Call, command, need_queue
from ops.output import Exit, OpsError, plural
from ops.storage import open_storage
from shared.errors import InvalidMessage
from shared.messages.update import parse_update
from shared.text import to_json


@command()
async def put_command(
    call: Call,
    pairs: Annotated[list[str], typer.Argument(metavar="KEY=VALUE...", help="The metadata: collection=Harbour.")],
    project_id: Annotated[str, typer.Option("--project-id", metavar="UUID", help="The images' project.")],
    image_ids: Annotated[list[str], typer.Option("--image-id", metavar="UUID", help="An image; may be repeated.")],
    correlation_id: Annotated[
        str | None,
        typer.Option(
            "--correlation-id",
            metavar="TEXT",
            help="Logs, dead letters and events carry it.",
            show_default="a new one",
        ),
    ] = None,
) -> Exit:
    """Send one update: these images get this metadata.

    [bold]Example[/bold]

      vision-relay put --project-id UUID --image-id UUID collection=Harbour decade=1950s
    """
    output = call.output
    document = {
        "projectId": project_id,
        "imageIds": image_ids,
        "metadata": _metadata(pairs),
        "correlationId": correlation_id or f"put-{uuid4().hex[:12]}",
    }
    text = to_json(document)
    try:
        parse_update(text.encode(), call.settings.metadata_limits)
    except InvalidMessage as error:
        raise OpsError(str(error), Exit.USAGE) from None
    async with open_storage(call.settings) as storage:
        queue = storage.queue(call.settings.metadata_updates_queue)
        await need_queue(queue, "METADATA_UPDATES_QUEUE")
        message_id, _ = await queue.put(text)
    output.document({"messageId": message_id, "update": json.loads(text)})
    output.say(f"sent to {queue.name}: {plural(len(image_ids), 'image')} (correlation id {document['correlationId']})")
    output.hint("to see what cannot be applied", "vision-relay dead-letters list")
    return Exit.OK


def _metadata(pairs: list[str]) -> dict[str, str]:
    metadata: dict[str, str] = {}
    for pair in pairs:
        key, is_there, value = pair.partition("=")
        if not is_there:
            raise typer.BadParameter(f"{pair!r} has no =; write it as in collection=Harbour", param_hint="KEY=VALUE")
        if key in metadata:
            raise typer.BadParameter(f"{key!r} is given twice", param_hint="KEY=VALUE")
        metadata[key] = value
    return metadata
