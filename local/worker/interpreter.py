"""`python -m local.worker.interpreter`: print the Python that Microsoft's worker library can run on, 3.13 or newer.

Looked at are the variable WORKER_PYTHON, this interpreter, the PATH, and what pyenv and uv have installed. Each is
tried: a shim on the PATH need not lead anywhere.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VERSIONS = ("3.13", "3.14")
VARIABLE = "WORKER_PYTHON"
_TRY_SECONDS = 20.0
_ASK = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"

NOT_FOUND = (
    f"no Python {' or '.join(VERSIONS)} was found, on which Microsoft's worker library runs: install one "
    f"(`pyenv install {VERSIONS[0]}`, `uv python install {VERSIONS[0]}`, your system's packages), "
    f"or say where it is: {VARIABLE}=/path/to/python{VERSIONS[0]}"
)


def find(environment: Mapping[str, str], own: str = sys.executable) -> str | None:
    """The path of the first interpreter that runs and is of a right version, the older version first."""
    named = environment.get(VARIABLE)
    if named:
        return named if _version(named) in VERSIONS else None
    for version in VERSIONS:
        for candidate in (own, *_candidates(version, environment)):
            if _version(candidate) == version:
                return candidate
    return None


def _candidates(version: str, environment: Mapping[str, str]) -> Iterator[str]:
    on_path = shutil.which(f"python{version}", path=environment.get("PATH", ""))
    if on_path:
        yield on_path
    home = Path(environment.get("HOME", "~")).expanduser()
    pyenv = Path(environment.get("PYENV_ROOT", home / ".pyenv")) / "versions"
    data = Path(environment.get("XDG_DATA_HOME", home / ".local" / "share"))
    uv = Path(environment.get("UV_PYTHON_INSTALL_DIR", data / "uv" / "python"))
    for folder, pattern in ((pyenv, f"{version}*"), (uv, f"cpython-{version}*")):
        yield from (str(found) for found in sorted(folder.glob(f"{pattern}/bin/python{version}")))


def _version(interpreter: str) -> str | None:
    """`3.13` of one that runs and can make an environment."""
    try:
        asked = subprocess.run(  # noqa: S603 (what is asked is ours)
            [interpreter, "-c", _ASK], capture_output=True, text=True, timeout=_TRY_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return asked.stdout.strip()


if __name__ == "__main__":
    found = find(os.environ)
    if found is None:
        sys.exit(NOT_FOUND)
    print(found)
