"""The same function on many arguments, on two cores, in processes that are set up as the app sets up its own."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

A = TypeVar("A")
R = TypeVar("R")

WORKERS = min(2, os.cpu_count() or 1)


def run_all(
    work: Callable[[A], R], arguments: Sequence[A], step: Callable[[], None], workers: int = WORKERS
) -> list[R]:
    """Return what `work` returns for each argument, in their order."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(work, argument) for argument in arguments]
        for future in as_completed(futures):
            future.result()
            step()
        return [future.result() for future in futures]


def run_alone(work: Callable[[A], R], arguments: Sequence[A], step: Callable[[], None]) -> list[R]:
    """The same one after another, each in a process of its own, so that nothing else runs beside a measurement."""
    results = []
    for argument in arguments:
        results += run_all(work, [argument], step, workers=1)
    return results
