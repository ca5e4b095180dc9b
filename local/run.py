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
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

from azure.core.exceptions import HttpResponseError, ResourceExistsError
from azure.storage.queue.aio import QueueServiceClient

from local.azurite.server import DEFAULT_QUEUE_PORT, Azurite
from local.child_process import ChildFailedError
from local.host.errors import HostStartError
from local.host.process import HostProcess
from local.host.settings import SETTINGS_FILE, read_settings_file
from local.instructions import Places, cloud_instructions, instructions
from local.simulation.control import SimulationControl
from local.simulation.gateway import Credentials
from local.simulation.process import SimulationProcess

PROJECT_ROOT = Path(__file__).parents[1]
SAMPLE_FILE = PROJECT_ROOT / "local.settings.sample.json"

STORAGE = "AzureWebJobsStorage"
STORAGE_IS_LOCAL = "UseDevelopmentStorage=true"
ENDPOINTS = ("CUSTOM_VISION_ENDPOINT", "FACE_ENDPOINT")
KEYS = ("CUSTOM_VISION_TRAINING_KEY", "FACE_KEY")
QUEUES = ("METADATA_UPDATES_QUEUE", "TRAINING_WATCHES_QUEUE", "EVENTS_QUEUE")

SAMPLE_PROJECT = UUID("11111111-1111-4111-8111-111111111111")
SAMPLE_IMAGES = tuple(UUID(f"22222222-2222-4222-8222-{number:012d}") for number in range(1, 6))
SAMPLE_GROUP = "employees"
SAMPLE_FAILING_GROUP = "visitors"
TRAINING_SECONDS = 30.0

FOLLOW_SECONDS = 0.2


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


def places(settings: Mapping[str, str], simulation: SimulationProcess | None, *, storage_is_ours: bool) -> Places:
    """What the printed commands need. A connection string that is the user's own is not printed."""
    images_are_ours = simulation is not None and settings[ENDPOINTS[0]] == simulation.address
    groups_are_ours = simulation is not None and settings[ENDPOINTS[1]] == simulation.address
    updates, watches, events = (settings.get(name, f"<{name}>") for name in QUEUES)
    return Places(
        connection=settings[STORAGE] if storage_is_ours else "<connection string of your storage account>",
        updates=updates,
        watches=watches,
        events=events,
        project=str(SAMPLE_PROJECT) if images_are_ours else "<id of your project>",
        image=str(SAMPLE_IMAGES[0]) if images_are_ours else "<id of an image in it>",
        group=SAMPLE_GROUP if groups_are_ours else "<id of your group>",
        simulation=simulation.address if simulation is not None and images_are_ours else None,
    )


def read_settings(file: Path) -> dict[str, str]:
    """The file's values, each overridden by the environment. Raises HostStartError."""
    return {name: os.environ.get(name) or value for name, value in read_settings_file(file).items()}


async def start_storage(settings: dict[str, str], data: Path, stop: AsyncExitStack) -> None:
    """Start Azurite, make the queues and put its connection string into the settings.

    Raises HostStartError if storage takes no queue of such a name.
    """
    port = port_or_any(DEFAULT_QUEUE_PORT, "Azurite")
    azurite = await stop.enter_async_context(Azurite(port, data))
    settings[STORAGE] = azurite.connection_string
    async with QueueServiceClient.from_connection_string(azurite.connection_string) as service:
        for setting in QUEUES:
            if not settings.get(setting):
                continue
            try:
                await service.create_queue(settings[setting])
            except ResourceExistsError:
                continue
            except HttpResponseError as error:
                raise HostStartError(
                    f"{setting}: storage takes no queue of this name ({error.reason}): "
                    "it must have 3 to 56 characters, a-z, 0-9 and single hyphens between them"
                ) from None


