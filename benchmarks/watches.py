"""One tick of the timer over many watches."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from pydantic import SecretStr

from benchmarks import parts
from benchmarks.results import SIMULATED_NOISE, Figure, Outcome, Peer, at_most
from benchmarks.service import LIMIT, Limit, Transport, json_answer
from benchmarks.virtual import run_virtual
from benchmarks.workers import run_all
from shared.limits.admission import Admission
from shared.limits.circuit_breaker import CircuitBreaker
from shared.limits.rate_limit_alone import EvenSpacing
from shared.messages.watch import Api
from shared.services.authentication import KeyAuthentication
from shared.services.events import EventPublisher
from shared.services.face import FaceClient
from shared.services.http import Answer, JsonApi
from shared.services.queues import Queue, Received
from shared.training_watches import Service, TrainingWatches

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.sizes import Sizes

NAME = "watches"
TITLE = "Training watches"
WATCHES = 1000
GROUPS = 200
ABOUT = f"""\
{WATCHES:,} watches on {GROUPS} groups, all of which have just been trained, so that every watch ends with an
event. One tick collects them, polls each group once, within ten calls a second, writes each event into its watch,
publishes and deletes. The queues are lists with 5 ms a call; Face is simulated. {GROUPS} calls at ten a second take
{GROUPS / LIMIT:g} s, which is what the time of a tick is divided by. Looked at are the first tick of a process and a
later one. Beside it: one call per watch at the same rate.
"""

STORAGE_SECONDS = 0.005
TRAINED = "2026-01-31T12:00:00Z"


@dataclass(slots=True)
class MemoryQueue(Queue):
    """What the watches need of a queue, as a list."""

    name: str = "watches"
    waiting: list[Received] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)

    async def receive(self, most: int, lease_seconds: int) -> list[Received]:  # noqa: ARG002
        """Take messages."""
        taken, self.waiting = self.waiting[:most], self.waiting[most:]
        await asyncio.sleep(STORAGE_SECONDS)
        return taken

    async def send(self, text: str) -> None:
        """Put a message."""
        await asyncio.sleep(STORAGE_SECONDS)
        self.sent.append(text)

    async def rewrite(self, message: Received, text: str, lease_seconds: int) -> Received:  # noqa: ARG002
        """Write an event into a watch."""
        await asyncio.sleep(STORAGE_SECONDS)
        return message

    async def delete(self, message: Received) -> None:  # noqa: ARG002
        """Delete a message that was taken."""
        await asyncio.sleep(STORAGE_SECONDS)

    async def put_back(self, message: Received, text: str | None = None) -> None:
        """Refuse: every watch should end. Raises `RuntimeError`."""
        raise RuntimeError(f"watch {message.id} was put back: {text}")


@dataclass(frozen=True, slots=True)
class Tick:
    """What one tick took."""

    calls: int
    seconds: float


def run(sizes: Sizes, step: Callable[[], None]) -> Outcome:
    """Two ticks with every seed."""
    ticks = run_all(simulate, range(sizes.samples), step)
    first, later = zip(*ticks, strict=True)
    least = GROUPS / LIMIT
    figures = []
    for name, found in (("first tick", first), ("later tick", later)):
        calls = tuple(float(tick.calls) for tick in found)
        times = tuple(tick.seconds / least for tick in found)
        one_each = Peer("one call per watch", (float(WATCHES),))
        slow = Peer("one call per watch", (WATCHES / LIMIT / least,))
        figures.append(Figure(NAME, f"calls, {name}", "calls", calls, at_most(GROUPS), (one_each,), SIMULATED_NOISE))
        figures.append(Figure(NAME, f"time, {name}", "÷ 20 s", times, at_most(1.1), (slow,), SIMULATED_NOISE))
    return Outcome(tuple(figures))


def steps(sizes: Sizes) -> int:
    """How many pieces of work there are."""
    return sizes.samples


def simulate(seed: int) -> tuple[Tick, Tick]:
    """Two ticks of one process."""
    return run_virtual(_ticks(random.Random(seed)))  # noqa: S311 (repeatable on purpose)


async def _ticks(rng: random.Random) -> tuple[Tick, Tick]:
    transport = Transport(Limit(), _trained, rng)
    queue, events = MemoryQueue(), MemoryQueue()
    watches = _new_watches(transport, queue, events, rng)
    first = await _tick(watches, queue, events, transport)
    return first, await _tick(watches, queue, events, transport)


async def _tick(watches: TrainingWatches, queue: MemoryQueue, events: MemoryQueue, transport: Transport) -> Tick:
    queue.waiting = [_watch(number) for number in range(WATCHES)]
    events.sent.clear()
    calls_before = len(transport.calls)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await watches.tick()
    if len(events.sent) != WATCHES:
        raise RuntimeError(f"{len(events.sent)} events for {WATCHES} watches")
    return Tick(len(transport.calls) - calls_before, loop.time() - began)


def _new_watches(transport: Transport, queue: MemoryQueue, events: MemoryQueue, rng: random.Random) -> TrainingWatches:
    auth = KeyAuthentication("Ocp-Apim-Subscription-Key", SecretStr("none"))
    api = JsonApi(transport.exchange, "http://127.0.0.1", auth, "Face", parts.TIMEOUT_SECONDS)
    admission = Admission("Face", EvenSpacing(LIMIT), CircuitBreaker(uniform=rng.uniform))
    face = FaceClient(api, "v1.2", "the benchmark")
    return TrainingWatches(
        cast("Queue", queue),
        parts.NoQueue(),
        {Api.FACE: Service(face.poll, admission, LIMIT, source="http://127.0.0.1")},
        EventPublisher(events),
        lease_seconds=600,
        max_wait_seconds=parts.MAX_WAIT_SECONDS,
        most=WATCHES,
    )


def _watch(number: int) -> Received:
    watch = {"kind": "personGroup", "id": f"group-{number % GROUPS}", "correlationId": f"watch-{number}"}
    return Received(f"watch-{number}", "receipt", json.dumps(watch).encode(), 1, None)


def _trained(_url: str) -> Answer:
    times = {"createdDateTime": TRAINED, "lastActionDateTime": TRAINED, "lastSuccessfulTrainingDateTime": TRAINED}
    return json_answer(200, {"status": "succeeded", **times})
