"""What is measured and traced, through OpenTelemetry's API alone.

Names are those of its semantic conventions (HTTP, messaging) where there are some, and begin with `vision_relay.`
otherwise; `docs/telemetry.md` lists them. Without an exporter the API records nothing, by the same path. Whatever a
processor or an exporter raises is logged and never reaches the message that is measured.

A trace goes from the producer's `traceparent` (W3C Trace Context) over the call that a message shares with others to
its outcome. The span of the call has one parent, the first message of the call that is traced, and links to all of
them. A message without a sampled `traceparent` has no span of its own.
"""

from __future__ import annotations

import logging
import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram, MeterProvider, NoOpMeterProvider, Observation
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NonRecordingSpan,
    NoOpTracerProvider,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    TracerProvider,
    get_current_span,
    set_span_in_context,
    use_span,
)

from shared.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

P = ParamSpec("P")
R = TypeVar("R")

SCOPE = "vision_relay"
STORAGE_QUEUE = "azure_storage_queue"
EVENT_GRID = "eventgrid"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Limits of the buckets of a call's duration, as the conventions advise ("HTTP metrics")."""
WAITING_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 240)
BATCH_SIZES = (1, 2, 4, 8, 16, 24, 32, 40, 48, 56, 63)

_SAMPLED = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]([13579bdf])(?:-.*)?")

log = logging.getLogger(__name__)


