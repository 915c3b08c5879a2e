"""`/metrics`: what operators watch, the same at every replica, and nobody else's business."""

import asyncio

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from builders import claim_next, complete_next
from fixtures.api import Api, assert_problem, open_api, until
from fixtures.callers import GuardedApi
from phoenix.access.keys import Scope
from phoenix.jobs.scheduling.workers import WorkerReport, record_heartbeat
from phoenix.settings import Settings

Samples = dict[tuple[str, tuple[str, ...]], float]


async def scrape(api: Api) -> Samples:
    """Values by name and the values of the labels, by alphabet of these, as Prometheus would read them."""
    response = await api.http.get("/metrics")
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(response.text)
    return {(each.name, tuple(each.labels.values())): each.value for family in families for each in family.samples}


async def test_jobs_and_tasks_are_counted_by_state(api: Api) -> None:
    await api.submit("one", "two")
    await claim_next(api.services.database)
    await api.submit("three")

    seen = await scrape(api)

    assert (seen["phoenix_jobs", ("queued",)], seen["phoenix_jobs", ("running",)]) == (1, 1)
    assert (seen["phoenix_tasks", ("gpu", "waiting")], seen["phoenix_tasks", ("gpu", "running")]) == (2, 1)
    assert seen["phoenix_tasks", ("gpu", "finishing")] == 0
    assert seen["phoenix_jobs", ("failed",)] == 0
    assert seen["phoenix_queue_oldest_wait_seconds", ("gpu",)] > 0
    assert seen["phoenix_queue_oldest_wait_seconds", ("media",)] == 0


async def test_live_workers_and_their_slots_are_counted_by_queue(api: Api) -> None:
    await api.register_worker("gpu", slots=3)

    seen = await scrape(api)

    assert (seen["phoenix_workers", ("gpu",)], seen["phoenix_workers", ("media",)]) == (1, 0)
    assert seen["phoenix_queue_slots", ("gpu",)] == 3


async def test_tasks_that_no_live_worker_can_run_are_counted_by_queue_and_model(api: Api) -> None:
    await api.submit("one", "two", soundtrack={"url": "https://example.com/a.mp3"})
    without_workers = await scrape(api)
    await api.register_worker("gpu", serves=("another",))
    with_another_model = await scrape(api)
    await api.register_worker("gpu", "media")

    unserved = "phoenix_unserved_tasks"
    assert (without_workers[unserved, ("animatic", "gpu")], without_workers[unserved, ("none", "media")]) == (2, 1)
    assert with_another_model[unserved, ("animatic", "gpu")] == 2
    assert {value for (name, _), value in (await scrape(api)).items() if name == unserved} == {0}


async def test_the_memory_of_each_workers_device_is_reported(api: Api) -> None:
    said = WorkerReport("wrk_gpu", "box", 1, "cuda:1", {"gpu": 1}, memory_used_bytes=5, memory_total_bytes=9)
    async with api.services.database.write() as uow:
        await record_heartbeat(uow, said, lease_s=60)
    await api.register_worker("media")

    seen = await scrape(api)

    memory = {key: value for key, value in seen.items() if key[0].startswith("phoenix_device_memory")}
    assert memory == {
        ("phoenix_device_memory_used_bytes", ("cuda:1", "box", "wrk_gpu")): 5,
        ("phoenix_device_memory_total_bytes", ("cuda:1", "box", "wrk_gpu")): 9,
    }


async def test_the_memory_that_models_use_of_each_workers_machine_is_reported(api: Api) -> None:
    report = WorkerReport(
        "wrk_gpu", "box", 1, "cuda:1", {"gpu": 1}, host_memory_used_bytes=5, host_memory_budget_bytes=9
    )
    async with api.services.database.write() as uow:
        await record_heartbeat(uow, report, lease_s=60)
    await api.register_worker("media")

    seen = await scrape(api)

    assert {key: value for key, value in seen.items() if key[0].startswith("phoenix_host_memory")} == {
        ("phoenix_host_memory_used_bytes", ("box", "wrk_gpu")): 5,
        ("phoenix_host_memory_budget_bytes", ("box", "wrk_gpu")): 9,
    }
    worker = (await api.http.get("/v1/workers")).json()["data"][0]
    assert (worker["host_memory_used_bytes"], worker["host_memory_budget_bytes"]) == (5, 9)


