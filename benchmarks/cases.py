"""The cases, in the order of the document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from benchmarks import calls, catalogue, cpu, http, instances, lone, memory, scaling, validation, watches, whole_path

if TYPE_CHECKING:
    from collections.abc import Callable

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


CASES = tuple(
    cast("Case", module)
    for module in (calls, instances, scaling, watches, cpu, memory, lone, http, whole_path, catalogue, validation)
)
