"""The files of an owner as a library: lists and searches uploads and the files of jobs, and adds up what they take."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import ColumnElement
from sqlmodel import col

from phoenix.contract import ArtifactKind, MediaKind, StoredFiles
from phoenix.jobs.library.search import select_matching_ids
from phoenix.jobs.repository import decode_cursor, encode_cursor
from phoenix.jobs.tables import ArtifactRow


@dataclass(frozen=True)
class ArtifactFilter:
    """Conditions on the artifacts of a page; None means any."""

    kind: ArtifactKind | None = None
    media: MediaKind | None = None
    search_text: str | None = None
    """Words that the name of the uploaded file contains, or that the job of the file is found by."""


async def list_artifacts(
    session: AsyncSession, wanted: ArtifactFilter, *, owner_id: str | None, limit: int, cursor: str | None
) -> tuple[Sequence[ArtifactRow], str | None]:
    """One page of the owner's artifacts, newest first, and the cursor of the next page; None on the last page.

    Without `owner_id`, artifacts of all owners; a search by words needs one owner.
    """
    # A row of a kind that only a newer version knows would make all rows unreadable.
    kinds = [wanted.kind] if wanted.kind else list(ArtifactKind)
    statement = select(ArtifactRow).where(col(ArtifactRow.kind).in_(kinds))
    if owner_id is not None:
        statement = statement.where(col(ArtifactRow.owner_id) == owner_id)
    if cursor is not None:
        statement = statement.where(col(ArtifactRow.id) < decode_cursor(cursor, prefix="art_"))
    if wanted.media is not None:
        statement = statement.where(col(ArtifactRow.media_type).startswith(f"{wanted.media}/", autoescape=True))
    if owner_id is not None and (text := (wanted.search_text or "").strip()):
        jobs = select_matching_ids(session.get_bind().dialect.name, text, owner_id)
        statement = statement.where(_is_named(text) | col(ArtifactRow.job_id).in_(jobs))
    rows = (await session.scalars(statement.order_by(col(ArtifactRow.id).desc()).limit(limit + 1))).all()
    page = rows[:limit]
    return page, encode_cursor(page[-1].id) if len(rows) > limit else None


def _is_named(text: str) -> ColumnElement[bool]:
    """Whether the name of the uploaded file contains all of the words."""
    name = col(ArtifactRow.filename)
    # SQLite lowers only ASCII letters, so other letters match there as they are written.
    return and_(
        *(
            func.lower(name).contains(word.lower(), autoescape=True) | name.contains(word, autoescape=True)
            for word in text.split()
        )
    )


async def count_stored_files(session: AsyncSession, owner_id: str) -> list[StoredFiles]:
    """What the files of the owner take, by kind. A file that several jobs share counts once."""
    kind = col(ArtifactRow.kind)
    statement = (
        select(kind, func.count(), func.sum(col(ArtifactRow.size_bytes)))
        .where(col(ArtifactRow.owner_id) == owner_id, col(ArtifactRow.shares_file).is_(False))
        .where(kind.in_(list(ArtifactKind)))
        .group_by(kind)
        .order_by(kind)
    )
    rows = await session.execute(statement)
    return [StoredFiles(kind=each, files=files, size_bytes=int(size_bytes)) for each, files, size_bytes in rows]
