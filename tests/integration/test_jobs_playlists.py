"""The tasks that make the segments of a reel: when each may start, and what they mean for their job."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import select
from sqlmodel import col

from builders import (
    FROM_PREVIOUS,
    OWNER,
    RULE,
    claim_next,
    complete_next,
    event_types,
    get_job,
    make_failure,
    make_reel,
    make_result,
    submit_reel,
)
from phoenix.contract import ArtifactKind, JobOptions, JobState, ResolvedVoice, SoundtrackRequest
from phoenix.db.unit_of_work import Database
from phoenix.errors import Conflict, NotFound
from phoenix.jobs.cancel_and_retry import cancel, retry
from phoenix.jobs.execution.claim import Claim
from phoenix.jobs.execution.recovery import recover_from_lost_worker
from phoenix.jobs.execution.task_completion import fail, stop, succeed
from phoenix.jobs.lifecycle import TaskKind, TaskState
from phoenix.jobs.playlists import Playlist, begin_playlist, get_segments, read_playlist
from phoenix.jobs.repository import JobFilter, list_jobs
from phoenix.jobs.retention import delete_job
from phoenix.jobs.scheduling.dispatch import list_ready
from phoenix.jobs.submission.submit import submit
from phoenix.jobs.tables import ArtifactRow, ReusableClipRow
from phoenix.media.reel.playlist import SegmentedFile
from phoenix.settings import LimitSettings

SEGMENT, NARRATE = TaskKind.SEGMENT, TaskKind.NARRATE
VOICE = ResolvedVoice(engine="espeak", name="en")
FILE = SegmentedFile(100, "a", (1000,), (16,))


async def watched_reel(database: Database, *prompts: str) -> str:
    job_id = await submit_reel(database, *prompts)
    await begin(database, job_id)
    return job_id


async def narrated_reel(database: Database, *narrations: str, **changes: Any) -> str:
    reel = make_reel(*("one" for _ in narrations)).model_copy(update={"voice": VOICE, **changes})
    clips = [clip.model_copy(update={"narration": narrations[clip.index]}) for clip in reel.clips]
    async with database.write() as uow:
        job = await submit(
            uow,
            reel.model_copy(update={"clips": clips}),
            JobOptions(),
            owner_id=OWNER,
            request_id="req_test",
            limits=LimitSettings(),
        )
    await begin(database, job.row.id)
    return job.row.id


async def begin(database: Database, job_id: str) -> None:
    async with database.write() as uow:
        await begin_playlist(uow, job_id, owner_id=OWNER)


async def playlist_of(database: Database, job_id: str) -> Playlist:
    job = await get_job(database, job_id)
    async with database.read() as session:
        return await read_playlist(session, job)


async def segments_of(database: Database, job_id: str) -> list[TaskState]:
    return [task.state for task in (await get_job(database, job_id)).tasks if task.kind is TaskKind.SEGMENT]


async def make_next_segments(database: Database) -> Claim:
    claimed = await claim_next(database, "media")
    assert claimed.kind is TaskKind.SEGMENT
    async with database.write() as uow:
        await succeed(uow, claimed, make_result(f"{claimed.task_id}/{claimed.attempt}", segments=FILE))
    return claimed


async def waiting(database: Database) -> int:
    async with database.read() as session:
        return len(await list_ready(session, "media"))


async def test_segments_follow_the_clips_in_order(database: Database) -> None:
    job_id = await watched_reel(database, "one", "two")
    first, second = await claim_next(database), await claim_next(database)
    async with database.write() as uow:
        await succeed(uow, second, make_result("second"))
    assert await waiting(database) == 0

    async with database.write() as uow:
        await succeed(uow, first, make_result("first"))
    made = [await make_next_segments(database) for _ in range(2)]

    assert [claimed.position for claimed in made] == [-2, -1]
    assert [len(claimed.clip_artifact_ids) for claimed in made] == [2, 2]
    assert len((await playlist_of(database, job_id)).files) == 2


async def kinds_of_next(database: Database, count: int) -> list[TaskKind]:
    """Of the tasks of the media queue that are done one after another."""
    done: list[TaskKind] = []
    for _ in range(count):
        claimed = await claim_next(database, "media")
        done.append(claimed.kind)
        async with database.write() as uow:
            key = f"{claimed.task_id}/{claimed.attempt}"
            made = make_result(key, segments=FILE) if claimed.kind is TaskKind.SEGMENT else make_result(key)
            await succeed(uow, claimed, made)
    return done


async def test_the_segments_of_a_clip_wait_for_its_own_narration(database: Database) -> None:
    job_id = await narrated_reel(database, "", "hello", "")
    for _ in range(3):
        await complete_next(database)

    assert await kinds_of_next(database, 4) == [SEGMENT, NARRATE, SEGMENT, SEGMENT]
    assert (await playlist_of(database, job_id)).is_over


async def test_where_clips_grow_to_their_narration_the_first_segments_wait_for_all_of_it(database: Database) -> None:
    await narrated_reel(database, "", "hello", "bye", fit_narration=True)
    for _ in range(3):
        await complete_next(database)

    assert await kinds_of_next(database, 5) == [NARRATE, NARRATE, SEGMENT, SEGMENT, SEGMENT]


async def test_the_first_segments_wait_for_the_soundtrack(database: Database) -> None:
    soundtrack = SoundtrackRequest.model_validate({"url": "https://example.com/a.mp3"})
    await narrated_reel(database, "", "", voice=None, soundtrack=soundtrack)
    for _ in range(2):
        await complete_next(database)

    assert await kinds_of_next(database, 3) == [TaskKind.SOUNDTRACK, SEGMENT, SEGMENT]


async def test_a_chain_that_is_watched_is_rendered_while_its_segments_wait(database: Database) -> None:
    job_id = await submit_reel(database, clips=[{"prompt": "a fox"}, FROM_PREVIOUS], reusable=(0, 1))
    await begin(database, job_id)
    for _ in range(2):
        await complete_next(database)

    [(first, second)] = [
        [task.artifact_id for task in job.tasks if task.kind is TaskKind.RENDER]
        for job in [await get_job(database, job_id)]
    ]
    async with database.read() as session:
        before = await session.get_one(ArtifactRow, first)
        reusable = (
            await session.scalars(select(ReusableClipRow).where(col(ReusableClipRow.artifact_id) == second))
        ).one()
    assert reusable.continues_key == before.key


async def test_a_reel_that_nobody_watches_has_no_such_tasks(database: Database) -> None:
    job_id = await submit_reel(database, "one")

    assert await segments_of(database, job_id) == []


async def test_a_take_that_the_reel_does_not_show_has_no_segments(database: Database) -> None:
    job_id = await submit_reel(database, clips=[{"prompt": "one", "takes": 3}, {"prompt": "two"}])

    await begin(database, job_id)

    assert len(await segments_of(database, job_id)) == 2


async def test_a_page_of_jobs_gives_each_job_its_own_segments(database: Database) -> None:
    jobs = [await watched_reel(database, "one", "two"), await watched_reel(database, "three")]

    page = await list_jobs(database, JobFilter(), owner_id=OWNER, limit=10, cursor=None)

    found = {job.row.id: {task.job_id for task in job.tasks} for job in page.jobs}
    assert found == {job_id: {job_id} for job_id in jobs}
    assert sorted(len(job.tasks) for job in page.jobs) == [3, 5]


async def test_two_who_ask_at_the_same_time_begin_one_playlist(database: Database) -> None:
    job_id = await submit_reel(database, "one", "two")

    await asyncio.gather(*(begin(database, job_id) for _ in range(3)))

    assert len(await segments_of(database, job_id)) == 2


async def test_clips_that_are_done_already_are_segmented_at_once(database: Database) -> None:
    job_id = await submit_reel(database, "one", "two")
    await complete_next(database)

    await begin(database, job_id)

    assert await segments_of(database, job_id) == [TaskState.READY, TaskState.BLOCKED]


async def test_the_last_segments_come_before_the_join(database: Database) -> None:
    await watched_reel(database, "one")
    await complete_next(database)

    assert [(await claim_next(database, "media")).kind for _ in range(2)] == [TaskKind.SEGMENT, TaskKind.ASSEMBLE]


async def test_a_job_succeeds_without_its_segments_and_they_are_made_all_the_same(database: Database) -> None:
    job_id = await watched_reel(database, "one", "two")
    await complete_next(database)
    await complete_next(database)
    late, assembly = await claim_next(database, "media"), await claim_next(database, "media")
    async with database.write() as uow:
        await succeed(uow, assembly, make_result("joined"))
    assert (await get_job(database, job_id)).row.state is JobState.SUCCEEDED
    assert not (await playlist_of(database, job_id)).is_over

    async with database.write() as uow:
        await succeed(uow, late, make_result("late", segments=FILE))
    await make_next_segments(database)

    assert (await playlist_of(database, job_id)) == Playlist(16, [FILE, FILE], is_over=True)
    assert (await event_types(database, job_id))[-1] == "job.succeeded"
    assert (await get_job(database, job_id)).output is not None


async def test_a_reel_that_has_succeeded_can_be_watched_for_the_first_time(database: Database) -> None:
    job_id = await submit_reel(database, "one")
    await complete_next(database)
    await complete_next(database, "media")

    await begin(database, job_id)
    await make_next_segments(database)

    assert (await playlist_of(database, job_id)).is_over


async def test_segments_that_fail_end_the_playlist_and_not_the_job(database: Database) -> None:
    job_id = await watched_reel(database, "one", "two")
    await complete_next(database)
    claimed = await claim_next(database, "media")

    async with database.write() as uow:
        await fail(uow, claimed, make_failure(), RULE, jitter=0)

    assert (await playlist_of(database, job_id)).is_over
    assert await segments_of(database, job_id) == [TaskState.FAILED, TaskState.CANCELED]
    await complete_next(database)
    await complete_next(database, "media")
    job = await get_job(database, job_id)
    assert (job.row.state, job.row.error) == (JobState.SUCCEEDED, None)


async def test_segments_of_a_lost_worker_are_made_again(database: Database) -> None:
    job_id = await watched_reel(database, "one")
    await complete_next(database)
    lost = await claim_next(database, "media")

    async with database.write() as uow:
        assert await recover_from_lost_worker(uow, job_id, lost.task_id, lost.worker_id, RULE)

    assert (await make_next_segments(database)).attempt == 2


async def test_a_canceled_job_ends_its_playlist(database: Database) -> None:
    job_id = await watched_reel(database, "one", "two")
    await complete_next(database)
    await make_next_segments(database)

    async with database.write() as uow:
        await cancel(uow, job_id, owner_id=OWNER)

    playlist = await playlist_of(database, job_id)
    assert (len(playlist.files), playlist.is_over) == (1, True)
    assert (await get_job(database, job_id)).row.state is JobState.CANCELED


async def test_a_canceled_job_waits_for_segments_that_are_being_made(database: Database) -> None:
    job_id = await watched_reel(database, "one", "two")
    await complete_next(database)
    claimed = await claim_next(database, "media")

    async with database.write() as uow:
        await cancel(uow, job_id, owner_id=OWNER)
    assert not (await playlist_of(database, job_id)).is_over
    async with database.write() as uow:
        await stop(uow, claimed)

    assert await playlist_of(database, job_id) == Playlist(16, [], is_over=True)
    assert (await get_job(database, job_id)).row.state is JobState.CANCELED


async def test_a_failed_job_ends_its_playlist_and_a_retry_goes_on_with_it(database: Database) -> None:
    job_id = await watched_reel(database, "one", "two")
    await complete_next(database)
    await make_next_segments(database)
    claimed = await claim_next(database)
    async with database.write() as uow:
        await fail(uow, claimed, make_failure(), RULE, jitter=0)
    assert (await playlist_of(database, job_id)).is_over

    async with database.write() as uow:
        await retry(uow, job_id, owner_id=OWNER, queue_timeout_s=60)
    await complete_next(database)
    await make_next_segments(database)

    assert (await playlist_of(database, job_id)) == Playlist(16, [FILE, FILE], is_over=True)


async def test_a_job_that_failed_unwatched_has_an_empty_playlist(database: Database) -> None:
    job_id = await submit_reel(database, "one")
    async with database.write() as uow:
        await cancel(uow, job_id, owner_id=OWNER)

    await begin(database, job_id)

    assert await playlist_of(database, job_id) == Playlist(16, [], is_over=True)
    assert await segments_of(database, job_id) == []


async def test_progress_and_start_of_a_job_know_nothing_of_segments(database: Database) -> None:
    job_id = await submit_reel(database, "one")
    await complete_next(database)
    before = await event_types(database, job_id)

    await begin(database, job_id)
    await make_next_segments(database)

    assert await event_types(database, job_id) == before


async def test_segments_are_files_of_the_job_and_go_with_it(database: Database) -> None:
    job_id = await watched_reel(database, "one")
    await complete_next(database)
    await make_next_segments(database)
    await complete_next(database, "media")
    async with database.read() as session:
        artifact = await get_segments(session, await get_job(database, job_id), 0)
    assert (artifact.kind, artifact.job_id) == (ArtifactKind.SEGMENTS, job_id)

    async with database.write() as uow:
        await delete_job(uow, job_id, owner_id=OWNER)

    async with database.read() as session:
        assert await session.get(type(artifact), artifact.id) is None


async def test_segments_that_are_not_there(database: Database) -> None:
    job = await get_job(database, await watched_reel(database, "one"))
    async with database.read() as session:
        with pytest.raises(Conflict):
            await get_segments(session, job, 0)
        with pytest.raises(NotFound):
            await get_segments(session, job, 1)
