"""The routes under `/v1/videos`: the same reels and jobs in the terms of OpenAI's SDKs and of OpenRouter's clients.

The SDKs retry on their own, so a video is submitted only once for all tries.
"""

import asyncio
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Path as PathParameter
from pydantic import AfterValidator
from starlette.datastructures import UploadFile

from phoenix.access.keys import Caller
from phoenix.api.dependencies import (
    AppStateDep,
    CallerDep,
    DatabaseDep,
    DownloadSlotDep,
    OwnerDep,
    SettingsDep,
    StoreDep,
    UploadSlotDep,
    get_upload_slot,
)
from phoenix.api.http.declarations import stored_file, well_formed_id
from phoenix.api.http.file_response import as_file, send_file
from phoenix.api.job_views import POLL_AFTER_S
from phoenix.api.lifespan import AppState
from phoenix.api.openai.bodies import EDIT_BODY, EXTENSION_BODY, REMIX_BODY, VIDEO_BODY
from phoenix.api.openai.checks import CheckedFields, check_video
from phoenix.api.openai.errors import PROBLEM, VideoRoute
from phoenix.api.openai.forms import VIDEO_FIELD, open_form, read_json_text, validate_fields
from phoenix.api.openai.pictures import (
    ReceivedPicture,
    SentPicture,
    artifact_ids_of,
    hash_upload,
    list_pictures,
    receive_pictures,
)
from phoenix.api.openai.retries import submit_video
from phoenix.api.openai.views import (
    REMIXED_KEY,
    SourceVideo,
    choose_editor,
    completed_reel,
    explain_in_form,
    job_id_of,
    list_models,
    to_edit,
    to_extension,
    to_reel,
    to_remix,
    video_id_of,
    view_video,
)
from phoenix.api.submission import Submission, SubmissionDep
from phoenix.api.submitted_body import fingerprint_of
from phoenix.contract import (
    VIDEO_ID_PATTERN,
    WHOLE,
    Job,
    Omittable,
    PageLimit,
    Video,
    VideoDeleted,
    VideoExtensionRequest,
    VideoList,
    VideoRemixRequest,
)
from phoenix.contract.videos import VideoEditRequest, VideoModelList
from phoenix.errors import FieldError, InvalidRequest, NotFound
from phoenix.jobs import repository
from phoenix.jobs.artifacts import find_reel_of_output, get_output, get_thumbnail
from phoenix.jobs.retention import delete_job

router = APIRouter(tags=["videos"], route_class=VideoRoute, responses=PROBLEM)

VIDEOS_PATH = "/v1/videos"
UPLOAD_PATHS = (VIDEOS_PATH, f"{VIDEOS_PATH}/edits", f"{VIDEOS_PATH}/extensions")
"""Whose bodies may have files."""
_ROUTED: dict[int | str, dict[str, Any]] = {202: {"model": Video, "description": "What OpenRouter's clients get."}}
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


@router.post(VIDEOS_PATH, openapi_extra=VIDEO_BODY, responses=_ROUTED)
async def create_video(submission: SubmissionDep, take_slot: UploadSlotDep) -> Video:
    """Render a video.

    Takes the fields of OpenAI's SDKs and of OpenRouter's clients, and also `steps`, `fps`, `guidance_scale`,
    `negative_prompt`, `quality`, `loras`, `upscale`, `interpolate`, and `clips` for a whole reel. The video is a reel
    of `POST /v1/reels`, which has more options. OpenRouter's clients get 202.
    """
    services = submission.state.services
    limits, videos = services.settings.limits, services.settings.videos
    async with open_form(
        submission.request, max_json_bytes=limits.max_body_bytes, max_picture_bytes=videos.max_json_bytes
    ) as form:
        fields = CheckedFields(form.fields, videos)
        sent = list_pictures(fields.part, form.file, form.cut_pictures)
        async with receive_pictures(submission.state, sent, take_slot) as pictures:
            video = await check_video(submission, fields, pictures)
            ids = artifact_ids_of(pictures)
            body = to_reel(video, ids, services.catalog, default_model=services.settings.engine.default_model)
            # The same picture sent again is a new artifact, but the same request.
            hashes = [picture.sha256 for picture in pictures if picture.sha256]
            job = await submit_video(
                submission,
                body,
                " ".join([fingerprint_of(video), *hashes]),
                [picture.as_upload() for picture in pictures],
                explain=lambda error: explain_in_form(video, ids, error),
            )
    if video.is_routed:
        submission.response.status_code = 202
    return await _show_new(submission, job)


