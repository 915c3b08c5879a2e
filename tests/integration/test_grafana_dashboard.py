"""The Grafana dashboard is the one that its code makes, and asks for series that a server has."""

import importlib.util
import json
import re
import sys
from types import ModuleType

import pytest
from prometheus_client.parser import text_string_to_metric_families

from builders import claim_next, complete_next, make_result
from fixtures.api import Api
from fixtures.repository import REPOSITORY
from phoenix.api.background.statistics import StatisticsService
from phoenix.jobs.execution.task_completion import AttemptRecord, succeed
from phoenix.jobs.scheduling.workers import WorkerReport, record_heartbeat

FOLDER = REPOSITORY / "deploy" / "grafana"
SELECTOR = re.compile(r"(phoenix_\w+)(?:\{(.*?)\})?")
GROUPED = re.compile(r"by \((.*?)\)")
RECORD = AttemptRecord({"queue": 0.1, "denoise": 1.0}, peak_memory_bytes=2**33)


@pytest.fixture(scope="module")
def dashboard() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dashboard", FOLDER / "dashboard.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["dashboard"] = module
    spec.loader.exec_module(module)
    return module


def test_the_file_is_what_the_code_writes(dashboard: ModuleType) -> None:
    assert (FOLDER / "phoenix.json").read_text() == dashboard.render()


def test_no_panel_covers_another(dashboard: ModuleType) -> None:
    cells = [
        (x, y)
        for panel in json.loads(dashboard.render())["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))


async def test_every_series_and_label_of_the_dashboard_is_exposed(api: Api, dashboard: ModuleType) -> None:
    database = api.services.database
    report = WorkerReport("wrk_1", "box", 1, "cuda:0", {"gpu": 1}, memory_used_bytes=5, memory_total_bytes=9)
    async with database.write() as uow:
        await record_heartbeat(uow, report, lease_s=60)
    await api.submit("one")
    claimed = await claim_next(database)
    async with database.write() as uow:
        await succeed(uow, claimed, make_result(f"{claimed.task_id}/1"), RECORD)
    await complete_next(database, "media")
    await StatisticsService(database).step()
    await api.http.get("/v1/jobs/job_nothing")

    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families((await api.http.get("/metrics")).text):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    errors_alone = {"phoenix_attempt_errors_total"}  # has no series before the first error
    for query in dashboard.list_queries():
        for series, matchers in SELECTOR.findall(query):
            if series in errors_alone:
                continue
            assert series in labels, query
            wanted = set(re.findall(r"(\w+)[=!]", matchers))
            grouped = {label for group in GROUPED.findall(query) for label in group.split(", ")}
            assert wanted | grouped <= labels[series], query
