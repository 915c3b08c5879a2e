"""Deletes ended jobs with their files, and unused uploads, one by one or by age.

The bytes of a file are deleted after the commit, so that no row lacks its bytes.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import ColumnElement
from sqlmodel import col

from phoenix.contract import ArtifactKind, JobState
from phoenix.db import UnitOfWork, db_now
from phoenix.errors import ArtifactInUse, Conflict, NewerVersionError, NotFound
from phoenix.jobs.post_commit import FilesOrphaned
from phoenix.jobs.repository import HAS_ENDED, get_job_locked
from phoenix.jobs.reuse import hand_over_files
from phoenix.jobs.scheduling.usage import save_usage
from phoenix.jobs.submission.file_references import find_referenced
from phoenix.jobs.tables import ArtifactRow, AttemptRow, EventRow, JobRow, TaskRow
from phoenix.jobs.webhooks.tables import WebhookDeliveryRow

BATCH = 100
"""Rows per step, so that deletions do not hold up the database's other work."""


@dataclass(frozen=True)
class EndedJob:
    """An ended job that may be deleted."""

    id: str
    owner_id: str
    finished_at: datetime


async def delete_job(uow: UnitOfWork, job_id: str, *, owner_id: str) -> None:
    """Deletes an ended job and all that belongs to it.

    Raises `NotFound`, `Conflict` until the job has ended, and `ArtifactInUse` while an unfinished job uses its files.
    """
    await _lock_ended(uow.session, job_id, owner_id)
    files = await _lock_files(uow.session, job_id)
    await _check_unused(uow.session, files, owner_id)
    await _delete(uow, job_id, files)


async def delete_upload(uow: UnitOfWork, artifact_id: str, *, owner_id: str) -> None:
    """Deletes an upload of the owner. Raises `NotFound`, and `ArtifactInUse` while an unfinished job uses it.

    Also raises `ArtifactInUse` for a file that a job has made: the job shows it, and is deleted together with it.
    """
    # The lock comes before the look for references: see `file_references`.
    statement = select(ArtifactRow).where(col(ArtifactRow.id) == artifact_id).with_for_update()
    row = (await uow.session.scalars(statement)).one_or_none()
    if row is None or row.owner_id != owner_id:
        raise NotFound(f"There is no artifact {artifact_id}.")
    if row.job_id is not None:
        detail = f"This file belongs to {row.job_id}; DELETE /v1/jobs/{row.job_id} deletes the job with its files."
        raise ArtifactInUse(detail, job_ids=[row.job_id])
    await _check_unused(uow.session, [artifact_id], owner_id)
    uow.publish_after_commit(FilesOrphaned((row.key,)))
    await uow.session.delete(row)


_SHOWN_JOBS = 3


async def _check_unused(session: AsyncSession, artifact_ids: Collection[str], owner_id: str) -> None:
    used = await find_referenced(session, artifact_ids, owner_ids=[owner_id])
    job_ids = sorted({job_id for users in used.values() for job_id in users})
    if not job_ids:
        return
    more = f" and {len(job_ids) - _SHOWN_JOBS} more" if len(job_ids) > _SHOWN_JOBS else ""
    named = ", ".join(job_ids[:_SHOWN_JOBS]) + more
    raise ArtifactInUse(f"Unfinished jobs need this: {named}. Cancel them, or wait until they end.", job_ids=job_ids)


async def list_old_jobs(
    session: AsyncSession, *, older_than_s: float, after: EndedJob | None = None
) -> Sequence[EndedJob]:
    """A batch of the jobs that ended more than `older_than_s` ago, oldest first, starting after `after`."""
    return await _list_ended(session, col(JobRow.finished_at) < db_now(-older_than_s), after)


async def list_surplus_jobs(
    session: AsyncSession, *, max_per_owner: int, after: EndedJob | None = None
) -> Sequence[EndedJob]:
    """A batch of the ended jobs beyond the newest `max_per_owner` of each owner, oldest first, after `after`."""
    newest_first = func.row_number().over(partition_by=col(JobRow.owner_id), order_by=col(JobRow.finished_at).desc())
    ranked = select(col(JobRow.id), newest_first.label("ordinal")).where(HAS_ENDED).subquery()
    surplus = select(ranked.c.id).where(ranked.c.ordinal > max_per_owner)
    return await _list_ended(session, col(JobRow.id).in_(surplus), after)


async def _list_ended(
    session: AsyncSession, condition: ColumnElement[bool], after: EndedJob | None
) -> Sequence[EndedJob]:
    finished_at, job_id = col(JobRow.finished_at), col(JobRow.id)
    statement = select(job_id, col(JobRow.owner_id), finished_at).where(HAS_ENDED, condition)
    if after is not None:
        # The first condition lets an index find where to start.
        is_later = (finished_at > after.finished_at) | (job_id > after.id)
        statement = statement.where(finished_at >= after.finished_at, is_later)
    rows = await session.execute(statement.order_by(finished_at, job_id).limit(BATCH))
    return [EndedJob(*row) for row in rows]


