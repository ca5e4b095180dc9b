"""The simulation as a child process."""

import os
import re
import secrets
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from local.child_process import ChildProcess, StartStop
from local.simulation.control import SimulationControl
from local.simulation.gateway import Credentials

CUSTOM_VISION_KEY_VARIABLE = "SIMULATION_CUSTOM_VISION_KEY"
FACE_KEY_VARIABLE = "SIMULATION_FACE_KEY"
EVENT_GRID_KEY_VARIABLE = "SIMULATION_EVENT_GRID_KEY"
IDENTITY_HEADER_VARIABLE = "SIMULATION_IDENTITY_HEADER"
BEARER_TOKEN_VARIABLE = "SIMULATION_BEARER_TOKEN"  # noqa: S105 - a name

START_TIMEOUT_SECONDS = 15.0
STOP_TIMEOUT_SECONDS = 5.0

_PROJECT = Path(__file__).parents[2]
_READY = re.compile(r"^(http://127\.0\.0\.1:\d+)$", re.MULTILINE)


class SimulationProcess(StartStop):
    """A simulation on loopback, on a free port unless one is given; its keys are made for this start unless given.

    async with SimulationProcess() as simulation, simulation.control() as control:
        await control.add_images(project_id, image_ids)
        print(simulation.address)
    """

    def __init__(self, credentials: Credentials | None = None, port: int = 0) -> None:
        self.credentials = credentials or Credentials(secrets.token_hex(16), secrets.token_hex(16))
        self._port = port
        self._address: str | None = None
        self._stop = AsyncExitStack()

    @property
    def address(self) -> str:
        """All services' endpoint, such as `http://127.0.0.1:8000`. Raises RuntimeError before the start."""
        if self._address is None:
            raise RuntimeError("the simulation was not started")
        return self._address

    @property
    def port(self) -> int:
        """The port of `address`."""
        return int(self.address.rpartition(":")[2])

    @property
    def identity(self) -> dict[str, str]:
        """What App Service sets for its apps: where a token is to be had, and what is to be shown for it."""
        return {
            "IDENTITY_ENDPOINT": f"{self.address}/msi/token",
            "IDENTITY_HEADER": self.credentials.identity_header,
        }

    def control(self) -> SimulationControl:
        """A client of the control API, to be closed by the caller (`async with`)."""
        return SimulationControl(self.address)

    async def start(self) -> None:
        """Start and wait until it answers.

        Raises ChildFailedError if it does not come up, for example because the port is taken.
        """
        async with AsyncExitStack() as undo:
            scratch = undo.enter_context(tempfile.TemporaryDirectory(prefix="simulation-"))
            process = self._child_process(Path(scratch))
            match = await process.start(_READY, START_TIMEOUT_SECONDS)
            undo.push_async_callback(process.stop, STOP_TIMEOUT_SECONDS)
            self._stop = undo.pop_all()
        self._address = match[1]

    async def stop(self) -> None:
        """End it; all it knew is gone."""
        await self._stop.aclose()

    def _child_process(self, scratch: Path) -> ChildProcess:
        command = [sys.executable, "-m", "local.simulation", "--port", str(self._port)]
        env = os.environ | _environment(self.credentials)
        return ChildProcess("the simulation", command, env=env, cwd=_PROJECT, output=scratch / "simulation.log")


def _environment(credentials: Credentials) -> dict[str, str]:
    environment = {
        CUSTOM_VISION_KEY_VARIABLE: credentials.custom_vision_key,
        FACE_KEY_VARIABLE: credentials.face_key,
        EVENT_GRID_KEY_VARIABLE: credentials.event_grid_key,
        IDENTITY_HEADER_VARIABLE: credentials.identity_header,
    }
    if credentials.bearer_token is not None:
        environment[BEARER_TOKEN_VARIABLE] = credentials.bearer_token
    return environment
