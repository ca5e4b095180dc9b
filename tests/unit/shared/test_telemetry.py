"""Telemetry: nothing where nothing is set, and else what becomes of messages, calls and their spans."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from shared import telemetry
from shared.app import new_batcher
from shared.batching.outcome_types import APPLIED, Refused, Retry
from shared.errors import InvalidMessage, MessageAbandoned, Unavailable
from shared.limits.admission import Admission
from shared.limits.local_pacing import EvenSpacing
from shared.messages.update import parse_update
from shared.messages.watch import parse_watch
from shared.metadata_updates import Delivery, MetadataUpdates
from shared.services.events import EventPublisher
from shared.telemetry import Telemetry
from tests.unit.shared.conftest import UNLIMITED, image
from tests.unit.shared.queues import FakeOutbox

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.batching.outcome_types import ImageOutcome
    from shared.messages.custom_vision_ids import ImageId
    from shared.messages.update import BatchKey

ROOT = Path(__file__).parents[3]
PROJECT = "c0ffee00-0000-4000-8000-000000000001"
OTHER_PROJECT = "c0ffee00-0000-4000-8000-000000000002"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, NOT_SAMPLED = f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00"
GOOD, GONE, LATER, AWAY = (image(number) for number in range(4))
OUTCOMES: dict[ImageId, ImageOutcome] = {GOOD: APPLIED, GONE: Refused("ErrorImageNotFound"), LATER: Retry("status X")}

SETTINGS = {
    "AzureWebJobsStorage": "AccountName=a;AccountKey=a2V5;QueueEndpoint=http://127.0.0.1:1/a",
    "METADATA_UPDATES_QUEUE": "updates",
    "TRAINING_WATCHES_QUEUE": "watches",
    "TRAINING_POLL_SCHEDULE": "*/15 * * * * *",
    "CUSTOM_VISION_ENDPOINT": "http://127.0.0.1:1",
    "CUSTOM_VISION_TRAINING_KEY": "key",
    "FACE_ENDPOINT": "http://127.0.0.1:1",
    "FACE_KEY": "key",
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
}


class Relay:
    """The handling of updates, recorded in memory."""

    def __init__(self, *hooks: SpanProcessor) -> None:
        self._exported = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        tracers = TracerProvider()
        for hook in hooks:
            tracers.add_span_processor(hook)
        tracers.add_span_processor(SimpleSpanProcessor(self._exported))
        self.recorder = Telemetry(tracers, MeterProvider([self._reader]))
        admission = Admission("API", EvenSpacing(UNLIMITED))
        self._batcher = new_batcher(
            self._send, admission, linger_seconds=0.01, max_wait_seconds=0.2, telemetry=self.recorder
        )
        self.events = FakeOutbox(journal=[], name="event")
        self.letters = FakeOutbox(journal=[], name="dead letter")
        self.updates = MetadataUpdates(
            self._batcher,
            self.letters,
            EventPublisher(self.events, None, self.recorder),
            source="https://vision.example",
            publish_updated=True,
            telemetry=self.recorder,
        )

    async def _send(self, _: BatchKey, image_ids: Sequence[ImageId]) -> Mapping[ImageId, ImageOutcome]:
        if AWAY in image_ids:
            raise Unavailable("marked-sentence")
        return {image_id: OUTCOMES[image_id] for image_id in image_ids}

    async def handle(self, *bodies: bytes, deliveries: int = 1) -> None:
        handling = (self.updates.handle(Delivery(f"m{number}", body, deliveries)) for number, body in enumerate(bodies))
        for result in await asyncio.gather(*handling, return_exceptions=True):
            assert result is None or isinstance(result, MessageAbandoned), result
        await self._batcher.aclose()

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self._exported.get_finished_spans()

    def of_kind(self, kind: SpanKind) -> list[ReadableSpan]:
        return [span for span in self.spans if span.kind is kind]

    def metric(self, name: str) -> dict[tuple[tuple[str, Any], ...], Any]:
        """The points of a metric: value, or a histogram's count and sum, by attributes."""
        data: Any = self._reader.get_metrics_data()
        [metric] = [
            metric
            for of_resource in data.resource_metrics
            for scope in of_resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
        ]
        return {
            tuple(sorted(point.attributes.items())): getattr(point, "value", None) or (point.count, point.sum)
            for point in metric.data.data_points
        }


