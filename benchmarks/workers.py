"""The same function on many arguments, in processes of their own, whose log lines go nowhere."""

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

A = TypeVar("A")
R = TypeVar("R")


def run_all(work: Callable[[A], R], arguments: Sequence[A], workers: int = min(2, os.cpu_count() or 1)) -> list[R]:
    """Return what `work` returns for each argument, in their order."""
    context, silence = get_context("spawn"), (logging.CRITICAL,)
    with ProcessPoolExecutor(workers, context, initializer=logging.disable, initargs=silence) as pool:
        return list(pool.map(work, arguments))


def run_alone(work: Callable[[A], R], arguments: Sequence[A]) -> list[R]:
    """The same one after another, each in a process of its own, so that nothing else runs beside a measurement."""
    return [result for argument in arguments for result in run_all(work, [argument], workers=1)]
