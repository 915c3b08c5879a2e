"""Deletes uploads by age. Their bytes go only after the commit, so that no row is without its bytes."""

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.contract.artifacts import ArtifactKind
from phoenix.db.columns import db_now
from phoenix.db.unit_of_work import UnitOfWork
from phoenix.jobs.announcements import FilesOrphaned
from phoenix.jobs.references import find_used
from phoenix.jobs.tables import ArtifactRow

BATCH = 100
"""Rows per step: deleting must not hold up the database's other work."""


async def list_old_uploads(session: AsyncSession, *, older_than_s: float, after_id: str = "") -> Sequence[str]:
    """Ids of a batch of uploads that arrived longer ago, in order of id from `after_id` on."""
    statement = (
        select(col(ArtifactRow.id))
        .where(
            col(ArtifactRow.kind) == ArtifactKind.UPLOAD,
            col(ArtifactRow.created_at) < db_now(-older_than_s),
            col(ArtifactRow.id) > after_id,
        )
        .order_by(col(ArtifactRow.id))
        .limit(BATCH)
    )
    return (await session.scalars(statement)).all()


async def delete_unused(uow: UnitOfWork, upload_ids: Sequence[str]) -> int:
    """Deletes those of the uploads that no unfinished job is made of. Returns how many."""
    free = (
        select(col(ArtifactRow.id), col(ArtifactRow.key), col(ArtifactRow.owner_id))
        .where(col(ArtifactRow.id).in_(upload_ids))
        .order_by(col(ArtifactRow.id))
        # A submit that holds one is about to use it; the next round looks again.
        .with_for_update(skip_locked=True)
    )
    found = (await uow.session.execute(free)).all()
    used = await find_used(uow.session, upload_ids, owner_ids={owner_id for _, _, owner_id in found})
    keys = {artifact_id: key for artifact_id, key, _ in found if artifact_id not in used}
    uow.announce(FilesOrphaned(tuple(keys.values())))
    await uow.session.execute(delete(ArtifactRow).where(col(ArtifactRow.id).in_(keys)))
    return len(keys)
