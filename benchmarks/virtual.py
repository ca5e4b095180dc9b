"""An event loop whose time jumps to the next timer as soon as nothing is left to do.

Ten minutes of a thousand waiting callers take seconds. There is no I/O under it: whoever waits for a socket would wait
for ever, and is told so.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

T = TypeVar("T")


class _Clock(selectors.SelectSelector):
    """Stands where the loop waits for I/O, and lets time pass instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for nothing but the clock. Raises `RuntimeError` if there is nothing to wait for."""
        if timeout is None:
            raise RuntimeError("every task waits for something that will never happen")
        if timeout:
            self.now = math.nextafter(self.now + timeout, math.inf)  # rounded down, a timer would be early for ever
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Starts at time 0."""

    def __init__(self) -> None:
        self._virtual_clock = _Clock()
        super().__init__(self._virtual_clock)

    def time(self) -> float:
        """Seconds since the loop was made, none of them real."""
        return self._virtual_clock.now


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine like `asyncio.run`, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