@pytest.fixture
def relay() -> Relay:
    return Relay()


def update(*ids: ImageId, **fields: Any) -> bytes:
    return json.dumps({"projectId": PROJECT, "imageIds": ids, "metadata": {"k": "v"}, **fields}).encode()


class TestTraceparent:
    @pytest.mark.parametrize("good", [SAMPLED, NOT_SAMPLED, f"01-{TRACE}-{SPAN}-ff"])
    def test_a_good_one_is_taken(self, good: str) -> None:
        assert parse_update(update(GOOD, traceparent=good)).traceparent == good
        watch = {"kind": "personGroup", "id": "staff", "traceparent": good}
        assert parse_watch(json.dumps(watch).encode()).to_dict()["traceparent"] == good

    @pytest.mark.parametrize(
        "wrong",
        [
            SAMPLED.upper(),
            SAMPLED[:-1],
            SAMPLED + "\n",
            f"ff-{TRACE}-{SPAN}-01",
            f"00-{'0' * 32}-{SPAN}-01",
            f"00-{TRACE}-{'0' * 16}-01",
            7,
        ],
    )
    def test_another_is_told_with_its_field(self, wrong: object) -> None:
        with pytest.raises(InvalidMessage, match=r"^traceparent: must be 00-TRACE-SPAN-FLAGS"):
            parse_update(update(GOOD, traceparent=wrong))

    @pytest.mark.parametrize(
        ("extension", "field", "taken"),
        [(SAMPLED, None, SAMPLED), ("nonsense", None, None), (7, None, None), (SAMPLED, NOT_SAMPLED, NOT_SAMPLED)],
    )
    def test_an_envelopes_counts_where_the_message_has_none_and_costs_no_message(
        self, extension: object, field: str | None, taken: str | None
    ) -> None:
        data = json.loads(update(GOOD, **({} if field is None else {"traceparent": field})))
        envelope = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "traceparent": extension}
        assert parse_update(json.dumps({**envelope, "data": data}).encode()).traceparent == taken

    def test_an_invalid_message_is_still_known_by_its_own(self) -> None:
        with pytest.raises(InvalidMessage) as caught:
            parse_update(update(GOOD, traceparent=SAMPLED, typo=1))
        assert caught.value.traceparent == SAMPLED


