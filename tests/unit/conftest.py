"""What all unit tests have in common: an end."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 60
"""Many times what the slowest unit test takes beside other work."""


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """Let a test fail whose loop never ends, also one in which time is virtual."""

    def fail(*_: object) -> None:
        pytest.fail(f"no end after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, SECONDS, 1)  # again each second, if something catches it
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
