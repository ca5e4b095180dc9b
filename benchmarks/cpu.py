"""Processor time and memory of a message inside the app, without network, and what telemetry adds."""

import asyncio
import gc
import json
import random
import resource
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from benchmarks import load, parts
from benchmarks.results import MEASURED_NOISE, Figure, absolute, ratio
from benchmarks.sizes import Sizes
from benchmarks.workers import run_alone
from shared.batching.outcome_types import APPLIED, ImageOutcome
from shared.messages.custom_vision_ids import ImageId
from shared.messages.update import BatchKey, parse_update
from shared.metadata_updates import Delivery, MetadataUpdates
from shared.telemetry import OFF, Telemetry

Handle = Callable[[Delivery], Coroutine[Any, Any, None]]

SMALL, DEFAULT, LARGE = WINDOWS = (100, 1_024, 10_000)
OURS, LEAST = "Vision Relay", "least possible"
PARTS = 16
WITHOUT, IS_OFF, IS_ON, TRACED = "without", "off", "on", "traced"
TRACED_EVERY = {WITHOUT: 0, IS_OFF: 0, IS_ON: 10, TRACED: 1}
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
WAITING_BEFORE = 5_000


def run_cpu(sizes: Sizes) -> list[Figure]:
    """Microseconds by window, for us and for the least possible."""
    found = run_alone(_measure_cpu, [sizes.cpu_messages] * sizes.samples)
    costs = {w: {name: [cost[w][name] for cost in found] for name in (OURS, LEAST)} for w in WINDOWS}
    absolutes = [absolute(f"window {w:,}", "µs a message", cost) for w, cost in costs.items()]
    ratios = [ratio(f"window {w:,} ÷ {LEAST}", cost[OURS], cost[LEAST], most=6) for w, cost in costs.items()]
    name = f"growth from {SMALL:,} to {LARGE:,} ÷ that of the {LEAST}"
    return [*absolutes, *ratios[1:], ratio(name, ratios[2].samples, ratios[0].samples, most=1.5)]


def _measure_cpu(messages: int) -> dict[int, dict[str, float]]:
    """Measure all, in turn, in one process."""
    bodies = [load.body(0, number) for number in range(messages)]
    return {w: {OURS: asyncio.run(_ours(w, bodies)), LEAST: asyncio.run(_least(w, bodies))} for w in WINDOWS}


def run_telemetry(sizes: Sizes) -> list[Figure]:
    """Microseconds by what telemetry does."""
    found = run_alone(_measure_telemetry, [sizes.cpu_messages] * sizes.samples)
    costs = {name: [cost[name] for cost in found] for name in TRACED_EVERY}
    absolutes = [absolute(name, "µs a message", {name: samples}) for name, samples in costs.items()]
    off = ratio(f"{IS_OFF} ÷ {WITHOUT}", costs[IS_OFF], costs[WITHOUT], most=1.15)
    return [*absolutes, off, ratio(f"{IS_ON} ÷ {WITHOUT}", costs[IS_ON], costs[WITHOUT], most=2)]


