"""What one process counts of itself, in a registry of its own, and how it is written for Prometheus."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Meters:
    """Of one API process. Several in one process do not share anything, as tests want it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._answers = Histogram(
            "phoenix_http_answer_seconds",
            "From the request to the beginning of its answer, by the route's template. A stream goes on after that.",
            ("method", "route", "status"),
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self.open_streams = Gauge(
            "phoenix_streams_open", "Event streams that this process is sending.", registry=self.registry
        )

    def note_answer(self, method: str, route: str, status: int, seconds: float) -> None:
        self._answers.labels(method, route, str(status)).observe(seconds)

    def write(self, *others: Metric) -> bytes:
        """All of it in the text format, and what was found elsewhere after it."""
        found = CollectorRegistry()
        found.register(_Found(others))
        return generate_latest(self.registry) + generate_latest(found)


class _Found:
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = tuple(metrics)

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def gauge(name: str, description: str, *labels: str, values: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    """A gauge as it was found to be just now: one value for each combination of labels."""
    family = GaugeMetricFamily(name, description, labels=labels)
    for of, value in values:
        family.add_metric(of, value)
    return family
