"""Clips that the owner has already, on both databases: what is reused, what is shown, and what a deletion leaves."""

import asyncio
from collections.abc import Sequence

from sqlalchemy import select
from sqlmodel import col

from builders import FROM_PREVIOUS, OWNER, claim_next, complete_next, event_types, get_job, make_result, submit_reel
from phoenix.contract import ClipState, Job, JobState
from phoenix.db.unit_of_work import Database
from phoenix.jobs.execution.task_completion import succeed
from phoenix.jobs.lifecycle import TaskState
from phoenix.jobs.post_commit import FilesOrphaned
from phoenix.jobs.retention import delete_job, find_known_keys
from phoenix.jobs.submission.admission_control import count_stored_bytes
from phoenix.jobs.tables import ArtifactRow, AttemptRow
from phoenix.jobs.views import view_job

CHAIN = [{"prompt": "a"}, FROM_PREVIOUS, FROM_PREVIOUS]
ALL = range(3)


async def finish(database: Database, *, clips: int) -> None:
    for _ in range(clips):
        await complete_next(database)
    await complete_next(database, "media")


async def delete(database: Database, job_id: str) -> None:
    async with database.write() as uow:
        await delete_job(uow, job_id, owner_id=OWNER)


async def reused(database: Database, job_id: str) -> list[bool]:
    return [clip.reused for clip in (await view(database, job_id)).clips]


async def view(database: Database, job_id: str) -> Job:
    job = await get_job(database, job_id)
    return view_job(job.row, job.tasks, job.output)


async def clip_keys(database: Database, job_id: str) -> Sequence[str]:
    """The store's keys of the job's clips, in order."""
    ids = [task.artifact_id for task in (await get_job(database, job_id)).tasks if task.kind == "render"]
    async with database.read() as session:
        rows = {
            row.id: row.key for row in await session.scalars(select(ArtifactRow).where(col(ArtifactRow.id).in_(ids)))
        }
    return [rows[artifact_id] for artifact_id in ids if artifact_id]


async def test_an_equal_clip_is_done_at_once_without_an_attempt(database: Database) -> None:
    first = await submit_reel(database, "a", "b")
    await finish(database, clips=2)

    second = await submit_reel(database, "a", "c", reusable=ALL)

    done, waiting = (await view(database, second)).clips
    assert (done.state, done.reused, done.attempt, done.progress) == (ClipState.SUCCEEDED, True, 0, 1)
    assert (waiting.state, waiting.reused) == (ClipState.QUEUED, False)
    assert (await clip_keys(database, second)) == (await clip_keys(database, first))[:1]
    assert await event_types(database, second) == ["job.queued", "clip.succeeded"]
    async with database.read() as session:
        tasks = [task.id for task in (await get_job(database, second)).tasks]
        assert (await session.scalars(select(AttemptRow).where(col(AttemptRow.task_id).in_(tasks)))).all() == []


async def test_a_reel_whose_clips_are_all_there_is_only_assembled(database: Database) -> None:
    await submit_reel(database, "a", "b")
    await finish(database, clips=2)

    job_id = await submit_reel(database, "a", "b", reusable=ALL)
    assembly = await complete_next(database, "media")

    job = await view(database, job_id)
    assert (job.state, job.timings.render_s) == (JobState.SUCCEEDED, None)
    assert len(assembly.clip_artifact_ids) == 2


async def test_what_a_clip_was_made_with_is_shown_with_it_again(database: Database) -> None:
    await submit_reel(database, "a")
    claimed = await claim_next(database)
    async with database.write() as uow:
        await succeed(uow, claimed, make_result("jobs/a/clip.mp4", made_with={"phoenix": "0.1"}))

    (clip,) = (await view(database, await submit_reel(database, "a", reusable=ALL))).clips

    assert (clip.made_with, clip.timings.total_s) == ({"phoenix": "0.1"}, None)


async def test_nobody_gets_the_clip_of_another_owner(database: Database) -> None:
    await submit_reel(database, "a", owner_id="key_other")
    await finish(database, clips=1)

    assert await reused(database, await submit_reel(database, "a", reusable=ALL)) == [False]


async def test_a_clip_is_rendered_again_if_nobody_asks_for_reuse(database: Database) -> None:
    await submit_reel(database, "a")
    await finish(database, clips=1)

    assert await reused(database, await submit_reel(database, "a")) == [False]


