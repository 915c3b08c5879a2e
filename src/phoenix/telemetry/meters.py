"""Metrics of the process itself, in a registry of their own, and the Prometheus text format."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
OPENMETRICS_TYPE = "application/openmetrics-text"
OPENMETRICS_CONTENT_TYPE = f"{OPENMETRICS_TYPE}; version=1.0.0; charset=utf-8"

_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


WEBHOOK_OUTCOMES = ("delivered", "refused", "failed")

# They would double the series, and Prometheus does not need them.
disable_created_metrics()


class Meters:
    """The metrics of one API process. Instances share nothing, so that tests can run several in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._responses = Histogram(
            "phoenix_http_answer_seconds",
            "Time from a request to the start of its response, by the route's template. A stream continues after that.",
            ("method", "route", "status"),
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self.open_streams = Gauge(
            "phoenix_streams_open", "Event streams that this process is sending.", registry=self.registry
        )

        self.open_connections = Gauge(
            "phoenix_connections_open", "Connections of clients to this process.", registry=self.registry
        )
        self.refused_connections = Counter(
            "phoenix_connections_refused",
            "Connections that were closed or answered with 503 because too many were open.",
            registry=self.registry,
        )
        self.stalled_sends = Counter(
            "phoenix_stalled_sends",
            "Connections that were cut off because the client did not read its response.",
            registry=self.registry,
        )

        self._refusals = Counter(
            "phoenix_refused_requests",
            "Requests that were answered with an error, by its code and by the limit that was used up, or none.",
            ("code", "limit"),
            registry=self.registry,
        )
        self._webhook_tries = Counter(
            "phoenix_webhook_tries",
            "Tries to deliver a webhook, by their outcome: delivered, refused (410), failed.",
            ("outcome",),
            registry=self.registry,
        )
        for outcome in WEBHOOK_OUTCOMES:
            self._webhook_tries.labels(outcome)

    def count_refusal(self, code: str, limit: str) -> None:
        self._refusals.labels(code, limit).inc()

    def count_webhook_try(self, outcome: str) -> None:
        """`outcome`: one of `WEBHOOK_OUTCOMES`."""
        self._webhook_tries.labels(outcome).inc()

    def observe_response(
        self, method: str, route: str, status: int, seconds: float, *, trace_id: str | None = None
    ) -> None:
        """`trace_id`: a trace that has been recorded. It becomes the exemplar of the bucket."""
        exemplar = {"trace_id": trace_id} if trace_id else None
        self._responses.labels(method, route, str(status)).observe(seconds, exemplar)

    def write(self, *others: Metric, as_openmetrics: bool = False) -> bytes:
        """All metrics, with `others`, whose values come from elsewhere.

        In Prometheus text format, or in OpenMetrics, which has exemplars too.
        """
        registry = CollectorRegistry()
        if as_openmetrics:
            registry.register(_StaticCollector((*self.registry.collect(), *others)))
            # The function has no types.
            return cast("bytes", openmetrics.generate_latest(registry))  # pyright: ignore[reportUnknownMemberType]
        registry.register(_StaticCollector(others))
        return generate_latest(self.registry) + generate_latest(registry)


class _StaticCollector:
    """A collector of metrics that already have their values."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = tuple(metrics)

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def gauge(name: str, description: str, *labels: str, values: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    """A gauge with its current values, one for each combination of label values."""
    family = GaugeMetricFamily(name, description, labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, value)
    return family


def counter(name: str, description: str, *labels: str, values: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    """A counter with its current values, like `gauge`. `name` ends in `_total`."""
    family = CounterMetricFamily(name, description, labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, value)
    return family


@dataclass(frozen=True)
class HistogramValues:
    """The current values of one histogram. `counts`: how many values are at most each of the bounds."""

    counts: Sequence[int]
    count: int
    total: float


def histogram(
    name: str,
    description: str,
    *labels: str,
    bounds: Sequence[float],
    values: Iterable[tuple[tuple[str, ...], HistogramValues]],
) -> Metric:
    """A histogram with its current values, like `gauge`. `bounds` are ascending."""
    family = HistogramMetricFamily(name, description, labels=labels)
    bounds_as_text = [repr(float(bound)) for bound in bounds]
    for label_values, found in values:
        buckets = [*zip(bounds_as_text, found.counts, strict=True), ("+Inf", found.count)]
        family.add_metric(label_values, buckets, found.total)
    return family