@router.post(VIDEOS_PATH + "/{video_id}/remix", openapi_extra=REMIX_BODY)
async def remix_video(submission: SubmissionDep, video_id: VideoIdInPath) -> Video:
    """Remix a video.

    Renders a completed video again with another prompt, and keeps everything else: seed, size, length, steps, picture.
    A video that was made of `clips` is refused: its prompt is only a title.
    """
    async with open_form(submission.request, max_json_bytes=_max_bytes(submission)) as form:
        remix = validate_fields(form.fields, VideoRemixRequest)
    body = to_remix(await _fetch(submission, video_id), remix.prompt, submission.state.services.catalog)
    return await _show_new(submission, await submit_video(submission, body, fingerprint_of(remix)))


@router.post(VIDEOS_PATH + "/extensions", openapi_extra=EXTENSION_BODY, dependencies=[Depends(get_upload_slot)])
async def extend_video(submission: SubmissionDep) -> Video:
    """Extend a video.

    The new video shows the completed one, and then what the prompt says, from the last frame on. For models that take a
    first frame; a video that was made of `clips`, or that was extended, is refused. A file is taken if it is
    the file of such a video, as it was downloaded.
    """
    async with open_form(submission.request, max_json_bytes=_max_bytes(submission), file_field=VIDEO_FIELD) as form:
        fields = read_json_text(form.fields, VIDEO_FIELD)
        if form.file is not None:
            fields = {**fields, VIDEO_FIELD: {"id": await _find_video_of(submission, form.file)}}
        extension = validate_fields(fields, VideoExtensionRequest)
    job = await _fetch(submission, job_id_of(extension.video.id))
    body = to_extension(job, extension, submission.state.services.catalog)
    return await _show_new(submission, await submit_video(submission, body, fingerprint_of(extension)))


@router.post(VIDEOS_PATH + "/edits", openapi_extra=EDIT_BODY)
async def edit_video(submission: SubmissionDep, take_slot: UploadSlotDep) -> Video:
    """Edit a video.

    The new video moves like the completed one, or like a file of yours, and shows what the prompt says. For models that
    take a `source_video`: see `conditions` in GET /v1/models.
    """
    services = submission.state.services
    async with (
        open_form(submission.request, max_json_bytes=_max_bytes(submission), file_field=VIDEO_FIELD) as form,
        receive_pictures(submission.state, [SentPicture("/video", form.file)] if form.file else [], take_slot) as files,
    ):
        edit = validate_fields(read_json_text(form.fields, VIDEO_FIELD), VideoEditRequest)
        job = await _fetch(submission, job_id_of(edit.video.id)) if edit.video else None
        source = _find_source(job, files)
        made_by = job and completed_reel(job, "edited").model
        model = choose_editor(edit.model, made_by, services.catalog, services.settings.videos)
        body = to_edit(source, edit.prompt, model)
        if edit.video:
            body = body.model_copy(update={"metadata": {REMIXED_KEY: edit.video.id}})
        job = await submit_video(
            submission,
            body,
            " ".join([fingerprint_of(edit), *(file.sha256 for file in files if file.sha256)]),
            [file.as_upload() for file in files],
            explain=_explain_in_edit,
        )
    return await _show_new(submission, job)


@router.post(VIDEOS_PATH + "/characters", include_in_schema=False)
async def refuse_operation(_owner: OwnerDep) -> None:
    """Refuses the operation that the SDKs offer but no model here supports."""
    raise NotFound("Videos have no characters here; they can be created, remixed, extended and edited.")


@router.head(VIDEOS_PATH + "/models", include_in_schema=False)
@router.get(VIDEOS_PATH + "/models")
async def list_video_models(state: AppStateDep, _owner: OwnerDep) -> VideoModelList:
    """List models for videos.

    The models of GET /v1/models as OpenRouter's clients read them, and the names that the settings add.
    """
    services = state.services
    return VideoModelList(data=list_models(services.catalog, services.settings.videos))


