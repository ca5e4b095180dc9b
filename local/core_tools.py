"""Microsoft's Functions host on the app, as `func start` of Azure Functions Core Tools runs it.

Nothing here installs Core Tools: `func` is what the PATH has. They come from npm (`npm install --global
azure-functions-core-tools@4`) or a package of the system, see
https://learn.microsoft.com/azure/azure-functions/functions-run-local.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from local.child_process import ChildFailedError, StartStop

if TYPE_CHECKING:
    from collections.abc import Mapping

START_TIMEOUT_SECONDS = 120.0
POLL_SECONDS = 0.2
DEPLOYED = ("function_app.py", "host.json", "functions", "shared")

HOW_TO_GET = "no `func` on the PATH: npm install --global azure-functions-core-tools@4"


def core_tools() -> str | None:
    """Where `func` is, if it is anywhere."""
    return shutil.which("func")


def package(project: Path, folder: Path) -> Path:
    """Copy what is deployed, and nothing else, into a folder where `func` can run it."""
    folder.mkdir(parents=True)
    for name in DEPLOYED:
        source = project / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    values = {"FUNCTIONS_WORKER_RUNTIME": "python"}
    (folder / "local.settings.json").write_text(json.dumps({"IsEncrypted": False, "Values": values}))
    return folder


class FunctionsHost(StartStop):
    """`func start` in the folder of a package, as long as its `async with` block.

    `settings` win over the environment. What the host prints is appended to the file `output`. Host and worker are a
    process group of their own, so that they can be lost together. A start that finds no functions is a start: `text`
    says why.
    """

    def __init__(self, package: Path, settings: Mapping[str, str], output: Path) -> None:
        self._package = package
        self._output = output
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._environment = {**os.environ, "VIRTUAL_ENV": sys.prefix, **settings}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def text(self) -> str:
        """What it has printed so far."""
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    async def start(self) -> None:
        """Start it and wait until it answers. Raises `ChildFailedError` if it does not, and if there is no `func`."""
        func = core_tools()
        if func is None:
            raise ChildFailedError(HOW_TO_GET)
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603, ASYNC220 - the command is ours, and it starts at once
                [func, "start", "--port", str(self._port)],
                cwd=self._package,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(START_TIMEOUT_SECONDS), httpx.AsyncClient(trust_env=False) as client:
                while not await self._answers(client):  # noqa: ASYNC110 - another process has no event
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            await self.stop()
            raise ChildFailedError(f"func start did not answer in time:\n{self.text[-2000:]}") from None

    async def _answers(self, client: httpx.AsyncClient) -> bool:
        if self._started.poll() is not None:
            raise ChildFailedError(f"func start ended with {self._started.returncode}:\n{self.text[-2000:]}")
        try:
            return (await client.get(f"http://127.0.0.1:{self._port}/")).is_success
        except httpx.HTTPError:
            return False

    async def terminate(self, timeout_seconds: float) -> int:
        """Ask it to end (SIGTERM), as a platform does; returns its exit code. Raises TimeoutError."""
        self._started.terminate()
        try:
            return await asyncio.to_thread(self._started.wait, timeout_seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"func start did not end within {timeout_seconds:g} s") from None

    async def stop(self) -> None:
        """Kill the host and its worker."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await asyncio.to_thread(self._process.wait)

    def kill_worker(self) -> None:
        """Kill the worker's process, as a lack of memory does. Raises `LookupError` if there is none."""
        for entry in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                command = (entry / "cmdline").read_bytes().split(b"\0")
                is_worker = any(part.endswith(b"worker.py") for part in command)
                if is_worker and os.getpgid(int(entry.name)) == self._started.pid:
                    os.kill(int(entry.name), signal.SIGKILL)
                    return
        raise LookupError("the host has no worker")

    @property
    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("func start was not called")
        return self._process
