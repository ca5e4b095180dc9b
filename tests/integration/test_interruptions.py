"""Ctrl-C at `make demo` and `make run`: one line, 130, and nothing is left behind."""

import os
import re
import sys
from pathlib import Path

import pytest

from local.child_process import ChildProcess
from tests.integration.local_ports import own_data
from tests.integration.waiting import becomes_true

FOLDER = Path(__file__).parents[2]


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    of: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            child, parent = stat.parent.name, stat.read_text().rpartition(")")[2].split()[1]
        except OSError:  # it has ended meanwhile
            continue
        of.setdefault(int(parent), []).append(int(child))
    found = of.get(pid, [])
    return found + [each for child in found for each in descendants(child)]


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("what", "moment", "code"),
    [
        ("demo", "import", 130),
        ("demo", "Starting Azurite", 130),
        ("run", "import", 130),
        ("run", "starting the app", 0),
        ("run", "The app is up", 0),
    ],
)
async def test_ctrl_c_ends_it_in_one_line(what: str, moment: str, code: int, tmp_path: Path) -> None:
    data = ["--data", str(own_data(tmp_path))] if what == "run" else []
    loud = ["-X", "importtime"] if moment == "import" else []
    command = [sys.executable, *loud, "-m", "local", what, *data]
    process = ChildProcess(what, command, env=os.environ, cwd=FOLDER, output=tmp_path / "terminal.txt")
    await process.start(re.compile("encodings" if moment == "import" else moment), 60)
    if moment == "import":
        assert await becomes_true(lambda: "asyncio" in process.output.read_text())
    if moment == "Starting Azurite":  # and everything else
        assert await becomes_true(lambda: len(descendants(process.pid)) >= 3, 60)
    started = descendants(process.pid)
    assert await process.interrupt(30) == code
    shown = process.output.read_text()
    assert "Traceback" not in shown
    assert ("interrupted" in shown) is (code == 130)
    assert await becomes_true(lambda: not any(map(is_there, started)))