async def start_simulation(settings: dict[str, str], endpoints: list[str], stop: AsyncExitStack) -> SimulationProcess:
    """Start the simulation with the settings' keys and a sample, and put its address into these settings.

    Raises HostStartError if there are no keys.
    """
    keys = [settings.get(name, "") for name in KEYS]
    if not all(keys):
        raise HostStartError(f"the simulation needs the settings {' and '.join(KEYS)}")
    credentials = Credentials(*keys)
    port = urlsplit(settings[endpoints[0]]).port or 0
    simulation = SimulationProcess(credentials, port_or_any(port, "the simulation"))
    await stop.enter_async_context(simulation)
    settings.update(dict.fromkeys(endpoints, simulation.address))
    async with simulation.control() as control:
        await _seed(control)
    return simulation


async def start_cloud(settings: dict[str, str], data: Path, stop: AsyncExitStack) -> SimulationProcess | None:
    """Start what the settings say is local and put its addresses into them."""
    endpoints = local_endpoints(settings, read_settings_file(SAMPLE_FILE))
    if is_storage_local(settings):
        await start_storage(settings, data, stop)
    return await start_simulation(settings, endpoints, stop) if endpoints else None


async def run(settings_file: Path, data: Path) -> int:
    """Start everything, stay up, and return the exit code. Raises HostStartError and ChildFailedError."""
    stop_asked = _stop_signal()
    settings = read_settings(settings_file)
    storage_is_ours = is_storage_local(settings)
    _say(f"settings: {settings_file.name}")
    async with AsyncExitStack() as stop:
        simulation = await start_cloud(settings, data, stop)
        log = data.parent / "host.log"
        log.unlink(missing_ok=True)
        host = await stop.enter_async_context(HostProcess(PROJECT_ROOT, settings, log))
        _say(instructions(places(settings, simulation, storage_is_ours=storage_is_ours)))
        return await _stay_up(host, stop_asked)


async def run_cloud(data: Path) -> int:
    """Start the sample's cloud without the app, stay up, and return 0. Raises ChildFailedError."""
    stop_asked = _stop_signal()
    settings = read_settings_file(SAMPLE_FILE)
    async with AsyncExitStack() as stop:
        await start_cloud(settings, data, stop)
        _say(cloud_instructions({name: settings[name] for name in (STORAGE, *ENDPOINTS)}))
        await stop_asked.wait()
    return 0


def _stop_signal() -> asyncio.Event:
    asked = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    return asked


async def _seed(control: SimulationControl) -> None:
    await control.add_images(SAMPLE_PROJECT, SAMPLE_IMAGES)
    await control.train(SAMPLE_GROUP, running_seconds=TRAINING_SECONDS)
    await control.train(SAMPLE_FAILING_GROUP, running_seconds=TRAINING_SECONDS, failure="The group has no faces.")


async def _stay_up(host: HostProcess, stop_asked: asyncio.Event) -> int:
    """Show what the host logs until it ends or is asked to."""
    shown = 0
    while host.is_running and not stop_asked.is_set():
        shown = _show(host.output, shown)
        await asyncio.sleep(FOLLOW_SECONDS)
    if host.is_running:
        _say("stopping")
    code = await host.stop()
    _show(host.output, shown)
    return code


def _show(file: Path, since: int) -> int:
    """Print what was appended to a file since this position and return the new one."""
    with file.open("rb") as log:
        log.seek(since)
        text = log.read()
    if text:
        print(text.decode(errors="replace"), end="", flush=True)
    return since + len(text)


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
        "--data", type=Path, default=PROJECT_ROOT / ".local" / "azurite", help="folder where Azurite keeps its queues"
    )
    parser.add_argument("--cloud-only", action="store_true", help="start the sample's local cloud without the app")
    arguments = parser.parse_args()
    data = arguments.data.absolute()
    try:
        return asyncio.run(run_cloud(data) if arguments.cloud_only else run(arguments.settings, data))
    except (HostStartError, ChildFailedError, FileNotFoundError) as error:
        _say(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
