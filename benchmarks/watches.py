"""One tick of the timer over many watches."""

import asyncio
import json
import random
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import httpx
from pydantic import SecretStr

from benchmarks import parts
from benchmarks.results import Figure
from benchmarks.service import LIMIT, Limit, Transport, json_answer
from benchmarks.sizes import Sizes
from benchmarks.virtual import run_virtual
from benchmarks.workers import run_all
from shared.limits.admission import Admission
from shared.limits.local_pacing import EvenSpacing
from shared.messages.watch import Api
from shared.services.authentication import key_authentication
from shared.services.events import EventPublisher
from shared.services.http import JsonApi
from shared.services.queues import Queue, Received
from shared.services.training_status import poll_face
from shared.training_watches import Service, TrainingWatches

WATCHES = 1000
GROUPS = 200
STORAGE_SECONDS = 0.005
ONE_EACH = "one call per watch"
TRAINED = "2026-01-31T12:00:00Z"

Tick = tuple[int, float]
"""Calls and seconds."""


@dataclass(slots=True)
class _MemoryQueue(Queue):
    """What the watches need of a queue, as a list."""

    name: str = "watches"
    waiting: list[Received] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)

    async def receive(self, most: int, lease_seconds: int) -> list[Received]:  # noqa: ARG002
        taken, self.waiting = self.waiting[:most], self.waiting[most:]
        await asyncio.sleep(STORAGE_SECONDS)
        return taken

    async def send(self, text: str) -> None:
        await asyncio.sleep(STORAGE_SECONDS)
        self.sent.append(text)

    async def rewrite(self, message: Received, text: str, lease_seconds: int) -> Received:  # noqa: ARG002
        await asyncio.sleep(STORAGE_SECONDS)
        return message

    async def delete(self, message: Received) -> None:  # noqa: ARG002
        await asyncio.sleep(STORAGE_SECONDS)

    async def put_back(self, message: Received, text: str | None = None, unseen_seconds: int = 0) -> None:  # noqa: ARG002
        raise RuntimeError(f"watch {message.id} was put back: {text}")


def run(sizes: Sizes) -> list[Figure]:
    """Two ticks with every seed."""
    least = GROUPS / LIMIT
    figures = []
    found = run_all(_simulate, range(sizes.samples))
    for place, name in enumerate(("first tick", "later tick")):
        calls, seconds = zip(*(ticks[place] for ticks in found), strict=True)
        times = [taken / least for taken in seconds]
        figures += [
            Figure(f"calls, {name}", "calls", calls, most=GROUPS, peers={ONE_EACH: [WATCHES]}),
            Figure(f"time, {name}", "÷ 20 s", times, most=1.1, peers={ONE_EACH: [WATCHES / LIMIT / least]}),
        ]
    return figures


def _simulate(seed: int) -> tuple[Tick, Tick]:
    return run_virtual(_two_ticks(random.Random(seed)))  # noqa: S311 (repeatable on purpose)


async def _two_ticks(rng: random.Random) -> tuple[Tick, Tick]:
    transport, queue, events = Transport(Limit(), _trained, rng), _MemoryQueue(), _MemoryQueue()
    authentication = key_authentication("Ocp-Apim-Subscription-Key", SecretStr("none"))
    api = JsonApi(transport.client, "http://127.0.0.1", authentication, "Face", "the benchmark", parts.TIMEOUT_SECONDS)
    admission = Admission("Face", EvenSpacing(LIMIT))
    watches = TrainingWatches(
        cast("Queue", queue),
        parts.NoQueue(),
        {Api.FACE: Service(partial(poll_face, api, "v1.2"), admission, LIMIT, source="http://127.0.0.1")},
        EventPublisher(events),
        source="https://vision.example",
        lease_seconds=600,
        max_wait_seconds=parts.MAX_WAIT_SECONDS,
        most=WATCHES,
    )

    async def tick() -> Tick:
        queue.waiting = [_watch(number) for number in range(WATCHES)]
        events.sent.clear()
        calls, began = len(transport.calls.passed), asyncio.get_running_loop().time()
        await watches.tick()
        if len(events.sent) != WATCHES:
            raise RuntimeError(f"{len(events.sent)} events for {WATCHES} watches")
        return len(transport.calls.passed) - calls, asyncio.get_running_loop().time() - began

    return await tick(), await tick()


def _watch(number: int) -> Received:
    watch = {"kind": "personGroup", "id": f"group-{number % GROUPS}", "correlationId": f"watch-{number}"}
    return Received(f"watch-{number}", "receipt", json.dumps(watch).encode(), 1, None)


def _trained(_url: str) -> httpx.Response:
    times = {"createdDateTime": TRAINED, "lastActionDateTime": TRAINED, "lastSuccessfulTrainingDateTime": TRAINED}
    return json_answer(200, {"status": "succeeded", **times})
