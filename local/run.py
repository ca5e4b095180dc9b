"""`python -m local.run`: the local cloud and the app on it, until Ctrl-C.

What the settings say is local is started here: Azurite for `UseDevelopmentStorage=true`, the simulation for an endpoint
that is the sample's. Everything else is the user's own resource and used as it is.
"""

import argparse
import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit
from uuid import UUID

from azure.core.exceptions import HttpResponseError, ResourceExistsError
from azure.storage.queue.aio import QueueServiceClient

from local import kept
from local.azurite.server import Azurite
from local.child_process import ChildFailedError
from local.host.errors import HostStartError
from local.host.process import HostProcess
from local.host.settings import SETTINGS_FILE, read_settings_file
from local.host.waiting import is_set_within
from local.instructions import (
    FROM_MAKE_RUN,
    GROUP,
    IMAGES,
    PROJECT,
    Places,
    cloud_instructions,
    instructions,
    shell_file,
    what_survives,
)
from local.simulation.control import SimulationControl
from local.simulation.gateway import Credentials
from local.simulation.process import SimulationProcess
from local.terminal import shown

PROJECT_ROOT = Path(__file__).parents[1]
SAMPLE_FILE = PROJECT_ROOT / "local.settings.sample.json"

STORAGE = "AzureWebJobsStorage"
STORAGE_IS_LOCAL = "UseDevelopmentStorage=true"
ENDPOINTS = ("CUSTOM_VISION_ENDPOINT", "FACE_ENDPOINT")
KEYS = ("CUSTOM_VISION_TRAINING_KEY", "FACE_KEY")
QUEUES = ("METADATA_UPDATES_QUEUE", "TRAINING_WATCHES_QUEUE", "EVENTS_QUEUE")

FAILING_GROUP = "visitors"
TRAINING_SECONDS = 30.0

SHORTENED = {"LOCAL_HOST_LEASE_SECONDS": "60", "LOCAL_HOST_DRAIN_SECONDS": "10"}
"""Unless they are set: after Ctrl-C nobody wants to wait as long for a message as in Azure, or for the end."""

DATA = ".local"
AZURITE_FOLDER = "azurite"
HOST_LOG = "host.log"
SHELL_FILE = "terminal.sh"

FOLLOW_SECONDS = 0.2
RESTART_SECONDS = 5.0


def is_storage_local(settings: Mapping[str, str]) -> bool:
    """Whether the storage account is Azurite's, to be started."""
    return settings.get(STORAGE) == STORAGE_IS_LOCAL


def local_endpoints(settings: Mapping[str, str], sample: Mapping[str, str]) -> list[str]:
    """The settings whose endpoint is the sample's, so that the simulation stands for it."""
    return [name for name in ENDPOINTS if settings.get(name) == sample[name]]


def port_or_any(port: int, what: str) -> int:
    """The port if it is free; otherwise 0, any free one, with a notice."""
    with socket.socket() as probe:
        # As the servers do: a port whose last connections are still winding down counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            _say(f"port {port} is taken: {what} gets another one")
            return 0
    return port


def places(
    settings: Mapping[str, str],
    simulation: SimulationProcess | None,
    *,
    storage_is_ours: bool,
    file: Path = SAMPLE_FILE,
) -> Places:
    """What the printed commands need. A connection string that is the user's own is written nowhere."""
    images_are_ours = simulation is not None and settings[ENDPOINTS[0]] == simulation.address
    groups_are_ours = simulation is not None and settings[ENDPOINTS[1]] == simulation.address
    ours = [STORAGE] * storage_is_ours + [ENDPOINTS[0]] * images_are_ours + [ENDPOINTS[1]] * groups_are_ours
    updates, watches, events = (settings.get(name) or f"<{name}>" for name in QUEUES)
    return Places(
        connection=settings[STORAGE] if storage_is_ours else None,
        updates=updates,
        watches=watches,
        events=events,
        project=PROJECT if images_are_ours else "<id of your project>",
        image=IMAGES[0] if images_are_ours else "<id of an image in it>",
        group=GROUP if groups_are_ours else "<id of your group>",
        simulation=simulation.address if simulation is not None and images_are_ours else None,
        settings=str(file.absolute()),
        local=tuple((name, settings[name]) for name in ours),
    )


