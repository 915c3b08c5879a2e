"""The attempts and the log of a job, and the statistics of what has ended; on both databases."""

import asyncio
from datetime import timedelta
from typing import get_args

from sqlalchemy import func, select
from sqlmodel import col

from builders import OWNER, RULE, claim_next, complete_next, get_job, make_failure, make_result, submit_reel
from phoenix.clock import utc_now
from phoenix.contract.history import Stats, StatsBy, StatsStep
from phoenix.db import insert_rows
from phoenix.db.unit_of_work import Database
from phoenix.jobs.cancel_and_retry import cancel, retry
from phoenix.jobs.execution.recovery import recover_from_lost_worker
from phoenix.jobs.execution.task_completion import AttemptRecord, fail, succeed
from phoenix.jobs.history.attempts import read_attempts, read_log
from phoenix.jobs.history.figures import QueueSample, add_up, spread
from phoenix.jobs.history.measurements import Measurement
from phoenix.jobs.history.queries import StatsWindow, read_stats, read_totals, read_usage, write_stats
from phoenix.jobs.history.rollup import delete_old_stats, has_measurements, roll_up
from phoenix.jobs.history.tables import MeasurementRow, StatsRow
from phoenix.jobs.retention import delete_job

STAGES = {"load": 1.0, "queue": 0.5, "denoise": 4.0, "decode": 1.0, "encode": 0.5}
LINE = {"at": "2026-01-31T12:00:00+00:00", "level": "warning", "message": "out of memory", "fields": {"model": "wan"}}
RECORD = AttemptRecord(STAGES, (LINE,), peak_memory_bytes=2**33)


async def fail_next(database: Database, *, retriable: bool = False) -> None:
    claimed = await claim_next(database)
    async with database.write() as uow:
        await fail(uow, claimed, make_failure(retriable=retriable), RULE, RECORD, jitter=0)


async def succeed_next(database: Database) -> None:
    claimed = await claim_next(database)
    async with database.write() as uow:
        await succeed(uow, claimed, make_result(f"{claimed.task_id}/{claimed.attempt}"), RECORD)


async def count_all(database: Database, *samples: QueueSample) -> None:
    async with database.write() as uow:
        await roll_up(uow, samples)


async def show(database: Database, by: StatsBy | None = None) -> Stats:
    now = utc_now()
    window = StatsWindow(now - timedelta(hours=1), now + timedelta(minutes=1), "minute")
    return await read_stats(database, window, by)


async def test_a_total_of_several_days_counts_each_attempt_once(database: Database) -> None:
    now = utc_now()
    ended_at = [now - timedelta(hours=hours) for hours in range(0, 100, 7)]
    clip = Measurement("task", "gpu", "succeeded", model="wan", took_s=10.0)
    sums = add_up([part for at in ended_at for part in spread(clip, at)])
    async with database.write() as uow:
        await insert_rows(uow.session, [StatsRow(**vars(key), data=each.as_document()) for key, each in sums.items()])

    for step in get_args(StatsStep):
        window = StatsWindow(now - timedelta(hours=101), now + timedelta(minutes=1), step)
        (series,) = (await read_stats(database, window, None)).series
        assert series.total.attempts == {"succeeded": len(ended_at)}
        assert sum(point.attempts["succeeded"] for point in series.points) == len(ended_at)
        assert (series.total.took_s and series.total.took_s.count) == len(ended_at)


async def test_every_attempt_is_listed_with_its_stages_and_its_error(database: Database) -> None:
    job_id = await submit_reel(database)
    await fail_next(database, retriable=True)
    await succeed_next(database)

    async with database.read() as session:
        first, second = await read_attempts(session, job_id, owner_id=OWNER, shows_workers=False)

    assert (first.task, first.index, first.number, first.state, first.worker_id) == ("render", 0, 1, "failed", None)
    assert first.error is not None
    assert (second.number, second.state, second.error) == (2, "succeeded", None)
    assert list(second.stages) == list(STAGES)
    assert (second.stages, second.peak_memory_bytes) == (STAGES, 2**33)
    assert second.waited_s >= 0


