"""The way of a job through its states, on both databases."""

import asyncio

import pytest
from sqlalchemy import event

from builders import (
    LEASE_S,
    OWNER,
    RULE,
    claim_next,
    complete_next,
    event_types,
    get_job,
    make_failure,
    make_result,
    submit_reel,
)
from phoenix.contract import PROMPT_CUT, ClipSucceeded, ClipWarning, JobState
from phoenix.db.unit_of_work import Database
from phoenix.errors import Conflict, NotFound, QueueFull
from phoenix.events.messages import EventEnvelope
from phoenix.jobs.cancel_and_retry import cancel, retry
from phoenix.jobs.event_log.reader import replay
from phoenix.jobs.execution.claim import claim
from phoenix.jobs.execution.task_completion import fail, release, stop, succeed
from phoenix.jobs.lifecycle import LeaseLost, TaskKind, TaskState
from phoenix.jobs.post_commit import StopRequested, TasksReady
from phoenix.jobs.retention import delete_job
from phoenix.jobs.scheduling.dispatch import list_ready
from phoenix.jobs.tables import TaskRow
from phoenix.settings import LimitSettings


async def waiting(database: Database, queue: str) -> int:
    async with database.read() as session:
        return len(await list_ready(session, queue))


async def test_a_reel_is_rendered_clip_by_clip_and_then_assembled(database: Database) -> None:
    job_id = await submit_reel(database, "one", "two")
    await complete_next(database)
    await complete_next(database)

    assembly = await complete_next(database, "media")

    job = await get_job(database, job_id)
    assert job.row.state is JobState.SUCCEEDED
    assert [part is not None for part in assembly.clip_artifact_ids] == [True, True]
    assert job.output is not None
    assert await event_types(database, job_id) == [
        "job.queued",
        "job.started",
        "clip.started",
        "clip.succeeded",
        "clip.started",
        "clip.succeeded",
        "job.assembling",
        "job.succeeded",
    ]


async def test_the_event_of_a_clip_has_the_warnings_of_the_clip(database: Database) -> None:
    job_id = await submit_reel(database)
    cut = ClipWarning(code=PROMPT_CUT, message="cut", encoder="text_encoder", tokens=93, limit=77)
    claimed = await claim_next(database)
    async with database.write() as uow:
        await succeed(uow, claimed, make_result(warnings=(cut,)))

    async with database.read() as session:
        events = await replay(session, job_id, 0)

    assert [event.warnings for event in events if isinstance(event, ClipSucceeded)] == [[cut]]


async def test_the_assembly_waits_for_the_last_clip(database: Database) -> None:
    await submit_reel(database, "one", "two")

    await complete_next(database)

    assert await waiting(database, "media") == 0


async def test_a_clip_of_a_long_reel_is_claimed_and_ended_without_its_other_tasks_in_full(database: Database) -> None:
    first, *_ = (await get_job(database, await submit_reel(database, clips=[{"prompt": "a fox"}] * 12))).tasks
    loaded = list[str]()

    def note(task: TaskRow, *_: object) -> None:
        loaded.append(task.id)

    event.listen(TaskRow, "load", note)
    event.listen(TaskRow, "refresh", note)
    await complete_next(database)
    event.remove(TaskRow, "load", note)
    event.remove(TaskRow, "refresh", note)

    assert set(loaded) == {first.id}


async def test_two_clips_that_end_at_once_make_one_assembly_ready(database: Database) -> None:
    job_id = await submit_reel(database, "one", "two")
    claims = [await claim_next(database), await claim_next(database)]

    async def finish(index: int) -> None:
        async with database.write() as uow:
            await succeed(uow, claims[index], make_result())

    await asyncio.gather(finish(0), finish(1))

    assert await waiting(database, "media") == 1
    assert (await event_types(database, job_id)).count("clip.succeeded") == 2


async def test_a_message_can_be_answered_once(database: Database) -> None:
    await submit_reel(database)
    async with database.read() as session:
        (task,) = await list_ready(session, "gpu")

    async def answer(worker_id: str) -> bool:
        async with database.write() as uow:
            return await claim(uow, task.task_id, task.dispatch_seq, worker_id=worker_id, lease_s=LEASE_S) is not None

    answers = await asyncio.gather(*(answer(f"wrk_{n}") for n in range(5)))

    assert sorted(answers) == [False, False, False, False, True]


async def test_a_result_of_an_earlier_attempt_changes_nothing(database: Database) -> None:
    await submit_reel(database)
    stale = await claim_next(database, worker_id="wrk_frozen")
    async with database.write() as uow:
        await release(uow, stale)
    current = await claim_next(database, worker_id="wrk_new")

    with pytest.raises(LeaseLost):
        async with database.write() as uow:
            await succeed(uow, stale, make_result())

    assert current.attempt == 2


async def test_a_retriable_failure_is_tried_again(database: Database) -> None:
    job_id = await submit_reel(database)
    async with database.write() as uow:
        await fail(uow, await claim_next(database), make_failure(retriable=True), RULE, jitter=0)

    again = await claim_next(database)

    assert again.attempt == 2
    assert "clip.retrying" in await event_types(database, job_id)


