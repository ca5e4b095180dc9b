"""What `make run` tells its user to type next."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

# Shell functions of their own keep the commands below them short.
SEND = """send() { .venv/bin/python -c '
import os, sys
from azure.storage.queue import QueueClient
with QueueClient.from_connection_string(os.environ["AZURE_STORAGE_CONNECTION_STRING"], sys.argv[1]) as queue:
    queue.send_message(sys.argv[2], time_to_live=-1)' "$@"; }"""
PEEK = """peek() { .venv/bin/python -c '
import base64, os, sys
from azure.storage.queue import QueueClient
with QueueClient.from_connection_string(os.environ["AZURE_STORAGE_CONNECTION_STRING"], sys.argv[1]) as queue:
    for message in queue.peek_messages(32):
        text = message.content
        print(text if text.startswith("{") else base64.b64decode(text).decode())' "$@"; }"""


@dataclass(frozen=True)
class Places:
    """What stands in the printed commands: where messages go, and what is there to be updated and watched."""

    connection: str
    updates: str
    watches: str
    events: str
    project: str
    image: str
    group: str
    simulation: str | None


def instructions(places: Places) -> str:
    """What to type in another terminal."""
    update = f'{{"projectId": "{places.project}", "imageIds": ["{places.image}"], "metadata": {{"season": "summer"}}}}'
    watch = f'{{"kind": "personGroup", "id": "{places.group}"}}'
    parts = [
        "The app is up. In another terminal, in this folder:",
        f"export AZURE_STORAGE_CONNECTION_STRING='{places.connection}'\n{SEND}\n{PEEK}",
        f"# give an image metadata\nsend {places.updates} '{update}'",
        f"# be told when a training is done\nsend {places.watches} '{watch}'",
        f"# look at the events, up to 32 of them\npeek {places.events}",
        "# the same with the Azure CLI\n"
        f"az storage message put --queue-name {places.updates} --time-to-live -1 --content '{update}'\n"
        f"az storage message peek --queue-name {places.events} --num-messages 32",
    ]
    if places.simulation is not None:
        images = f"{places.simulation}/_control/projects/{places.project}/images"
        parts.append(f"# what the simulated Custom Vision knows of its images\ncurl {images}")
    return "\n\n".join([*parts, "Ctrl-C stops everything.", ""])


def cloud_instructions(settings: Mapping[str, str]) -> str:
    """What to put into the settings of an app that runs elsewhere, `func start` say, and how to go on."""
    values = "\n".join(f"    {json.dumps(name)}: {json.dumps(value)}," for name, value in settings.items())
    return f"""The local cloud is up. Put these values into local.settings.json, then `func start` in another terminal:

{values}

The account's key is a new one at each start. `make run` reads local.settings.json too, and starts only what that calls
local: take these values out again before.

Ctrl-C stops it."""