@router.head(VIDEOS_PATH, include_in_schema=False)
@router.get(VIDEOS_PATH)
async def list_videos(
    request: Request,
    state: AppStateDep,
    database: DatabaseDep,
    caller: CallerDep,
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
        owner_id=caller.owner_id,
        limit=limit,
        cursor=cursor,
        oldest_first=order == "asc",
    )
    jobs = await state.job_views.view(*page.jobs)
    videos = [await _show(state, request, caller, job, in_list=True) for job in jobs]
    return VideoList(
        data=videos,
        first_id=videos[0].id if videos else None,
        last_id=videos[-1].id if videos else None,
        has_more=page.next_cursor is not None,
    )


@router.head(VIDEOS_PATH + "/{video_id}", include_in_schema=False)
@router.get(VIDEOS_PATH + "/{video_id}")
async def get_video(
    request: Request, response: Response, state: AppStateDep, caller: CallerDep, video_id: VideoIdInPath
) -> Video:
    """Show a video.

    `failed` covers canceled and expired as well; the error's code says which of them it is.
    """
    job = await state.job_views.fetch(video_id, caller.owner_id)
    _check_kind(job.kind)
    response.headers["openai-poll-after-ms"] = str(POLL_AFTER_S * 1000)
    return await _show(state, request, caller, job)


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
    index: Annotated[int, Query(ge=0, le=0, description="A video has one file, whose index is 0."), WHOLE] = 0,  # noqa: ARG001
    repeated_id: Annotated[str | None, Query(alias="video_id", include_in_schema=False)] = None,  # noqa: ARG001
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


def _max_bytes(submission: Submission) -> int:
    return submission.state.services.settings.limits.max_body_bytes


async def _fetch(submission: Submission, job_id: str) -> Job:
    job = await submission.state.job_views.fetch(job_id, submission.caller.owner_id)
    _check_kind(job.kind)
    return job


async def _find_video_of(submission: Submission, file: UploadFile) -> str:
    """The id of the caller's video whose file this is. Raises `InvalidRequest` if it is none."""
    sha256 = await asyncio.to_thread(hash_upload, file)
    async with submission.database.read() as session:
        owner_id = submission.caller.owner_id
        job_id = await find_reel_of_output(session, sha256, size_bytes=file.size or 0, owner_id=owner_id)
    if job_id is None:
        detail = (
            "this is not the file of a video of this server; give the `id` of one, or the file as it was downloaded"
        )
        raise InvalidRequest.from_field_errors([FieldError("#/video", detail)])
    return video_id_of(job_id)


def _find_source(job: Job | None, files: Sequence[ReceivedPicture]) -> SourceVideo:
    """The completed video, or else the file. Raises `InvalidRequest` or `Conflict`."""
    for file in files:
        if file.field_errors:
            raise InvalidRequest.from_field_errors(file.field_errors)
    if job is not None:
        completed_reel(job, "edited")
        output = job.output
        assert output is not None, "completed videos have a file"
        assert output.width is not None
        assert output.height is not None
        return SourceVideo(output.artifact_id, output.width, output.height, output.duration_s)
    info = files[0].info if files else None
    if info is None or info.width is None or info.height is None or not info.duration_s:
        detail = "give the `id` of a completed video, or a video as a file"
        raise InvalidRequest.from_field_errors([FieldError("#/video", detail)])
    return SourceVideo(files[0].artifact_id, info.width, info.height, info.duration_s)


def _explain_in_edit(error: FieldError) -> FieldError:
    return FieldError("#/video", error.detail) if error.pointer.startswith("/clips/0/") else error


async def _show(state: AppState, request: Request, caller: Caller, job: Job, *, in_list: bool = False) -> Video:
    """The video with its absolute URLs."""
    if job.output is not None:
        job = await state.signed_urls.with_urls(job, caller)
    public_url = state.services.settings.api.public_url
    return view_video(job, base_url=(public_url or str(request.base_url)).rstrip("/"), in_list=in_list)


async def _show_new(submission: Submission, job: Job) -> Video:
    return await _show(submission.state, submission.request, submission.caller, job)