async def test_jobs_that_ended_stay_counted_when_they_are_deleted(api: Api) -> None:
    job = await api.submit()
    await api.http.post(f"/v1/jobs/{job['id']}/cancel")
    await api.http.delete(f"/v1/jobs/{job['id']}")

    seen = await scrape(api)

    assert seen["phoenix_jobs_ended_total", ("none", "canceled")] == 1
    assert seen["phoenix_jobs_ended_total", ("GPU_OOM", "failed")] == 0


async def test_no_series_reports_when_it_began(api: Api) -> None:
    assert not [name for name, _ in await scrape(api) if name.endswith("_created")]


async def test_every_replica_reports_the_same_fleet(api: Api, api_settings: Settings) -> None:
    await api.submit()
    async with open_api(api_settings) as other:
        one, two = await scrape(api), await scrape(other)

    for name in ("phoenix_jobs", "phoenix_tasks", "phoenix_workers", "phoenix_webhooks_pending"):
        assert {key: value for key, value in one.items() if key[0] == name} == {
            key: value for key, value in two.items() if key[0] == name
        }


async def test_the_stages_of_recent_clips_are_reported(api: Api) -> None:
    await api.submit()
    await complete_next(api.services.database)

    seen = await scrape(api)

    assert seen["phoenix_clip_stage_seconds_mean", ("queue",)] >= 0


@pytest.mark.parametrize(
    ("method", "path", "labels"),
    [
        ("GET", "/v1/jobs/job_" + "0" * 26, ("GET", "/v1/jobs/{job_id}", "404")),
        ("GET", "/nowhere/at/all", ("GET", "none", "404")),
        ("BREW", "/v1/jobs", ("other", "/v1/jobs", "405")),
        ("GET", "/v1/models", ("GET", "/v1/models", "200")),
    ],
)
async def test_answers_are_counted_by_the_route_and_not_by_the_path(
    api: Api, method: str, path: str, labels: tuple[str, str, str]
) -> None:
    await api.http.request(method, path)

    seen = await scrape(api)

    assert seen["phoenix_http_answer_seconds_count", labels] == 1


async def test_an_open_stream_is_counted_until_it_ends(api: Api) -> None:
    async def are_open(count: int) -> bool:
        return (await scrape(api))["phoenix_streams_open", ()] == count

    stream = asyncio.create_task(api.http.get("/v1/events"))
    await until(lambda: are_open(1))
    stream.cancel()

    await until(lambda: are_open(0))


async def test_without_its_database_a_server_still_reports_its_own_metrics(api_settings: Settings) -> None:
    away = api_settings.database.model_copy(update={"url": "postgresql://nobody@127.0.0.1:1/none"})
    async with open_api(api_settings.model_copy(update={"database": away})) as api:
        seen = await scrape(api)

    assert seen["phoenix_database_up", ()] == 0
    assert ("phoenix_streams_open", ()) in seen


@pytest.mark.parametrize("scope", [Scope.METRICS, Scope.ADMIN])
async def test_where_keys_are_required_metrics_take_one_with_a_scope_for_them(
    guarded: GuardedApi, scope: Scope
) -> None:
    scraper = await guarded.caller(scope)
    other = await guarded.caller(Scope.READ, Scope.WRITE)

    assert_problem(await guarded.api.http.get("/metrics"), 401, "UNAUTHENTICATED")
    assert_problem(await other.http.get("/metrics"), 403, "FORBIDDEN")
    assert (await scrape(scraper))["phoenix_database_up", ()] == 1


async def test_a_recorded_trace_is_the_exemplar_of_its_answer_in_openmetrics(api: Api) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    for path, flags in (("/v1/models", "01"), ("/v1/queue", "00")):
        await api.http.get(path, headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-{flags}"})

    response = await api.http.get("/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"})
    samples = [each for family in openmetrics.text_string_to_metric_families(response.text) for each in family.samples]
    exemplars = {each.labels["route"]: each.exemplar.labels for each in samples if each.exemplar}

    assert response.headers["content-type"].startswith("application/openmetrics-text")
    assert exemplars == {"/v1/models": {"trace_id": trace}}
    assert {"phoenix_database_up", "phoenix_jobs_ended_total"} <= {each.name for each in samples}
