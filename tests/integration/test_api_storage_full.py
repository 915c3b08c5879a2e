"""A disk below its reserve: new work is refused with a code of its own, and everything else goes on."""

from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fixtures.api import Api, assert_problem, reel_body

MORE_THAN_ANY_DISK = 2**62
KEY = {"Idempotency-Key": "one"}


@pytest.fixture
async def job(api: Api) -> dict[str, Any]:
    """A job from before the disk filled up. From now on, the disk is below the reserve."""
    made = await api.http.post("/v1/reels", json=reel_body("before"), headers=KEY)
    await api.register_worker()
    api.services.reserve.reserve_bytes = MORE_THAN_ANY_DISK
    return made.json()


@pytest.mark.usefixtures("job")
async def test_a_new_job_is_refused_and_the_remedy_is_named(api: Api) -> None:
    response = await api.http.post("/v1/reels", json=reel_body("another"))

    problem = assert_problem(response, 507, "STORAGE_FULL")
    assert "Delete jobs or uploads" in problem["detail"]
    assert response.headers["retry-after"] == "60"


async def test_a_request_that_made_its_job_earlier_gets_this_job(api: Api, job: dict[str, Any]) -> None:
    repeated = await api.http.post("/v1/reels", json=reel_body("before"), headers=KEY)

    assert (repeated.status_code, repeated.json()["id"]) == (202, job["id"])


@pytest.mark.usefixtures("job")
async def test_an_upload_is_refused(api: Api, png_file: Path) -> None:
    assert_problem(await api.upload(png_file), 507, "STORAGE_FULL")


@pytest.mark.usefixtures("job")
async def test_a_video_is_refused_in_openai_s_format(api: Api) -> None:
    response = await api.http.post("/v1/videos", json={"prompt": "a red balloon"})

    assert (response.status_code, response.json()["error"]["code"]) == (507, "storage_full")


async def test_a_retry_is_refused_while_cancel_and_delete_go_on(api: Api, job: dict[str, Any]) -> None:
    path = f"/v1/jobs/{job['id']}"
    assert (await api.http.post(f"{path}/cancel")).status_code == 202
    assert_problem(await api.http.post(f"{path}/retry"), 507, "STORAGE_FULL")
    assert (await api.http.delete(path)).status_code == 204


async def test_a_waiting_job_says_that_it_waits_for_space(api: Api, job: dict[str, Any]) -> None:
    reason = (await api.show(job["id"]))["waiting_reason"]

    assert reason["code"] == "STORAGE_FULL"
    assert "MB free" in reason["detail"]


@pytest.mark.usefixtures("job")
async def test_health_names_both_disks_and_the_server_stays_ready_to_delete(api: Api) -> None:
    health, ready = [await api.http.get(path) for path in ("/health", "/health/ready")]

    errors = assert_problem(health, 503, "UNAVAILABLE")["errors"]
    assert [error["pointer"] for error in errors] == ["/checks/database", "/checks/storage"]
    assert "are its reserve" in errors[0]["detail"]
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")


async def test_the_free_bytes_of_each_disk_and_the_reserve_are_metrics(api: Api) -> None:
    families = text_string_to_metric_families((await api.http.get("/metrics")).text)
    found = {(sample.name, *sample.labels.values()): sample.value for each in families for sample in each.samples}

    assert found["phoenix_disk_free_bytes", "storage"] > 0
    assert found["phoenix_disk_free_bytes", "database"] > 0
    assert found["phoenix_disk_reserve_bytes",] == api.services.settings.storage.reserve_bytes
