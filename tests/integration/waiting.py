"""Waiting for a condition, with a bound."""

import asyncio
import time
from collections.abc import Callable

POLL_SECONDS = 0.02


async def becomes_true(condition: Callable[[], bool], within_seconds: float = 10) -> bool:
    """Ask until the condition holds or the time is over, and say whether it held."""
    deadline = time.monotonic() + within_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_SECONDS)
    return True
