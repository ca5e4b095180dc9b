"""The deployed parts, put together as `shared.app` does, with what a benchmark has to replace."""

from functools import partial
from random import Random, uniform

import httpx
from pydantic import SecretStr

from shared import app
from shared.batching.batcher import Batcher, Send
from shared.limits.admission import Admission, Limiter
from shared.limits.distributed_rate_limit import Permits
from shared.limits.local_pacing import EvenSpacing
from shared.messages.update import BatchKey
from shared.metadata_updates import MetadataUpdates
from shared.services.authentication import key_authentication
from shared.services.custom_vision import update_image_metadata
from shared.services.events import EventPublisher
from shared.services.http import JsonApi
from shared.services.permit_queue import PermitQueue, SharedLimit
from shared.services.queues import Queue
from shared.telemetry import OFF, Telemetry

LINGER_SECONDS, MAX_WAIT_SECONDS, TIMEOUT_SECONDS = 1.0, 240.0, 30.0
CALLS_PER_SECOND, UNLIMITED = 10.0, 1e9


class NoQueue(Queue):
    """Where dead letters and events would go. None is expected: one that comes is an error."""

    def __init__(self) -> None:
        self.name = "nowhere"

    async def send(self, text: str) -> None:
        """Refuse. Raises `RuntimeError`."""
        raise RuntimeError(f"nothing should be written here: {text}")


class ListQueue(Queue):
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.name = "list"
        self.sent: list[str] = []

    async def send(self, text: str) -> None:
        """Keep it."""
        self.sent.append(text)


def shared_limit(calls_per_second: float, queue: PermitQueue, rng: Random) -> SharedLimit:
    """The deployed limiter, with a queue of permits."""
    return SharedLimit(Permits(calls_per_second, rng), queue)


def new_batcher(
    send: Send[BatchKey],
    rng: Random | None = None,
    calls_per_second: float = CALLS_PER_SECOND,
    limiter: Limiter | None = None,
    telemetry: Telemetry = OFF,
    linger_seconds: float = LINGER_SECONDS,
) -> Batcher[BatchKey]:
    """A batcher as the app has one, with a seed; without a limiter, one that shares its limit with nobody."""
    limiter = limiter or EvenSpacing(calls_per_second)
    return app.new_batcher(
        send,
        Admission("Custom Vision", limiter, uniform=rng.uniform if rng else uniform),
        linger_seconds=linger_seconds,
        max_wait_seconds=MAX_WAIT_SECONDS,
        telemetry=telemetry,
    )


def new_handler(
    batcher: Batcher[BatchKey],
    telemetry: Telemetry = OFF,
    kind: type[MetadataUpdates] = MetadataUpdates,
    written: Queue | None = None,
) -> MetadataUpdates:
    """What the function behind the updates queue calls. Dead letters and events go to `written`; None is expected."""
    written = written or NoQueue()
    return kind(
        batcher,
        written,
        EventPublisher(written),
        source="http://127.0.0.1",
        publish_updated=False,
        telemetry=telemetry,
    )


def new_send(client: httpx.AsyncClient, endpoint: str = "http://127.0.0.1", key: str = "none") -> Send[BatchKey]:
    """The deployed way to call Custom Vision."""
    authentication = key_authentication("Training-key", SecretStr(key))
    api = JsonApi(client, endpoint, authentication, "Custom Vision", "the benchmark", TIMEOUT_SECONDS)
    return partial(update_image_metadata, api)
