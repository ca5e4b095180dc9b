"""The deployed parts, put together as `shared.app` does, with what a benchmark has to replace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import SecretStr

from shared import app
from shared.limits.admission import Admission
from shared.limits.circuit_breaker import CircuitBreaker
from shared.limits.rate_limit_alone import EvenSpacing
from shared.limits.rate_limit_shared import Permits
from shared.metadata_updates import MetadataUpdates
from shared.services.authentication import KeyAuthentication
from shared.services.custom_vision import CustomVisionClient
from shared.services.events import EventPublisher
from shared.services.http import HttpClient, JsonApi
from shared.services.queues import PermitQueue, Queue
from shared.services.shared_limit import SharedLimit
from shared.telemetry import OFF, Telemetry

if TYPE_CHECKING:
    from random import Random

    from shared.batching.batcher import Batcher, Send
    from shared.limits.admission import Limiter
    from shared.messages.update import BatchKey
    from shared.services.http import Exchange

LINGER_SECONDS = 1.0
MAX_WAIT_SECONDS = 240.0
CALLS_PER_SECOND = 10.0
UNLIMITED = 1e9
TIMEOUT_SECONDS = 30.0


class NoQueue(Queue):
    """Where dead letters and events would go. None is expected: one that comes is an error."""

    def __init__(self) -> None:
        self.name = "nowhere"

    async def send(self, text: str) -> None:
        """Refuse. Raises `RuntimeError`."""
        raise RuntimeError(f"nothing should be written here: {text}")


def shared_limit(calls_per_second: float, queue: PermitQueue, rng: Random) -> SharedLimit:
    """The deployed limiter, with a queue of permits."""
    return SharedLimit(Permits(calls_per_second, rng), queue)


@dataclass(frozen=True, slots=True)
class Timing:
    """The settings that a benchmark may change; the defaults are the app's."""

    calls_per_second: float = CALLS_PER_SECOND
    linger_seconds: float = LINGER_SECONDS
    max_wait_seconds: float = MAX_WAIT_SECONDS


def new_batcher(
    send: Send[BatchKey],
    rng: Random,
    timing: Timing | None = None,
    limiter: Limiter | None = None,
    telemetry: Telemetry = OFF,
) -> Batcher[BatchKey]:
    """A batcher as the app has one, with a seed; without a limiter, one that shares its limit with nobody."""
    timing = timing or Timing()
    limiter = limiter or EvenSpacing(timing.calls_per_second)
    admission = Admission("Custom Vision", limiter, CircuitBreaker(uniform=rng.uniform))
    return app.new_batcher(
        send,
        admission,
        linger_seconds=timing.linger_seconds,
        max_wait_seconds=timing.max_wait_seconds,
        telemetry=telemetry,
    )


def new_handler(
    batcher: Batcher[BatchKey], telemetry: Telemetry = OFF, kind: type[MetadataUpdates] = MetadataUpdates
) -> MetadataUpdates:
    """What the function behind the updates queue calls."""
    nowhere = NoQueue()
    return kind(
        batcher,
        nowhere,
        EventPublisher(nowhere),
        source="http://127.0.0.1",
        publish_updated=False,
        telemetry=telemetry,
    )


def new_api(exchange: Exchange, endpoint: str = "http://127.0.0.1", key: str = "none") -> CustomVisionClient:
    """The deployed client of Custom Vision."""
    auth = KeyAuthentication("Training-key", SecretStr(key))
    return CustomVisionClient(JsonApi(exchange, endpoint, auth, "Custom Vision", TIMEOUT_SECONDS), "the benchmark")


def real_http() -> HttpClient:
    """The app's HTTP client."""
    return HttpClient()