def read_settings(file: Path) -> dict[str, str]:
    """The file's values, each overridden by the environment, but for what an earlier run put there.

    Raises HostStartError.
    """
    earlier = os.environ.get(FROM_MAKE_RUN, "").split()
    own = {name: value for name, value in os.environ.items() if value and name not in earlier}
    return {name: own.get(name, value) for name, value in read_settings_file(file).items()}


def with_shortened_waits(settings: Mapping[str, str]) -> dict[str, str]:
    """The settings with what this host waits for, which the settings and, over them, the environment may say."""
    given = {name: os.environ[name] for name in SHORTENED if os.environ.get(name)}
    return {**SHORTENED, **settings, **given}


async def start_storage(settings: dict[str, str], data: Path, stop: AsyncExitStack) -> None:
    """Start Azurite with the kept key and port, make the queues and put its connection string into the settings.

    Raises HostStartError if storage takes no queue of such a name.
    """
    before = kept.read(data)
    port = port_or_any(before.storage_port, "Azurite")
    azurite = await stop.enter_async_context(Azurite(port, data / AZURITE_FOLDER, before.storage_key))
    kept.write(data, replace(before, storage_port=azurite.port))
    settings[STORAGE] = azurite.connection_string
    async with QueueServiceClient.from_connection_string(azurite.connection_string) as service:
        for setting in QUEUES:
            if settings.get(setting):
                await _create_queue(service, setting, settings[setting])


async def _create_queue(service: QueueServiceClient, setting: str, name: str) -> None:
    try:
        await service.create_queue(name)
    except ResourceExistsError:
        return
    except HttpResponseError as error:
        raise HostStartError(
            f"{setting}: storage takes no queue of this name ({error.reason}): "
            "it must have 3 to 56 characters, a-z, 0-9 and single hyphens between them"
        ) from None


async def start_simulation(
    settings: dict[str, str], endpoints: list[str], data: Path, stop: AsyncExitStack
) -> SimulationProcess:
    """Start the simulation with the settings' keys and a sample, and put its address into these settings.

    Raises HostStartError if there are no keys.
    """
    keys = [settings.get(name, "") for name in KEYS]
    if not all(keys):
        raise HostStartError(f"the simulation needs the settings {' and '.join(KEYS)}")
    before = kept.read(data)
    port = before.simulation_port or urlsplit(settings[endpoints[0]]).port or 0
    simulation = SimulationProcess(Credentials(*keys), port_or_any(port, "the simulation"))
    await stop.enter_async_context(simulation)
    kept.write(data, replace(before, simulation_port=urlsplit(simulation.address).port))
    settings.update(dict.fromkeys(endpoints, simulation.address))
    async with simulation.control() as control:
        await _seed(control)
    return simulation


async def start_cloud(settings: dict[str, str], data: Path, stop: AsyncExitStack) -> SimulationProcess | None:
    """Start what the settings say is local and put its addresses into them.

    Raises HostStartError if another run has something local in this data folder.
    """
    endpoints = local_endpoints(settings, read_settings_file(SAMPLE_FILE))
    if endpoints or is_storage_local(settings):
        stop.enter_context(kept.sole_user(data))
    if is_storage_local(settings):
        _say("starting Azurite, which plays the storage account")
        await start_storage(settings, data, stop)
    if not endpoints:
        return None
    _say("starting the simulated Custom Vision and Face")
    return await start_simulation(settings, endpoints, data, stop)


