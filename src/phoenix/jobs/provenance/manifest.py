"""The manifest of a job: its request, its seeds, the hashes of its files, and the software that made them."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.catalog.catalog import Catalog
from phoenix.contract import (
    ClipManifest,
    FileManifest,
    InputManifest,
    Job,
    JobManifest,
    OutputManifest,
    ReplayRequest,
    ResolvedLipsync,
    ResolvedReel,
    ResolvedRequest,
    ResolvedSoundtrack,
    ResolvedStitch,
)
from phoenix.errors import Conflict
from phoenix.jobs.lifecycle import TaskKind
from phoenix.jobs.repository import FullJob
from phoenix.jobs.submission.edits import as_requested
from phoenix.jobs.submission.file_references import references_of
from phoenix.jobs.tables import ArtifactRow, TaskRow
from phoenix.media.credentials.signing import C2PA_PACKAGE


async def read_manifest(session: AsyncSession, job: FullJob, view: Job, catalog: Catalog) -> JobManifest:
    """The manifest of a job that has succeeded. Raises `Conflict` for another job.

    `view`: the job as its owner sees it, without the folders of this server. A file that was deleted has no hash.
    """
    if job.output is None:
        raise Conflict(f"The job is {job.row.state}; only a job that has succeeded has a manifest.")
    references = references_of(job.request)
    made = [task.artifact_id for task in job.tasks if task.artifact_id]
    wanted = {*references.values(), *made}
    rows = await session.scalars(
        select(ArtifactRow).where(col(ArtifactRow.id).in_(wanted), col(ArtifactRow.owner_id) == job.row.owner_id)
    )
    files = {row.id: row for row in rows}
    last = job.tasks[-1]
    return JobManifest(
        job_id=job.row.id,
        kind=view.kind,
        created_at=job.row.created_at,
        finished_at=job.row.finished_at,
        request=view.request,
        replay=replay_of(job.request, catalog),
        inputs=[
            InputManifest(pointer=pointer, **_describe(artifact_id, files))
            for pointer, artifact_id in references.items()
        ],
        clips=_list_clips(job.request, job.tasks, files),
        output=OutputManifest(
            made_with=dict(last.made_with),
            is_signed=C2PA_PACKAGE in last.made_with,
            **_describe(job.output.id, {job.output.id: job.output}),
        ),
    )


def _list_clips(
    request: ResolvedRequest, tasks: Sequence[TaskRow], files: Mapping[str, ArtifactRow]
) -> list[ClipManifest]:
    if not isinstance(request, ResolvedReel):
        return []
    rendered = [task for task in tasks if task.kind is TaskKind.RENDER and task.artifact_id]
    return [
        ClipManifest(
            index=task.position,
            seed=request.renders[task.position].seed,
            rerolled_from=task.rerolled_from,
            content_key=task.content_key,
            reused=task.is_reused,
            made_with=dict(task.made_with),
            **_describe(task.artifact_id or "", files),
        )
        for task in rendered
    ]


def _describe(artifact_id: str, files: Mapping[str, ArtifactRow]) -> dict[str, Any]:
    file = files.get(artifact_id)
    described = FileManifest(artifact_id=artifact_id, sha256=file and file.sha256, size_bytes=file and file.size_bytes)
    return described.model_dump()


def replay_of(request: ResolvedRequest, catalog: Catalog) -> ReplayRequest:
    """The request that makes the same result again. Every seed is given, and no clip is reused. Pure."""
    match request:
        case ResolvedReel():
            # A clip that was rendered again has the seed that came out well.
            body = as_requested(request, catalog).model_copy(update={"reuse": False, "on_failed_check": "report"})
            return ReplayRequest(path="/v1/reels", body=body.model_dump(mode="json", exclude_none=True))
        case ResolvedStitch():
            return ReplayRequest(path="/v1/stitches", body=_without_kind(request))
        case ResolvedSoundtrack():
            return ReplayRequest(path="/v1/soundtracks", body=_without_kind(request))
        case ResolvedLipsync():
            body = request.model_dump(mode="json", include=_OF_A_LIPSYNC, exclude_none=True)
            return ReplayRequest(path="/v1/lipsyncs", body=body)


_OF_A_LIPSYNC = {"video", "audio", "model", "box", "when_shorter", "sound"}


def _without_kind(request: ResolvedStitch | ResolvedSoundtrack) -> dict[str, Any]:
    return request.model_dump(mode="json", exclude={"kind"}, exclude_none=True)
