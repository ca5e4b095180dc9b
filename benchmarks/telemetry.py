"""What telemetry costs a message: with no exporter, with one, and with one and every message traced."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from benchmarks import load, parts
from benchmarks.results import MEASURED_NOISE, Figure, Outcome, at_most
from benchmarks.workers import run_alone
from shared.batching.outcomes import APPLIED, settle
from shared.messages.update import parse_update
from shared.metadata_updates import Delivery
from shared.telemetry import OFF, Recorder, Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from typing import Any

    from benchmarks.sizes import Sizes
    from shared.batching.outcomes import ImageOutcome
    from shared.messages.ids import ImageId
    from shared.messages.update import BatchKey

NAME = "telemetry"
TITLE = "CPU per message for telemetry"
ABOUT = """\
Processor time from the body's bytes to the message's outcome, as under "CPU per message", with a window of 1,024.
*Without* is the same parsing, batching and settling, called one after the other with nothing around them that could
measure or trace. *Off* is the deployed handler without an exporter. *On* is the deployed handler with OpenTelemetry's
SDK and a sampled `traceparent` in one message of ten, which has a span of its own and a link in its call's; *traced*
has one in every message. Spans go in batches to an exporter that drops them. All take turns in one process, in small
parts and another order each time, so that what else the machine does falls upon all of them; what counts is the ratio.
"""

WINDOW = 1_024
PARTS = 16
WITHOUT, IS_OFF, IS_ON, TRACED = "without", "off", "on", "traced"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class _Dropped(SpanExporter):
    """Takes spans and forgets them."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Say that they were sent."""
        del spans
        return SpanExportResult.SUCCESS


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds a message."""

    of: dict[str, float]

    def ratio(self, one: str, other: str) -> float:
        """How much one costs for each microsecond of the other."""
        return self.of[one] / self.of[other]


def run(sizes: Sizes, step: Callable[[], None]) -> Outcome:
    """Measure as often as there are samples."""
    costs = run_alone(measure, [sizes.cpu_messages] * sizes.real_samples, step)
    absolute = (
        Figure(NAME, name, "µs a message", tuple(cost.of[name] for cost in costs))
        for name in (WITHOUT, IS_OFF, IS_ON, TRACED)
    )
    relative = (
        Figure(
            NAME,
            f"{one} ÷ {other}",
            "ratio",
            tuple(cost.ratio(one, other) for cost in costs),
            at_most(limit),
            noise=MEASURED_NOISE,
        )
        for one, other, limit in ((IS_OFF, WITHOUT, 1.05), (IS_ON, WITHOUT, 2.0))
    )
    return Outcome((*absolute, *relative))


def steps(sizes: Sizes) -> int:
    """How many pieces of work there are."""
    return sizes.real_samples


def measure(messages: int) -> Cost:
    """Measure all, in turn, in one process; of each the fastest part, which was disturbed least."""
    reader = InMemoryMetricReader()
    tracers = TracerProvider()
    tracers.add_span_processor(BatchSpanProcessor(_Dropped()))
    recorder = Recorder(tracers, MeterProvider([reader]))
    part = max(WINDOW * 2, messages // PARTS)
    found: dict[str, list[float]] = {WITHOUT: [], IS_OFF: [], IS_ON: [], TRACED: []}
    cases: list[tuple[str, Callable[[], Coroutine[Any, Any, float]]]] = [
        (WITHOUT, lambda: _cost(OFF, part, bare=True)),
        (IS_OFF, lambda: _cost(OFF, part)),
        (IS_ON, lambda: _cost(recorder, part, traced_every=10)),
        (TRACED, lambda: _cost(recorder, part, traced_every=1)),
    ]
    order = random.Random(0)  # noqa: S311 (repeatable on purpose)
    for _ in range(PARTS):
        order.shuffle(cases)
        for name, cost in cases:
            gc.collect()  # or each would pay for the garbage of the one before
            found[name].append(asyncio.run(cost()))
        reader.collect()
    tracers.shutdown()
    return Cost({name: min(costs) for name, costs in found.items()})


async def _cost(telemetry: Telemetry, messages: int, *, bare: bool = False, traced_every: int = 0) -> float:
    rng = random.Random(0)  # noqa: S311 (repeatable on purpose)
    timing = parts.Timing(parts.UNLIMITED, linger_seconds=0.01)
    batcher = parts.new_batcher(_send, rng, timing, telemetry=telemetry)

    async def without(delivery: Delivery) -> None:
        update = parse_update(delivery.body)
        settle(await batcher.submit(update.key, update.image_ids))

    handle = without if bare else parts.new_handler(batcher, telemetry).handle
    loop = asyncio.get_running_loop()
    bodies = [_body(number, is_traced=traced_every > 0 and number % traced_every == 0) for number in range(messages)]
    deliveries = (loop.create_task(handle(Delivery("message", body, 1))) for body in bodies)
    began = time.process_time()
    await load.keep_full(WINDOW, load.starter(deliveries))
    cost = (time.process_time() - began) / messages * 1e6
    await batcher.aclose()
    return cost


def _body(number: int, *, is_traced: bool) -> bytes:
    body = load.body(0, number)
    return json.dumps({**json.loads(body), "traceparent": TRACEPARENT}).encode() if is_traced else body


async def _send(_: BatchKey, image_ids: Sequence[ImageId]) -> Mapping[ImageId, ImageOutcome]:
    return dict.fromkeys(image_ids, APPLIED)
