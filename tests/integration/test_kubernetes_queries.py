"""What the alerts and the scaling of deploy/kubernetes ask Prometheus for is what /metrics tells."""

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fixtures.api import Api
from fixtures.kubernetes import list_manifests
from phoenix.jobs.scheduling.workers import WorkerReport, record_heartbeat

# Only these differ between replicas, and so add up.
OF_THE_PROCESS = re.compile(r"phoenix_(?:http_|streams_)")
SELECTOR = re.compile(r"(phoenix_\w+)(?:\{(.*?)\})?")
MATCHER = re.compile(r'(\w+)(=~?)"(.*?)"')


def list_queries() -> dict[str, str]:
    bodies = [each.body for each in list_manifests()]
    rules = [rule for body in bodies if body["kind"] == "PrometheusRule" for rule in body["spec"]["groups"][0]["rules"]]
    triggers = [trigger for body in bodies if body["kind"] == "ScaledObject" for trigger in body["spec"]["triggers"]]
    return {rule["alert"]: rule["expr"] for rule in rules} | {
        f"trigger {number}": trigger["metadata"]["query"] for number, trigger in enumerate(triggers)
    }


QUERIES = list_queries()


async def scrape_labels(api: Api) -> dict[str, dict[str, set[str]]]:
    """The values of each label, by series."""
    report = WorkerReport(
        *("wrk_1", "box", 1, "cuda:0", {"gpu": 1}),
        **dict.fromkeys(("memory_used_bytes", "memory_total_bytes"), 1),
        **dict.fromkeys(("host_memory_used_bytes", "host_memory_budget_bytes"), 1),
    )
    async with api.services.database.write() as uow:
        await record_heartbeat(uow, report, lease_s=60)
    await api.http.post("/v1/queues/media/pause")
    # An answer is counted once it was given.
    await api.http.get("/metrics")
    response = await api.http.get("/metrics")
    found: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(response.text):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return found


async def test_every_series_that_is_asked_for_is_exposed(api: Api) -> None:
    exposed = await scrape_labels(api)

    assert QUERIES
    for query in QUERIES.values():
        assert SELECTOR.search(query), query
        for series, matchers in SELECTOR.findall(query):
            assert series in exposed, query
            for label, operator, wanted in MATCHER.findall(matchers):
                values = wanted.split("|") if operator == "=~" else [wanted]
                # A class of statuses is not told before there is one.
                assert label in exposed[series], query
                assert label == "status" or set(values) <= exposed[series][label], query


async def test_every_label_that_is_grouped_by_is_exposed(api: Api) -> None:
    exposed = await scrape_labels(api)

    grouped = [
        (query, labels, series)
        for query in QUERIES.values()
        for labels, series in re.findall(r"by \((.*?)\) \((?:increase\()?(phoenix_\w+)", query)
    ]

    assert grouped
    for query, labels, series in grouped:
        assert set(labels.split(", ")) <= exposed[series].keys(), query


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
def test_what_every_replica_exposes_alike_is_not_added_up(query: str) -> None:
    added = re.findall(r"sum(?: by \([^()]*\))? ?\((?:rate\(|increase\()?(phoenix_\w+)", query)

    assert [series for series in added if not OF_THE_PROCESS.match(series)] == []
