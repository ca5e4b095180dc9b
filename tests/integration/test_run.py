"""`make run`: what it prints can be typed, and Ctrl-C stops everything."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx

from local.child_process import ChildProcess
from local.run import SAMPLE_FILE
from tests.integration.waiting import becomes_true

PROJECT = Path(__file__).parents[2]
UP = re.compile(
    r"In another terminal.*?\n(?P<commands>export .*)\n# the same with the Azure CLI.*?"
    r"^curl (?P<url>\S+)$.*host ready",
    re.DOTALL | re.MULTILINE,
)


async def test_the_printed_commands_work(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "local.run", "--settings", str(SAMPLE_FILE), "--data", str(tmp_path / "queues")]
    environment = {**os.environ, "LINGER_SECONDS": "0.1", "TRAINING_POLL_SCHEDULE": "* * * * * *"}
    run = ChildProcess("make run", command, env=environment, cwd=PROJECT, output=tmp_path / "terminal.txt")
    match = await run.start(UP, 30)
    try:
        script = match["commands"].replace(".venv/bin/python", sys.executable)
        await asyncio.to_thread(subprocess.run, ["sh", "-ec", script], check=True, cwd=PROJECT, timeout=30)
        assert await becomes_true(lambda: "summer" in httpx.get(match["url"]).text)
    finally:
        code = await run.interrupt(30)
    assert code == 0
    assert "Traceback" not in run.output.read_text()
