"""Results as JSON: build/bench.json, and the committed ones that a quick run is compared with."""

from __future__ import annotations

import json
from collections.abc import Mapping  # noqa: TC003 (pydantic reads it)
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from benchmarks.cases import CASES
from benchmarks.results import Outcome  # noqa: TC001 (pydantic reads it)

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Results:
    """What a run of the benchmarks found: by case, on which machine, when (ISO 8601), and how long it took."""

    sizes: str
    machine: Mapping[str, str]
    at: str
    seconds: float
    outcomes: Mapping[str, Outcome]


def merged(before: Results, again: Results) -> Results:
    """Earlier results with some cases measured again, the cases in the order of the document."""
    outcomes = {**before.outcomes, **again.outcomes}
    ordered = {case.NAME: outcomes[case.NAME] for case in CASES if case.NAME in outcomes}
    return replace(again, seconds=before.seconds + again.seconds, outcomes=ordered)


_RESULTS = TypeAdapter(Results)


def save(results: Results, file: Path) -> None:
    """Write results, with median, spread and verdict of each figure beside its samples for those who read the file."""
    document = _RESULTS.dump_python(results, mode="json")
    for name, outcome in results.outcomes.items():
        for figure, fields in zip(outcome.figures, document["outcomes"][name]["figures"], strict=True):
            fields |= {"median": figure.value, "spread": figure.spread, "met": figure.is_met}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=1) + "\n")


def load(file: Path) -> Results:
    """Read results. Raises `OSError` and `ValueError`."""
    return _RESULTS.validate_json(file.read_bytes())
