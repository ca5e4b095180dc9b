"""What is measured and traced, through OpenTelemetry's API alone.

Names are those of its semantic conventions (HTTP, messaging) where there are some, and begin with `vision_relay.`
otherwise; `docs/telemetry.md` lists them. Where no exporter is set, `OFF` stands in the recorder's place and
OpenTelemetry is not even imported: the API's own import takes longer than the rest of this app's.

A trace goes from the producer's `traceparent` (W3C Trace Context) over the call that a message shares with others to
its outcome. The span of the call has one parent, the first message of the call that is traced, and links to all of
them. A message without a sampled `traceparent` has no span of its own.
"""

from __future__ import annotations

import re
import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider, Observation
    from opentelemetry.trace import Span, SpanContext, TracerProvider

SCOPE = "vision_relay"
STORAGE_QUEUE = "azure_storage_queue"
EVENT_GRID = "eventgrid"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Limits of the buckets of a call's duration, as the conventions advise ("HTTP metrics")."""
WAITING_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 240)
BATCH_SIZES = (1, 2, 4, 8, 16, 24, 32, 40, 48, 56, 63)

_SAMPLED = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]([13579bdf])(?:-.*)?")


class Processing:
    """The processing of one message, of which nothing is recorded. A context manager around it."""

    __slots__ = ()

    tag: object = None
    """What the shared call knows this message by; None where it is not traced."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Record how it ended: an error brings the message back."""

    def read(self, traceparent: str | None, images: int) -> None:
        """The message has been read: whose trace it belongs to, and how many images it is about, 0 if unknown."""

    def answered(self, refused: int, retry: int) -> None:
        """The outcome of all of its images is there; so many of them were not applied."""

    def dead_lettered(self, reason: str) -> None:
        """It becomes a dead letter."""

    def onward(self, traceparent: str | None) -> str | None:
        """The `traceparent` of what comes of it: of its own span if it has one, else the one it came with."""
        return traceparent


class ApiCall:
    """One HTTP request, of which nothing is recorded. A context manager around it."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Record how it ended."""

    def answered(self, status: int) -> None:
        """There is an answer with this status."""

    def failed(self, error_type: str) -> None:
        """There is none."""


_PROCESSING = Processing()
_API_CALL = ApiCall()
_NOTHING: AbstractContextManager[None] = nullcontext()


class Telemetry:
    """Records nothing: what there is where no exporter is set."""

    @property
    def is_on(self) -> bool:
        """Whether anything is recorded."""
        return False

    def processing(self, queue: str) -> Processing:
        """The processing of a message of this queue begins."""
        del queue
        return _PROCESSING

    def shared_call(self, images: int, waited_seconds: float, tags: Sequence[Any]) -> AbstractContextManager[Any]:
        """To be entered around a call that messages share. `tags`: those of its messages that are traced."""
        del images, waited_seconds, tags
        return _NOTHING

    def api_call(self, method: str, host: str, template: str) -> ApiCall:
        """An HTTP request begins. `template`: its path without what differs from one to the next."""
        del method, host, template
        return _API_CALL

    def sent(self, system: str, destination: str, error: BaseException | None) -> None:
        """A message, such as an event, was sent there, or was not."""

    def watch(self, queue: str, outcome: str, traceparent: str | None) -> str | None:
        """A watch has come to this outcome. Returns the `traceparent` of what comes of it."""
        del queue, outcome
        return traceparent

    def observe(
        self, name: str, unit: str, description: str, read: Callable[[], float], attributes: Mapping[str, str]
    ) -> None:
        """Let this be read whenever metrics are collected, in another thread."""

    def shutdown(self) -> None:
        """Send what is still to be sent."""


OFF = Telemetry()