def _measure_telemetry(messages: int) -> dict[str, float]:
    """Measure all, in turn, in one process; of each the part in the middle."""
    reader = InMemoryMetricReader()
    tracers = TracerProvider()
    tracers.add_span_processor(BatchSpanProcessor(_Dropped()))
    recorder = Telemetry(tracers, MeterProvider([reader]))
    part = max(DEFAULT * 2, messages // PARTS)
    bodies = {name: [_body(number, every) for number in range(part)] for name, every in TRACED_EVERY.items()}
    found: dict[str, list[float]] = {name: [] for name in TRACED_EVERY}
    order = random.Random(0)  # noqa: S311 (repeatable on purpose)
    for _ in range(PARTS):
        for name in order.sample([*TRACED_EVERY], len(TRACED_EVERY)):
            kind = _Without if name == WITHOUT else MetadataUpdates
            gc.collect()  # or each would pay for the garbage of the one before
            cost = asyncio.run(_ours(DEFAULT, bodies[name], recorder if TRACED_EVERY[name] else OFF, kind))
            found[name].append(cost)
        reader.collect()
    tracers.shutdown()
    return {name: median(costs) for name, costs in found.items()}


def _body(number: int, traced_every: int) -> bytes:
    body = load.body(0, number)
    is_traced = traced_every and not number % traced_every
    return json.dumps({**json.loads(body), "traceparent": TRACEPARENT}).encode() if is_traced else body


class _Dropped(SpanExporter):
    def export(self, _: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


class _Without(MetadataUpdates):
    """What becomes of a message that goes well, without telemetry."""

    async def handle(self, delivery: Delivery) -> None:
        update = parse_update(delivery.body, self.limits)
        if await self.batcher.submit(update.key, update.image_ids):
            raise RuntimeError("no message is refused")


async def _ours(
    window: int, bodies: Sequence[bytes], telemetry: Telemetry = OFF, kind: type[MetadataUpdates] = MetadataUpdates
) -> float:
    batcher = parts.new_batcher(_send, calls_per_second=parts.UNLIMITED, telemetry=telemetry, linger_seconds=0.01)
    cost = await _cost_of(parts.new_handler(batcher, telemetry, kind).handle, window, bodies)
    await batcher.aclose()
    return cost


async def _send(_: BatchKey, image_ids: Sequence[ImageId]) -> Mapping[ImageId, ImageOutcome]:
    return dict.fromkeys(image_ids, APPLIED)


async def _least(window: int, bodies: Sequence[bytes]) -> float:
    waiting: list[asyncio.Future[None]] = []
    loop = asyncio.get_running_loop()

    async def handle(delivery: Delivery) -> None:
        json.loads(delivery.body)
        future: asyncio.Future[None] = loop.create_future()
        waiting.append(future)
        if len(waiting) == 64:
            loop.call_soon(_set_all, waiting.copy())
            waiting.clear()
        await future

    return await _cost_of(handle, window, bodies[: len(bodies) - len(bodies) % 64])


def _set_all(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        future.set_result(None)


async def _cost_of(handle: Handle, window: int, bodies: Sequence[bytes]) -> float:
    """Processor microseconds a message, with so many in process all the time."""
    began = time.process_time()
    await load.keep_full(window, (handle(Delivery(str(at), body, 1)) for at, body in enumerate(bodies)))
    return (time.process_time() - began) / len(bodies) * 1e6


def run_memory(sizes: Sizes) -> list[Figure]:
    """KiB a message, of ours and of a bare task."""
    ours, bare = (run_alone(work, [sizes.waiting] * sizes.samples) for work in (_measure_memory, _measure_bare_memory))
    peers = {"a task with its parsed body": bare}
    return [Figure("waiting message", "KiB", ours, most=6, peers=peers, noise=MEASURED_NOISE)]


def _measure_memory(messages: int) -> float:
    async def grow() -> float:
        batcher = parts.new_batcher(_never, linger_seconds=3600.0)
        grown = await _growth(parts.new_handler(batcher).handle, messages)
        await batcher.aclose()
        return grown

    return asyncio.run(grow())


def _measure_bare_memory(messages: int) -> float:
    async def handle(delivery: Delivery) -> None:
        update = json.loads(delivery.body)
        await asyncio.get_running_loop().create_future()
        del update

    return asyncio.run(_growth(handle, messages))


async def _never(_: BatchKey, __: Sequence[ImageId]) -> Mapping[ImageId, ImageOutcome]:
    return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]


async def _growth(handle: Handle, messages: int) -> float:
    waiting: list[asyncio.Task[None]] = []

    async def let_wait(numbers: range) -> float:
        waiting.extend(asyncio.create_task(handle(load.delivery(number % 16, number))) for number in numbers)
        await asyncio.sleep(0)
        return _resident_kib()

    before = await let_wait(range(WAITING_BEFORE))
    grown = await let_wait(range(WAITING_BEFORE, WAITING_BEFORE + messages)) - before
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    return grown / messages


def _resident_kib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1024
