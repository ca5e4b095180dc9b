"""How often an API refused calls with 429: a line a minute, and none where it refused nothing."""

from __future__ import annotations

import asyncio

import pytest

from shared.errors import RateLimited, Unavailable
from shared.limits.admission import Admission
from shared.limits.circuit_breaker import CircuitBreaker
from shared.limits.local_pacing import EvenSpacing

pytestmark = pytest.mark.looptime


async def call(seconds: int, refused_until: int, api: str = "Custom Vision") -> None:
    """Make a call a second."""
    loop = asyncio.get_running_loop()
    admission = Admission(api, EvenSpacing(1e9), CircuitBreaker())
    for second in range(seconds):
        error = RateLimited("429", retry_after_seconds=0.0) if second < refused_until else None
        admission.report(admission.admit(loop.time()), error, loop.time())
        await asyncio.sleep(1)


async def test_the_log_says_once_a_minute_how_many_and_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    await call(seconds=200, refused_until=90)
    first, second = caplog.messages
    assert first.startswith("Custom Vision: 60 of 60 calls in a minute were refused with 429")
    assert first.endswith("CUSTOM_VISION_CALLS_PER_SECOND is more than it allows: lower it")
    assert second.startswith("Custom Vision: 30 of 60 calls")


async def test_other_trouble_is_no_refusal(caplog: pytest.LogCaptureFixture) -> None:
    admission = Admission("Face", EvenSpacing(1e9), CircuitBreaker())
    admission.report(admission.admit(0.0), Unavailable("503"), 0.0)
    await asyncio.sleep(100)
    assert not any("429" in line for line in caplog.messages)


async def test_where_nothing_is_refused_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    await call(seconds=200, refused_until=0)
    assert caplog.messages == []
