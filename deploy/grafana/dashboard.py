"""Writes phoenix.json, the Grafana dashboard of a fleet. A test compares its queries with the metrics of a server."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("phoenix.json")
SOURCE = {"type": "prometheus", "uid": "${source}"}
WIDTH, HEIGHT, COLUMNS = 8, 8, 3


@dataclass(frozen=True)
class Panel:
    """One chart. `queries` are PromQL by legend; `unit` is one of Grafana's."""

    title: str
    queries: dict[str, str]
    unit: str = "short"


def quantile(share: float, series: str, label: str) -> str:
    """A percentile of a histogram that every replica reports alike, for each value of a label."""
    buckets = f"max by ({label}, queue, model, le) (rate({series}_bucket[$__rate_interval]))"
    return f"histogram_quantile({share}, sum by ({label}, le) ({buckets}))"


def percentiles(series: str, label: str = "queue") -> dict[str, str]:
    """p50, p95 and p99 by a label."""
    return {f"p{round(share * 100)} {{{{{label}}}}}": quantile(share, series, label) for share in (0.5, 0.95, 0.99)}


ROWS: dict[str, tuple[Panel, ...]] = {
    "Queues": (
        Panel(
            "Tasks that wait",
            {"{{queue}}": 'max by (queue) (phoenix_tasks{state="waiting"})'},
        ),
        Panel("Oldest wait", {"{{queue}}": "max by (queue) (phoenix_queue_oldest_wait_seconds)"}, "s"),
        Panel(
            "Slots in use",
            {
                "{{queue}} used": 'max by (queue) (phoenix_tasks{state="running"})',
                "{{queue}} slots": "max by (queue) (phoenix_queue_slots)",
            },
        ),
        Panel("Wait of tasks", percentiles("phoenix_task_wait_seconds"), "s"),
        Panel("Wait for the device", percentiles("phoenix_slot_wait_seconds"), "s"),
        Panel("Tasks without a worker", {"{{queue}} {{model}}": "max by (queue, model) (phoenix_unserved_tasks)"}),
    ),
    "Jobs": (
        Panel(
            "Jobs that ended, per hour",
            {"{{state}}": "sum by (state) (max by (state, code) (increase(phoenix_jobs_ended_total[1h])))"},
        ),
        Panel(
            "Errors of jobs, per hour",
            {"{{code}}": 'max by (code) (increase(phoenix_jobs_ended_total{code!="none"}[1h]))'},
        ),
        Panel(
            "Errors of attempts, per hour",
            {"{{code}}": "sum by (code) (max by (queue, model, code) (increase(phoenix_attempt_errors_total[1h])))"},
        ),
        Panel("Time of attempts", percentiles("phoenix_attempt_seconds"), "s"),
        Panel(
            "p95 of the stages",
            {"{{stage}}": quantile(0.95, "phoenix_stage_seconds", "stage")},
            "s",
        ),
        Panel(
            "Time of jobs, p95",
            {
                "{{kind}}": "histogram_quantile(0.95, sum by (kind, le) (max by (kind, model, le) "
                "(rate(phoenix_job_seconds_bucket[$__rate_interval]))))"
            },
            "s",
        ),
    ),
    "Workers": (
        Panel(
            "Memory of devices",
            {
                "{{host}} {{device}}": "max by (worker, host, device) (phoenix_device_memory_used_bytes) "
                "/ max by (worker, host, device) (phoenix_device_memory_total_bytes)"
            },
            "percentunit",
        ),
        Panel(
            "Peak memory of clips, p95",
            {
                "{{model}}": "histogram_quantile(0.95, sum by (model, le) (max by (queue, model, shape, le) "
                "(rate(phoenix_clip_peak_memory_bytes_bucket[$__rate_interval]))))"
            },
            "bytes",
        ),
        Panel("Memory of workers", {"{{worker}}": "max by (worker) (phoenix_worker_resident_bytes)"}, "bytes"),
        Panel("Workers by state", {"{{queue}} {{state}}": "max by (queue, state) (phoenix_worker_states) > 0"}),
        Panel(
            "Loads and evictions of models, per hour",
            {
                "loads": "sum(max by (worker) (increase(phoenix_model_loads_total[1h])))",
                "evictions": "sum(max by (worker) (increase(phoenix_model_evictions_total[1h])))",
                "fallbacks": "sum(max by (worker) (increase(phoenix_memory_fallbacks_total[1h])))",
            },
        ),
        Panel(
            "Devices in use",
            {"{{model}}": "sum by (model) (max by (queue, model) (rate(phoenix_device_seconds_total[5m])))"},
        ),
    ),
    "API": (
        Panel(
            "Answers per second",
            {"{{status}}": "sum by (status) (rate(phoenix_http_answer_seconds_count[$__rate_interval]))"},
            "reqps",
        ),
        Panel(
            "Time of answers",
            {
                f"p{round(share * 100)}": f"histogram_quantile({share}, sum by (le) "
                "(rate(phoenix_http_answer_seconds_bucket[$__rate_interval])))"
                for share in (0.5, 0.95, 0.99)
            },
            "s",
        ),
        Panel(
            "Refused requests per second",
            {"{{code}} {{limit}}": "sum by (code, limit) (rate(phoenix_refused_requests_total[$__rate_interval]))"},
        ),
        Panel("Event streams", {"open": "sum(phoenix_streams_open)"}),
        Panel("Events per second", {"delivered": "sum(rate(phoenix_events_delivered_total[$__rate_interval]))"}),
        Panel(
            "Webhooks",
            {
                "{{outcome}} per second": "sum by (outcome) (rate(phoenix_webhook_tries_total[$__rate_interval]))",
                "pending": "max(phoenix_webhooks_pending)",
            },
        ),
    ),
}


def list_queries() -> Iterator[str]:
    """Every query of the dashboard."""
    for panels in ROWS.values():
        for panel in panels:
            yield from panel.queries.values()


def render() -> str:
    """The dashboard as JSON of Grafana."""
    variable = {"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
    dashboard = {
        "title": "Phoenix",
        "uid": "phoenix",
        "schemaVersion": 39,
        "tags": ["phoenix"],
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": [variable]},
        "panels": list(_panels()),
    }
    return json.dumps(dashboard, indent=2) + "\n"


def _panels() -> Iterator[dict[str, Any]]:
    number, y = 1, 0
    for title, panels in ROWS.items():
        yield {"id": number, "type": "row", "title": title, "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}, "panels": []}
        number, y = number + 1, y + 1
        for place, panel in enumerate(panels):
            x, row = place % COLUMNS * WIDTH, place // COLUMNS * HEIGHT
            yield _panel(panel, number, {"x": x, "y": y + row, "w": WIDTH, "h": HEIGHT})
            number += 1
        y += -(-len(panels) // COLUMNS) * HEIGHT


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + index), "expr": query, "legendFormat": legend, "datasource": SOURCE}
        for index, (legend, query) in enumerate(panel.queries.items())
    ]
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": targets,
    }


if __name__ == "__main__":
    FILE.write_text(render())
