"""A job with something that only a newer version knows in its row: whoever asks for others gets them."""

import asyncio
import json
from collections.abc import Collection, Sequence

import pytest
from sqlalchemy import text

from builders import LEASE_S, OWNER, submit_reel
from fixtures.api import Api, assert_problem
from phoenix.db.unit_of_work import Database
from phoenix.errors import NewerVersionError
from phoenix.events.log_interface import CoalescingEventLog
from phoenix.events.progress_cache import NO_PROGRESS, ProgressSnapshot
from phoenix.jobs.event_log.reader import SqlEventLog
from phoenix.jobs.execution.claim import claim
from phoenix.jobs.repository import list_unfinished, list_waiting
from phoenix.jobs.scheduling.dispatch import list_ready, plan_dispatch
from phoenix.jobs.scheduling.queue_positions import QueuePositions
from phoenix.jobs.scheduling.workers import WorkerReport, record_heartbeat

CHANGES = {
    "kind": "UPDATE jobs SET kind = 'slideshow', request = :request WHERE id = :id",
    "ending": "UPDATE jobs SET ending = 'paused' WHERE id = :id",
    "priority": "UPDATE jobs SET priority = 'urgent' WHERE id = :id",
}


async def make_newer(database: Database, job_id: str, what: str) -> None:
    values = {"id": job_id} | ({"request": json.dumps({"kind": "slideshow"})} if what == "kind" else {})
    async with database.write() as uow:
        await uow.session.execute(text(CHANGES[what]), values)


@pytest.mark.parametrize("what", CHANGES)
async def test_a_page_of_jobs_is_shown_without_it(api: Api, what: str) -> None:
    ours, newer = await api.submit(), await api.submit()
    await make_newer(api.services.database, newer["id"], what)
    page = await api.http.get("/v1/jobs")
    assert (page.status_code, [job["id"] for job in page.json()["data"]]) == (200, [ours["id"]])


@pytest.mark.parametrize("what", CHANGES)
async def test_who_asks_for_it_is_asked_to_come_again(api: Api, what: str) -> None:
    newer = await api.submit()
    await make_newer(api.services.database, newer["id"], what)
    answer = await api.http.get(f"/v1/jobs/{newer['id']}")
    assert_problem(answer, 503, "UNAVAILABLE")


@pytest.mark.parametrize("what", CHANGES)
async def test_it_is_left_out_of_what_a_key_has_waiting_and_running(database: Database, what: str) -> None:
    newer, ours = await submit_reel(database), await submit_reel(database)
    await make_newer(database, newer, what)
    async with database.read() as session:
        unfinished = await list_unfinished(session, owner_id=OWNER, limit=10)
        queued = await list_waiting(session, job_ids=[newer, ours], owner_ids=[], limit=10)
    assert [[job.row.id for job in jobs] for jobs in (unfinished, queued)] == [[ours], [ours]]


@pytest.mark.parametrize("what", ["kind", "ending"])
async def test_a_worker_knows_that_it_is_not_for_it(database: Database, what: str) -> None:
    await make_newer(database, await submit_reel(database), what)
    async with database.read() as session:
        waiting = (await list_ready(session, "gpu"))[0]
    with pytest.raises(NewerVersionError):
        async with database.write() as uow:
            await claim(uow, waiting.task_id, waiting.dispatch_seq, worker_id="wrk_1", lease_s=LEASE_S)


async def test_an_unknown_priority_is_dispatched_as_the_normal_one(database: Database) -> None:
    async with database.write() as uow:
        await record_heartbeat(
            uow, WorkerReport("wrk_1", "host", 1, "cpu", slots={"gpu": 4}, serves=("animatic",)), lease_s=60
        )
    first, urgent, last = [await submit_reel(database) for _ in range(3)]
    await make_newer(database, urgent, "priority")

    async with database.read() as session:
        plan = await plan_dispatch(session, "gpu", prefetch_multiplier=2)

    assert [task.job_id for task in plan.enqueue] == [first, urgent, last]


async def test_its_events_keep_no_other_stream_from_beginning(database: Database) -> None:
    newer, ours = await submit_reel(database), await submit_reel(database)
    event = json.dumps({"type": "job.paused", "job_id": newer, "seq": 1, "at": "2026-11-21T12:00:00Z"})
    async with database.write() as uow:
        statement = text("UPDATE events SET type = 'job.paused', data = :data WHERE job_id = :id")
        await uow.session.execute(statement, {"data": event, "id": newer})
    log = CoalescingEventLog(SqlEventLog(database, no_progress, QueuePositions(database)))

    of_newer, of_ours = await asyncio.gather(log.replay(newer, 0), log.replay(ours, 0), return_exceptions=True)

    assert isinstance(of_newer, NewerVersionError)
    assert isinstance(of_ours, Sequence)
    assert [event.job_id for event in of_ours] == [ours]


async def no_progress(job_ids: Collection[str]) -> dict[str, ProgressSnapshot]:
    return dict.fromkeys(job_ids, NO_PROGRESS)