async def test_a_chain_is_reused_up_to_its_first_new_clip_and_goes_on_from_there(database: Database) -> None:
    await submit_reel(database, clips=CHAIN)
    await finish(database, clips=3)

    changed = [*CHAIN[:1], {**FROM_PREVIOUS, "prompt": "new"}, FROM_PREVIOUS]
    job_id = await submit_reel(database, clips=changed, reusable=ALL)

    assert await reused(database, job_id) == [True, False, False]
    assert [task.state for task in (await get_job(database, job_id)).tasks][:3] == [
        TaskState.SUCCEEDED,
        TaskState.READY,
        TaskState.BLOCKED,
    ]
    claimed = await claim_next(database)
    assert claimed.previous_artifact_id == (await get_job(database, job_id)).tasks[0].artifact_id


async def test_a_clip_is_not_reused_after_another_clip_than_the_one_that_it_continues(database: Database) -> None:
    """The first render of the beginning is kept, and the end continues the second render of it."""
    await submit_reel(database, clips=CHAIN[:1])
    await finish(database, clips=1)
    await submit_reel(database, clips=CHAIN[:2])
    await finish(database, clips=2)

    assert await reused(database, await submit_reel(database, clips=CHAIN[:2], reusable=ALL)) == [True, False]


async def test_the_bytes_are_deleted_with_the_last_job_that_has_them(
    database: Database, published_events: list[object]
) -> None:
    first = await submit_reel(database, "a")
    await finish(database, clips=1)
    second = await submit_reel(database, "a", reusable=ALL)
    await finish(database, clips=0)
    (key,) = await clip_keys(database, first)

    await delete(database, first)
    assert key not in orphaned(published_events)
    async with database.read() as session:
        assert await find_known_keys(session, [key, "jobs/other"]) == {key}
    await delete(database, second)
    assert key in orphaned(published_events)


async def test_a_clip_can_be_reused_after_the_job_that_rendered_it_is_deleted(database: Database) -> None:
    first = await submit_reel(database, clips=CHAIN)
    await finish(database, clips=3)
    await submit_reel(database, clips=CHAIN, reusable=ALL)
    await finish(database, clips=0)
    await delete(database, first)

    assert await reused(database, await submit_reel(database, clips=CHAIN, reusable=ALL)) == [True] * 3


async def test_nothing_is_reused_of_a_deleted_job_that_was_the_only_one(database: Database) -> None:
    first = await submit_reel(database, "a")
    await finish(database, clips=1)
    await delete(database, first)

    assert await reused(database, await submit_reel(database, "a", reusable=ALL)) == [False]


async def test_a_shared_file_counts_once_in_the_storage_of_its_owner(database: Database) -> None:
    async def stored() -> int:
        async with database.read() as session:
            return await count_stored_bytes(session, OWNER)

    first = await submit_reel(database, "a")
    await finish(database, clips=1)
    before = await stored()
    await submit_reel(database, "a", reusable=ALL)
    await submit_reel(database, "a", reusable=ALL)
    assert await stored() == before
    await delete(database, first)

    size_bytes = make_result().size_bytes
    assert (before, await stored()) == (2 * size_bytes, size_bytes)


def orphaned(published: Sequence[object]) -> list[str]:
    return [key for event in published if isinstance(event, FilesOrphaned) for key in event.keys]


async def test_a_submission_during_the_deletion_has_the_file_or_renders(
    database: Database, published_events: list[object]
) -> None:
    """Whichever is first, no row is without its bytes: the deletion leaves the file, or the clip is not reused."""
    for _ in range(10):
        first = await submit_reel(database, "a")
        await finish(database, clips=1)

        second, _ = await asyncio.gather(submit_reel(database, "a", reusable=ALL), delete(database, first))

        is_reused = (await reused(database, second))[0]
        assert not set(await clip_keys(database, second)) & set(orphaned(published_events))
        await finish(database, clips=0 if is_reused else 1)
        await delete(database, second)


async def test_two_deletions_at_once_leave_no_bytes_behind(database: Database, published_events: list[object]) -> None:
    for _ in range(10):
        first = await submit_reel(database, "a")
        await finish(database, clips=1)
        second = await submit_reel(database, "a", reusable=ALL)
        await finish(database, clips=0)
        (key,) = await clip_keys(database, first)

        await asyncio.gather(delete(database, first), delete(database, second))

        assert orphaned(published_events).count(key) == 1
