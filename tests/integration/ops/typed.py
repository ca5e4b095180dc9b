"""A command in a process of its own, forked from one that has everything imported already: its start takes no time."""

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import TextIO

from ops.cli import app


def start(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> ForkServerProcess:
    """Start a command in a folder; what it prints to standard error is in the file `stderr` there."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=_type, args=(list(arguments), folder, dict(environment)))
    process.start()
    return process


def _type(arguments: list[str], folder: Path, environment: dict[str, str]) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    with Path(os.devnull).open() as nothing, _lines(folder / "stdout") as out, _lines(folder / "stderr") as err:
        sys.stdin, sys.stdout, sys.stderr = nothing, out, err
        app(arguments)


def _lines(path: Path) -> TextIO:
    return path.open("w", buffering=1)
