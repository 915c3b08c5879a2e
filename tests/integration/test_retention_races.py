"""A file that is deleted while a job is submitted that is made of it: the job gets it, or is refused."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
from sqlalchemy import select, text
from sqlmodel import col

from builders import OWNER, add_file, complete_next, get_job, submit_reel
from fixtures.workplace import a_soundtrack, a_stitch
from phoenix.contract import JobOptions, MediaInfo, ResolvedRequest
from phoenix.db.unit_of_work import Database, UnitOfWork
from phoenix.errors import ArtifactInUse, InvalidRequest
from phoenix.ids import new_artifact_id
from phoenix.jobs.repository import FullJob
from phoenix.jobs.retention import delete_ended, delete_job, delete_unused
from phoenix.jobs.submission.submit import submit
from phoenix.jobs.tables import ArtifactRow
from phoenix.settings import LimitSettings

ROUNDS = 10
WAITING = text("SELECT count(*) FROM pg_locks WHERE NOT granted")


async def upload(database: Database) -> str:
    artifact_id = new_artifact_id()
    async with database.write() as uow:
        await add_file(uow, artifact_id, MediaInfo(media="audio", format="mp3", duration_s=1))
    return artifact_id


async def make(database: Database) -> tuple[str, str]:
    """A job that has succeeded, and its output."""
    job_id = await submit_reel(database)
    await complete_next(database)
    await complete_next(database, "media")
    output = (await get_job(database, job_id)).row.output_artifact_id
    assert output is not None
    return job_id, output


async def submit_of(uow: UnitOfWork, resolved: ResolvedRequest) -> FullJob:
    return await submit(uow, resolved, JobOptions(), owner_id=OWNER, request_id=None, limits=LimitSettings())


async def write(database: Database, use: Callable[[UnitOfWork], Awaitable[object]]) -> object:
    async with database.write() as uow:
        return await use(uow)


async def list_files(database: Database) -> set[str]:
    async with database.read() as session:
        return set(await session.scalars(select(col(ArtifactRow.id))))


async def until_waiting(uow: UnitOfWork, task: asyncio.Task[object]) -> None:
    """Until the task waits for a lock, or has ended without."""
    async with asyncio.timeout(100):
        while not task.done() and not (await uow.session.execute(WAITING)).scalar_one():  # noqa: ASYNC110 - locks cannot be awaited
            await asyncio.sleep(0.01)


async def test_an_upload_of_a_job_that_is_just_being_accepted_is_left_alone(database: Database) -> None:
    upload_id = await upload(database)
    async with database.write() as uow:
        await submit_of(uow, a_soundtrack(upload_id))
        deleting = asyncio.create_task(write(database, partial(delete_unused, upload_ids=[upload_id])))
        if database.dialect == "postgresql":
            # It does not wait; on SQLite it does, for the end of this transaction.
            await deleting
    await deleting
    assert await list_files(database) == {upload_id}


async def test_a_job_of_an_upload_that_is_just_being_deleted_is_refused(database: Database) -> None:
    upload_id = await upload(database)
    async with database.write() as uow:
        await delete_unused(uow, [upload_id])
        submitting = asyncio.create_task(write(database, partial(submit_of, resolved=a_soundtrack(upload_id))))
        if database.dialect == "postgresql":
            await until_waiting(uow, submitting)
    with pytest.raises(InvalidRequest) as refused:
        await submitting
    assert [fault.pointer for fault in refused.value.field_errors] == ["/source/artifact_id"]


async def test_a_file_of_another_owner_cannot_be_held(database: Database) -> None:
    upload_id = await upload(database)
    with pytest.raises(InvalidRequest):
        async with database.write() as uow:
            await submit(
                uow,
                a_soundtrack(upload_id),
                JobOptions(),
                owner_id="key_other",
                request_id=None,
                limits=LimitSettings(),
            )


async def test_of_a_submit_and_the_deletion_of_its_files_one_comes_first(database: Database) -> None:
    for job_id, output in [await make(database) for _ in range(ROUNDS)]:
        sound = await upload(database)
        stitch = a_stitch(output, soundtrack=a_soundtrack(sound).source)

        accepted, *_ = await asyncio.gather(
            write(database, partial(submit_of, resolved=stitch)),
            write(database, partial(delete_unused, upload_ids=[sound])),
            write(database, partial(delete_ended, job_id=job_id, owner_id=OWNER)),
            return_exceptions=True,
        )

        files = {output, sound} & await list_files(database)
        if isinstance(accepted, InvalidRequest):
            assert files < {output, sound}
        else:
            assert (isinstance(accepted, FullJob), files) == (True, {output, sound})


async def test_submits_of_several_files_and_their_deletion_do_not_deadlock(database: Database) -> None:
    for job_id, _ in [await make(database) for _ in range(ROUNDS)]:
        async with database.read() as session:
            of_job = select(col(ArtifactRow.id)).where(col(ArtifactRow.job_id) == job_id)
            files = list(await session.scalars(of_job))
        assert len(files) > 1

        deleted, *answers = await asyncio.gather(
            write(database, partial(delete_job, job_id=job_id, owner_id=OWNER)),
            *(write(database, partial(submit_of, resolved=a_stitch(*order))) for order in (files, files[::-1]) * 2),
            return_exceptions=True,
        )

        assert deleted is None or isinstance(deleted, ArtifactInUse)
        assert [answer for answer in answers if not isinstance(answer, FullJob | InvalidRequest)] == []
