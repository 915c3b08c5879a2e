"""What a pause keeps from starting, on both databases."""

import pytest

from builders import OWNER, complete_next, get_job, submit_reel
from phoenix.contract import PauseKind, WaitingCode
from phoenix.db.unit_of_work import Database
from phoenix.jobs.execution.claim import Claim, claim
from phoenix.jobs.lifecycle import TaskState
from phoenix.jobs.scheduling.dispatch import mark_dispatched, plan_dispatch, undispatch
from phoenix.jobs.scheduling.fair_queue import DispatchPlan
from phoenix.jobs.scheduling.pauses import pause, read_pauses, resume
from phoenix.jobs.scheduling.queue_positions import QueuePositions
from phoenix.jobs.scheduling.workers import WorkerReport, record_heartbeat
from phoenix.jobs.tables import TaskRow

SUBJECTS = [(PauseKind.QUEUE, "gpu"), (PauseKind.MODEL, "animatic"), (PauseKind.KEY, OWNER)]
"""Each holds back the clips of `submit_reel`."""


async def start_worker(database: Database) -> None:
    slots = {"gpu": 2, "media": 2}
    async with database.write() as uow:
        await record_heartbeat(
            uow, WorkerReport("wrk_1", "host", 1, "cpu", slots=slots, serves=("animatic",)), lease_s=60
        )


async def set_pause(database: Database, kind: PauseKind, name: str, reason: str | None = None) -> None:
    async with database.write() as uow:
        await pause(uow, kind, name, reason=reason, paused_by="key_admin")


async def end_pause(database: Database, kind: PauseKind, name: str) -> None:
    async with database.write() as uow:
        await resume(uow, kind, name)


async def plan(database: Database, queue: str = "gpu") -> DispatchPlan:
    async with database.read() as session:
        return await plan_dispatch(session, queue, prefetch_multiplier=2)


async def dispatch(database: Database) -> DispatchPlan:
    made = await plan(database)
    async with database.write() as uow:
        await mark_dispatched(uow, made.enqueue)
        await undispatch(uow, made.undispatch)
    return made


async def claim_of(database: Database, task: TaskRow) -> Claim | None:
    async with database.write() as uow:
        return await claim(uow, task.id, task.dispatch_seq, worker_id="wrk_1", lease_s=60)


@pytest.mark.parametrize(("kind", "name"), SUBJECTS)
async def test_nothing_that_is_paused_is_dispatched_until_it_is_resumed(
    database: Database, kind: PauseKind, name: str
) -> None:
    await start_worker(database)
    await submit_reel(database)
    await set_pause(database, kind, name)
    during = await plan(database)
    await end_pause(database, kind, name)

    assert (list(during.enqueue), len((await plan(database)).enqueue)) == ([], 1)


@pytest.mark.parametrize(("kind", "name"), SUBJECTS)
async def test_messages_that_nobody_has_claimed_are_taken_back(database: Database, kind: PauseKind, name: str) -> None:
    await start_worker(database)
    job_id = await submit_reel(database)
    await dispatch(database)
    await set_pause(database, kind, name)
    during = await dispatch(database)
    clip = (await get_job(database, job_id)).tasks[0]

    assert ([task.task_id for task in during.revoke], clip.dispatched_at) == ([clip.id], None)


@pytest.mark.parametrize(("kind", "name"), SUBJECTS)
async def test_a_worker_that_has_the_message_already_does_not_start_the_clip(
    database: Database, kind: PauseKind, name: str
) -> None:
    await start_worker(database)
    job_id = await submit_reel(database)
    await dispatch(database)
    await set_pause(database, kind, name)
    clip = (await get_job(database, job_id)).tasks[0]
    claimed = await claim_of(database, clip)
    after = (await get_job(database, job_id)).tasks[0]

    assert (claimed, after.state, after.attempt, after.dispatched_at) == (None, TaskState.READY, 0, None)


async def test_a_clip_whose_message_came_during_the_pause_is_dispatched_after_it(database: Database) -> None:
    await start_worker(database)
    job_id = await submit_reel(database)
    await dispatch(database)
    await set_pause(database, PauseKind.QUEUE, "gpu")
    clip = (await get_job(database, job_id)).tasks[0]
    await claim_of(database, clip)
    await end_pause(database, PauseKind.QUEUE, "gpu")

    assert [task.task_id for task in (await plan(database)).enqueue] == [clip.id]


async def test_the_pause_of_a_model_lets_the_reels_with_finished_clips_be_assembled(database: Database) -> None:
    await start_worker(database)
    await submit_reel(database)
    await complete_next(database)
    await set_pause(database, PauseKind.MODEL, "animatic")

    assert len((await plan(database, "media")).enqueue) == 1


async def test_the_pause_of_a_key_holds_no_other_key_back(database: Database) -> None:
    await start_worker(database)
    await submit_reel(database)
    other = await submit_reel(database, owner_id="key_b")
    await set_pause(database, PauseKind.KEY, OWNER)

    assert [task.job_id for task in (await plan(database)).enqueue] == [other]


async def test_a_job_says_that_it_waits_for_a_pause_and_not_how_long(database: Database) -> None:
    await start_worker(database)
    job = await get_job(database, await submit_reel(database))
    await set_pause(database, PauseKind.QUEUE, "gpu", "new drivers")
    position = (await QueuePositions(database).find([job]))[job.row.id]

    assert position.waiting_reason is not None
    assert (position.waiting_reason.code, position.eta_s) == (WaitingCode.PAUSED, None)
    assert position.waiting_reason.detail == "The queue gpu is paused: new drivers."


async def test_jobs_of_a_paused_model_are_not_ahead_of_others(database: Database) -> None:
    await start_worker(database)
    for _ in range(4):
        await submit_reel(database, owner_id="key_b")
    job = await get_job(database, await submit_reel(database))
    await set_pause(database, PauseKind.KEY, "key_b")

    assert (await QueuePositions(database).find([job]))[job.row.id].queue_position == 0


async def test_a_second_pause_changes_the_reason_and_not_the_time(database: Database) -> None:
    await set_pause(database, PauseKind.MODEL, "wan", "one")
    async with database.read() as session:
        (before,) = (await read_pauses(session)).rows.values()
    await set_pause(database, PauseKind.MODEL, "wan", "two")
    async with database.read() as session:
        (after,) = (await read_pauses(session)).rows.values()

    assert (before.reason, after.reason, after.created_at) == ("one", "two", before.created_at)


async def test_what_is_not_paused_can_be_resumed(database: Database) -> None:
    await end_pause(database, PauseKind.QUEUE, "gpu")

    async with database.read() as session:
        assert not await read_pauses(session)
