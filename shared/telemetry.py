"""What is measured and traced, through OpenTelemetry's API alone.

Names are those of its semantic conventions where there are some; `docs/telemetry.md` lists them. Without an exporter
the API records nothing. What a processor or an exporter raises is logged and never reaches the message.

A message has a span if its producer has sampled its `traceparent` (W3C Trace Context). The span of the call that
messages share is a child of the first message's span, and links to the span of each message.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import ParamSpec, Self, TypeVar

from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

P = ParamSpec("P")
R = TypeVar("R")

SCOPE = "vision_relay"
STORAGE_QUEUE = "azure_storage_queue"
EVENT_GRID = "eventgrid"
CALL_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Limits of the buckets of a call's duration, as the conventions advise ("HTTP metrics")."""
WAIT_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 240)
BATCH_SIZES = (1, 2, 4, 8, 16, 24, 32, 40, 48, 56, 63)

log = logging.getLogger(__name__)

_PROPAGATOR = TraceContextTextMapPropagator()
_failed_by: set[type[Exception]] = set()


def _guarded(record: Callable[P, R]) -> Callable[P, R | None]:
    """Let nothing that recording raises go further: it is logged, each kind of error once, and the result is None."""

    @wraps(record)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return record(*args, **kwargs)
        except Exception as error:
            if type(error) not in _failed_by:
                _failed_by.add(type(error))
                log.warning("telemetry has failed, which is logged only once: %r", error)
            return None

    return guarded


class Telemetry:
    """Records with these providers, by default nothing. `shutdown` ends them, if they are the app's own."""

    def __init__(
        self,
        tracers: trace.TracerProvider | None = None,
        meters: metrics.MeterProvider | None = None,
        shutdown: Callable[[], object] = lambda: None,
    ) -> None:
        self.shutdown = shutdown
        self._tracer = (tracers or trace.NoOpTracerProvider()).get_tracer(SCOPE)
        self._meter = meter = (meters or metrics.NoOpMeterProvider()).get_meter(SCOPE)

        def histogram(name: str, unit: str, about: str, limits: Sequence[float]) -> metrics.Histogram:
            return meter.create_histogram(name, unit, about, explicit_bucket_boundaries_advisory=limits)

        self._calls = histogram("http.client.request.duration", "s", "Duration of HTTP client requests.", CALL_SECONDS)
        self.processed = histogram("messaging.process.duration", "s", "Duration of processing operation.", WAIT_SECONDS)
        self._batch_size = histogram("vision_relay.batch.size", "{image}", "Images of a call.", BATCH_SIZES)
        self._batch_wait = histogram("vision_relay.batch.wait", "s", "Wait of a call's oldest image.", WAIT_SECONDS)
        self.images = meter.create_counter("vision_relay.images", "{image}", "Images of ended updates, by outcome.")
        self._sent = meter.create_counter("messaging.client.sent.messages", "{message}", "Events sent.")
        self._watches = meter.create_counter("vision_relay.watches", "{watch}", "Watches polled, by outcome.")

    @contextmanager
    def shared_call(self, images: int, waited_seconds: float, tags: Sequence[trace.Span]) -> Iterator[None]:
        """To be entered around a call that messages share. `tags` are the spans of its messages.

        Its own span is the current one inside. Its parent is never the current one: its task begins in any message's.
        """
        span = self._start_call(images, waited_seconds, tags) or trace.INVALID_SPAN
        attributes: dict[str, str] = {}
        try:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                yield
        except BaseException as error:
            attributes["vision_relay.error"] = type(error).__qualname__
            raise
        finally:
            _end(span, attributes, failed=bool(attributes))

    @_guarded
    def _start_call(self, images: int, waited_seconds: float, tags: Sequence[trace.Span]) -> trace.Span:
        self._batch_size.record(images)
        self._batch_wait.record(waited_seconds)
        return self._tracer.start_span(
            "shared call",
            trace.set_span_in_context(tags[0], Context()) if tags else Context(),
            trace.SpanKind.CLIENT,
            {"vision_relay.batch.size": images, "vision_relay.batch.wait": waited_seconds},
            [trace.Link(span.get_span_context()) for span in tags],
        )

    @contextmanager
    def api_call(
        self, method: str, host: str, template: str, deadline: asyncio.Timeout
    ) -> Iterator[Callable[[int], None]]:
        """To be entered around an HTTP request, whose path has this template. Yields what takes its status."""
        attributes: dict[str, str | int] = {"http.request.method": method, "server.address": host}
        began = time.perf_counter()

        def responded(status: int) -> None:
            attributes["http.response.status_code"] = status
            if status >= 400:
                attributes["error.type"] = str(status)

        try:
            yield responded
        except BaseException as error:
            attributes["error.type"] = "timeout" if deadline.expired() else type(error).__qualname__
            raise
        finally:
            self._record_request(time.perf_counter() - began, attributes, template)

    @_guarded
    def _record_request(self, seconds: float, attributes: dict[str, str | int], template: str) -> None:
        self._calls.record(seconds, attributes)
        span = trace.get_current_span()
        span.update_name(f"{attributes['http.request.method']} {template}")
        span.set_attributes({**attributes, "url.template": template})
        if "error.type" in attributes:
            span.set_status(trace.StatusCode.ERROR)

    @_guarded
    def sent(self, system: str, destination: str, error: BaseException | None) -> None:
        """A message, such as an event, was sent there, or was not."""
        attributes = _messaging(system, "send", destination)
        if error is not None:
            attributes["error.type"] = type(error).__qualname__
        self._sent.add(1, attributes)

    def watch(self, queue: str, outcome: str, traceparent: str | None) -> str | None:
        """A watch has come to this outcome. Returns the `traceparent` of what comes of it. Polls have no spans."""
        self._count_watch(outcome)
        span = None if traceparent is None else self.start_span(queue, traceparent)
        if span is None:
            return traceparent
        _end(span, {"vision_relay.outcome": outcome}, failed=False)
        return _traceparent_of(span)

    @_guarded
    def _count_watch(self, outcome: str) -> None:
        self._watches.add(1, {"vision_relay.watch.outcome": outcome})

    @_guarded
    def start_span(self, queue: str, traceparent: str, began_ns: int | None = None) -> trace.Span | None:
        """Begin the span of a message of this queue that its producer has sampled; of no other."""
        producer = _PROPAGATOR.extract({"traceparent": traceparent}, Context())
        if not trace.get_current_span(producer).get_span_context().trace_flags.sampled:
            return None
        attributes = _messaging(STORAGE_QUEUE, "process", queue)
        kind = trace.SpanKind.CONSUMER
        span = self._tracer.start_span(f"process {queue}", producer, kind, attributes, start_time=began_ns)
        return span if span.is_recording() else None

    def observe(self, name: str, unit: str, about: str, read: Callable[[], float], api: str | None = None) -> None:
        """Let this be read whenever metrics are collected, in another thread: so it costs no message anything."""
        attributes = {"vision_relay.api": api} if api else {}
        self._meter.create_observable_gauge(name, [lambda _: [metrics.Observation(read(), attributes)]], unit, about)


