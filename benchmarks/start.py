"""The start of a process: what importing the app takes, beside the libraries that it cannot do without."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.results import MEASURED_NOISE, Figure, Outcome, Peer, at_most

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.sizes import Sizes

NAME = "start"
TITLE = "Cold start"
PROJECT = Path(__file__).parents[1]
PYTHON = PROJECT / ".venv-deployed" / "bin" / "python"
NEEDS = PYTHON
SAMPLE_SETTINGS = PROJECT / "local.settings.sample.json"
IMPORT_SECONDS = 60.0
OURS = "Vision Relay"
LIBRARIES = "its libraries alone"
WHAT = {
    OURS: "import function_app",
    LIBRARIES: "import aiohttp, azure.functions, azure.storage.queue.aio\n"
    "from pydantic import BaseModel, Field, TypeAdapter",
}
ABOUT = """\
A fresh process imports `function_app`, as the host does at a start: settings are read and validated, all parts are put
together, nothing is connected. Beside it: one that imports `azure-functions`, `azure-storage-queue` (asyncio),
`aiohttp` and pydantic (`BaseModel`, `Field`, `TypeAdapter`) alone. The packages are those of `requirements.txt` and no
others, and all modules are compiled already. Time is processor time; memory is the most that was resident.
"""
_MEASURE = """\
import time
began = time.process_time()
{}
seconds = time.process_time() - began
import json, pathlib
peak_kib = int(pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
print(json.dumps({{"milliseconds": seconds * 1000, "mib": peak_kib / 1024}}))
"""
"""Linux tells the most that was resident since the program began; what getrusage(2) tells has the parent's in it."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one start took."""

    milliseconds: float
    mib: float


def run(sizes: Sizes, step: Callable[[], None]) -> Outcome:
    """Both in turn, as often as there are samples."""
    costs: dict[str, list[Cost]] = {name: [] for name in WHAT}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as compiled:
        environment = _environment(compiled)
        for name in WHAT:
            _start(name, environment)
        for _ in range(sizes.starts):
            for name in WHAT:
                costs[name].append(_start(name, environment))
                step()
    return Outcome(tuple(_figures(costs)))


def steps(sizes: Sizes) -> int:
    """How many pieces of work there are."""
    return sizes.starts * len(WHAT)


def _environment(compiled: str) -> dict[str, str]:
    """The sample's settings, but for the account: the app wants one by name. Modules are compiled into a folder."""
    settings = json.loads(SAMPLE_SETTINGS.read_text())["Values"]
    del settings["AzureWebJobsStorage"]
    account = {"AzureWebJobsStorage": "AccountName=none;AccountKey=bm9uZQ==;EndpointSuffix=core.windows.net"}
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**inherited, **settings, **account, "PYTHONPYCACHEPREFIX": compiled}


def _start(name: str, environment: Mapping[str, str]) -> Cost:
    command = [str(PYTHON), "-c", _MEASURE.format(WHAT[name])]
    done = subprocess.run(  # noqa: S603 (what is run is ours)
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=IMPORT_SECONDS, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{name} cannot be imported:\n{done.stderr}")
    return Cost(**json.loads(done.stdout))


def _figures(costs: Mapping[str, list[Cost]]) -> list[Figure]:
    figures = []
    for about, unit, value in (("time", "ms", _milliseconds), ("memory", "MiB", _mib)):
        ours, libraries = (tuple(map(value, costs[name])) for name in (OURS, LIBRARIES))
        ratio = tuple(mine / theirs for mine, theirs in zip(ours, libraries, strict=True))
        figures += [
            Figure(NAME, about, unit, ours, peers=(Peer(LIBRARIES, libraries),)),
            Figure(NAME, f"{about} ÷ {LIBRARIES}", "ratio", ratio, at_most(1.25), noise=MEASURED_NOISE),
        ]
    return figures


def _milliseconds(cost: Cost) -> float:
    return cost.milliseconds


def _mib(cost: Cost) -> float:
    return cost.mib
