"""The routes under `/v1/videos`: the same reels and jobs in the terms of OpenAI's SDKs.

The SDKs retry on their own, so a video is submitted only once for all tries.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Path as PathParameter
from pydantic import AfterValidator

from phoenix.api.dependencies import (
    DatabaseDep,
    DownloadSlotDep,
    JobViewsDep,
    OwnerDep,
    SettingsDep,
    StoreDep,
    limit_uploads,
)
from phoenix.api.http.declarations import stored_file, well_formed_id
from phoenix.api.http.file_response import as_file, send_file
from phoenix.api.job_views import POLL_AFTER_S
from phoenix.api.openai.checks import check_video, receive_picture
from phoenix.api.openai.errors import PROBLEM, VideoRoute
from phoenix.api.openai.forms import FILE_FIELD, open_form, read_json_text, validate_fields
from phoenix.api.openai.views import job_id_of, to_extension, to_reel, to_remix, video_id_of, view_video
from phoenix.api.submission import Submission, SubmissionDep
from phoenix.api.submitted_body import fingerprint_of
from phoenix.api.uploads import ProbedUpload, new_upload
from phoenix.contract import (
    VIDEO_ID_PATTERN,
    Job,
    Omittable,
    PageLimit,
    ReelRequest,
    Video,
    VideoDeleted,
    VideoExtensionRequest,
    VideoList,
    VideoReference,
    VideoRemixRequest,
)
from phoenix.errors import FieldError, InvalidRequest, NotFound
from phoenix.jobs import repository
from phoenix.jobs.artifacts import get_output, get_thumbnail
from phoenix.jobs.retention import delete_job
from phoenix.jobs.submission.idempotency import RequestIdentity, record_lost_response, recover_lost_response

router = APIRouter(tags=["videos"], route_class=VideoRoute, responses=PROBLEM)

VIDEOS_PATH = "/v1/videos"
_SCHEMA = {"$ref": "#/components/schemas/VideoRequest"}
_EXAMPLES = {
    "one clip": {"value": {"prompt": "a red balloon over a harbour at dawn", "seconds": "4", "size": "1280x720"}},
    "a whole reel": {
        "value": {"prompt": "the harbour", "clips": '[{"prompt": "a red balloon"}, {"prompt": "the sea", "seed": 7}]'}
    },
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": _SCHEMA, "examples": _EXAMPLES},
            "application/json": {"schema": _SCHEMA, "examples": _EXAMPLES},
        },
    }
}

_REMIX_EXAMPLES = {"another prompt": {"value": {"prompt": "a blue balloon over a harbour at dawn"}}}
_REMIX = {"schema": {"$ref": "#/components/schemas/VideoRemixRequest"}}
_REMIX_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {**_REMIX, "examples": _REMIX_EXAMPLES}}}
}

_EXTENSION_EXAMPLES = {
    "four more seconds": {
        "value": {"prompt": "it lands", "seconds": "4", "video": {"id": "video_01kag3e9zq4f7w5m8x2c6b0n1d"}}
    }
}
_EXTENSION: dict[str, Any] = {
    "schema": {"$ref": "#/components/schemas/VideoExtensionRequest"},
    "examples": _EXTENSION_EXAMPLES,
}
_EXTENSION_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"multipart/form-data": _EXTENSION, "application/json": _EXTENSION},
    }
}

VideoIdInPath = Annotated[
    str,
    PathParameter(description="Id of a video.", json_schema_extra={"pattern": VIDEO_ID_PATTERN}),
    AfterValidator(well_formed_id("video", VIDEO_ID_PATTERN)),
    AfterValidator(job_id_of),
]
"""Parsed into the id of the video's job."""


class VideoVariant(StrEnum):
    """The file of a video to download: the video itself or its thumbnail."""

    VIDEO = "video"
    THUMBNAIL = "thumbnail"