@dataclass(slots=True)
class Processing:
    """The processing of one message: what its handler says of it, recorded when it is left."""

    telemetry: Telemetry
    queue: str
    began_ns: int = field(default_factory=time.time_ns)
    span: trace.Span | None = None
    reason: str | None = None  # of its dead letter
    applied: int = 0
    refused: int = 0
    retry: int = 0  # also without an outcome

    def __enter__(self) -> Self:
        return self

    @_guarded
    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        failed_by = self.reason if error is None else type(error).__qualname__
        attributes = _messaging(STORAGE_QUEUE, "process", self.queue)
        if failed_by is not None:
            attributes["error.type"] = failed_by
        self.telemetry.processed.record((time.time_ns() - self.began_ns) / 1e9, attributes)
        images = {"applied": self.applied, "refused": self.refused, "retry": self.retry}
        for outcome, number in images.items():
            if number:
                self.telemetry.images.add(number, {"vision_relay.image.outcome": outcome})
        if self.span is not None:
            outcome = "abandoned" if error is not None else "dead-lettered" if self.reason else "completed"
            _end(self.span, {**attributes, "vision_relay.outcome": outcome}, failed=failed_by is not None)

    def read(self, traceparent: str | None, images: int) -> None:
        """The message has been read: whose trace it belongs to, and how many images it is about, 0 if unknown."""
        self.retry = images
        if traceparent is not None:
            self.span = self.telemetry.start_span(self.queue, traceparent, self.began_ns)

    def outcomes(self, refused: int, retry: int) -> None:
        """The outcome of all of its images is there; so many of them were not applied."""
        self.applied = self.retry - refused - retry
        self.refused, self.retry = refused, retry

    def dead_lettered(self, reason: str) -> None:
        """It becomes a dead letter, with all of its images that are not applied."""
        self.reason = reason
        self.refused, self.retry = self.refused + self.retry, 0

    def onward(self, traceparent: str | None) -> str | None:
        """The `traceparent` of what comes of it: of its own span if it has one, else the one it came with."""
        return traceparent if self.span is None else _traceparent_of(self.span)


OFF = Telemetry()


def _messaging(system: str, operation: str, destination: str) -> dict[str, str]:
    return {
        "messaging.system": system,
        "messaging.operation.name": operation,
        "messaging.destination.name": destination,
    }


@_guarded
def _end(span: trace.Span, attributes: Mapping[str, str], *, failed: bool) -> None:
    span.set_attributes(attributes)
    if failed:
        span.set_status(trace.StatusCode.ERROR)
    span.end()


def _traceparent_of(span: trace.Span) -> str:
    """A span as its children's messages name it (W3C Trace Context, version 00)."""
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
