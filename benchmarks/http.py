"""Real HTTP to the simulation without its rate limit, beside other clients."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks import load, parts
from benchmarks.results import MEASURED_NOISE, Figure, Outcome, Peer, at_least, at_most
from benchmarks.workers import run_alone
from local.simulation.models import Api
from local.simulation.process import SimulationProcess
from shared.messages.update import parse_update
from shared.metadata_updates import Delivery
from shared.services.custom_vision import MAX_IMAGES_PER_CALL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from benchmarks.sizes import Sizes

NAME = "http"
TITLE = "Over HTTP, beside other clients"
LATENCY_SECONDS = 0.05
CALLS_ON_THE_WIRE = 32
WINDOW = CALLS_ON_THE_WIRE * MAX_IMAGES_PER_CALL
SINGLE_CALLS_SHARE = 32
"""One call per message is so much slower that a part of the messages is enough to tell how slow."""
API_VERSION = "v3.3"

OURS = "Vision Relay"
ONE_EACH = "one call per message, our client"
SDK_ONE_EACH = "one call per message, SDK"
SDK_PACKED = "SDK, 64 ids packed by hand"

ABOUT = f"""\
The simulation on loopback, without rate limit, {LATENCY_SECONDS * 1000:g} ms latency, in a process of its own.
Every client is a fresh process that begins with the bodies of one-image messages of one key and ends when all
are updated; CPU is the processor time of that process. Each has up to {CALLS_ON_THE_WIRE} calls on the wire.

* **{OURS}**: a window of {WINDOW:,} messages, which is {CALLS_ON_THE_WIRE} full calls, through handler, batcher and
  client. With the window of 1,024 that is delivered, 16 calls would be on the wire: plenty for ten calls a second, half
  of what the others have here.
* **{ONE_EACH}**: the same client without the batcher.
* **{SDK_ONE_EACH}**: `azure-cognitiveservices-vision-customvision`, which blocks, on threads.
* **{SDK_PACKED}**: a script that has all bodies at hand, groups them by project and metadata, and makes calls of 64
  on threads. It neither validates, nor tells one message's outcome from another's, nor keeps to a rate.
"""


@dataclass(frozen=True, slots=True)
class Job:
    """Who is to send how much to where."""

    client: str
    messages: int
    address: str
    key: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What came of it."""

    images_a_second: float
    cpu_microseconds: float


def run(sizes: Sizes, step: Callable[[], None]) -> Outcome:
    """Measure each client in turn, as often as there are samples."""
    return asyncio.run(_run(sizes, step))


def steps(sizes: Sizes) -> int:
    """How many pieces of work there are."""
    return sizes.real_samples * len(CLIENTS)


async def _run(sizes: Sizes, step: Callable[[], None]) -> Outcome:
    batched, single = sizes.http_messages, sizes.http_messages // SINGLE_CALLS_SHARE
    messages = {OURS: batched, ONE_EACH: single, SDK_ONE_EACH: single, SDK_PACKED: batched}
    async with SimulationProcess() as simulation, simulation.control() as control:
        await control.set_rate(Api.CUSTOM_VISION, None)
        await control.set_latency(Api.CUSTOM_VISION, LATENCY_SECONDS)
        await load.add_images(control, batched)
        key = simulation.credentials.custom_vision_key
        jobs = [Job(client, messages[client], simulation.address, key) for client in CLIENTS]
        # In turn, so that what else the machine does meanwhile falls on all of them alike.
        rounds = [run_alone(measure, jobs, step) for _ in range(sizes.real_samples)]
    costs = {client: [results[place] for results in rounds] for place, client in enumerate(CLIENTS)}
    return Outcome(tuple(_figures(costs)))


def measure(job: Job) -> Cost:
    """Send everything."""
    bodies = [load.body(0, number) for number in range(job.messages)]
    client = CLIENTS[job.client]
    began, cpu_began = time.perf_counter(), time.process_time()
    client(job, bodies)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    return Cost(job.messages / seconds, cpu_seconds / job.messages * 1e6)


def _relay(job: Job, bodies: list[bytes]) -> None:
    asyncio.run(_send_batched(job, bodies))


