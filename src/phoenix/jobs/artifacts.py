"""The rows of uploads and of a job's files. `library.files` lists them, and `retention` deletes them."""

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.contract import ArtifactKind, ClipSource, ConditionSource, MediaInfo
from phoenix.db import UnitOfWork
from phoenix.errors import Conflict, NotFound
from phoenix.jobs.lifecycle import TaskKind, TaskState
from phoenix.jobs.repository import FullJob
from phoenix.jobs.tables import ArtifactRow, JobRow, TaskRow


async def find_known_media(
    session: AsyncSession, artifact_ids: Collection[str], *, owner_id: str
) -> dict[str, MediaInfo]:
    """Media info by artifact id. Unknown artifacts and artifacts of other owners are left out."""
    statement = select(col(ArtifactRow.id), col(ArtifactRow.info)).where(
        col(ArtifactRow.id).in_(artifact_ids), col(ArtifactRow.owner_id) == owner_id
    )
    rows = await session.execute(statement)
    return {artifact_id: MediaInfo.model_validate(info) for artifact_id, info in rows}


async def find_finished_clips(
    session: AsyncSession, sources: Collection[ConditionSource | ClipSource], *, owner_id: str
) -> dict[tuple[str, int], str]:
    """Artifact ids of the finished clips among `sources`, by job id and index. Clips of other owners are left out."""
    named = {(source.job_id, source.clip_index) for source in sources if source.job_id is not None}
    statement = (
        select(col(TaskRow.job_id), col(TaskRow.position), col(TaskRow.artifact_id))
        .join(JobRow, col(JobRow.id) == col(TaskRow.job_id))
        .where(
            col(JobRow.owner_id) == owner_id,
            col(TaskRow.job_id).in_({job_id for job_id, _ in named}),
            col(TaskRow.kind) == TaskKind.RENDER,
            col(TaskRow.state) == TaskState.SUCCEEDED,
        )
    )
    rows = await session.execute(statement)
    return {
        (job_id, index): artifact_id
        for job_id, index, artifact_id in rows
        if (job_id, index) in named and artifact_id is not None
    }


async def find_reel_of_output(session: AsyncSession, sha256: str, *, size_bytes: int, owner_id: str) -> str | None:
    """The id of the owner's newest reel whose result has this content."""
    statement = (
        select(col(JobRow.id))
        .join(ArtifactRow, col(ArtifactRow.job_id) == col(JobRow.id))
        .where(
            col(ArtifactRow.owner_id) == owner_id,
            # Both values, so that the index finds the few rows of this size.
            col(ArtifactRow.shares_file).in_((False, True)),
            col(ArtifactRow.size_bytes) == size_bytes,
            col(ArtifactRow.sha256) == sha256,
            col(ArtifactRow.kind) == ArtifactKind.OUTPUT,
            col(JobRow.kind) == "reel",
        )
        .order_by(col(JobRow.id).desc())
    )
    return (await session.scalars(statement.limit(1))).first()


async def add_upload(
    uow: UnitOfWork,
    *,
    artifact_id: str,
    owner_id: str,
    key: str,
    media_type: str,
    filename: str | None,
    size_bytes: int,
    sha256: str,
    info: MediaInfo,
) -> ArtifactRow:
    """Adds the row of an upload whose bytes are already in the store."""
    row = ArtifactRow(
        id=artifact_id,
        owner_id=owner_id,
        kind=ArtifactKind.UPLOAD,
        key=key,
        media_type=media_type,
        filename=filename,
        size_bytes=size_bytes,
        sha256=sha256,
        info=info.model_dump(mode="json"),
        created_at=await uow.now(),
    )
    uow.session.add(row)
    return row


def get_output(job: FullJob) -> ArtifactRow:
    """The output of a job. Raises `Conflict` while the job has none."""
    if job.output is None:
        raise Conflict(f"The job is {job.row.state}; it has no result.")
    return job.output


async def get_thumbnail(session: AsyncSession, job: FullJob) -> ArtifactRow:
    """The thumbnail of the output. Raises `Conflict` while there is no output, `NotFound` if it has no thumbnail."""
    get_output(job)
    statement = select(ArtifactRow).where(
        col(ArtifactRow.job_id) == job.row.id, col(ArtifactRow.kind) == ArtifactKind.THUMBNAIL
    )
    newest = (await session.scalars(statement.order_by(col(ArtifactRow.id).desc()).limit(1))).one_or_none()
    if newest is None:
        raise NotFound("This job has no thumbnail.")
    return newest


async def get_captions(session: AsyncSession, job: FullJob, text_format: str) -> ArtifactRow:
    """The captions of the output, as `srt` or `vtt`. Raises `Conflict` while there is no output, `NotFound` without."""
    for file in get_output(job).info.get("captions", ()):
        if file["format"] == text_format:
            return await session.get_one(ArtifactRow, file["artifact_id"])
    raise NotFound("This job has no captions.")


async def get_clip(session: AsyncSession, job: FullJob, index: int) -> ArtifactRow:
    """The clip of a reel with this index. Raises `NotFound` for an unknown index, `Conflict` until the clip is done."""
    clips = [task for task in job.tasks if task.kind is TaskKind.RENDER]
    if not 0 <= index < len(clips):
        raise NotFound(f"The job has no clip {index}.")
    artifact_id = clips[index].artifact_id
    if artifact_id is None:
        raise Conflict(f"Clip {index} is {clips[index].state}; it is not there yet.")
    statement = select(ArtifactRow).where(col(ArtifactRow.id) == artifact_id)
    return (await session.scalars(statement)).one()
