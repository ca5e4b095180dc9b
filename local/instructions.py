"""What `make run` tells its user to type next, and what it writes into a file so that little has to be typed."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local.queue import CONNECTION

if TYPE_CHECKING:
    from collections.abc import Mapping

# The README's examples are these, so that they work as they are printed there.
PROJECT = "7d1c3f0a-6a3e-4a52-9f1d-0b9f6b1f2a10"
IMAGES = ("0f2b8b4e-8f0e-4b7e-9a53-2d6c1a3b4c5d", *(f"0f2b8b4e-8f0e-4b7e-9a53-{number:012d}" for number in range(1, 5)))
GROUP = "employees"
METADATA = {"collection": "Harbour", "decade": "1950s"}

SETTINGS_FILE = "VISION_RELAY_SETTINGS"
"""Where `vision-relay` looks for the settings; the environment goes before what stands there."""

SHELL_FUNCTIONS = """send() { .venv/bin/python -m local.queue send "$@"; }
peek() { .venv/bin/python -m local.queue peek "$@"; }
"""


@dataclass(frozen=True)
class Places:
    """What stands in the printed commands: where messages go, and what is there to be updated and watched.

    connection   the connection string of the local storage account; None if the account is the user's own
    simulation   the address of the simulated Custom Vision, if it has the project
    settings     the file with the settings, for vision-relay
    local        those settings that are otherwise than in the file, since what they name was started here
    """

    connection: str | None
    updates: str
    watches: str
    events: str
    project: str
    image: str
    group: str
    simulation: str | None
    settings: str = ""
    local: tuple[tuple[str, str], ...] = ()


def shell_file(places: Places) -> str:
    """What the printed commands need in their shell."""
    export = f"export {CONNECTION}={shlex.quote(places.connection)}\n" if places.connection is not None else ""
    export += "".join(f"export {name}={shlex.quote(value)}\n" for name, value in places.local)
    export += f'export {SETTINGS_FILE}={shlex.quote(places.settings)} PATH="$PWD/.venv/bin:$PATH"\n'
    images = f"images() {{ curl -s {places.simulation}/_control/projects/{places.project}/images; echo; }}\n"
    return f"# Written by `make run`.\n{export}{SHELL_FUNCTIONS}{images if places.simulation is not None else ''}"


def instructions(places: Places, shell_file_at: str, log_at: str) -> str:
    """What to type in another terminal; at most 80 columns wide if the names in it are the sample's."""
    update = _message(projectId=places.project, imageIds=[places.image], metadata=METADATA, correlationId="scan-0815")
    watch = f'{{"kind": "personGroup", "id": "{places.group}"}}'
    own = "" if places.connection is not None else f"\nexport {CONNECTION}='<that of your storage account>'"
    parts = [
        "The app is up. In another terminal, in this folder:",
        f"# where all is, and the commands send and peek\n. {shlex.quote(shell_file_at)}{own}",
        f"# give an image metadata\nsend {places.updates} '{update}'",
        f"# be told when a training is done\nsend {places.watches} \\\n  '{watch}'",
        f"# look at the events, up to 32 of them\npeek {places.events}",
        f"# look at the dead letters: what could not be done, and why\npeek {places.updates}-poison\n"
        f"peek {places.watches}-poison",
        "# whether all is there, and how it stands; `vision-relay --help` has more\n"
        "vision-relay doctor\nvision-relay events tail --once",
        "# the Azure CLI works there too\n"
        f"az storage message peek --num-messages 32 \\\n  --queue-name {places.events}",
    ]
    if places.simulation is not None:
        parts.append("# what the simulated Custom Vision knows of its images\nimages")
    return "\n\n".join([*parts, f"Below is what happens; {log_at} has it in full. Ctrl-C stops everything.", ""])


def what_survives(data: str, *, storage: bool, simulation: bool) -> str:
    """What a restart keeps and what it does not, as far as it is local."""
    parts = []
    if storage:
        parts += [
            f"Kept in {data} from run to run: the queues, the account's key, the ports.",
            "A message that was in work at the end is visible again within a minute.",
        ]
    if simulation:
        parts.append("New in each run: the simulated images, without metadata, and the trainings.")
    return "\n".join(parts)


def cloud_instructions(settings: Mapping[str, str], data: str) -> str:
    """What to put into the settings of an app that runs elsewhere, `func start` say, and how to go on."""
    values = "\n".join(f"    {json.dumps(name)}: {json.dumps(value)}," for name, value in settings.items())
    return f"""The local cloud is up. Put these values into local.settings.json, then
`func start` in another terminal:

{values}

{what_survives(data, storage=True, simulation=True)}

`make run` reads local.settings.json too, and starts only what that calls
local: take these values out again before.

Ctrl-C stops it."""


def _message(**fields: Any) -> str:
    """A message as somebody would write it by hand."""
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in fields.items())
    return f"{{\n{lines}\n}}"
