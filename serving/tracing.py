"""OpenTelemetry traces as an option: one span per call, and a child for each of its stages.

Spans are written when a call has ended, from what was recorded anyway, so that nothing is carried along while
it runs. Attributes name no users and no items.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from serving.call import Call, Metadata

_PARENT_KEYS = frozenset({"traceparent", "tracestate"})
_SERVER_FAULTS = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
"""Statuses that make a server's span an error.

Source: OpenTelemetry semantic conventions for gRPC.
"""


class Tracing:
    """An observer of calls that writes spans."""

    def __init__(self, processor: SpanProcessor) -> None:
        resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "recsys")})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("recsys.serving")
        self._parents = TraceContextTextMapPropagator()

    def __call__(self, call: Call) -> None:
        """Write the spans of one call."""
        service, _, method = call.method.lstrip("/").partition("/")
        epoch_ns = time.time_ns() - time.perf_counter_ns()

        def at(seconds: float) -> int:
            return int(seconds * 1e9) + epoch_ns

        span = self._tracer.start_span(
            f"{service}/{method}", self._parent(call.metadata), SpanKind.SERVER, start_time=at(call.started)
        )
        if span.is_recording():
            span.set_attribute("rpc.system", "grpc")
            span.set_attribute("rpc.service", service)
            span.set_attribute("rpc.method", method)
            span.set_attribute("recsys.request_id", call.request_id)
            span.set_attribute("rpc.grpc.status_code", _code(call.status))
            if call.answer is not None:
                span.set_attribute("recsys.placement", call.placement)
                span.set_attribute("recsys.service_level", call.answer.service_level.value)
                span.set_attribute("recsys.num_candidates", call.answer.num_candidates)
                span.set_attribute("recsys.is_later_page", call.is_later_page)
                span.set_attribute("recsys.model_version", call.answer.model_version)
                span.set_attribute("recsys.degraded_reasons", call.answer.degraded_reasons)
            if call.status in _SERVER_FAULTS:
                span.set_status(StatusCode.ERROR)
            inside = set_span_in_context(span)
            for name, started, ended in call.stages:
                child = self._tracer.start_span(name, inside, start_time=at(started))
                child.end(at(ended))
        span.end(at(call.ended))

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()

    def _parent(self, metadata: Metadata) -> Context:
        carrier = {key: value for key, value in metadata if key in _PARENT_KEYS and isinstance(value, str)}
        return self._parents.extract(carrier, Context())


@contextmanager
def exported() -> Iterator[Tracing]:
    """Traces that go to an OTLP receiver, as OpenTelemetry's variables say; on leaving, the rest is sent."""
    tracing = Tracing(BatchSpanProcessor(OTLPSpanExporter()))
    try:
        yield tracing
    finally:
        tracing.close()


def _code(status: str) -> int:
    number: int = grpc.StatusCode[status].value[0]
    return number
