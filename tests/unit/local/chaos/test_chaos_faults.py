"""What a chaos run demands of its faults and its hosts."""

from dataclasses import replace

import pytest

from local.chaos.faults import LEAST_FAULTS, Faults

FOUND = Faults(LEAST_FAULTS, crashes=0, tracebacks=0, over_limit=0)


def test_a_fault_that_did_not_strike_fails_the_run() -> None:
    found = replace(FOUND, faults={**LEAST_FAULTS, "hang": 0})

    assert found.missing == ("hang",)
    assert FOUND.passed
    assert not found.passed


@pytest.mark.parametrize("trouble", ["crashes", "tracebacks", "over_limit"])
def test_a_host_in_trouble_of_its_own_or_over_the_shared_limit_fails_the_run(trouble: str) -> None:
    assert not replace(FOUND, **{trouble: 1}).passed  # type: ignore[arg-type]