async def test_a_final_failure_ends_the_job_once_its_other_clips_are_done(database: Database) -> None:
    job_id = await submit_reel(database, "one", "two", "three")
    broken, good = await claim_next(database), await claim_next(database)
    async with database.write() as uow:
        await fail(uow, broken, make_failure(), RULE, jitter=0)
    state_before = (await get_job(database, job_id)).row.state

    async with database.write() as uow:
        await succeed(uow, good, make_result())

    job = await get_job(database, job_id)
    assert (state_before, job.row.state) == (JobState.RUNNING, JobState.FAILED)
    assert [task.state for task in job.tasks] == [
        TaskState.FAILED,
        TaskState.SUCCEEDED,
        TaskState.CANCELED,
        TaskState.CANCELED,
    ]


async def test_a_retry_by_hand_renders_only_what_is_missing(database: Database) -> None:
    job_id = await submit_reel(database, "one", "two")
    await complete_next(database)
    async with database.write() as uow:
        await fail(uow, await claim_next(database), make_failure(), RULE, jitter=0)

    async with database.write() as uow:
        await retry(uow, job_id, owner_id=OWNER, queue_timeout_s=60)
    rendered = await complete_next(database)
    await complete_next(database, "media")

    assert rendered.position == 1
    assert (await get_job(database, job_id)).row.state is JobState.SUCCEEDED


async def test_a_job_that_succeeded_cannot_be_retried(database: Database) -> None:
    job_id = await submit_reel(database)
    await complete_next(database)
    await complete_next(database, "media")

    with pytest.raises(Conflict):
        async with database.write() as uow:
            await retry(uow, job_id, owner_id=OWNER, queue_timeout_s=60)


async def test_a_waiting_job_is_canceled_at_once(database: Database) -> None:
    job_id = await submit_reel(database, "one", "two")

    async with database.write() as uow:
        await cancel(uow, job_id, owner_id=OWNER)

    assert (await get_job(database, job_id)).row.state is JobState.CANCELED
    assert await waiting(database, "gpu") == 0


async def test_a_running_job_is_canceled_when_its_worker_confirms(
    database: Database, published_events: list[object]
) -> None:
    job_id = await submit_reel(database)
    running = await claim_next(database)
    async with database.write() as uow:
        await cancel(uow, job_id, owner_id=OWNER)
    state_before = (await get_job(database, job_id)).row.state

    async with database.write() as uow:
        await stop(uow, running)

    assert state_before is JobState.RUNNING
    assert StopRequested(running.task_id) in published_events
    assert (await get_job(database, job_id)).row.state is JobState.CANCELED


async def test_canceling_twice_records_one_event(database: Database) -> None:
    job_id = await submit_reel(database)

    for _ in range(2):
        async with database.write() as uow:
            await cancel(uow, job_id, owner_id=OWNER)

    assert await event_types(database, job_id) == ["job.queued", "job.canceled"]


async def test_of_a_cancel_and_a_completion_the_first_to_commit_wins(database: Database) -> None:
    job_id = await submit_reel(database)
    await complete_next(database)
    assembling = await claim_next(database, "media")

    async def finish() -> None:
        async with database.write() as uow:
            await succeed(uow, assembling, make_result())

    async def end() -> None:
        async with database.write() as uow:
            await cancel(uow, job_id, owner_id=OWNER)

    await asyncio.gather(finish(), end())

    types = await event_types(database, job_id)
    assert sum(kind in types for kind in ("job.succeeded", "job.canceled")) == 1


async def test_work_handed_back_is_not_counted_as_a_failure(database: Database) -> None:
    job_id = await submit_reel(database)

    async with database.write() as uow:
        await release(uow, await claim_next(database))

    task = (await get_job(database, job_id)).tasks[0]
    assert (task.crashes, task.failures, task.preemptions) == (0, 0, 1)


async def test_events_are_published_after_the_commit_only(database: Database, published_events: list[object]) -> None:
    async with database.write():
        pass
    with pytest.raises(QueueFull):
        await submit_reel(database, limits=LimitSettings(max_queued_jobs=1).model_copy(update={"max_queued_jobs": 0}))
    before = list(published_events)

    await submit_reel(database)

    assert before == []
    assert {type(said) for said in published_events} == {EventEnvelope, TasksReady}


async def test_a_soundtrack_is_prepared_beside_the_clips(database: Database) -> None:
    job_id = await submit_reel(database, soundtrack={"url": "https://example.com/a.mp3"})

    kinds = [task.kind for task in (await get_job(database, job_id)).tasks]

    assert kinds == [TaskKind.RENDER, TaskKind.SOUNDTRACK, TaskKind.ASSEMBLE]
    assert await waiting(database, "media") == 1


async def test_a_deleted_job_leaves_no_row(database: Database) -> None:
    job_id = await submit_reel(database)
    async with database.write() as uow:
        await cancel(uow, job_id, owner_id=OWNER)

    async with database.write() as uow:
        await delete_job(uow, job_id, owner_id=OWNER)

    with pytest.raises(NotFound):
        async with database.write() as uow:
            await cancel(uow, job_id, owner_id=OWNER)


async def test_a_running_job_cannot_be_deleted(database: Database) -> None:
    job_id = await submit_reel(database)
    await claim_next(database)

    with pytest.raises(Conflict):
        async with database.write() as uow:
            await delete_job(uow, job_id, owner_id=OWNER)


async def test_somebody_elses_job_is_not_found(database: Database) -> None:
    job_id = await submit_reel(database, owner_id="key_a")

    with pytest.raises(NotFound):
        async with database.write() as uow:
            await cancel(uow, job_id, owner_id="key_b")
