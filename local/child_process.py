"""A program that is started, waited for until it says that it is ready, and always ended again."""

import asyncio
import ctypes
import re
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

POLL_SECONDS = 0.02
OUTPUT_TAIL_CHARACTERS = 2000
PR_SET_PDEATHSIG = 1


class StartStop(ABC):
    """Something that runs from the beginning to the end of its `async with` block."""

    @abstractmethod
    async def start(self) -> None:
        """Start it and wait until it is ready."""

    @abstractmethod
    async def stop(self) -> object:
        """End it."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


class ChildFailedError(Exception):
    """The program ended, or said nothing in time, before it was ready. The text has the end of its output."""


class ChildProcess:
    """One program whose output goes to a file.

    It runs in its own session, so Ctrl-C in the terminal reaches only the parent, which then ends its
    children in the order that suits it. On Linux the child is killed when its parent dies, however it dies.
    """

    def __init__(self, name: str, command: Sequence[str], *, env: Mapping[str, str], cwd: Path, output: Path) -> None:
        self.name = name
        self.output = output
        self._command = list(command)
        self._env = dict(env)
        self._cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """Whether the program was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The program's process id. Raises RuntimeError before the start."""
        return self._started().pid

    async def start(self, ready: re.Pattern[str], timeout_seconds: float) -> re.Match[str]:
        """Start the program and return the match of `ready` in what it wrote since.

        Output is appended to the file, so one file tells the story of several starts. Call this from the main
        thread: Linux kills the child when the *thread* that started it ends.

        Raises ChildFailedError if the program ends first or takes longer than `timeout_seconds`.
        """
        if self.is_running:
            raise RuntimeError(f"{self.name} is running already")
        already_written = self._spawn()
        try:
            return await self._wait_until_ready(ready, already_written, timeout_seconds)
        except BaseException:
            await self.kill()
            raise

    async def stop(self, timeout_seconds: float) -> int:
        """Ask the program to end (SIGTERM), kill it after `timeout_seconds`, and return its exit code."""
        return await self._end(signal.SIGTERM, timeout_seconds)

    async def interrupt(self, timeout_seconds: float) -> int:
        """End the program as Ctrl-C does (SIGINT); otherwise like `stop`."""
        return await self._end(signal.SIGINT, timeout_seconds)

    async def send(self, number: signal.Signals, ready: re.Pattern[str], timeout_seconds: float) -> re.Match[str]:
        """Send the program a signal and return the match of `ready` in what the program writes from now on.

        Raises ChildFailedError as `start` does.
        """
        already_written = self.output.stat().st_size
        self._started().send_signal(number)
        return await self._wait_until_ready(ready, already_written, timeout_seconds)

    async def kill(self) -> int:
        """Kill the program (SIGKILL), wait for its end and return its exit code."""
        process = self._started()
        process.kill()
        return await asyncio.to_thread(process.wait)

    async def wait(self, timeout_seconds: float) -> int:
        """Wait until the program ends by itself and return its exit code. Raises TimeoutError."""
        try:
            return await asyncio.to_thread(self._started().wait, timeout_seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self.name} did not end within {timeout_seconds:g} s") from None

    async def _end(self, how: signal.Signals, timeout_seconds: float) -> int:
        self._started().send_signal(how)
        try:
            return await self.wait(timeout_seconds)
        except TimeoutError:
            return await self.kill()

    def _spawn(self) -> int:
        """Start the program and return the size of the output file before that."""
        self.output.parent.mkdir(parents=True, exist_ok=True)
        with self.output.open("ab") as output:
            already_written = output.tell()
            self._process = subprocess.Popen(  # noqa: S603 - the command is ours
                self._command,
                cwd=self._cwd,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            )
        return already_written

    async def _wait_until_ready(
        self, ready: re.Pattern[str], already_written: int, timeout_seconds: float
    ) -> re.Match[str]:
        process = self._started()
        deadline = time.monotonic() + timeout_seconds
        while True:
            # Asked before the output is read: what the program wrote last is then never missed.
            code = process.poll()
            text = self.output.read_bytes()[already_written:].decode(errors="replace")
            if match := ready.search(text):
                return match
            if code is not None:
                raise ChildFailedError(f"{self.name} ended with code {code}:\n{_tail(text)}")
            if time.monotonic() > deadline:
                raise ChildFailedError(f"{self.name} was not ready after {timeout_seconds:g} s:\n{_tail(text)}")
            await asyncio.sleep(POLL_SECONDS)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process


def _tail(text: str) -> str:
    return text[-OUTPUT_TAIL_CHARACTERS:].strip() or "(it wrote nothing)"


# Loaded before the fork: between fork and exec no library may be opened.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
