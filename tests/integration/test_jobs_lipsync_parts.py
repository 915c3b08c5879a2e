"""The parts of a lip-sync, on both databases: any worker takes one, a lost worker loses one, and they are joined."""

import pytest

from builders import OWNER, RULE, add_file, claim_next, complete_next, event_types, get_job, make_result
from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.stored_entries import store_postprocessor
from phoenix.contract import CheckCode, ClipCheck, JobOptions, JobState, MediaInfo, ResolvedLipsync
from phoenix.db.unit_of_work import Database
from phoenix.jobs.execution.recovery import recover_from_lost_worker
from phoenix.jobs.execution.task_completion import succeed
from phoenix.jobs.lifecycle import TaskState
from phoenix.jobs.submission.submit import submit
from phoenix.jobs.views import view_job
from phoenix.settings import LimitSettings

VIDEO, AUDIO = (f"art_{number:026d}" for number in range(2))
NO_FACE = ClipCheck(code=CheckCode.NO_FACE, message="none")


async def submit_lipsync(database: Database, *, parts: int) -> str:
    request = ResolvedLipsync(
        video=VIDEO,
        audio=AUDIO,
        model="drawn-mouth",
        entry=store_postprocessor(load_catalog().lip_models["drawn-mouth"]),
        width=64,
        height=64,
        fps=25,
        duration_s=60 * parts,
        parts=parts,
    )
    async with database.write() as uow:
        for artifact_id in (VIDEO, AUDIO):
            await add_file(uow, artifact_id, MediaInfo(media="video", format="mp4"))
        job = await submit(uow, request, JobOptions(), owner_id=OWNER, request_id=None, limits=LimitSettings())
    return job.row.id


async def test_a_short_lip_sync_is_one_task_whose_file_is_the_result(database: Database) -> None:
    job_id = await submit_lipsync(database, parts=1)
    await complete_next(database)
    job = await get_job(database, job_id)
    assert (job.row.state, len(job.tasks)) == (JobState.SUCCEEDED, 1)
    assert job.row.output_artifact_id == job.tasks[0].artifact_id


async def test_workers_take_the_parts_and_one_of_them_joins_them_in_order(database: Database) -> None:
    job_id = await submit_lipsync(database, parts=3)
    claims = [await claim_next(database, worker_id=f"wrk_{number}") for number in range(3)]
    assert [claim.position for claim in claims] == [0, 1, 2]
    for claim in reversed(claims):
        async with database.write() as uow:
            await succeed(uow, claim, make_result(f"part-{claim.position}"))
    assembly = await complete_next(database, "media")
    job = await get_job(database, job_id)
    assert assembly.clip_artifact_ids == tuple(task.artifact_id for task in job.tasks[:3])
    assert job.row.state is JobState.SUCCEEDED
    assert job.row.output_artifact_id == job.tasks[3].artifact_id
    assert view_job(job.row, job.tasks, job.output).clips == []
    assert await event_types(database, job_id) == ["job.queued", "job.started", "job.assembling", "job.succeeded"]


async def test_a_lost_worker_loses_its_part_alone(database: Database) -> None:
    job_id = await submit_lipsync(database, parts=2)
    await complete_next(database)
    lost = await claim_next(database, worker_id="wrk_lost")
    async with database.write() as uow:
        assert await recover_from_lost_worker(uow, job_id, lost.task_id, "wrk_lost", RULE)
    again = await claim_next(database)
    assert (again.task_id, again.attempt) == (lost.task_id, 2)
    async with database.write() as uow:
        await succeed(uow, again, make_result("again"))
    job = await get_job(database, job_id)
    assert [task.attempt for task in job.tasks] == [1, 2, 0]
    assert [task.state for task in job.tasks] == [TaskState.SUCCEEDED, TaskState.SUCCEEDED, TaskState.READY]


@pytest.mark.parametrize(
    ("checks", "has_no_face"), [([(NO_FACE,), ()], False), ([(NO_FACE,), (NO_FACE,)], True), ([(), ()], False)]
)
async def test_an_assembly_knows_whether_any_part_has_a_face(
    database: Database, checks: list[tuple[ClipCheck, ...]], has_no_face: bool
) -> None:
    await submit_lipsync(database, parts=2)
    for failed in checks:
        claim = await claim_next(database)
        async with database.write() as uow:
            await succeed(uow, claim, make_result(claim.task_id, checks=failed))
    assert (await claim_next(database, "media")).has_no_face is has_no_face