class Recorder(Telemetry):
    """Records with these providers. `shutdown` ends them; None where they are somebody else's."""

    def __init__(
        self, tracers: TracerProvider, meters: MeterProvider, shutdown: Callable[[], object] | None = None
    ) -> None:
        self._tracer = tracers.get_tracer(SCOPE)
        self._meter = meter = meters.get_meter(SCOPE)
        self._shutdown = shutdown
        self.calls = meter.create_histogram(
            "http.client.request.duration",
            "s",
            "Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self.processed = meter.create_histogram(
            "messaging.process.duration",
            "s",
            "Duration of processing operation.",
            explicit_bucket_boundaries_advisory=WAITING_SECONDS,
        )
        self._sent = meter.create_counter(
            "messaging.client.sent.messages",
            "{message}",
            "Number of messages producer attempted to send to the broker.",
        )
        self.images = {"applied": 0, "refused": 0, "retry": 0}
        meter.create_observable_counter(
            "vision_relay.images",
            [lambda _: self._count_images()],
            "{image}",
            "Images of messages whose processing has ended, by outcome.",
        )
        self._batch_size = meter.create_histogram(
            "vision_relay.batch.size",
            "{image}",
            "Images of a call.",
            explicit_bucket_boundaries_advisory=BATCH_SIZES,
        )
        self._batch_wait = meter.create_histogram(
            "vision_relay.batch.wait",
            "s",
            "How long the oldest image of a call waited for it.",
            explicit_bucket_boundaries_advisory=WAITING_SECONDS,
        )
        self._watches = meter.create_counter("vision_relay.watches", "{watch}", "Watches polled, by outcome.")
        self._messages: dict[str, dict[str, str]] = {}

    @property
    def is_on(self) -> bool:
        """Whether anything is recorded."""
        return True

    def processing(self, queue: str) -> Processing:
        """See `Telemetry`."""
        attributes = self._messages.get(queue)
        if attributes is None:
            attributes = self._messages[queue] = _of_message(queue)
        return _Recorded(self, attributes)

    @contextmanager
    def shared_call(self, images: int, waited_seconds: float, tags: Sequence[Any]) -> Iterator[None]:
        """See `Telemetry`. The span is the current one inside, so that the request describes it."""
        from opentelemetry.trace import Link, SpanKind, StatusCode

        self._batch_size.record(images)
        self._batch_wait.record(waited_seconds)
        with self._tracer.start_as_current_span(
            "shared call",
            _below(tags[0] if tags else None),
            SpanKind.CLIENT,
            {"vision_relay.batch.size": images, "vision_relay.batch.wait": waited_seconds},
            [Link(tag) for tag in tags],
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except BaseException as error:
                span.set_attribute("vision_relay.error", type(error).__qualname__)
                span.set_status(StatusCode.ERROR)
                raise

    def api_call(self, method: str, host: str, template: str) -> ApiCall:
        """See `Telemetry`."""
        return _RecordedCall(self, method, host, template)

    def sent(self, system: str, destination: str, error: BaseException | None) -> None:
        """See `Telemetry`."""
        attributes = {
            "messaging.system": system,
            "messaging.operation.name": "send",
            "messaging.destination.name": destination,
        }
        if error is not None:
            attributes["error.type"] = type(error).__qualname__
        self._sent.add(1, attributes)

    def watch(self, queue: str, outcome: str, traceparent: str | None) -> str | None:
        """See `Telemetry`. The span of a watch marks its outcome; polls, which many watches share, have none."""
        self._watches.add(1, {"vision_relay.watch.outcome": outcome})
        span = None if traceparent is None else self.start(traceparent, _of_message(queue), None)
        if span is None:
            return traceparent
        span.set_attribute("vision_relay.outcome", outcome)
        span.end()
        return to_traceparent(span.get_span_context())

    def observe(
        self, name: str, unit: str, description: str, read: Callable[[], float], attributes: Mapping[str, str]
    ) -> None:
        """See `Telemetry`."""
        from opentelemetry.metrics import Observation

        self._meter.create_observable_gauge(name, [lambda _: [Observation(read(), attributes)]], unit, description)

    def shutdown(self) -> None:
        """See `Telemetry`."""
        if self._shutdown is not None:
            self._shutdown()

    def _count_images(self) -> list[Observation]:
        from opentelemetry.metrics import Observation

        return [
            Observation(number, {"vision_relay.image.outcome": outcome})
            for outcome, number in self.images.items()
            if number
        ]

    def start(self, traceparent: str, attributes: Mapping[str, str], began_ns: int | None) -> Span | None:
        """Begin the span of a message that its producer has sampled; of no other."""
        producer = _producer(traceparent)
        if producer is None:
            return None
        from opentelemetry.trace import SpanKind

        return self._tracer.start_span(
            f"process {attributes['messaging.destination.name']}",
            _below(producer),
            SpanKind.CONSUMER,
            attributes,
            start_time=began_ns,
        )


class _Recorded(Processing):
    """The processing of one message, recorded."""

    __slots__ = ("_attributes", "_began", "_images", "_recorder", "_refused", "_retry", "_span", "reason", "tag")

    def __init__(self, recorder: Recorder, attributes: Mapping[str, str]) -> None:
        self._recorder = recorder
        self._attributes = attributes
        self._began = time.time_ns()
        self._images = self._refused = 0
        self._retry: int | None = None
        self._span: Span | None = None
        self.reason: str | None = None
        self.tag = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failed_by = self.reason if kind is None else kind.__qualname__
        attributes = self._attributes if failed_by is None else {**self._attributes, "error.type": failed_by}
        self._recorder.processed.record((time.time_ns() - self._began) / 1e9, attributes)
        if self._images:
            self._count_images()
        if self._span is not None:
            self._end(self._span, failed_by, "abandoned" if kind is not None else "dead-lettered")

    def read(self, traceparent: str | None, images: int) -> None:
        """See `Processing`."""
        self._images = images
        if traceparent is not None and self._span is None:
            self._span = self._recorder.start(traceparent, self._attributes, self._began)
            if self._span is not None and self._span.is_recording():
                self.tag = self._span.get_span_context()

    def answered(self, refused: int, retry: int) -> None:
        """See `Processing`."""
        self._refused, self._retry = refused, retry

    def dead_lettered(self, reason: str) -> None:
        """See `Processing`."""
        self.reason = reason

    def onward(self, traceparent: str | None) -> str | None:
        """See `Processing`."""
        return traceparent if self._span is None else to_traceparent(self._span.get_span_context())

    def _count_images(self) -> None:
        if self._retry is None:  # it ended before the outcome was known
            self._refused, self._retry = (self._images, 0) if self.reason is not None else (0, self._images)
        images = self._recorder.images  # counted here, told when metrics are collected: it costs a message nothing
        images["applied"] += self._images - self._refused - self._retry
        images["refused"] += self._refused
        images["retry"] += self._retry

    def _end(self, span: Span, failed_by: str | None, outcome: str) -> None:
        from opentelemetry.trace import StatusCode

        span.set_attribute("vision_relay.outcome", "completed" if failed_by is None else outcome)
        if failed_by is not None:
            span.set_attribute("error.type", failed_by)
            span.set_status(StatusCode.ERROR)
        span.end()


class _RecordedCall(ApiCall):
    """One HTTP request, recorded: its duration, and in the span of the shared call, if it is in one."""

    __slots__ = ("_attributes", "_began", "_recorder", "_template")

    def __init__(self, recorder: Recorder, method: str, host: str, template: str) -> None:
        self._recorder = recorder
        self._attributes: dict[str, str | int] = {"http.request.method": method, "server.address": host}
        self._template = template
        self._began = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from opentelemetry.trace import StatusCode, get_current_span

        if kind is not None:
            self._attributes.setdefault("error.type", kind.__qualname__)
        self._recorder.calls.record(time.perf_counter() - self._began, self._attributes)
        span = get_current_span()
        if span.is_recording():
            span.update_name(f"{self._attributes['http.request.method']} {self._template}")
            span.set_attributes({**self._attributes, "url.template": self._template})
            if "error.type" in self._attributes:
                span.set_status(StatusCode.ERROR)

    def answered(self, status: int) -> None:
        """See `ApiCall`."""
        self._attributes["http.response.status_code"] = status
        if status >= 400:
            self._attributes["error.type"] = str(status)

    def failed(self, error_type: str) -> None:
        """See `ApiCall`."""
        self._attributes["error.type"] = error_type


def _of_message(queue: str) -> dict[str, str]:
    return {
        "messaging.system": STORAGE_QUEUE,
        "messaging.operation.name": "process",
        "messaging.destination.name": queue,
    }


def _below(parent: SpanContext | None) -> Context:
    """The context of a span with this parent. Never the current one: a call's task begins in any message's."""
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context

    return Context() if parent is None else set_span_in_context(NonRecordingSpan(parent), Context())


def _producer(traceparent: str) -> SpanContext | None:
    """Whose child a message is, if that trace is sampled. What is no valid `traceparent` is none."""
    found = _SAMPLED.fullmatch(traceparent)
    if found is None:
        return None
    from opentelemetry.trace import SpanContext, TraceFlags

    context = SpanContext(int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=TraceFlags(1))
    return context if context.is_valid else None


def to_traceparent(context: SpanContext) -> str:
    """A span as its children's messages name it (W3C Trace Context, version 00)."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
