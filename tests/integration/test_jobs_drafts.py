"""Reels that are held until their draft is approved, on both databases."""

from functools import partial

import pytest
from sqlalchemy import update
from sqlmodel import col

from builders import (
    OWNER,
    RULE,
    claim_next,
    complete_next,
    event_types,
    get_job,
    make_failure,
    make_reel,
    submit_reel,
)
from phoenix.contract import JobState, ReelRequest, WaitingCode
from phoenix.db.columns import db_now
from phoenix.db.unit_of_work import Database
from phoenix.errors import Conflict
from phoenix.jobs.cancel_and_retry import approve, cancel, retry
from phoenix.jobs.execution.recovery import end_overdue, list_overdue
from phoenix.jobs.execution.task_completion import fail
from phoenix.jobs.lifecycle import TaskState
from phoenix.jobs.playlists import begin_playlist
from phoenix.jobs.retention import delete_ended, delete_job
from phoenix.jobs.reuse import NO_EARLIER_WORK, EarlierWork
from phoenix.jobs.scheduling.queue_positions import QueuePositions
from phoenix.jobs.scheduling.workers import view_queue
from phoenix.jobs.submission.admission_control import QueueCapacity, check_capacity
from phoenix.jobs.submission.drafts import Draft, submit_held
from phoenix.jobs.submission.submit import submit
from phoenix.jobs.tables import JobRow
from phoenix.settings import LimitSettings

Held = tuple[str, str]
"""The ids of a held job and of its draft."""


async def hold(
    database: Database, *, queue_timeout_s: float | None = None, earlier: EarlierWork = NO_EARLIER_WORK
) -> Held:
    body = {"clips": [{"prompt": "a"}], "hold": "draft", "queue_timeout_s": queue_timeout_s}
    draft = Draft(ReelRequest.model_validate({"clips": [{"prompt": "a"}]}), make_reel("a", steps=3), NO_EARLIER_WORK)
    async with database.write() as uow:
        submit_one = partial(submit, uow, owner_id=OWNER, request_id=None, limits=LimitSettings())
        reel, request = make_reel("a"), ReelRequest.model_validate(body)
        job = await submit_held(submit_one, reel, request, draft, earlier=earlier)
    assert job.row.draft_job_id is not None
    return job.row.id, job.row.draft_job_id


async def hold_until_asked(database: Database) -> Held:
    held = await hold(database)
    await finish(database)
    return held


async def finish(database: Database) -> None:
    """A worker renders and joins the oldest job."""
    await complete_next(database)
    await complete_next(database, "media")


async def accept(database: Database, job_id: str) -> None:
    async with database.write() as uow:
        await approve(uow, job_id, owner_id=OWNER, default_queue_timeout_s=60)


async def try_again(database: Database, job_id: str) -> None:
    async with database.write() as uow:
        await retry(uow, job_id, owner_id=OWNER, queue_timeout_s=60)


async def end(database: Database, job_id: str) -> None:
    async with database.write() as uow:
        await cancel(uow, job_id, owner_id=OWNER)


async def fail_next(database: Database) -> None:
    claimed = await claim_next(database)
    async with database.write() as uow:
        await fail(uow, claimed, make_failure(), RULE, jitter=0)


async def state_of(database: Database, job_id: str) -> JobState:
    return (await get_job(database, job_id)).row.state


async def waiting_code(database: Database, job_id: str) -> WaitingCode | None:
    job = await get_job(database, job_id)
    reason = (await QueuePositions(database).find([job]))[job_id].waiting_reason
    return reason and reason.code


async def test_only_the_draft_is_rendered_at_first(database: Database) -> None:
    job_id, draft_id = await hold(database)

    assert (await claim_next(database)).job_id == draft_id
    job = await get_job(database, job_id)
    assert (job.row.state, {task.state for task in job.tasks}) == (JobState.HELD, {TaskState.BLOCKED})
    assert await waiting_code(database, job_id) is WaitingCode.BLOCKED_BY_DRAFT


async def test_a_draft_that_is_done_asks_for_the_approval(database: Database) -> None:
    job_id, draft_id = await hold_until_asked(database)

    assert await event_types(database, job_id) == ["job.queued", "job.awaiting_approval"]
    assert await state_of(database, draft_id) is JobState.SUCCEEDED
    assert await waiting_code(database, job_id) is WaitingCode.AWAITING_APPROVAL


async def test_an_approved_job_is_rendered(database: Database) -> None:
    job_id, _ = await hold_until_asked(database)

    await accept(database, job_id)
    await finish(database)

    assert await state_of(database, job_id) is JobState.SUCCEEDED
    types = await event_types(database, job_id)
    assert types[:4] == ["job.queued", "job.awaiting_approval", "job.approved", "job.started"]


async def test_a_second_approval_changes_nothing(database: Database) -> None:
    job_id, _ = await hold_until_asked(database)
    await accept(database, job_id)
    before = (await get_job(database, job_id)).row.model_dump()

    await accept(database, job_id)

    assert (await get_job(database, job_id)).row.model_dump() == before


async def test_no_time_limit_runs_while_the_draft_is_made(database: Database) -> None:
    job_id, _ = await hold(database, queue_timeout_s=1)

    row = (await get_job(database, job_id)).row
    assert (row.queue_deadline_at, row.run_deadline_at) == (None, None)


