"""Spans of OpenTelemetry: off, and free, unless its SDK is installed and an exporter is configured.

The standard variables of OpenTelemetry configure the SDK: `OTEL_EXPORTER_OTLP_ENDPOINT` turns it on, and
`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER` and others work as documented there.
"""

import os
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from phoenix.errors import install_extra
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

Attributes = Mapping[str, str | int | float | bool | None]
"""Attributes that are None are left out."""

_TURNS_ON = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class TraceSpan(Protocol):
    """Something that takes time. End it once."""

    @property
    def traceparent(self) -> str | None:
        """The trace of the span and its id, for the work that it causes; None while tracing is off."""
        ...

    def set(self, attributes: Attributes, *, name: str | None = None) -> None:
        """Adds attributes, and gives the span another name."""
        ...

    def fail(self, description: str) -> None:
        """Marks the span as failed."""
        ...

    def end(self, *, at_ns: int | None = None) -> None:
        """Ends the span, now or at a time in nanoseconds since 1970."""
        ...


class _NoSpan:
    traceparent = None

    def set(self, attributes: Attributes, *, name: str | None = None) -> None:
        pass

    def fail(self, description: str) -> None:
        pass

    def end(self, *, at_ns: int | None = None) -> None:
        pass


NO_SPAN: TraceSpan = _NoSpan()


class _SdkSpan:
    def __init__(self, span: Any) -> None:
        self._span = span

    @property
    def traceparent(self) -> str:
        context = self._span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"

    def set(self, attributes: Attributes, *, name: str | None = None) -> None:
        for key, value in attributes.items():
            if value is not None:
                self._span.set_attribute(key, value)
        if name is not None:
            self._span.update_name(name)

    def fail(self, description: str) -> None:
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415

        self._span.set_status(Status(StatusCode.ERROR, description))

    def end(self, *, at_ns: int | None = None) -> None:
        self._span.end(at_ns)


@dataclass
class _Active:
    """The tracer of this process; None while tracing is off."""

    tracer: Any = None


_active = _Active()


def is_tracing() -> bool:
    """Whether spans are made."""
    return _active.tracer is not None


def start_span(
    name: str,
    *,
    parent: str | None = None,
    kind: str = "internal",
    start_ns: int | None = None,
    attributes: Attributes | None = None,
) -> TraceSpan:
    """Starts a span. `parent`: a traceparent, or None for a new trace. `kind`: internal, server, client or consumer."""
    tracer = _active.tracer
    if tracer is None:
        return NO_SPAN
    from opentelemetry.trace import SpanKind  # noqa: PLC0415

    given = {key: value for key, value in (attributes or {}).items() if value is not None}
    span = tracer.start_span(
        name, context=_context_of(parent), kind=SpanKind[kind.upper()], attributes=given, start_time=start_ns
    )
    return _SdkSpan(span)


def _context_of(parent: str | None) -> Any:
    from opentelemetry.context import Context  # noqa: PLC0415
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context  # noqa: PLC0415

    if parent is None:
        return Context()
    _, trace_id, span_id, flags = parent.split("-")
    context = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
    return set_span_in_context(NonRecordingSpan(context), Context())


def to_epoch_ns(monotonic_s: float) -> int:
    """A time of the monotonic clock of this process, in nanoseconds since 1970."""
    return time.time_ns() - int((time.monotonic() - monotonic_s) * 1e9)


@contextmanager
def tracing(process: str, environment: Mapping[str, str] = os.environ) -> Generator[None]:
    """Makes spans during the block if the environment asks for them, and sends the last ones at its end.

    `process`: the service name, unless the environment has one.
    """
    provider = _open_provider(process, environment) if wants_tracing(environment) else None
    if provider is None:
        yield
        return
    with use_provider(provider):
        yield
    provider.shutdown()


@contextmanager
def use_provider(provider: Any) -> Generator[None]:
    """Makes the spans of the block with a `TracerProvider` of the SDK."""
    before, _active.tracer = _active.tracer, provider.get_tracer("phoenix")
    try:
        yield
    finally:
        _active.tracer = before


def wants_tracing(environment: Mapping[str, str]) -> bool:
    """Whether the environment names a receiver of spans, and does not turn the SDK off."""
    is_off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    exporter = environment.get("OTEL_TRACES_EXPORTER", "otlp").lower()
    return not is_off and exporter == "otlp" and any(environment.get(name) for name in _TURNS_ON)


def _open_provider(process: str, environment: Mapping[str, str]) -> Any:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        _logger.warning("no spans are made: the SDK of OpenTelemetry is missing", remedy=install_extra("otel"))
        return None
    is_named = environment.get("OTEL_SERVICE_NAME") or "service.name" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
    resource = Resource.create({} if is_named else {"service.name": process})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