async def run(settings_file: Path, data: Path) -> int:
    """Start everything, stay up, and return the exit code. Raises HostStartError and ChildFailedError."""
    stop_asked = _stop_signal()
    settings = read_settings(settings_file)
    storage_is_ours = is_storage_local(settings)
    _say(f"settings: {settings_file.name}")
    async with AsyncExitStack() as stop:
        simulation = await start_cloud(settings, data, stop)
        log = data / HOST_LOG
        log.unlink(missing_ok=True)
        _say("starting the app")
        host = await stop.enter_async_context(HostProcess(PROJECT_ROOT, with_shortened_waits(settings), log))
        what = places(settings, simulation, storage_is_ours=storage_is_ours, file=settings_file)
        _write_shell_file(data / SHELL_FILE, shell_file(what))
        survives = what_survives(_relative(data), storage=storage_is_ours, simulation=simulation is not None)
        if survives:
            _say(f"\n{survives}")
        _say(f"\n{instructions(what, _relative(data / SHELL_FILE), _relative(log))}")
        return await _stay_up(host, stop_asked)


async def run_cloud(data: Path) -> int:
    """Start the sample's cloud without the app, stay up, and return 0. Raises HostStartError and ChildFailedError."""
    stop_asked = _stop_signal()
    settings = read_settings_file(SAMPLE_FILE)
    async with AsyncExitStack() as stop:
        await start_cloud(settings, data, stop)
        _say(cloud_instructions({name: settings[name] for name in (STORAGE, *ENDPOINTS)}, _relative(data)))
        await stop_asked.wait()
    return 0


def _write_shell_file(file: Path, text: str) -> None:
    """It has the account's key, so nobody else may read it."""
    file.touch(kept.OWNER_ALONE)
    file.write_text(text)


def _relative(path: Path) -> str:
    """The path as somebody in the project's folder names it."""
    return str(path.relative_to(PROJECT_ROOT) if path.is_relative_to(PROJECT_ROOT) else path)


def _stop_signal() -> asyncio.Event:
    asked = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    return asked


async def _seed(control: SimulationControl) -> None:
    await control.add_images(UUID(PROJECT), map(UUID, IMAGES))
    await control.train(GROUP, running_seconds=TRAINING_SECONDS)
    await control.train(FAILING_GROUP, running_seconds=TRAINING_SECONDS, failure="The group has no faces.")


async def _stay_up(host: HostProcess, stop_asked: asyncio.Event) -> int:
    """Show what the host logs until it is asked to end. Where it ends by itself, as it does without storage, start it.

    Raises ChildFailedError if it does not start again.
    """
    with host.output.open(errors="replace") as log:
        while not stop_asked.is_set():
            _show(log)
            if host.is_running:
                await asyncio.sleep(FOLLOW_SECONDS)
            elif not await is_set_within(stop_asked, RESTART_SECONDS):
                _say("the app has ended; it is started again")
                await host.start()
        stopping = asyncio.create_task(host.stop())
        while not stopping.done():
            _show(log)
            await asyncio.wait([stopping], timeout=FOLLOW_SECONDS)
        _show(log)
    return stopping.result()


def _show(log: TextIO) -> None:
    """Print what was appended to the log since the last time, but for a line of which only a part is there."""
    while True:
        position = log.tell()
        line = log.readline()
        if not line.endswith("\n"):
            log.seek(position)
            return
        _say("\n".join(shown(line.rstrip("\n"))))


def _say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    """Run and return the exit code: the host's own, or 1 if something cannot be started."""
    own = PROJECT_ROOT / SETTINGS_FILE
    parser = argparse.ArgumentParser(prog="python -m local.run", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--settings",
        type=Path,
        default=own if own.exists() else SAMPLE_FILE,
        help="file with app settings (default: local.settings.json if there is one, else the sample)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=PROJECT_ROOT / DATA,
        help="folder for what stays from run to run, and for the host's log (default: .local)",
    )
    parser.add_argument("--cloud-only", action="store_true", help="start the sample's local cloud without the app")
    arguments = parser.parse_args()
    data = arguments.data.absolute()
    data.mkdir(parents=True, exist_ok=True)
    try:
        return asyncio.run(run_cloud(data) if arguments.cloud_only else run(arguments.settings, data))
    except (HostStartError, ChildFailedError, FileNotFoundError) as error:
        _say(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
