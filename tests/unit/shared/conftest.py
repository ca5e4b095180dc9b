"""What the unit tests of the shared code have in common: an API that answers from memory."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from shared.batching.batcher import Batcher
from shared.batching.outcome_types import APPLIED, ImageOutcome
from shared.limits.admission import Admission
from shared.limits.local_pacing import EvenSpacing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from shared.limits.admission import Limiter
    from shared.messages.custom_vision_ids import ImageId

UNLIMITED = 1e9


@dataclass
class Call:
    """One call as the API saw it."""

    key: str
    image_ids: tuple[ImageId, ...]
    began: float
    ended: float | None = None


@dataclass
class FakeApi:
    """A `send`: takes `latency` seconds, then gives or raises what `answer` says; by default all is applied."""

    latency: float = 0.0
    answer: Callable[[Call], Mapping[ImageId, ImageOutcome]] = lambda call: dict.fromkeys(call.image_ids, APPLIED)
    calls: list[Call] = field(default_factory=list)

    async def send(self, key: str, image_ids: Sequence[ImageId]) -> Mapping[ImageId, ImageOutcome]:
        loop = asyncio.get_running_loop()
        call = Call(key, tuple(image_ids), loop.time())
        self.calls.append(call)
        try:
            await asyncio.sleep(self.latency)
            return self.answer(call)
        finally:
            call.ended = loop.time()

    @property
    def sizes(self) -> list[int]:
        return [len(call.image_ids) for call in self.calls]

    @property
    def times_sent(self) -> Counter[ImageId]:
        return Counter(image_id for call in self.calls for image_id in call.image_ids)


def new_batcher(
    api: FakeApi,
    *,
    calls_per_second: float = UNLIMITED,
    linger: float = 1.0,
    hold: float = 1e6,
    starvation: float = 30.0,
    max_in_flight: int = 48,
    scope_of: Callable[[str], str | None] = lambda _: None,
    limiter: Limiter | None = None,
) -> Batcher[str]:
    return Batcher(
        api.send,
        Admission(
            "API",
            limiter or EvenSpacing(calls_per_second),
            uniform=lambda low, high: high,
        ),
        scope_of=scope_of,
        batch_size=64,
        linger_seconds=linger,
        max_wait_seconds=hold,
        starvation_seconds=starvation,
        max_in_flight=max_in_flight,
    )


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
async def batcher(api: FakeApi) -> AsyncIterator[Batcher[str]]:
    batcher = new_batcher(api)
    yield batcher
    await batcher.aclose()


def image(number: int) -> ImageId:
    return str(UUID(int=number))


def images(count: int, first: int = 0) -> list[ImageId]:
    return [image(number) for number in range(first, first + count)]