async def test_a_lost_attempt_has_no_stages_and_says_that_it_crashed(database: Database) -> None:
    job_id = await submit_reel(database)
    claimed = await claim_next(database)
    async with database.write() as uow:
        assert await recover_from_lost_worker(uow, job_id, claimed.task_id, claimed.worker_id, RULE)

    async with database.read() as session:
        (attempt,) = await read_attempts(session, job_id, owner_id=OWNER, shows_workers=True)

    assert (attempt.state, attempt.stages, attempt.worker_id) == ("crashed", {}, "wrk_1")


async def test_a_running_attempt_is_listed(database: Database) -> None:
    job_id = await submit_reel(database)
    await claim_next(database)

    async with database.read() as session:
        (attempt,) = await read_attempts(session, job_id, owner_id=OWNER, shows_workers=False)

    assert (attempt.state, attempt.ended_at) == ("running", None)


async def test_the_log_has_events_and_for_administrators_the_lines_of_workers(database: Database) -> None:
    job_id = await submit_reel(database)
    await fail_next(database)

    async with database.read() as session:
        plain = await read_log(session, job_id, owner_id=OWNER, limit=100, shows_workers=False)
        full = await read_log(session, job_id, owner_id=OWNER, limit=100, shows_workers=True)
        short = await read_log(session, job_id, owner_id=OWNER, limit=2, shows_workers=False)

    messages = ["job.queued", "job.started", "clip.started", "clip.failed", "job.failed"]
    assert [line.message for line in plain.data] == messages
    assert {line.message for line in full.data} - set(messages) == {"out of memory"}
    (line,) = [line for line in full.data if line.source == "worker"]
    assert (line.level, line.index, line.attempt, line.fields["worker_id"]) == ("warning", 0, 1, "wrk_1")
    assert ([line.message for line in short.data], short.has_more) == (messages[-2:], True)


async def test_the_peak_memory_of_a_clip_is_shown_in_its_job(database: Database) -> None:
    job_id = await submit_reel(database)
    await succeed_next(database)

    assert (await get_job(database, job_id)).tasks[0].timings["peak_memory_bytes"] == 2**33


async def test_jobs_attempts_waits_and_codes_are_counted_by_minute(database: Database) -> None:
    await submit_reel(database)
    await fail_next(database)
    await submit_reel(database)
    await succeed_next(database)
    await complete_next(database, "media")
    await count_all(database)

    (series,) = (await show(database)).series

    total = series.total
    assert (total.submitted, total.jobs) == (2, {"failed": 1, "succeeded": 1})
    assert (total.job_codes, total.attempt_codes) == ({"ENGINE_FAILED": 1}, {"ENGINE_FAILED": 1})
    assert total.attempts == {"failed": 1, "succeeded": 2}
    assert total.device_s == 10.0
    assert total.wait_s is not None
    assert total.wait_s.count == 3
    assert total.stages["denoise"].p50 == 4.0 or abs(total.stages["denoise"].p50 - 4.0) < 0.2
    assert total.memory_bytes is not None
    assert sum(point.submitted for point in series.points) == 2


async def test_a_submission_counts_before_its_job_ends_and_once_after_retries(database: Database) -> None:
    job_id = await submit_reel(database)
    before = (await show(database)).series[0].total.submitted
    await fail_next(database)
    async with database.write() as uow:
        await retry(uow, job_id, owner_id=OWNER, queue_timeout_s=60)
    await count_all(database)
    during = (await show(database)).series[0].total.submitted
    async with database.write() as uow:
        await cancel(uow, job_id, owner_id=OWNER)
    await count_all(database)

    after = (await show(database)).series[0].total
    assert (before, during, after.submitted) == (1, 1, 1)
    assert after.jobs == {"canceled": 1, "failed": 1}


