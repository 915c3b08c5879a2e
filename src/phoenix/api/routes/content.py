"""Routes that send the bytes of results, clips and uploads."""

from enum import StrEnum

from fastapi import APIRouter, Depends, Request, Response

from phoenix.api.dependencies import (
    AppStateDep,
    DatabaseDep,
    MediaReaderDep,
    MediaSlotDep,
    ReaderDep,
    SettingsDep,
    StoreDep,
)
from phoenix.api.http.declarations import (
    ArtifactIdInPath,
    ClipIndexInPath,
    JobIdInPath,
    document_range_headers,
    stored_file,
)
from phoenix.api.http.file_response import as_file, send_file
from phoenix.api.http.known_parameters import StrictRoute
from phoenix.contract import MediaUrls
from phoenix.jobs.artifacts import get_captions, get_clip, get_output, get_thumbnail
from phoenix.jobs.lifecycle import TaskKind
from phoenix.jobs.repository import get_artifact, get_full_job

router = APIRouter(tags=["content"], route_class=StrictRoute)
_RANGES = [Depends(document_range_headers)]


class ContentVariant(StrEnum):
    """The file of a job to download: its result, its thumbnail, or its captions."""

    ORIGINAL = "original"
    THUMBNAIL = "thumbnail"
    SRT = "srt"
    VTT = "vtt"


@router.head("/v1/jobs/{job_id}/content", include_in_schema=False)
@router.get(
    "/v1/jobs/{job_id}/content",
    response_class=Response,
    responses=stored_file("video/mp4", "audio/mp4", "image/jpeg", "application/x-subrip", "text/vtt"),
    dependencies=_RANGES,
)
async def get_job_content(
    request: Request,
    database: DatabaseDep,
    store: StoreDep,
    settings: SettingsDep,
    reader: MediaReaderDep,
    take_slot: MediaSlotDep,
    job_id: JobIdInPath,
    variant: ContentVariant = ContentVariant.ORIGINAL,
) -> Response:
    """Download the result of a job.

    An MP4, or the sound of a soundtrack job; with `variant=thumbnail` a JPEG, and with `srt` or `vtt` the captions.
    409 until the job has succeeded.
    """
    async with database.read() as session:
        job = await get_full_job(session, job_id, owner_id=reader.owner_id)
        match variant:
            case ContentVariant.THUMBNAIL:
                artifact = await get_thumbnail(session, job)
            case ContentVariant.SRT | ContentVariant.VTT:
                artifact = await get_captions(session, job, variant.value)
            case ContentVariant.ORIGINAL:
                artifact = get_output(job)
    return await send_file(request, store, as_file(artifact, stem=job_id), take_slot, link_s=settings.storage.link_s)


@router.head("/v1/jobs/{job_id}/clips/{index}/content", include_in_schema=False)
@router.get(
    "/v1/jobs/{job_id}/clips/{index}/content",
    response_class=Response,
    responses=stored_file("video/mp4"),
    dependencies=_RANGES,
)
async def get_clip_content(
    request: Request,
    database: DatabaseDep,
    store: StoreDep,
    settings: SettingsDep,
    reader: MediaReaderDep,
    take_slot: MediaSlotDep,
    job_id: JobIdInPath,
    index: ClipIndexInPath,
) -> Response:
    """Download one clip of a reel.

    409 until that clip has succeeded.
    """
    async with database.read() as session:
        artifact = await get_clip(session, await get_full_job(session, job_id, owner_id=reader.owner_id), index)
    file = as_file(artifact, stem=f"{job_id}-clip-{index}")
    return await send_file(request, store, file, take_slot, link_s=settings.storage.link_s)


@router.head("/v1/artifacts/{artifact_id}/content", include_in_schema=False)
@router.get(
    "/v1/artifacts/{artifact_id}/content",
    response_class=Response,
    responses=stored_file("audio/*", "image/*", "video/*"),
    dependencies=_RANGES,
)
async def get_artifact_content(
    request: Request,
    database: DatabaseDep,
    store: StoreDep,
    settings: SettingsDep,
    reader: MediaReaderDep,
    take_slot: MediaSlotDep,
    artifact_id: ArtifactIdInPath,
) -> Response:
    """Download an artifact.

    Exactly the bytes that were uploaded or made, with the media type that probing found.
    """
    async with database.read() as session:
        artifact = await get_artifact(session, artifact_id, owner_id=reader.owner_id)
    return await send_file(
        request, store, as_file(artifact, stem=artifact_id), take_slot, link_s=settings.storage.link_s
    )


@router.post("/v1/jobs/{job_id}/media-tokens", status_code=201)
async def create_media_token(
    response: Response, state: AppStateDep, reader: ReaderDep, job_id: JobIdInPath
) -> MediaUrls:
    """Make URLs for players.

    A `<video>` cannot send a key. These URLs have a token for the media of this job and nothing else. They may be asked
    for before the job has ended: each works from the time at which its file is there.
    """
    async with state.services.database.read() as session:
        job = await get_full_job(session, job_id, owner_id=reader.owner_id)
    num_clips = sum(task.kind is TaskKind.RENDER for task in job.tasks)
    response.headers["Cache-Control"] = "no-store"
    return await state.signed_urls.media(job.row, reader, num_clips=num_clips)