class Telemetry:
    """Records with these providers, by default nothing. `shutdown` ends them, if they are the app's own."""

    def __init__(
        self,
        tracers: TracerProvider | None = None,
        meters: MeterProvider | None = None,
        shutdown: Callable[[], object] = lambda: None,
    ) -> None:
        self.shutdown = shutdown
        self._tracer = (tracers or NoOpTracerProvider()).get_tracer(SCOPE)
        self._meter = meter = (meters or NoOpMeterProvider()).get_meter(SCOPE)

        def histogram(name: str, unit: str, about: str, limits: Sequence[float]) -> Histogram:
            return meter.create_histogram(name, unit, about, explicit_bucket_boundaries_advisory=limits)

        name = "http.client.request.duration"
        self.calls = histogram(name, "s", "Duration of HTTP client requests.", SECONDS)
        name = "messaging.process.duration"
        self.processed = histogram(name, "s", "Duration of processing operation.", WAITING_SECONDS)
        name = "vision_relay.batch.size"
        self._batch_size = histogram(name, "{image}", "Images of a call.", BATCH_SIZES)
        name = "vision_relay.batch.wait"
        self._batch_wait = histogram(name, "s", "How long the oldest image of a call waited for it.", WAITING_SECONDS)
        about = "Number of messages producer attempted to send to the broker."
        self._sent = meter.create_counter("messaging.client.sent.messages", "{message}", about)
        self._watches = meter.create_counter("vision_relay.watches", "{watch}", "Watches polled, by outcome.")
        self.images = {"applied": 0, "refused": 0, "retry": 0}
        """Counted here and read when metrics are collected, so that it costs a message nothing."""
        about = "Images of messages whose processing has ended, by outcome."
        meter.create_observable_counter("vision_relay.images", [lambda _: self._count_images()], "{image}", about)
        self._queues: dict[str, dict[str, str]] = {}

    def processing(self, queue: str) -> Processing:
        """The processing of a message of this queue begins: a context manager around it."""
        return Processing(self, self._of_queue(queue))

    @contextmanager
    def shared_call(self, images: int, waited_seconds: float, tags: Sequence[Any]) -> Iterator[None]:
        """To be entered around a call that messages share. `tags`: those of its messages that are traced.

        The span is the current one inside, so that the request describes it.
        """
        _safely(self._batch_size.record, images)
        _safely(self._batch_wait.record, waited_seconds)
        span = _safely(
            self._tracer.start_span,
            "shared call",
            _below(tags[0] if tags else None),
            SpanKind.CLIENT,
            {"vision_relay.batch.size": images, "vision_relay.batch.wait": waited_seconds},
            [Link(tag) for tag in tags],
        )
        span = span or INVALID_SPAN
        try:
            with use_span(span, record_exception=False, set_status_on_exception=False):
                yield
        except BaseException as error:
            _safely(span.set_attribute, "vision_relay.error", type(error).__qualname__)
            _safely(span.set_status, StatusCode.ERROR)
            raise
        finally:
            _safely(span.end)

    def api_call(self, method: str, host: str, template: str) -> ApiCall:
        """An HTTP request begins: a context manager around it.

        `template` is its path without what differs from one request to the next.
        """
        return ApiCall(self, method, redacted(host), template)

    def sent(self, system: str, destination: str, error: BaseException | None) -> None:
        """A message, such as an event, was sent there, or was not."""
        attributes = {
            "messaging.system": system,
            "messaging.operation.name": "send",
            "messaging.destination.name": redacted(destination),
        }
        if error is not None:
            attributes["error.type"] = type(error).__qualname__
        _safely(self._sent.add, 1, attributes)

    def watch(self, queue: str, outcome: str, traceparent: str | None) -> str | None:
        """A watch has come to this outcome. Returns the `traceparent` of what comes of it.

        The span of a watch marks its outcome; polls, which many watches share, have none.
        """
        _safely(self._watches.add, 1, {"vision_relay.watch.outcome": outcome})
        span = self.start_span(traceparent, self._of_queue(queue), None)
        if span is None:
            return traceparent
        _safely(span.set_attribute, "vision_relay.outcome", outcome)
        _safely(span.end)
        return to_traceparent(span.get_span_context())

    def observe(
        self, name: str, unit: str, description: str, read: Callable[[], float], attributes: Mapping[str, str]
    ) -> None:
        """Let this be read whenever metrics are collected, in another thread."""
        self._meter.create_observable_gauge(name, [lambda _: [Observation(read(), attributes)]], unit, description)

    def start_span(self, traceparent: str | None, attributes: Mapping[str, str], began_ns: int | None) -> Span | None:
        """Begin the span of a message that its producer has sampled; of no other."""
        producer = None if traceparent is None else _producer(traceparent)
        if producer is None:
            return None
        return _safely(
            self._tracer.start_span,
            f"process {attributes['messaging.destination.name']}",
            _below(producer),
            SpanKind.CONSUMER,
            attributes,
            start_time=began_ns,
        )

    def _of_queue(self, queue: str) -> dict[str, str]:
        if queue not in self._queues:
            self._queues[queue] = {
                "messaging.system": STORAGE_QUEUE,
                "messaging.operation.name": "process",
                "messaging.destination.name": redacted(queue),
            }
        return self._queues[queue]

    def _count_images(self) -> list[Observation]:
        return [
            Observation(number, {"vision_relay.image.outcome": outcome})
            for outcome, number in self.images.items()
            if number
        ]