@router.post(VIDEOS_PATH, openapi_extra=_BODY, dependencies=[Depends(limit_uploads)])
async def create_video(submission: SubmissionDep) -> Video:
    """Render a video.

    Takes the fields of OpenAI's SDKs, and also `seed`, `steps`, `fps`, `guidance_scale`, `negative_prompt`, `quality`,
    `loras`, `upscale`, `interpolate`, and `clips` for a whole reel. The video is a reel of `POST /v1/reels`, which has
    more options.
    """
    services = submission.state.services
    max_json_bytes = services.settings.limits.max_body_bytes
    async with (
        open_form(submission.request, max_json_bytes=max_json_bytes) as form,
        receive_picture(submission.state, form.picture) as picture,
    ):
        video = await check_video(submission, form.fields, picture)
        fingerprint, upload = fingerprint_of(video), None
        if picture is not None and picture.info is not None:
            upload = new_upload(picture.received, picture.info)
            # The same picture sent again is a new artifact, but the same request.
            fingerprint = f"{fingerprint} {picture.sha256}"
            video = video.model_copy(update={FILE_FIELD: VideoReference(file_id=upload.artifact_id)})
        body = to_reel(video, services.catalog, default_model=services.settings.engine.default_model)
        return view_video(await _submit(submission, body, fingerprint, upload))


@router.post(VIDEOS_PATH + "/{video_id}/remix", openapi_extra=_REMIX_BODY)
async def remix_video(submission: SubmissionDep, video_id: VideoIdInPath) -> Video:
    """Remix a video.

    Renders a completed video again with another prompt, and keeps everything else: seed, size, length, steps, picture.
    A video that was made of `clips` is refused: its prompt is only a title.
    """
    max_json_bytes = submission.state.services.settings.limits.max_body_bytes
    async with open_form(submission.request, max_json_bytes=max_json_bytes) as form:
        remix = validate_fields(form.fields, VideoRemixRequest)
    job = await submission.state.job_views.fetch(video_id, submission.caller.owner_id)
    _check_kind(job.kind)
    body = to_remix(job, remix.prompt, submission.state.services.catalog)
    return view_video(await _submit(submission, body, fingerprint_of(remix)))


@router.post(VIDEOS_PATH + "/extensions", openapi_extra=_EXTENSION_BODY)
async def extend_video(submission: SubmissionDep) -> Video:
    """Extend a video.

    The new video shows the completed one, and then what the prompt says, from the last frame on. For models that take a
    first frame; a video that was made of `clips`, or that was extended, is refused.
    """
    max_json_bytes = submission.state.services.settings.limits.max_body_bytes
    async with open_form(submission.request, max_json_bytes=max_json_bytes) as form:
        if form.picture is not None:
            detail = "Name a completed video by its `id`; files are not extended here."
            raise InvalidRequest(detail, field_errors=[FieldError("/video", detail)])
        extension = validate_fields(read_json_text(form.fields, "video"), VideoExtensionRequest)
    job = await submission.state.job_views.fetch(job_id_of(extension.video.id), submission.caller.owner_id)
    _check_kind(job.kind)
    body = to_extension(job, extension, submission.state.services.catalog)
    return view_video(await _submit(submission, body, fingerprint_of(extension)))


@router.post(VIDEOS_PATH + "/edits", include_in_schema=False)
@router.post(VIDEOS_PATH + "/characters", include_in_schema=False)
async def refuse_operation(_owner: OwnerDep) -> None:
    """Refuses the operations that the SDKs offer but no model here supports."""
    raise NotFound("Videos are not edited or given characters here; they can be created, remixed and extended.")


@router.head(VIDEOS_PATH, include_in_schema=False)
@router.get(VIDEOS_PATH)
async def list_videos(
    database: DatabaseDep,
    job_views: JobViewsDep,
    owner: OwnerDep,
    after: Annotated[Omittable[Annotated[str, Query(pattern=VIDEO_ID_PATTERN)]], Query()] = None,
    limit: Annotated[PageLimit, Query()] = 20,
    order: Literal["asc", "desc"] = "desc",
) -> VideoList:
    """List videos.

    The caller's reels, newest first unless `order` is `asc`.
    """
    cursor = repository.encode_cursor(job_id_of(after)) if after else None
    page = await repository.list_jobs(
        database,
        repository.JobFilter(kind="reel"),
        owner_id=owner,
        limit=limit,
        cursor=cursor,
        oldest_first=order == "asc",
    )
    videos = [view_video(job) for job in await job_views.view(*page.jobs)]
    return VideoList(
        data=videos,
        first_id=videos[0].id if videos else None,
        last_id=videos[-1].id if videos else None,
        has_more=page.next_cursor is not None,
    )