async def test_the_wait_for_a_worker_begins_with_the_approval(database: Database) -> None:
    job_id, _ = await hold(database, queue_timeout_s=500)
    await finish(database)

    await accept(database, job_id)

    row = (await get_job(database, job_id)).row
    assert row.queue_deadline_at is not None
    assert (row.queue_deadline_at - row.queued_at).total_seconds() == pytest.approx(500)
    assert row.queued_at == row.approved_at


async def test_a_job_that_nobody_approves_expires(database: Database) -> None:
    job_id, draft_id = await hold_until_asked(database)
    async with database.write() as uow:
        await uow.session.execute(update(JobRow).where(col(JobRow.id) == job_id).values(queue_deadline_at=db_now(-1)))
        assert await list_overdue(uow.session) == [job_id]
        await end_overdue(uow, job_id)

    row = (await get_job(database, job_id)).row
    assert (row.state, row.error and row.error["message"]) == (JobState.EXPIRED, "Nobody approved its draft in time.")
    assert await state_of(database, draft_id) is JobState.SUCCEEDED


async def test_a_job_ends_as_its_draft_did_without_success(database: Database) -> None:
    job_id, draft_id = await hold(database)
    await fail_next(database)

    row = (await get_job(database, job_id)).row
    assert row.state is JobState.FAILED
    assert row.error is not None
    assert row.error["message"] == f"Its draft, {draft_id}, did not succeed: it broke"


async def test_a_canceled_job_cancels_its_draft(database: Database) -> None:
    job_id, draft_id = await hold(database)

    await end(database, job_id)

    assert [await state_of(database, each) for each in (job_id, draft_id)] == [JobState.CANCELED] * 2


async def test_a_canceled_draft_cancels_its_job(database: Database) -> None:
    job_id, draft_id = await hold(database)

    await end(database, draft_id)

    assert await event_types(database, job_id) == ["job.queued", "job.canceled"]


async def test_a_retry_renders_a_failed_draft_again(database: Database) -> None:
    job_id, draft_id = await hold(database)
    await fail_next(database)

    await try_again(database, job_id)

    assert [await state_of(database, each) for each in (job_id, draft_id)] == [JobState.HELD, JobState.QUEUED]
    await finish(database)
    assert await waiting_code(database, job_id) is WaitingCode.AWAITING_APPROVAL


async def test_a_retry_asks_again_for_the_approval_of_a_draft_that_is_done(database: Database) -> None:
    job_id, _ = await hold_until_asked(database)
    await end(database, job_id)

    await try_again(database, job_id)

    asked = ["job.queued", "job.awaiting_approval"]
    assert await event_types(database, job_id) == [*asked, "job.canceled", *asked]


async def test_a_retry_after_the_approval_needs_no_other_approval(database: Database) -> None:
    job_id, _ = await hold_until_asked(database)
    await accept(database, job_id)
    await fail_next(database)

    await try_again(database, job_id)

    assert await state_of(database, job_id) is JobState.QUEUED


async def test_a_draft_is_kept_while_its_job_waits(database: Database) -> None:
    _, draft_id = await hold_until_asked(database)

    with pytest.raises(Conflict, match="waits for it"):
        async with database.write() as uow:
            await delete_job(uow, draft_id, owner_id=OWNER)
    async with database.write() as uow:
        assert not await delete_ended(uow, draft_id, OWNER)


async def test_a_job_whose_draft_was_deleted_cannot_be_held_again(database: Database) -> None:
    job_id, draft_id = await hold_until_asked(database)
    await end(database, job_id)
    async with database.write() as uow:
        await delete_job(uow, draft_id, owner_id=OWNER)

    with pytest.raises(Conflict, match="was deleted"):
        await try_again(database, job_id)


@pytest.mark.parametrize("ends", [False, True])
async def test_an_approval_before_the_draft_is_done_is_refused(database: Database, ends: bool) -> None:
    job_id, _ = await hold(database)
    if ends:
        await end(database, job_id)

    with pytest.raises(Conflict, match="was never approved" if ends else "is not done yet"):
        await accept(database, job_id)


async def test_a_job_without_a_draft_has_nothing_to_approve(database: Database) -> None:
    job_id = await submit_reel(database)

    with pytest.raises(Conflict, match="no draft to approve"):
        await accept(database, job_id)


async def test_a_held_job_takes_no_place_in_the_queue(database: Database) -> None:
    await hold_until_asked(database)

    async with database.write() as uow:
        assert (await view_queue(uow.session)).jobs_queued == 0
        await check_capacity(uow, QueueCapacity(), limit=1)


async def test_a_held_job_is_not_rendered_because_it_has_a_reused_clip(database: Database) -> None:
    await submit_reel(database, "a")
    await finish(database)

    job_id, _ = await hold(database, earlier=EarlierWork(range(1)))

    clip, assembly = (await get_job(database, job_id)).tasks
    assert (clip.state, assembly.state) == (TaskState.SUCCEEDED, TaskState.BLOCKED)


async def test_a_held_job_has_no_playlist_yet(database: Database) -> None:
    job_id, _ = await hold(database)

    async with database.write() as uow:
        await begin_playlist(uow, job_id, owner_id=OWNER)

    assert {task.kind for task in (await get_job(database, job_id)).tasks} == {"render", "assemble"}
