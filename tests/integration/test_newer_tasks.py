"""A job with a task of a kind that only a newer version knows: left alone and said, and nobody else waits for it."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from sqlalchemy import URL, text, update
from sqlmodel import col

from builders import LEASE_S, OWNER, RULE, claim_next, complete_next, get_job, submit_reel
from fixtures.api import Api, assert_problem
from fixtures.workplace import WorkerHarness, a_reel
from phoenix.api.background.lease_reaper import LeaseReaper
from phoenix.api.background.retention import RetentionService
from phoenix.contract import JobState
from phoenix.db.columns import db_now
from phoenix.db.unit_of_work import Database
from phoenix.jobs.execution.claim import claim
from phoenix.jobs.repository import list_unfinished, list_waiting
from phoenix.jobs.scheduling.dispatch import list_ready, plan_dispatch, snooze
from phoenix.jobs.scheduling.workers import WorkerReport, record_heartbeat
from phoenix.jobs.tables import JobRow, TaskRow
from phoenix.services import Services, open_services
from phoenix.settings import DatabaseSettings, RedisSettings, RetentionSettings, Settings
from phoenix.worker.supervisor import hand_back

DAY_S = 24 * 3600


async def make_newer(database: Database, job_id: str, kind: str = "upscale") -> None:
    """As if a newer version had made the job's first task of a kind of its own."""
    statement = text("UPDATE tasks SET kind = :kind WHERE job_id = :id AND position = 0")
    async with database.write() as uow:
        await uow.session.execute(statement, {"kind": kind, "id": job_id})


async def change_job(database: Database, job_id: str, **values: object) -> None:
    async with database.write() as uow:
        await uow.session.execute(update(JobRow).where(col(JobRow.id) == job_id).values(values))


@pytest.fixture
async def services(any_database_url: URL, tmp_path: Path) -> AsyncGenerator[Services]:
    settings = Settings(
        data_dir=tmp_path,
        database=DatabaseSettings(url=any_database_url.render_as_string(hide_password=False)),
        redis=RedisSettings(url="redis://127.0.0.1:1/0"),
        retention=RetentionSettings(jobs_days=7),
    )
    async with open_services(settings) as services:
        yield services


async def test_a_worker_leaves_it_and_does_the_others(harness: WorkerHarness) -> None:
    # More clips than have messages at a time: each of them would keep its place in front of the other job.
    newer = await harness.submit(a_reel(clips=4))
    await make_newer(harness.services.database, newer)
    ours = await harness.submit(a_reel())
    async with harness.worker():
        assert (await harness.until_ended(ours)).row.state is JobState.SUCCEEDED
    await make_newer(harness.services.database, newer, "render")
    job = await harness.job(newer)
    assert (job.row.state, [task.attempt for task in job.tasks]) == (JobState.QUEUED, [0] * 5)


async def test_a_task_that_was_snoozed_makes_way_and_is_still_claimed_by_its_message(database: Database) -> None:
    async with database.write() as uow:
        await record_heartbeat(
            uow, WorkerReport("wrk_1", "host", 1, "cpu", slots={"gpu": 4}, serves=("animatic",)), lease_s=60
        )
    first, second = await submit_reel(database), await submit_reel(database)
    async with database.read() as session:
        waiting = (await list_ready(session, "gpu"))[0]
    async with database.write() as uow:
        await snooze(uow, waiting.task_id, waiting.dispatch_seq, for_s=60)
    async with database.read() as session:
        plan = await plan_dispatch(session, "gpu", prefetch_multiplier=2)
    assert (waiting.job_id, [task.job_id for task in plan.enqueue]) == (first, [second])
    async with database.write() as uow:
        claimed = await claim(uow, waiting.task_id, waiting.dispatch_seq, worker_id="wrk_newer", lease_s=LEASE_S)
    assert claimed is not None