async def test_series_by_queue_and_by_model_count_what_belongs_to_them(database: Database) -> None:
    await submit_reel(database)
    await succeed_next(database)
    await complete_next(database, "media")
    await count_all(database, QueueSample("gpu", waiting=3, running=1, slots=2, lasted_s=15.0, memory_share=0.8))

    by_queue = {series.group: series.total for series in (await show(database, "queue")).series}
    by_model = {series.group: series.total for series in (await show(database, "model")).series}

    assert set(by_queue) == {"gpu", "media"}
    gpu = by_queue["gpu"]
    assert (gpu.utilisation, gpu.waiting_mean, gpu.waiting_max, gpu.memory_share_max) == (0.5, 3.0, 3, 0.8)
    assert gpu.jobs == {}
    assert set(by_model) == {"animatic"}
    assert by_model["animatic"].jobs == {"succeeded": 1}


async def test_usage_is_counted_by_owner_and_outlives_the_jobs(database: Database) -> None:
    job_id = await submit_reel(database, owner_id="key_1")
    await succeed_next(database)
    await complete_next(database, "media")
    async with database.write() as uow:
        await delete_job(uow, job_id, owner_id="key_1")
    await count_all(database)

    now = utc_now()
    usage = await read_usage(database, now - timedelta(days=1), now + timedelta(minutes=1), owner_id="key_1")
    others = await read_usage(database, now - timedelta(days=1), now + timedelta(minutes=1), owner_id=OWNER)

    (total,) = usage.totals
    assert (total.jobs, total.clips, total.attempts, total.device_s) == (1, 1, 2, 5.0)
    assert (total.output_bytes, total.video_s) == (6, 1.0)
    assert others.days == []


async def test_what_is_counted_by_two_processes_at_once_counts_once(database: Database) -> None:
    for _ in range(3):
        await submit_reel(database)
        await fail_next(database)

    await asyncio.gather(*(count_all(database) for _ in range(3)))

    assert (await show(database)).series[0].total.jobs == {"failed": 3}
    async with database.read() as session:
        assert not await has_measurements(session)


async def test_figures_add_up_over_several_rounds(database: Database) -> None:
    for _ in range(2):
        await submit_reel(database)
        await succeed_next(database)
        await count_all(database)

    totals = {(key.subject, key.name, key.shape): figures for key, figures in await read_totals(database)}

    gpu = totals["task", "gpu", "480p-16"]
    assert (gpu.counts["outcome:succeeded"], gpu.sketches["memory"].count) == (2, 2)


async def test_an_attempt_whose_transaction_fails_is_not_counted(database: Database) -> None:
    await submit_reel(database)
    claimed = await claim_next(database)
    try:
        async with database.write() as uow:
            await succeed(uow, claimed, make_result("k"), RECORD)
            raise RuntimeError
    except RuntimeError:
        pass

    async with database.read() as session:
        assert (await session.scalars(select(func.count()).select_from(MeasurementRow))).one() == 0


async def test_old_minutes_are_deleted_before_old_days(database: Database) -> None:
    await submit_reel(database)
    await fail_next(database)
    await count_all(database)
    async with database.write() as uow:
        # Of two minutes, if one ended here: each row keeps a time of its own.
        for row in await uow.session.scalars(select(StatsRow).where(col(StatsRow.resolution_s) > 0)):
            row.starts_at -= timedelta(days=3)
        await delete_old_stats(uow, kept_s=90 * 86400)

    async with database.read() as session:
        kept = set(await session.scalars(select(col(StatsRow.resolution_s))))
    assert kept == {0, 3600, 86400}


async def test_what_is_written_is_what_is_read(database: Database) -> None:
    await submit_reel(database, "a")
    await succeed_next(database)
    await count_all(database, QueueSample("gpu", 5, 3, 4, 15.0, 0.8))
    window = StatsWindow(utc_now() - timedelta(hours=2), utc_now(), "hour")

    for by in (None, "queue", "model"):
        written = Stats.model_validate_json(await write_stats(database, window, by))
        assert written == await read_stats(database, window, by)
        assert written.series