@pytest.mark.looptime
class TestTraces:
    async def test_a_call_is_below_its_first_traced_message_and_linked_to_all(self, relay: Relay) -> None:
        other = f"00-{'a' * 32}-{SPAN}-01"
        await relay.handle(
            update(GOOD, traceparent=NOT_SAMPLED), update(GOOD, traceparent=SAMPLED), update(GONE, traceparent=other)
        )
        messages = relay.of_kind(SpanKind.CONSUMER)
        [call] = relay.of_kind(SpanKind.CLIENT)
        assert {format(span.context.trace_id, "032x") for span in messages} == {TRACE, "a" * 32}
        assert {format(span.parent.span_id, "016x") for span in messages if span.parent} == {SPAN}
        assert call.parent is not None
        assert format(call.parent.trace_id, "032x") == TRACE
        assert {link.context.span_id for link in call.links} == {span.context.span_id for span in messages}

    async def test_events_carry_the_messages_span_or_what_it_came_with(self, relay: Relay) -> None:
        await relay.handle(update(GOOD, traceparent=NOT_SAMPLED), update(GOOD), update(GOOD, traceparent=SAMPLED))
        [message] = relay.of_kind(SpanKind.CONSUMER)
        own = f"00-{TRACE}-{message.context.span_id:016x}-01"
        assert {event.get("traceparent") for event in relay.events.documents} == {NOT_SAMPLED, None, own}

    async def test_a_call_without_a_traced_message_begins_a_trace_of_its_own(self, relay: Relay) -> None:
        await relay.handle(update(GOOD))
        [call] = relay.spans
        assert (call.kind, call.parent, len(call.links)) == (SpanKind.CLIENT, None, 0)

    @pytest.mark.parametrize(
        ("body", "outcome", "error"),
        [
            (update(GOOD, traceparent=SAMPLED), "completed", None),
            (update(GONE, traceparent=SAMPLED), "dead-lettered", "refused"),
            (update(LATER, traceparent=SAMPLED), "abandoned", "MessageAbandoned"),
            (update(AWAY, traceparent=SAMPLED), "abandoned", "MaxWaitExceeded"),
            (update(GOOD, traceparent=SAMPLED, typo=1), "dead-lettered", "invalid"),
        ],
    )
    async def test_a_message_says_its_outcome(self, relay: Relay, body: bytes, outcome: str, error: str | None) -> None:
        await relay.handle(body)
        [message] = relay.of_kind(SpanKind.CONSUMER)
        attributes = message.attributes or {}
        assert (attributes["vision_relay.outcome"], attributes.get("error.type")) == (outcome, error)
        assert message.status.is_ok is (error is None)

    async def test_no_span_has_an_errors_sentence(self, relay: Relay) -> None:
        await relay.handle(update(AWAY, traceparent=SAMPLED))
        assert not [span for span in relay.spans if "marked-sentence" in span.to_json()]

    async def test_a_dead_letter_keeps_it(self, relay: Relay) -> None:
        await relay.handle(update(GONE, traceparent=SAMPLED))
        [letter] = relay.letters.documents
        assert letter["traceparent"] == SAMPLED


@pytest.mark.looptime
class TestMetrics:
    async def test_every_image_is_counted_by_its_outcome(self, relay: Relay) -> None:
        await relay.handle(update(GOOD, GONE), update(GOOD, LATER), update(AWAY, projectId=OTHER_PROJECT), b"{")
        assert relay.metric("vision_relay.images") == {
            (("vision_relay.image.outcome", "applied"),): 2,
            (("vision_relay.image.outcome", "refused"),): 1,
            (("vision_relay.image.outcome", "retry"),): 2,
        }

    async def test_images_without_an_outcome_count_as_refused_once_they_are_dead_lettered(self, relay: Relay) -> None:
        unknown = image(9)  # an unforeseen error: it has no outcome
        await relay.handle(update(unknown), deliveries=5)
        assert relay.metric("vision_relay.images") == {(("vision_relay.image.outcome", "refused"),): 1}

    async def test_a_batch_has_its_size_and_how_long_it_waited(self, relay: Relay) -> None:
        await relay.handle(update(GOOD), update(GONE))
        assert relay.metric("vision_relay.batch.size") == {(): (1, 2)}
        [(count, seconds)] = relay.metric("vision_relay.batch.wait").values()
        assert count == 1
        assert 0.01 <= seconds < 0.2

    async def test_events_are_counted(self, relay: Relay) -> None:
        await relay.handle(update(GOOD), update(GONE))
        assert list(relay.metric("messaging.client.sent.messages").values()) == [2]