async def test_the_lease_reaper_ends_the_others_that_are_overdue(services: Services) -> None:
    database = services.database
    newer, ours = await submit_reel(database), await submit_reel(database)
    await make_newer(database, newer)
    for job_id, late_s in ((newer, 60), (ours, 30)):
        await change_job(database, job_id, queue_deadline_at=db_now(-late_s))
    await LeaseReaper(services.database, services.settings.scheduler).reap()
    assert (await get_job(database, ours)).row.state is JobState.EXPIRED


async def run_both(database: Database) -> tuple[str, str]:
    """A job of a newer version and one of this one, both with a task under a lease of the same worker."""
    newer = await submit_reel(database)
    await claim_next(database)
    await make_newer(database, newer)
    ours = await submit_reel(database)
    await claim_next(database)
    return newer, ours


async def test_the_lease_reaper_takes_the_others_whose_worker_is_lost(services: Services) -> None:
    newer, ours = await run_both(services.database)
    async with services.database.write() as uow:
        for job_id, late_s in ((newer, 60), (ours, 30)):
            lapse = update(TaskRow).where(col(TaskRow.job_id) == job_id, col(TaskRow.lease_owner).is_not(None))
            await uow.session.execute(lapse.values(lease_until=db_now(-late_s)))
    await LeaseReaper(services.database, services.settings.scheduler).reap()
    assert (await get_job(services.database, ours)).tasks[0].lease_owner is None


async def test_a_supervisor_hands_the_others_of_its_dead_child_back(services: Services) -> None:
    _, ours = await run_both(services.database)
    assert await hand_back(services.database, "wrk_1", RULE) == 1
    assert (await get_job(services.database, ours)).tasks[0].lease_owner is None


async def test_it_is_deleted_with_the_others_when_it_is_old(services: Services) -> None:
    newer, ours = await submit_reel(services.database), await submit_reel(services.database)
    await make_newer(services.database, newer)
    for job_id in (newer, ours):
        await change_job(services.database, job_id, state=JobState.FAILED, finished_at=db_now(-8 * DAY_S))
    async for _ in RetentionService(services.database, services.store, services.settings.retention).round():
        pass
    async with services.database.read() as session:
        assert (await session.get(JobRow, newer), await session.get(JobRow, ours)) == (None, None)


async def test_it_is_left_out_of_what_a_key_has_waiting_and_running(database: Database) -> None:
    newer, ours = await submit_reel(database), await submit_reel(database)
    await make_newer(database, newer)
    async with database.read() as session:
        unfinished = await list_unfinished(session, owner_id=OWNER, limit=10)
        queued = await list_waiting(session, job_ids=[newer, ours], owner_ids=[], limit=10)
    assert [[job.row.id for job in jobs] for jobs in (unfinished, queued)] == [[ours], [ours]]


async def test_a_page_of_jobs_is_shown_without_it(api: Api) -> None:
    ours, newer = await api.submit(), await api.submit()
    await complete_next(api.services.database)
    await make_newer(api.services.database, newer["id"])
    page = await api.http.get("/v1/jobs")
    assert (page.status_code, [job["id"] for job in page.json()["data"]]) == (200, [ours["id"]])


async def test_a_page_of_jobs_is_shown_without_one_whose_output_is_of_a_newer_kind(api: Api) -> None:
    ours, newer = await api.submit(), await api.submit()
    for _ in range(2):
        await complete_next(api.services.database)
        await complete_next(api.services.database, "media")
    statement = text("UPDATE artifacts SET kind = 'hologram' WHERE job_id = :id AND kind = 'output'")
    async with api.services.database.write() as uow:
        changed = await uow.session.execute(statement, {"id": newer["id"]})
    page = await api.http.get("/v1/jobs")
    assert changed.rowcount == 1  # type: ignore[attr-defined]
    assert (page.status_code, [job["id"] for job in page.json()["data"]]) == (200, [ours["id"]])


async def test_who_asks_for_it_is_asked_to_come_again(api: Api) -> None:
    newer = await api.submit()
    await make_newer(api.services.database, newer["id"])
    answer = await api.http.get(f"/v1/jobs/{newer['id']}")
    assert_problem(answer, 503, "UNAVAILABLE")
    assert answer.headers["retry-after"] == "5"
