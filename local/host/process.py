"""The host as a child process, for the demo and the tests."""

import os
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from local.child_process import ChildProcess, StartStop
from local.host.host import READY, SETTLE_SECONDS

START_TIMEOUT_SECONDS = 30.0
STOP_TIMEOUT_SECONDS = 60.0

_PROJECT = Path(__file__).parents[2]
_READY = re.compile(rf"{READY}: .*")


class HostProcess(StartStop):
    """One host on an app.

        async with HostProcess(app_root, settings, output) as host:
            ...

    `settings` win over the environment and over the app's settings file. Everything the host and the app log is
    appended to the file `output`. After `stop`, `kill` or the app's own end it can be started again.
    """

    def __init__(self, app_root: Path, settings: Mapping[str, str], output: Path) -> None:
        command = [sys.executable, "-m", "local.host", "--app-root", str(app_root.absolute())]
        self._process = ChildProcess(
            "the functions host", command, env={**os.environ, **settings}, cwd=_PROJECT, output=output
        )

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process.is_running

    @property
    def output(self) -> Path:
        """The file that it logs to."""
        return self._process.output

    async def start(self) -> None:
        """Start and wait until it listens. Raises ChildFailedError with what it wrote if it does not start."""
        await self._process.start(_READY, START_TIMEOUT_SECONDS)

    async def stop(self) -> int:
        """Stop (SIGTERM): invocations may go on for the drain, then it is as after `kill`. Returns the exit code."""
        return await self._process.stop(STOP_TIMEOUT_SECONDS)

    async def interrupt(self) -> int:
        """Stop as Ctrl-C does (SIGINT); otherwise like `stop`."""
        return await self._process.interrupt(STOP_TIMEOUT_SECONDS)

    async def wait(self) -> int:
        """Wait until it ends by itself, as it does without storage; returns the exit code. Raises TimeoutError."""
        return await self._process.wait(STOP_TIMEOUT_SECONDS)

    async def kill(self) -> None:
        """Kill it (SIGKILL): messages in process come back when their leases end."""
        await self._process.kill()

    async def lose_worker(self) -> None:
        """Let everything that is executing fail at once, as when the Python worker ends; returns when it is replaced.

        Messages come back after their visibility timeout. Raises ChildFailedError if the app does not start again.
        """
        await self._process.send(signal.SIGUSR1, _READY, START_TIMEOUT_SECONDS + SETTLE_SECONDS)