class Processing:
    """The processing of one message. `tag` is what the shared call knows it by; None where it is not traced."""

    __slots__ = ("_attributes", "_began", "_images", "_reason", "_refused", "_retry", "_span", "_telemetry", "tag")

    def __init__(self, telemetry: Telemetry, attributes: Mapping[str, str]) -> None:
        self._telemetry = telemetry
        self._attributes = attributes
        self._began = time.time_ns()
        self._images = self._refused = 0
        self._retry: int | None = None
        self._span: Span | None = None
        self._reason: str | None = None
        self.tag: SpanContext | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Record how it ended: an error brings the message back."""
        failed_by = self._reason if kind is None else kind.__qualname__
        attributes = self._attributes if failed_by is None else {**self._attributes, "error.type": failed_by}
        _safely(self._telemetry.processed.record, (time.time_ns() - self._began) / 1e9, attributes)
        self._count_images()
        if self._span is not None:
            outcome = "abandoned" if kind is not None else "completed" if self._reason is None else "dead-lettered"
            _safely(self._span.set_attribute, "vision_relay.outcome", outcome)
            if failed_by is not None:
                _safely(self._span.set_attribute, "error.type", failed_by)
                _safely(self._span.set_status, StatusCode.ERROR)
            _safely(self._span.end)

    def read(self, traceparent: str | None, images: int) -> None:
        """The message has been read: whose trace it belongs to, and how many images it is about, 0 if unknown."""
        self._images = images
        if traceparent is not None and self._span is None:
            self._span = self._telemetry.start_span(traceparent, self._attributes, self._began)
            if self._span is not None and self._span.is_recording():
                self.tag = self._span.get_span_context()

    def answered(self, refused: int, retry: int) -> None:
        """The outcome of all of its images is there; so many of them were not applied."""
        self._refused, self._retry = refused, retry

    def dead_lettered(self, reason: str) -> None:
        """It becomes a dead letter."""
        self._reason = reason

    def onward(self, traceparent: str | None) -> str | None:
        """The `traceparent` of what comes of it: of its own span if it has one, else the one it came with."""
        return traceparent if self._span is None else to_traceparent(self._span.get_span_context())

    def _count_images(self) -> None:
        if self._retry is None:  # it ended before the outcome was known
            self._refused, self._retry = (self._images, 0) if self._reason is not None else (0, self._images)
        images = self._telemetry.images
        images["applied"] += self._images - self._refused - self._retry
        images["refused"] += self._refused
        images["retry"] += self._retry


class ApiCall:
    """One HTTP request: its duration, and what it adds to the span of the shared call, if it is in one."""

    __slots__ = ("_attributes", "_began", "_telemetry", "_template")

    def __init__(self, telemetry: Telemetry, method: str, host: str, template: str) -> None:
        self._telemetry = telemetry
        self._attributes: dict[str, str | int] = {"http.request.method": method, "server.address": host}
        self._template = template
        self._began = time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Record how it ended."""
        if kind is not None:
            self._attributes.setdefault("error.type", kind.__qualname__)
        _safely(self._telemetry.calls.record, time.perf_counter() - self._began, self._attributes)
        span = get_current_span()
        if span.is_recording():
            _safely(span.update_name, f"{self._attributes['http.request.method']} {self._template}")
            _safely(span.set_attributes, {**self._attributes, "url.template": self._template})
            if "error.type" in self._attributes:
                _safely(span.set_status, StatusCode.ERROR)

    def answered(self, status: int) -> None:
        """There is a response with this status."""
        self._attributes["http.response.status_code"] = status
        if status >= 400:
            self._attributes["error.type"] = str(status)

    def failed(self, error_type: str) -> None:
        """There is none."""
        self._attributes["error.type"] = error_type


OFF = Telemetry()


def _safely(record: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | None:
    """Record something. What that raises is logged, each kind of error once; then the result is None."""
    try:
        return record(*args, **kwargs)
    except Exception as error:
        if type(error) not in _FAILED_BY:
            _FAILED_BY.add(type(error))
            log.warning("telemetry has failed, which is logged only once: %r", error)
        return None


_FAILED_BY: set[type[Exception]] = set()


def _below(parent: SpanContext | None) -> Context:
    """The context of a span with this parent. Never the current one: a call's task begins in any message's."""
    return Context() if parent is None else set_span_in_context(NonRecordingSpan(parent), Context())


def _producer(traceparent: str) -> SpanContext | None:
    """Whose child a message is, if that trace is sampled. What is no valid `traceparent` is none."""
    found = _SAMPLED.fullmatch(traceparent)
    if found is None:
        return None
    context = SpanContext(int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=TraceFlags(1))
    return context if context.is_valid else None


def to_traceparent(context: SpanContext) -> str:
    """A span as its children's messages name it (W3C Trace Context, version 00)."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
