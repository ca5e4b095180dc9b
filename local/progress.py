"""`python -m local.progress WHAT FOLDER COMMAND...`: run a quiet command and show that it goes on.

The line says how long it has taken so far and how much FOLDER takes on the disk. What the command writes is shown only
if it fails; its exit code is this one's. Nothing but Python is needed, so that it can show how packages are installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCK_BYTES = 512
MEGABYTE = 1_000_000
TERMINAL_SECONDS = 1.0
LOG_SECONDS = 10.0


def disk_bytes(folder: Path) -> int:
    """What a folder takes on the disk; 0 if there is none. Files may come and go meanwhile."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(parent, name).lstat().st_blocks * BLOCK_BYTES
            except OSError:
                continue
    return total


def run(what: str, folder: Path, command: Sequence[str], out: TextIO) -> int:
    """Run the command and return its exit code. A terminal shows one line that changes, a file a line now and then."""
    began = time.monotonic()

    def line() -> str:
        return f"{what}: {time.monotonic() - began:.0f} s, {disk_bytes(folder) / MEGABYTE:.0f} MB"

    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT) as process:  # noqa: S603 - make's own
            while (code := _ended(process, TERMINAL_SECONDS if out.isatty() else LOG_SECONDS)) is None:
                _write(out, line(), last=False)
        _write(out, line(), last=True)
        if code != 0:
            said.seek(0)
            out.write(f"{what}: failed with code {code}\n{said.read().decode(errors='replace')}")
    return code


def _ended(process: subprocess.Popen[bytes], within_seconds: float) -> int | None:
    try:
        return process.wait(within_seconds)
    except subprocess.TimeoutExpired:
        return None


def _write(out: TextIO, line: str, *, last: bool) -> None:
    if out.isatty():
        out.write(f"\r{line}\033[K" + ("\n" if last else ""))
    else:
        out.write(f"{line}\n")
    out.flush()


def main() -> int:
    """Run what the command line says."""
    what, folder, *command = sys.argv[1:]
    return run(what, Path(folder), command, sys.stdout)


if __name__ == "__main__":
    sys.exit(main())
