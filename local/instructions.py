"""What `make run` tells its user to type next, and what it writes into a file so that little has to be typed."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

CONNECTION = "AZURE_STORAGE_CONNECTION_STRING"

PROJECT_ROOT = Path(__file__).parents[1]

# The README's examples are these, so that they work as they are printed there.
PROJECT = "7d1c3f0a-6a3e-4a52-9f1d-0b9f6b1f2a10"
IMAGES = ("0f2b8b4e-8f0e-4b7e-9a53-2d6c1a3b4c5d", *(f"0f2b8b4e-8f0e-4b7e-9a53-{number:012d}" for number in range(1, 5)))
GROUP = "employees"
METADATA = {"collection": "Harbour", "decade": "1950s"}

SETTINGS_FILE = "VISION_RELAY_SETTINGS"
"""Where `vision-relay` looks for the settings; the environment goes before what stands there."""

FROM_MAKE_RUN = "VISION_RELAY_FROM_MAKE_RUN"
"""The settings that the shell file exports for other commands. `make run` itself does not take them for the user's own,
since what they name ends with the run that wrote them."""


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
    export += f"export {FROM_MAKE_RUN}={shlex.quote(' '.join(name for name, _ in places.local))}\n"
    export += f'export {SETTINGS_FILE}={shlex.quote(places.settings)} PATH="$PWD/.venv/bin:$PATH"\n'
    return f"# Written by `make run`.\n{export}{_functions(places) if places.simulation is not None else ''}"


def _functions(places: Places) -> str:
    """Commands for the simulation: what it knows, what it is told, and images for it."""
    at, here = places.simulation, shlex.quote(str(PROJECT_ROOT))
    return f"""images() {{ simulation GET projects/{places.project}/images | python -m json.tool --no-ensure-ascii; }}
simulation() {{ curl -sS -X "$1" {at}/_control/"$2" ${{3+-d "$3"}}; echo; }}
add_images() {{ PYTHONPATH={here} python -m local.images --simulation {at} "$@"; }}
"""


def instructions(places: Places, shell_file_at: str, log_at: str) -> str:
    """What to type in another terminal; at most 80 columns wide if the names in it are the sample's."""
    pairs = " ".join(f"{key}={value}" for key, value in METADATA.items())
    update = f"vision-relay put --project-id {places.project} \\\n  --image-id {places.image} \\\n  {pairs}"
    own = "" if places.connection is not None else f"\nexport {CONNECTION}='<that of your storage account>'"
    parts = [
        "The app is up. In another terminal, in this folder:",
        f"# where all is\n. {shlex.quote(shell_file_at)}{own}",
        f"# give an image metadata\n{update}",
        f"# be told when a training is done\nvision-relay watch personGroup {places.group}",
        "# the events, and the dead letters: what could not be done, and why\n"
        "vision-relay events tail --once\nvision-relay dead-letters list",
        "# the state of all; `vision-relay --help` has more\nvision-relay status",
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
