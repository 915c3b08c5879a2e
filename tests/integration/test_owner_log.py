"""The log of all jobs of one owner has no gaps, even if many jobs change at once; and learned durations."""

import asyncio

import pytest

from builders import claim_next, complete_next, get_job, make_result, submit_reel
from phoenix.access.tokens import get_or_create_secret
from phoenix.contract import ClipTimings
from phoenix.db.unit_of_work import Database
from phoenix.events.messages import EventEnvelope
from phoenix.jobs.cancel_and_retry import cancel
from phoenix.jobs.event_log import reader
from phoenix.jobs.execution.task_completion import succeed
from phoenix.jobs.scheduling.durations import read_duration_stats
from phoenix.jobs.scheduling.queue_positions import QueuePositions
from phoenix.jobs.scheduling.workers import WorkerReport, record_heartbeat

JOBS = 20


async def owner_events(database: Database, owner_id: str, after: int = 0) -> list[tuple[int, str, int]]:
    async with database.read() as session:
        rows = await reader.replay_owner(session, owner_id, after, 1000)
    return [(owner_seq, event.job_id, event.seq) for owner_seq, event in rows]


async def test_twenty_jobs_of_one_owner_at_once_are_numbered_without_a_gap(database: Database) -> None:
    jobs = await asyncio.gather(*(submit_reel(database, owner_id="a") for _ in range(JOBS)))

    async def end(job_id: str) -> None:
        async with database.write() as uow:
            await cancel(uow, job_id, owner_id="a")

    await asyncio.gather(*(end(job_id) for job_id in jobs), *(submit_reel(database, owner_id="b") for _ in range(5)))
    found = await owner_events(database, "a")

    assert [owner_seq for owner_seq, _, _ in found] == list(range(1, 2 * JOBS + 1))
    assert all([seq for _, job, seq in found if job == job_id] == [1, 2] for job_id in jobs)
    async with database.read() as session:
        assert await reader.read_owner_log_heads(session, ["a", "b", "c"]) == {"a": 2 * JOBS, "b": 5}


async def test_a_published_event_carries_the_owner_s_number(database: Database, published_events: list[object]) -> None:
    await submit_reel(database, owner_id="a")
    await submit_reel(database, owner_id="a")

    recorded = [said for said in published_events if isinstance(said, EventEnvelope)]
    assert [(said.owner_id, said.owner_seq, said.event.seq) for said in recorded] == [("a", 1, 1), ("a", 2, 1)]


async def test_replicas_share_one_secret(database: Database) -> None:
    drawn = await asyncio.gather(*(get_or_create_secret(database, "x") for _ in range(8)))

    assert len(set(drawn)) == 1
    assert await get_or_create_secret(database, "y") != drawn[0]


async def test_the_duration_of_a_clip_is_learned_and_smoothed(database: Database) -> None:
    for denoise_s in (10.0, 20.0):
        await submit_reel(database)
        claimed = await claim_next(database)
        async with database.write() as uow:
            await succeed(uow, claimed, make_result(claimed.task_id, timings=ClipTimings(denoise_s=denoise_s)))
        await complete_next(database, "media")

    async with database.read() as session:
        durations = await read_duration_stats(session)
    duration = durations.by_model["animatic"].total_s
    task = (await get_job(database, claimed.job_id)).tasks[0]

    assert round(duration * task.weight, 3) == 13.0


async def test_a_waiting_job_s_time_counts_the_work_before_it(database: Database) -> None:
    async with database.write() as uow:
        await record_heartbeat(uow, WorkerReport("wrk_1", "host", 1, "cpu", {"gpu": 1}, ("animatic",)), lease_s=600)
    await submit_reel(database)
    claimed = await claim_next(database)
    async with database.write() as uow:
        await succeed(uow, claimed, make_result("k", timings=ClipTimings(denoise_s=100.0)))
    jobs = [await get_job(database, await submit_reel(database)) for _ in range(3)]

    queue_positions = await QueuePositions(database).find(jobs)

    assert [queue_positions[job.row.id].eta_s for job in jobs] == [105.0, 210.0, 300.0]


async def test_what_comes_after_the_steps_and_after_the_clips_is_learned_too(database: Database) -> None:
    await submit_reel(database, "one", "two")
    timings = ClipTimings(text_s=1.0, denoise_s=9.0, decode_s=2.0, encode_s=3.0, upload_s=1.0)
    for _ in range(2):
        claimed = await claim_next(database)
        async with database.write() as uow:
            await succeed(uow, claimed, make_result(claimed.task_id, timings=timings))
    await complete_next(database, "media")

    await submit_reel(database, "three")
    claimed = await claim_next(database)

    assert claimed.duration is not None
    assert claimed.duration.total_s * claimed.weights[0] == pytest.approx(16.0)
    assert claimed.duration.finish_s * claimed.weights[0] == pytest.approx(6.0)
    assert claimed.assembly_s is not None