async def delete_ended(uow: UnitOfWork, job_id: str, owner_id: str) -> bool:
    """Like `delete_job`, but skips a job that was retried or deleted, or whose files an unfinished job uses.

    Returns whether the job was deleted.
    """
    try:
        await _lock_ended(uow.session, job_id, owner_id)
    except (NotFound, Conflict, NewerVersionError):
        return False
    files = await _lock_files(uow.session, job_id)
    if await find_referenced(uow.session, files, owner_ids=[owner_id]):
        return False
    await _delete(uow, job_id, files)
    return True


async def delete_in_any_state(uow: UnitOfWork, job_id: str) -> None:
    """Deletes a job that nobody may see any more, in any state, also if this version cannot read it."""
    await uow.session.execute(select(col(JobRow.id)).where(col(JobRow.id) == job_id).with_for_update())
    await _delete(uow, job_id, await _lock_files(uow.session, job_id))


async def _lock_ended(session: AsyncSession, job_id: str, owner_id: str) -> None:
    job = await get_job_locked(session, job_id, owner_id=owner_id)
    if not job.state.is_terminal:
        raise Conflict(f"The job is {job.state}; cancel it first.")
    held = await session.get(JobRow, job.draft_of, populate_existing=True) if job.draft_of else None
    if held is not None and held.state is JobState.HELD:
        raise Conflict(f"This is the draft of {held.id}, which waits for it. Approve or cancel that job first.")


async def _lock_files(session: AsyncSession, job_id: str) -> Mapping[str, str]:
    """Keys by artifact id. Locks the rows in order of id, as submits do: a stitch may name several files.

    Also locks the rows of other jobs with the same files: the second of two deletions must see that it is the last.
    """
    keys = select(col(ArtifactRow.key)).where(col(ArtifactRow.job_id) == job_id)
    files = select(col(ArtifactRow.id), col(ArtifactRow.key), col(ArtifactRow.job_id))
    statement = files.where(col(ArtifactRow.key).in_(keys)).order_by(col(ArtifactRow.id)).with_for_update()
    return {artifact_id: key for artifact_id, key, holder in await session.execute(statement) if holder == job_id}


async def _delete(uow: UnitOfWork, job_id: str, files: Mapping[str, str]) -> None:
    uow.publish_after_commit(FilesOrphaned(await hand_over_files(uow, job_id, files)))
    await save_usage(uow, job_id)
    task_ids = select(col(TaskRow.id)).where(col(TaskRow.job_id) == job_id)
    for statement in (
        delete(AttemptRow).where(col(AttemptRow.task_id).in_(task_ids)),
        delete(TaskRow).where(col(TaskRow.job_id) == job_id),
        delete(EventRow).where(col(EventRow.job_id) == job_id),
        delete(WebhookDeliveryRow).where(col(WebhookDeliveryRow.job_id) == job_id),
        delete(ArtifactRow).where(col(ArtifactRow.job_id) == job_id),
        delete(JobRow).where(col(JobRow.id) == job_id),
    ):
        await uow.session.execute(statement.execution_options(synchronize_session=False))


async def find_known_keys(session: AsyncSession, keys: Collection[str]) -> frozenset[str]:
    """The store's keys, among `keys`, that have a row. A file may have only the row of a job that reuses it."""
    statement = select(col(ArtifactRow.key)).where(col(ArtifactRow.key).in_(keys))
    return frozenset(await session.scalars(statement))


async def list_old_uploads(session: AsyncSession, *, older_than_s: float, after_id: str = "") -> Sequence[str]:
    """Ids of a batch of uploads that arrived and were last used longer ago than `older_than_s`.

    In order of id, starting after `after_id`.
    """
    last_used_at = col(ArtifactRow.last_used_at)
    statement = (
        select(col(ArtifactRow.id))
        .where(
            col(ArtifactRow.kind) == ArtifactKind.UPLOAD,
            col(ArtifactRow.created_at) < db_now(-older_than_s),
            last_used_at.is_(None) | (last_used_at < db_now(-older_than_s)),
            col(ArtifactRow.id) > after_id,
        )
        .order_by(col(ArtifactRow.id))
        .limit(BATCH)
    )
    return (await session.scalars(statement)).all()


async def delete_unused(uow: UnitOfWork, upload_ids: Sequence[str]) -> int:
    """Deletes the uploads that no unfinished job uses. Returns how many were deleted."""
    free = (
        select(col(ArtifactRow.id), col(ArtifactRow.key), col(ArtifactRow.owner_id))
        .where(col(ArtifactRow.id).in_(upload_ids))
        .order_by(col(ArtifactRow.id))
        # A submit that has locked an upload is about to use it. The next round looks again.
        .with_for_update(skip_locked=True)
    )
    found = (await uow.session.execute(free)).all()
    used = await find_referenced(uow.session, upload_ids, owner_ids={owner_id for _, _, owner_id in found})
    keys = {artifact_id: key for artifact_id, key, _ in found if artifact_id not in used}
    uow.publish_after_commit(FilesOrphaned(tuple(keys.values())))
    await uow.session.execute(delete(ArtifactRow).where(col(ArtifactRow.id).in_(keys)))
    return len(keys)
