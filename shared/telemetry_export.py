"""Where telemetry goes: the one place that knows exporters, and imports them only where one is set.

Azure Monitor with `APPLICATIONINSIGHTS_CONNECTION_STRING`, OTLP over HTTP with `OTEL_EXPORTER_OTLP_ENDPOINT`.
OpenTelemetry's other variables, such as `OTEL_TRACES_SAMPLER`, are obeyed. Where the Functions worker has set providers
itself, those are used.
"""

import logging
import os
import uuid
from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import get_meter_provider
from opentelemetry.trace import ProxyTracerProvider, get_tracer_provider

from shared.setting_types import connection_fields
from shared.settings import Settings
from shared.telemetry import OFF, Telemetry

if TYPE_CHECKING:  # loaded where telemetry is sent
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.trace.export import SpanExporter

QUIET = ("azure.monitor.opentelemetry.exporter", "opentelemetry")
"""Loggers that tell of every export that went well."""


def new_telemetry(settings: Settings) -> Telemetry:
    """What these settings say, or `OFF`. To be called once a process."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return OFF
    tracers = get_tracer_provider()
    if not isinstance(tracers, ProxyTracerProvider):  # the worker has set its own
        return Telemetry(tracers, get_meter_provider())
    exporters = []
    if settings.applicationinsights_connection_string is not None:
        exporters.append(_azure_monitor(settings.applicationinsights_connection_string))
    if settings.otel_exporter_otlp_endpoint is not None:
        exporters.append(_otlp(settings.otel_exporter_otlp_endpoint))
    return _sending(exporters) if exporters else OFF


def _azure_monitor(connection_string: str) -> "tuple[SpanExporter, MetricExporter]":
    """With the app's identity where the account takes no keys: `Authorization=AAD`, which the host reads too."""
    from azure.monitor.opentelemetry.exporter import AzureMonitorMetricExporter, AzureMonitorTraceExporter

    options: dict[str, Any] = {"connection_string": connection_string}
    access = connection_fields(os.environ.get("APPLICATIONINSIGHTS_AUTHENTICATION_STRING", ""))
    if access.get("authorization", "").upper() == "AAD":
        from azure.identity import DefaultAzureCredential

        user_assigned = {"managed_identity_client_id": access["clientid"]} if access.get("clientid") else {}
        options["credential"] = DefaultAzureCredential(**user_assigned)
    return AzureMonitorTraceExporter(**options), AzureMonitorMetricExporter(**options)


def _otlp(endpoint: str) -> "tuple[SpanExporter, MetricExporter]":
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(f"{endpoint}/v1/traces"), OTLPMetricExporter(f"{endpoint}/v1/metrics")


def _sending(exporters: "list[tuple[SpanExporter, MetricExporter]]") -> Telemetry:
    """Providers of our own, not global ones: other libraries' spans and metrics would be sent along."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    name = os.environ.get("OTEL_SERVICE_NAME") or os.environ.get("WEBSITE_SITE_NAME") or "vision-relay"
    instance = os.environ.get("WEBSITE_INSTANCE_ID") or str(uuid.uuid4())
    resource = Resource.create({"service.name": name, "service.instance.id": instance})
    tracers = TracerProvider(resource=resource)
    for spans, _ in exporters:
        tracers.add_span_processor(BatchSpanProcessor(spans))
    meters = MeterProvider([PeriodicExportingMetricReader(metrics) for _, metrics in exporters], resource)

    def shutdown() -> None:
        tracers.shutdown()
        meters.shutdown()

    return Telemetry(tracers, meters, shutdown)
