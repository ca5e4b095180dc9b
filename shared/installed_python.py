"""Says which Python runs, and whether the installed packages are for another one.

A remote build can install packages for another Python than the one that runs the app. Then an import fails somewhere.
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

_COMPILED = re.compile(r"(.+)\.(?:cpython-|cp)3(\d+)[a-z]*-.+\.(?:so|pyd)")
"""How CPython names a compiled module, such as `_pydantic_core.cpython-311-x86_64-linux-gnu.so`."""


def python_and_packages() -> str:
    """For the one line that a failed start leaves."""
    folders = [path for path in map(Path, sys.path) if path.name == "site-packages"]
    return describe(sys.version_info[:2], (file for folder in folders for file in folder.rglob("*.*")))


def describe(version: tuple[int, int], files: Iterable[Path]) -> str:
    """Name the Python, and the one that these files were installed for if that is another."""
    major, minor = version
    minors: dict[tuple[Path, str], set[int]] = {}
    for file in files:
        if match := _COMPILED.fullmatch(file.name):
            minors.setdefault((file.parent, match[1]), set()).add(int(match[2]))
    unusable = sorted((module, min(of)) for (_, module), of in minors.items() if minor not in of)
    if not unusable:
        return f"Python {major}.{minor}"
    module, other = unusable[0]
    return (
        f"Python {major}.{minor}, but {len(unusable)} of the installed modules are compiled for another, such as "
        f"{module} for Python {major}.{other}: install the packages for {major}.{minor}"
    )
