"""The simulation as a child process, on a free port of the loopback interface."""

import asyncio
import os
import secrets
import selectors
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from local.simulation.control import SimulationControl
from local.simulation.gateway import Credentials

CUSTOM_VISION_KEY_VARIABLE = "SIMULATION_CUSTOM_VISION_KEY"
FACE_KEY_VARIABLE = "SIMULATION_FACE_KEY"
BEARER_TOKEN_VARIABLE = "SIMULATION_BEARER_TOKEN"  # noqa: S105 - a name

START_SECONDS = 15.0
STOP_SECONDS = 10.0

_ROOT = Path(__file__).parents[2]


class SimulationDidNotStart(Exception):
    """The child process ended, or was not ready in time."""


class SimulationProcess:
    """A simulation that runs from the beginning to the end of a `with` or `async with` block.

    It ends with this process in any case, also when this one is killed. Credentials are made up unless given.

        with SimulationProcess() as simulation:
            print(simulation.address)
    """

    def __init__(self, credentials: Credentials | None = None) -> None:
        self.credentials = credentials or Credentials(secrets.token_hex(16), secrets.token_hex(16))
        self._process: subprocess.Popen[bytes] | None = None
        self._address: str | None = None

    @property
    def address(self) -> str:
        """Scheme, host and port, as in `http://127.0.0.1:8000`; both services' endpoint.

        Raises:
            RuntimeError: it was not started.
        """
        if self._address is None:
            raise RuntimeError("the simulation is not running")
        return self._address

    def control(self) -> SimulationControl:
        """A client of the control API, to be closed by the caller (`async with`)."""
        return SimulationControl(self.address)

    def start(self) -> None:
        """Start it and wait until it is ready.

        Raises:
            SimulationDidNotStart: it ended or took too long; it is stopped then.
        """
        self._process = subprocess.Popen(
            [sys.executable, "-m", "local.simulation", "--until-stdin-ends"],
            cwd=_ROOT,
            env=os.environ | _environment(self.credentials),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C in a terminal goes to the whole group; the block that runs this decides when it is over.
            start_new_session=True,
        )
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        line = _read_line(self._process.stdout, START_SECONDS)
        if line is None:
            self.stop()
            raise SimulationDidNotStart(f"the simulation was not ready within {START_SECONDS:g} s")
        self._address = line

    def stop(self) -> None:
        """End it, gracefully if it obeys in time; does nothing if it does not run."""
        process, self._process, self._address = self._process, None, None
        if process is None:
            return
        process.terminate()
        try:
            process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)


def _environment(credentials: Credentials) -> dict[str, str]:
    environment = {
        CUSTOM_VISION_KEY_VARIABLE: credentials.custom_vision_key,
        FACE_KEY_VARIABLE: credentials.face_key,
    }
    if credentials.bearer_token is not None:
        environment[BEARER_TOKEN_VARIABLE] = credentials.bearer_token
    return environment


def _read_line(pipe: IO[bytes], timeout_seconds: float) -> str | None:
    """The first line that comes out of a pipe, None if it ends or the time is up before."""
    deadline = time.monotonic() + timeout_seconds
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(deadline - time.monotonic()):
                return None
            chunk = os.read(pipe.fileno(), 1024)
            if not chunk:
                return None
            line += chunk
    return line.decode().strip()
