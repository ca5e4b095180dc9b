"""The cases, in the order of the document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from benchmarks import (
    calls,
    catalogue,
    cpu,
    http,
    instances,
    limits,
    lone,
    memory,
    official_worker,
    scaling,
    start,
    telemetry,
    validation,
    watches,
    whole_path,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.results import Outcome
    from benchmarks.sizes import Sizes


class Case(Protocol):
    """What each module of a case offers."""

    NAME: str
    TITLE: str
    ABOUT: str

    def run(self, sizes: Sizes, step: Callable[[], None]) -> Outcome:
        """Measure; call `step` for each piece of work that is done."""
        ...

    def steps(self, sizes: Sizes) -> int:
        """How often `step` will be called."""
        ...


def hindrance(case: Case) -> str | None:
    """Why a case cannot be measured here: it needs a Python of its own (`NEEDS`), which make could not set up."""
    python: Path | None = getattr(case, "NEEDS", None)
    return None if python is None or python.exists() else f"{case.NAME}: left out, there is no {python.parents[1].name}"


CASES = tuple(
    cast("Case", module)
    for module in (
        calls,
        instances,
        scaling,
        limits,
        watches,
        cpu,
        telemetry,
        memory,
        lone,
        http,
        whole_path,
        catalogue,
        official_worker,
        start,
        validation,
    )
)
