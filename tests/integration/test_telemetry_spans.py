"""One trace from the request to the webhook, through claim, stages, encoding and joining; off without a receiver."""

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy.engine import URL

from fixtures.api import Api, open_api, reel_body, until
from fixtures.webhook_receiver import Receiver, end_job
from fixtures.workplace import WorkerHarness, harness_settings
from phoenix.telemetry.spans import NO_SPAN, is_tracing, start_span, tracing, use_provider, wants_tracing

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
CAUSE = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


@pytest.fixture
def exported() -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with use_provider(provider):
        yield exporter


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id


async def test_one_trace_leads_from_the_request_to_the_joined_reel(
    exported: InMemorySpanExporter, tmp_path: Path, sqlite_url: URL, redis_url: str
) -> None:
    settings = harness_settings(tmp_path, sqlite_url, redis_url)
    async with open_api(settings) as api:
        harness = WorkerHarness(api.services, settings)
        body = reel_body(duration_s=0.5, steps=2, resolution="240p")
        async with harness.worker():
            job = (await api.http.post("/v1/reels", json=body, headers=CAUSE)).json()
            await harness.until_ended(job["id"])

            async def is_joined() -> bool:
                return "assemble task" in by_name(exported)

            await until(is_joined)
    spans = by_name(exported)
    of_the_job = {
        name: span for name, span in spans.items() if span.context and span.context.trace_id == int(TRACE, 16)
    }
    assert {
        "POST /v1/reels",
        "render task",
        "claim",
        "denoise",
        "encode",
        "upload",
        "assemble task",
        "assemble",
    } <= set(of_the_job)
    request, clip = spans["POST /v1/reels"], spans["render task"]
    assert request.parent is not None
    assert request.parent.span_id == int(PARENT, 16)
    assert clip.parent is not None
    assert clip.parent.span_id == id_of(request)
    denoise = spans["denoise"]
    assert denoise.parent is not None
    assert denoise.parent.span_id == id_of(clip)
    assert denoise.start_time is not None
    assert clip.start_time is not None
    assert clip.end_time is not None
    assert clip.start_time <= denoise.start_time <= clip.end_time
    assert clip.attributes is not None
    assert (clip.attributes["phoenix.job_id"], clip.attributes["phoenix.model"]) == (job["id"], "animatic")


async def test_a_webhook_is_a_span_of_the_trace_and_names_itself_to_the_receiver(
    exported: InMemorySpanExporter, webhook_api: Api, receiver: Receiver
) -> None:
    webhook_api.http.headers.update(CAUSE)
    await end_job(webhook_api, receiver.url())

    received = await receiver.next()

    async def is_exported() -> bool:
        return "webhook" in by_name(exported)

    await until(is_exported)
    span = by_name(exported)["webhook"]
    assert span.context is not None
    assert received.headers["traceparent"] == f"00-{TRACE}-{id_of(span):016x}-01"


async def test_a_request_without_a_trace_begins_one_and_probes_have_none(
    exported: InMemorySpanExporter, api: Api
) -> None:
    response = await api.http.get("/v1/models")
    await api.http.get("/health/live")
    await api.http.get("/metrics")

    (span,) = exported.get_finished_spans()
    assert span.name == "GET /v1/models"
    assert span.parent is None
    assert response.headers["traceparent"].split("-")[2] == f"{id_of(span):016x}"


class SpanReceiver(BaseHTTPRequestHandler):
    """Stores the spans that are posted to it."""

    received: list[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            (service,) = [
                each.value.string_value for each in resource.resource.attributes if each.key == "service.name"
            ]
            for scope in resource.scope_spans:
                self.received.extend(f"{service}: {span.name}" for span in scope.spans)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


def test_spans_are_sent_over_http_to_the_endpoint_of_the_standard_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = type("Handler", (SpanReceiver,), {"received": []})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        with tracing("phoenix-api", {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}):
            start_span("work").end()
        server.shutdown()
        thread.join()

    assert handler.received == ["phoenix-api: work"]


@pytest.mark.parametrize(
    ("environment", "is_wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_SERVICE_NAME": "phoenix"}, False),
    ],
)
def test_tracing_is_on_only_with_an_endpoint(environment: dict[str, str], is_wanted: bool) -> None:
    assert wants_tracing(environment) is is_wanted


def test_without_an_endpoint_no_span_is_made() -> None:
    with tracing("phoenix-api", {}):
        assert not is_tracing()
        assert start_span("work") is NO_SPAN
