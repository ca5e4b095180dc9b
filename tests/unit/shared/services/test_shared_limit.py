"""The limiter of an instance: whatever becomes of its requests for permits, it goes on asking."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.permits import PermitStore, SimulatedPermitQueue
from benchmarks.virtual import run_virtual
from shared.errors import QueueMissing
from shared.limits.admission import Admission
from shared.limits.circuit_breaker import CircuitBreaker
from shared.limits.rate_limit_shared import Permits
from shared.services.shared_limit import SharedLimit

if TYPE_CHECKING:
    from collections.abc import Callable

PERMITS = 10


def limit_of(queue: SimulatedPermitQueue) -> SharedLimit:
    return SharedLimit(Permits(PERMITS, random.Random(1)), queue)


async def call(limit: SharedLimit, calls: int) -> None:
    """Make so many calls. Where no more permits come, the virtual loop raises."""
    admission = Admission("API", limit, CircuitBreaker())
    for _ in range(calls):
        async with admission.turn():
            pass
    await admission.aclose()


def raise_once(thing: object, method: str, error: Exception) -> Callable[[], bool]:
    """Let a method raise at its next call; what is returned says whether it has."""
    real = getattr(thing, method)

    def raising(*_: Any) -> Any:
        setattr(thing, method, real)
        raise error

    setattr(thing, method, raising)
    return lambda: getattr(thing, method) == real


class TestUnforeseenErrors:
    @pytest.mark.parametrize("method", ["receive", "put_back"])
    def test_a_request_that_raises_is_logged_and_calls_go_on(
        self, method: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        queue = SimulatedPermitQueue(PermitStore(PERMITS, random.Random(1)))
        has_raised = raise_once(queue, method, RuntimeError("nobody foresaw this"))
        run_virtual(call(limit_of(queue), 20))
        assert has_raised()
        assert "nobody foresaw this" in caplog.text

    @pytest.mark.parametrize("method", ["received", "gone_back"])
    def test_so_is_a_response_that_breaks_our_own_code(self, method: str, caplog: pytest.LogCaptureFixture) -> None:
        queue = SimulatedPermitQueue(PermitStore(PERMITS, random.Random(1)))
        limit = limit_of(queue)
        has_raised = raise_once(limit._permits, method, RuntimeError("nobody foresaw this"))
        run_virtual(call(limit, 20))
        assert has_raised()
        assert "nobody foresaw this" in caplog.text

    def test_so_is_a_queue_that_cannot_be_created(self, caplog: pytest.LogCaptureFixture) -> None:
        queue = SimulatedPermitQueue(PermitStore(PERMITS, random.Random(1)))
        raise_once(queue, "receive", QueueMissing("there is no queue"))
        has_raised = raise_once(queue, "create", RuntimeError("nobody foresaw this"))
        run_virtual(call(limit_of(queue), 20))
        assert has_raised()
        assert "nobody foresaw this" in caplog.text