@router.head(VIDEOS_PATH + "/{video_id}", include_in_schema=False)
@router.get(VIDEOS_PATH + "/{video_id}")
async def get_video(response: Response, job_views: JobViewsDep, owner: OwnerDep, video_id: VideoIdInPath) -> Video:
    """Show a video.

    `failed` covers canceled and expired as well; the error's code says which of them it is.
    """
    job = await job_views.fetch(video_id, owner)
    _check_kind(job.kind)
    response.headers["openai-poll-after-ms"] = str(POLL_AFTER_S * 1000)
    return view_video(job)


@router.delete(VIDEOS_PATH + "/{video_id}")
async def delete_video(database: DatabaseDep, owner: OwnerDep, video_id: VideoIdInPath) -> VideoDeleted:
    """Delete a video.

    The finished job and its files; 409 while it waits or runs.
    """
    async with database.write(frees_space=True) as uow:
        _check_kind((await repository.get_job(uow.session, video_id, owner_id=owner)).kind)
        await delete_job(uow, video_id, owner_id=owner)
    return VideoDeleted(id=video_id_of(video_id))


@router.head(VIDEOS_PATH + "/{video_id}/content", include_in_schema=False)
@router.get(
    VIDEOS_PATH + "/{video_id}/content", response_class=Response, responses=stored_file("video/mp4", "image/jpeg")
)
async def get_video_content(
    request: Request,
    database: DatabaseDep,
    store: StoreDep,
    settings: SettingsDep,
    owner: OwnerDep,
    take_slot: DownloadSlotDep,
    video_id: VideoIdInPath,
    variant: VideoVariant = VideoVariant.VIDEO,
) -> Response:
    """Download a video.

    An MP4, or a JPEG with `variant=thumbnail`. 409 until it is completed.
    """
    async with database.read() as session:
        job = await repository.get_full_job(session, video_id, owner_id=owner)
        _check_kind(job.row.kind)
        artifact = await get_thumbnail(session, job) if variant is VideoVariant.THUMBNAIL else get_output(job)
    file = as_file(artifact, stem=video_id_of(video_id))
    return await send_file(request, store, file, take_slot, link_s=settings.storage.link_s)


def _check_kind(kind: str) -> None:
    if kind != "reel":
        raise NotFound("There is no video of this id.")


async def _submit(
    submission: Submission, body: ReelRequest, fingerprint: str, upload: ProbedUpload | None = None
) -> Job:
    """Submits the reel once for all tries of a client. Raises the errors of `Submission.submit`.

    OpenAI's SDKs send no Idempotency-Key, only the number of the retry. So no job is made for a client that has already
    left, and the job of a client that leaves before the response is recorded for the client's next try.
    """
    submission.response.headers["openai-poll-after-ms"] = str(POLL_AFTER_S * 1000)
    if submission.idempotency_key is not None:
        return await submission.submit(body, fingerprint=fingerprint, upload=upload)
    request, database = submission.request, submission.database
    identity = RequestIdentity(submission.caller.owner_id, f"{request.method} {request.url.path}", fingerprint)
    job = await _recover_response(submission, identity) if _is_retry(request) else None
    if job is None:
        job = await submission.submit(body, abort_if_disconnected=True, upload=upload)
    if await request.is_disconnected():
        async with database.write() as uow:
            await record_lost_response(uow, identity, job.id)
    return job


async def _recover_response(submission: Submission, identity: RequestIdentity) -> Job | None:
    async with submission.database.write() as uow:
        job_id = await recover_lost_response(uow, identity)
    return await submission.answer(job_id, is_replay=True) if job_id else None


def _is_retry(request: Request) -> bool:
    tries = request.headers.get("x-stainless-retry-count", "")
    return tries.isascii() and tries.isdecimal() and tries.strip("0") != ""
