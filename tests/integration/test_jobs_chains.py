"""Clips that continue the clip before them, on both databases: when they start, and what becomes of them."""

from collections.abc import Sequence

from builders import (
    FROM_PREVIOUS,
    OWNER,
    RULE,
    claim_next,
    complete_next,
    get_job,
    make_failure,
    submit_reel,
)
from phoenix.contract import JobState
from phoenix.db.unit_of_work import Database
from phoenix.jobs.cancel_and_retry import cancel, retry
from phoenix.jobs.execution.claim import Claim
from phoenix.jobs.execution.recovery import recover_from_lost_worker
from phoenix.jobs.execution.task_completion import fail
from phoenix.jobs.lifecycle import TaskState
from phoenix.jobs.scheduling.dispatch import list_ready
from phoenix.jobs.views import view_job

BLOCKED, READY, SUCCEEDED = TaskState.BLOCKED, TaskState.READY, TaskState.SUCCEEDED
FAILED, CANCELED = TaskState.FAILED, TaskState.CANCELED


async def submit_chain(database: Database, clips: int = 3) -> str:
    return await submit_reel(database, clips=[{"prompt": "a fox"}, *[FROM_PREVIOUS] * (clips - 1)])


async def states(database: Database, job_id: str) -> list[TaskState]:
    return [task.state for task in (await get_job(database, job_id)).tasks]


async def ready_positions(database: Database) -> Sequence[int]:
    async with database.read() as session:
        return [task.position for task in await list_ready(session, "gpu")]


async def retry_by_hand(database: Database, job_id: str) -> None:
    async with database.write() as uow:
        await retry(uow, job_id, owner_id=OWNER, queue_timeout_s=60)


async def fail_for_good(database: Database, claimed: Claim) -> None:
    async with database.write() as uow:
        await fail(uow, claimed, make_failure(), RULE, jitter=0)


async def test_only_the_first_clip_of_a_chain_is_ready(database: Database) -> None:
    job_id = await submit_chain(database)

    assert await states(database, job_id) == [READY, BLOCKED, BLOCKED, BLOCKED]
    assert await ready_positions(database) == [0]


async def test_each_success_makes_the_next_clip_ready_and_the_last_the_assembly(database: Database) -> None:
    job_id = await submit_chain(database)
    found = [await states(database, job_id)]
    for _ in range(3):
        await complete_next(database)
        found.append(await states(database, job_id))

    assert found == [
        [READY, BLOCKED, BLOCKED, BLOCKED],
        [SUCCEEDED, READY, BLOCKED, BLOCKED],
        [SUCCEEDED, SUCCEEDED, READY, BLOCKED],
        [SUCCEEDED, SUCCEEDED, SUCCEEDED, READY],
    ]


async def test_a_clip_that_continues_no_other_does_not_wait(database: Database) -> None:
    job_id = await submit_reel(database, clips=[{"prompt": "a"}, FROM_PREVIOUS, {"prompt": "b"}, FROM_PREVIOUS])

    assert await states(database, job_id) == [READY, BLOCKED, READY, BLOCKED, BLOCKED]


async def test_a_claim_names_the_file_of_the_clip_before(database: Database) -> None:
    job_id = await submit_chain(database)
    first = await complete_next(database)

    second = await claim_next(database)

    file = (await get_job(database, job_id)).tasks[0].artifact_id
    assert (first.previous_artifact_id, second.previous_artifact_id) == (None, file)
    assert second.prerequisites == ((), (0,), (1,))


async def test_a_clip_waits_from_the_moment_when_it_may_start(database: Database) -> None:
    job_id = await submit_chain(database)
    submitted_at = (await get_job(database, job_id)).tasks[1].waiting_since

    await complete_next(database)

    first, second, *_ = (await get_job(database, job_id)).tasks
    assert first.finished_at == second.waiting_since > submitted_at


async def test_a_clip_shows_which_clip_it_waits_for(database: Database) -> None:
    job_id = await submit_chain(database)
    before = await get_job(database, job_id)
    await complete_next(database)
    after = await get_job(database, job_id)

    shown = [[clip.waits_for_clip for clip in view_job(job.row, job.tasks, None).clips] for job in (before, after)]

    assert shown == [[None, 0, 1], [None, None, 1]]


async def test_a_clip_that_fails_for_good_leaves_no_clip_waiting(database: Database) -> None:
    job_id = await submit_chain(database)

    await fail_for_good(database, await claim_next(database))

    job = await get_job(database, job_id)
    assert job.row.state is JobState.FAILED
    assert await states(database, job_id) == [FAILED, CANCELED, CANCELED, CANCELED]


async def test_a_cancel_ends_the_clips_that_wait(database: Database) -> None:
    job_id = await submit_chain(database)
    await complete_next(database)

    async with database.write() as uow:
        await cancel(uow, job_id, owner_id=OWNER)

    assert await states(database, job_id) == [SUCCEEDED, CANCELED, CANCELED, CANCELED]


async def test_a_retry_of_the_first_clip_blocks_the_others_again(database: Database) -> None:
    job_id = await submit_chain(database)
    await fail_for_good(database, await claim_next(database))

    await retry_by_hand(database, job_id)

    assert await states(database, job_id) == [READY, BLOCKED, BLOCKED, BLOCKED]


async def test_a_retry_of_the_second_clip_does_not_render_the_first_again(database: Database) -> None:
    job_id = await submit_chain(database)
    await complete_next(database)
    await fail_for_good(database, await claim_next(database))

    await retry_by_hand(database, job_id)

    assert await states(database, job_id) == [SUCCEEDED, READY, BLOCKED, BLOCKED]
    assert (await claim_next(database)).previous_artifact_id is not None


async def test_a_lost_worker_loses_only_its_own_clip(database: Database) -> None:
    job_id = await submit_chain(database)
    await complete_next(database)
    lost = await claim_next(database, worker_id="wrk_lost")

    async with database.write() as uow:
        assert await recover_from_lost_worker(uow, job_id, lost.task_id, "wrk_lost", RULE)

    assert await states(database, job_id) == [SUCCEEDED, READY, BLOCKED, BLOCKED]
    assert (await claim_next(database)).previous_artifact_id == lost.previous_artifact_id