async def _send_batched(job: Job, bodies: list[bytes]) -> None:
    async with parts.real_http() as http:
        rng = random.Random(0)  # noqa: S311 (repeatable on purpose)
        send = parts.new_api(http.exchange, job.address, job.key).update_image_metadata
        batcher = parts.new_batcher(send, rng, parts.Timing(parts.UNLIMITED, linger_seconds=0.1))
        handler = parts.new_handler(batcher)
        loop = asyncio.get_running_loop()
        messages = (loop.create_task(handler.handle(Delivery("message", body, 1))) for body in bodies)
        await load.keep_full(WINDOW, load.starter(messages))
        await batcher.aclose()


def _one_each(job: Job, bodies: list[bytes]) -> None:
    asyncio.run(_send_each(job, bodies))


async def _send_each(job: Job, bodies: list[bytes]) -> None:
    async with parts.real_http() as http:
        api = parts.new_api(http.exchange, job.address, job.key)
        loop = asyncio.get_running_loop()

        async def send(body: bytes) -> None:
            update = parse_update(body)
            await api.update_image_metadata(update.key, update.image_ids)

        calls = (loop.create_task(send(body)) for body in bodies)
        await load.keep_full(CALLS_ON_THE_WIRE, load.starter(calls))


def _sdk_one_each(job: Job, bodies: list[bytes]) -> None:
    client = _sdk(job)

    def send(body: bytes) -> None:
        update = json.loads(body)
        client.update_image_metadata(update["projectId"], update["imageIds"], update["metadata"])

    _on_threads(send, bodies)


def _sdk_packed(job: Job, bodies: list[bytes]) -> None:
    client = _sdk(job)
    ids: dict[tuple[str, str], list[str]] = defaultdict(list)
    for body in bodies:
        update = json.loads(body)
        ids[update["projectId"], json.dumps(update["metadata"])] += update["imageIds"]

    def send(call: tuple[str, list[str], str]) -> None:
        project, image_ids, metadata = call
        summary = client.update_image_metadata(project, image_ids, json.loads(metadata))
        if not summary.is_batch_successful:
            raise RuntimeError("some images were not updated")

    _on_threads(
        send,
        [
            (project, image_ids[at : at + MAX_IMAGES_PER_CALL], metadata)
            for (project, metadata), image_ids in ids.items()
            for at in range(0, len(image_ids), MAX_IMAGES_PER_CALL)
        ],
    )


def _sdk(job: Job) -> Any:
    from azure.cognitiveservices.vision.customvision.training import CustomVisionTrainingClient
    from msrest.authentication import ApiKeyCredentials

    client: Any = CustomVisionTrainingClient(  # type: ignore[no-untyped-call]
        job.address, ApiKeyCredentials(in_headers={"Training-key": job.key})
    )
    # The operation is the same in both versions of the API, and the simulation knows the other one.
    client.config.base_url = client.config.base_url.replace(f"v{client.api_version}", API_VERSION)
    return client


def _on_threads(send: Callable[[Any], None], work: Iterable[Any]) -> None:
    with ThreadPoolExecutor(CALLS_ON_THE_WIRE) as pool:
        for _ in pool.map(send, work):
            pass


CLIENTS: dict[str, Callable[[Job, list[bytes]], None]] = {
    OURS: _relay,
    ONE_EACH: _one_each,
    SDK_ONE_EACH: _sdk_one_each,
    SDK_PACKED: _sdk_packed,
}


def _figures(costs: dict[str, list[Cost]]) -> Iterable[Figure]:
    ours = costs[OURS]
    others = [client for client in CLIENTS if client != OURS]

    def samples(of: list[Cost], value: Callable[[Cost], float]) -> tuple[float, ...]:
        return tuple(map(value, of))

    for name, unit, value in (
        ("images a second", "images/s", lambda cost: cost.images_a_second),
        ("CPU", "µs a message", lambda cost: cost.cpu_microseconds),
    ):
        peers = tuple(Peer(client, samples(costs[client], value)) for client in others)
        yield Figure(NAME, name, unit, samples(ours, value), peers=peers)
    for client in others:
        theirs = costs[client]
        speed = tuple(our.images_a_second / their.images_a_second for our, their in zip(ours, theirs, strict=True))
        cpu = tuple(our.cpu_microseconds / their.cpu_microseconds for our, their in zip(ours, theirs, strict=True))
        least = 1 if client == SDK_PACKED else 20
        yield Figure(NAME, f"speed ÷ {client}", "ratio", speed, at_least(least), noise=MEASURED_NOISE)
        yield Figure(NAME, f"CPU ÷ {client}", "ratio", cpu, at_most(1), noise=MEASURED_NOISE)
