"""What a collector gets from the app in its host: the metrics, and one connected trace from producer to outcome."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from local.cloud import EVENTS, UPDATES, UPDATES_POISON, WATCHES, LocalCloud, text_of
from local.host.process import HostProcess
from tests.integration.otlp import Collector, Span

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

PROJECT = Path(__file__).parents[2]
PRODUCER, OTHER, WATCHER = ((f"{digit}" * 32, f"{digit}" * 16) for digit in "abc")
CLIENT, CONSUMER = 3, 5
PATIENCE_SECONDS = 30.0

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cloud() -> AsyncIterator[LocalCloud]:
    async with LocalCloud() as cloud:
        yield cloud


def update(project_id: UUID, image_ids: Sequence[UUID], **fields: Any) -> str:
    return json.dumps(
        {"projectId": str(project_id), "imageIds": list(map(str, image_ids)), "metadata": {"k": "v"}, **fields}
    )


def traceparent(span: tuple[str, str], *, sampled: bool = True) -> str:
    return f"00-{span[0]}-{span[1]}-0{int(sampled)}"


async def all_of(cloud: LocalCloud, queue: str, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(found) < count:
            found += [json.loads(text_of(message)) for message in await cloud.drain(queue)]
            await asyncio.sleep(0.05)
    return found


def one(spans: Sequence[Span], **fields: Any) -> Span:
    [found] = [span for span in spans if all(getattr(span, name) == value for name, value in fields.items())]
    return found


async def test_a_collector_gets_the_metrics_and_a_connected_trace(cloud: LocalCloud, tmp_path: Path) -> None:
    project_id, images = uuid4(), [uuid4() for _ in range(4)]
    await cloud.control.add_images(project_id, images[:3])
    await cloud.control.train("staff", running_seconds=0)
    missing = images[3]
    with Collector() as collector:
        settings = {
            **cloud.settings,
            "LINGER_SECONDS": "1",
            "TRAINING_POLL_SCHEDULE": "* * * * * *",
            "PUBLISH_UPDATED_EVENTS": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_METRIC_EXPORT_INTERVAL": "300",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        async for _ in cloud.send(
            UPDATES,
            [
                update(project_id, images[:1], traceparent=traceparent(PRODUCER)),
                json.dumps(
                    {
                        "specversion": "1.0",
                        "id": "1",
                        "source": "/producer",
                        "type": "t",
                        "traceparent": traceparent(OTHER),
                        "data": json.loads(update(project_id, [images[1], missing])),
                    }
                ),
                update(project_id, images[2:3], traceparent=traceparent(("d" * 32, "d" * 16), sampled=False)),
            ],
        ):
            pass
        watch = {"kind": "personGroup", "id": "staff", "traceparent": traceparent(WATCHER)}
        async for _ in cloud.send(WATCHES, [json.dumps(watch)]):
            pass
        async with HostProcess(PROJECT, settings, tmp_path / "host.log"):
            events = {event["traceparent"][3:35]: event for event in await all_of(cloud, EVENTS, 4)}
            [letter] = await all_of(cloud, UPDATES_POISON, 1)
            await collector.until(lambda: len(collector.spans) >= 4)
            await collector.until(lambda: collector.value("messaging.process.duration") == 3)
            await collector.until(lambda: collector.value("vision_relay.images") == 4)
            await collector.until(lambda: collector.value("messaging.client.sent.messages") == 4)

    first = one(collector.spans, kind=CONSUMER, trace_id=PRODUCER[0])
    second = one(collector.spans, kind=CONSUMER, trace_id=OTHER[0])
    assert (first.name, first.parent_id) == (f"process {UPDATES}", PRODUCER[1])
    assert (second.name, second.parent_id) == (f"process {UPDATES}", OTHER[1])
    assert first.attributes["messaging.destination.name"] == UPDATES
    assert (first.attributes["vision_relay.outcome"], first.failed) == ("completed", False)
    assert (second.attributes["vision_relay.outcome"], second.failed) == ("dead-lettered", True)
    assert second.attributes["error.type"] == "refused"

    call = one(collector.spans, kind=CLIENT)
    assert call.name == "POST /customvision/v3.3/Training/projects/{id}/images/metadata"
    assert (call.trace_id, call.parent_id) in {(span.trace_id, span.span_id) for span in (first, second)}
    assert call.links == {(span.trace_id, span.span_id) for span in (first, second)}
    assert call.attributes["http.response.status_code"] == 207
    assert call.attributes["vision_relay.batch.size"] == 4

    watched = one(collector.spans, kind=CONSUMER, trace_id=WATCHER[0])
    assert watched.parent_id == WATCHER[1]
    for span in (first, second, watched):
        assert events[span.trace_id]["traceparent"] == f"00-{span.trace_id}-{span.span_id}-01"
    assert events["d" * 32]["traceparent"] == traceparent(("d" * 32, "d" * 16), sampled=False)
    assert letter["imageIds"] == [str(missing)]
    assert letter["traceparent"] == traceparent(OTHER)
    assert len(collector.spans) == 4
    assert all(resource["service.name"] == "vision-relay" for resource in collector.resources)

    value = collector.value
    assert value("vision_relay.images", vision_relay__image__outcome="applied") == 3
    assert value("vision_relay.images", vision_relay__image__outcome="refused") == 1
    assert value("vision_relay.batch.size") == value("vision_relay.batch.wait") == 1
    assert value("messaging.process.duration", error__type="refused", messaging__destination__name=UPDATES) == 1
    assert value("http.client.request.duration", http__request__method="POST", http__response__status_code=207) == 1
    assert value("http.client.request.duration", http__request__method="GET", http__response__status_code=200) >= 1
    assert value("vision_relay.watches", vision_relay__watch__outcome="VisionRelay.Training.Succeeded") == 1
    assert value("messaging.client.sent.messages", messaging__destination__name=EVENTS) == 4
    assert {"vision_relay.images.in_process", "vision_relay.limit.share", "vision_relay.circuit_breaker.open"} <= set(
        collector.metrics
    )
    log = (tmp_path / "host.log").read_text()
    assert "opentelemetry" not in log.lower()
    assert log.count("images applied") == 1
    assert log.count("is dead-lettered") == 1
