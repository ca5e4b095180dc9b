"""What counts as reached and as worse, and what is written into docs/benchmarks.md."""

import json
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.__main__ import CASES
from benchmarks.results import Figure
from benchmarks.searches import _fewest

DOCUMENT = Path(__file__).parents[3] / "docs" / "benchmarks.md"
REFERENCE = DOCUMENT.parent / "benchmarks" / "quick.json"


@pytest.mark.parametrize(
    ("figure", "reference", "is_worse"),
    [
        (Figure("", "", [1.02], most=2), 1.0, True),
        (Figure("", "", [1.005], most=2), 1.0, False),  # within the noise
        (Figure("", "", [0.5], most=2), 1.0, False),  # better
        (Figure("", "", [0.98], least=0.5), 1.0, True),
        (Figure("", "", [1.5], least=0.5), 1.0, False),
        (Figure("", "", [1.0, 1.5, 2.0], most=2), 1.0, False),  # within its own spread
        (Figure("", "", [1.3], most=2, noise=0.35), 1.0, False),
        (Figure("", "", [9.0], most=2, noise=None), 1.0, False),  # of this machine
        (Figure("", "", [9.0]), 1.0, False),  # neither way is better
    ],
)
def test_a_figure_is_worse_if_it_lost_more_than_the_noise(figure: Figure, reference: float, is_worse: bool) -> None:
    assert figure.is_worse(reference) is is_worse


def test_the_median_has_to_reach_the_target() -> None:
    assert Figure("", "", [1.0, 1.2, 9.0], most=1.2).row()[4:6] == ["≤ 1.2", "met"]
    assert Figure("", "", [1.0, 1.2, 9.0], least=1.3).row()[4:6] == ["≥ 1.3", "**missed**"]
    assert Figure("", "", [1.0]).row()[4:6] == ["", ""]


def test_every_case_has_a_table_in_the_document_and_only_that_is_replaced() -> None:
    document = DOCUMENT.read_text()
    for title, _ in CASES.values():
        replaced = report.with_table(document, title, report.table([Figure("a new figure", "s", [1.0])]))
        assert "| a new figure | 1 | 1 to 1 | s |" in replaced
        assert [line for line in replaced.splitlines() if not line.startswith("|")] == [
            line for line in document.splitlines() if not line.startswith("|")
        ]


def test_the_verdict_is_what_the_tables_say() -> None:
    document = DOCUMENT.read_text()
    assert report.with_verdict(document) == document
    figures = [Figure("slow", "s", [3.0], most=2), Figure("quick", "s", [1.0], most=2)]
    replaced = report.with_verdict(report.with_table(document, "Training watches", report.table(figures)))
    assert "* Training watches, slow: 3 s, target ≤ 2\n" in replaced
    assert report.with_verdict(replaced.replace("**missed**", "met")).count("* Training watches") == 0


def test_the_reference_of_the_quick_run_is_medians_of_cases_that_there_are() -> None:
    reference = json.loads(REFERENCE.read_text())
    assert {key.split(":")[0] for key in reference} <= set(CASES)
    assert all(isinstance(median, float) for median in reference.values())
    assert len(reference) < 100


@pytest.mark.parametrize(("bad", "calls"), [([], 1), ([0], 8), ([63], 8), ([0, 1], 8), ([0, 63], 15)])
def test_the_fewest_calls_of_a_search_are_those_of_lucky_halving(bad: list[int], calls: int) -> None:
    assert _fewest([place in bad for place in range(64)]) == calls