class TestOff:
    def test_no_sdk_is_loaded_where_no_exporter_is_set(self) -> None:
        assert _start() == "off, the SDK is not loaded"

    def test_none_is_loaded_where_it_is_switched_off(self) -> None:
        ends = _start(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1", OTEL_SDK_DISABLED="true")
        assert ends == "off, the SDK is not loaded"


class Broken(SpanProcessor):
    """A hook of an exporter or of a worker that fails."""

    def on_start(self, *_: object, **__: object) -> None:
        raise ZeroDivisionError("in a hook")

    def on_end(self, *_: object) -> None:
        raise ZeroDivisionError("in a hook")


class BrokenAtTheEnd(Broken):
    def on_start(self, *_: object, **__: object) -> None:
        pass


@pytest.mark.looptime
class TestThatFails:
    @pytest.mark.parametrize("hook", [Broken(), BrokenAtTheEnd()], ids=lambda hook: type(hook).__name__)
    async def test_a_hook_that_raises_costs_no_message(self, hook: SpanProcessor) -> None:
        relay = Relay(hook)
        await relay.handle(*[update(GOOD, traceparent=SAMPLED), update(GOOD)], deliveries=5)
        assert relay.letters.documents == []
        assert len(relay.events.documents) == 2

    async def test_neither_does_a_metric_that_cannot_be_recorded(
        self, relay: Relay, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(*_: object) -> None:
            raise LookupError("no metrics")

        for instrument in ("processed", "images", "_calls", "_sent", "_batch_size", "_batch_wait"):
            monkeypatch.setattr(relay.recorder, instrument, SimpleNamespace(record=fail, add=fail))
        monkeypatch.setattr(telemetry, "_failed_by", set())
        await relay.handle(update(GOOD), update(GONE), deliveries=5)
        assert len(relay.events.documents) == 2
        assert [letter["failure"]["reason"] for letter in relay.letters.documents] == ["refused"]
        assert caplog.text.count("telemetry has failed") == 1

    def test_a_watch_and_a_call_go_on_too(self) -> None:
        tracers = TracerProvider()
        tracers.add_span_processor(Broken())
        recorder = Telemetry(tracers)
        assert recorder.watch("watches", "no news", SAMPLED) == SAMPLED
        with (
            recorder.shared_call(1, 0.0, []),
            recorder.api_call("GET", "host", "/path", asyncio.Timeout(None)) as responded,
        ):
            responded(200)


class TestExporters:
    def test_a_collector_is_enough(self) -> None:
        assert _start(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1") == "on, azure.monitor is not loaded"

    @pytest.mark.parametrize("authentication", ["", "Authorization=AAD", "ClientId=00000000;Authorization=AAD"])
    def test_azure_monitor_is_enough_with_a_key_or_the_identity(self, authentication: str) -> None:
        connection = f"InstrumentationKey={PROJECT};IngestionEndpoint=http://127.0.0.1:1/"
        started = _start(
            APPLICATIONINSIGHTS_CONNECTION_STRING=connection, APPLICATIONINSIGHTS_AUTHENTICATION_STRING=authentication
        )
        assert started == "on, azure.monitor is loaded"

    def test_the_workers_provider_is_used_if_it_has_set_one(self) -> None:
        assert _start("of-worker") == "on, with the worker's"

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4318"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318/v1/traces"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:marked@127.0.0.1:4318"),
            ("APPLICATIONINSIGHTS_CONNECTION_STRING", "marked"),
        ],
    )
    def test_a_wrong_setting_stops_the_start_and_is_named(self, name: str, value: str) -> None:
        ended = _start(**{name: value}, fails=True)
        assert f"{name}: " in ended
        assert "marked" not in ended


_SCRIPT = """
import os
import sys
if sys.argv[1] == "of-worker":
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    trace.set_tracer_provider(TracerProvider())
from shared.settings import Settings
from shared.errors import SettingsError
from shared.telemetry import OFF
try:
    settings = Settings.load()
except SettingsError as error:
    sys.exit(str(error))
import function_app
telemetry = function_app.relay._telemetry
if telemetry is OFF:
    print("off, the SDK is", "loaded" if "opentelemetry.sdk" in sys.modules else "not loaded")
elif sys.argv[1] == "of-worker":
    print("on, with the worker's" if telemetry.shutdown.__module__ == "shared.telemetry" else "on, with our own")
else:
    print("on, azure.monitor is", "loaded" if "azure.monitor" in sys.modules else "not loaded")
sys.stdout.flush()
os._exit(0)  # what would be sent at the end goes nowhere here
"""


def _start(how: str = "", *, fails: bool = False, **settings: str) -> str:
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    ended = subprocess.run(
        [sys.executable, "-c", _SCRIPT, how],
        cwd=ROOT,
        env={**inherited, **SETTINGS, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert bool(ended.returncode) is fails, ended.stderr
    return (ended.stderr if fails else ended.stdout).strip()
