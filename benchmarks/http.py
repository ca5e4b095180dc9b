"""Real HTTP to the simulation without its rate limit, beside other clients."""

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks import load, parts
from benchmarks.results import Figure, absolute, ratio
from benchmarks.sizes import Sizes
from benchmarks.workers import run_alone
from shared.metadata_updates import Delivery
from shared.services.custom_vision import MAX_IMAGES_PER_CALL
from shared.services.http import new_client

CALLS_ON_THE_WIRE = 32
WINDOW = CALLS_ON_THE_WIRE * MAX_IMAGES_PER_CALL
SINGLE_CALLS_SHARE = 32
"""One call per message is so much slower that a part of the messages is enough to tell how slow."""
API_VERSION = "v3.3"
OURS, SDK_ONE_EACH, SDK_PACKED = "Vision Relay", "one call per message, SDK", "SDK, 64 ids packed by hand"


def run(sizes: Sizes) -> list[Figure]:
    """Measure each client in turn, as often as there are samples."""
    return asyncio.run(_run(sizes))


async def _run(sizes: Sizes) -> list[Figure]:
    async with load.fast_cloud(sizes.http_messages) as cloud:
        access = cloud.settings["CUSTOM_VISION_ENDPOINT"], cloud.settings["CUSTOM_VISION_TRAINING_KEY"]
        single = sizes.http_messages // SINGLE_CALLS_SHARE
        jobs = [(name, single if name == SDK_ONE_EACH else sizes.http_messages, *access) for name in CLIENTS]
        # In turn, so that what else the machine does meanwhile falls on all of them alike.
        rounds = [run_alone(_measure, jobs) for _ in range(sizes.samples)]
    speed, cpu = (
        {name: [costs[place][what] for costs in rounds] for place, name in enumerate(CLIENTS)} for what in (0, 1)
    )
    figures = [absolute("images a second", "images/s", speed), absolute("CPU", "µs a message", cpu)]
    for client, least, most in ((SDK_ONE_EACH, 20, 1), (SDK_PACKED, 0.8, 1.1)):
        figures += [
            ratio(f"speed ÷ {client}", speed[OURS], speed[client], least=least),
            ratio(f"CPU ÷ {client}", cpu[OURS], cpu[client], most=most),
        ]
    return figures


def _measure(job: tuple[str, int, str, str]) -> tuple[float, float]:
    """Send everything. Returns images a second, and processor microseconds an image."""
    client, messages, address, key = job
    bodies = [load.body(0, number) for number in range(messages)]
    began, cpu_began = time.perf_counter(), time.process_time()
    CLIENTS[client](address, key, bodies)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    return messages / seconds, cpu_seconds / messages * 1e6


def _batched(address: str, key: str, bodies: list[bytes]) -> None:
    async def send_all() -> None:
        async with new_client() as http:
            send = parts.new_send(http, address, key)
            batcher = parts.new_batcher(send, calls_per_second=parts.UNLIMITED, linger_seconds=0.1)
            handler = parts.new_handler(batcher)
            await load.keep_full(WINDOW, (handler.handle(Delivery(str(at), body, 1)) for at, body in enumerate(bodies)))
            await batcher.aclose()

    asyncio.run(send_all())


def _sdk_one_each(address: str, key: str, bodies: list[bytes]) -> None:
    updates = map(json.loads, bodies)
    _on_threads(address, key, [(update["projectId"], update["imageIds"], update["metadata"]) for update in updates])


def _sdk_packed(address: str, key: str, bodies: list[bytes]) -> None:
    ids: dict[tuple[str, str], list[str]] = defaultdict(list)
    for update in map(json.loads, bodies):
        ids[update["projectId"], json.dumps(update["metadata"])] += update["imageIds"]
    calls = [
        (project, image_ids[at : at + MAX_IMAGES_PER_CALL], json.loads(metadata))
        for (project, metadata), image_ids in ids.items()
        for at in range(0, len(image_ids), MAX_IMAGES_PER_CALL)
    ]
    _on_threads(address, key, calls)


def _on_threads(address: str, key: str, calls: Iterable[tuple[str, list[str], dict[str, str]]]) -> None:
    from azure.cognitiveservices.vision.customvision.training import CustomVisionTrainingClient
    from msrest.authentication import ApiKeyCredentials

    client: Any = CustomVisionTrainingClient(  # type: ignore[no-untyped-call]
        address, ApiKeyCredentials(in_headers={"Training-key": key})
    )
    # The operation is the same in both versions of the API, and the simulation knows the other one.
    client.config.base_url = client.config.base_url.replace(f"v{client.api_version}", API_VERSION)
    with ThreadPoolExecutor(CALLS_ON_THE_WIRE) as pool:
        if not all(pool.map(lambda call: client.update_image_metadata(*call).is_batch_successful, calls)):
            raise RuntimeError("some images were not updated")


CLIENTS: dict[str, Callable[[str, str, list[bytes]], None]] = {
    OURS: _batched,
    SDK_ONE_EACH: _sdk_one_each,
    SDK_PACKED: _sdk_packed,
}
