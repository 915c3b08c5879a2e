"""Watching a reel while it is rendered: a playlist that grows, and the files that it names."""

from fastapi import APIRouter, Depends, Request, Response

from phoenix.access.keys import Caller
from phoenix.api.dependencies import AppStateDep, DatabaseDep, MediaReaderDep, MediaSlotDep, StoreDep
from phoenix.api.http.conditional import etag_of, is_not_modified
from phoenix.api.http.declarations import (
    NOT_MODIFIED,
    ClipIndexInPath,
    JobIdInPath,
    Responses,
    document_range_headers,
    stored_file,
)
from phoenix.api.http.file_response import as_file, send_file
from phoenix.api.http.known_parameters import StrictRoute
from phoenix.api.lifespan import AppState
from phoenix.api.signed_urls import longest_run
from phoenix.clock import utc_now
from phoenix.errors import Conflict
from phoenix.jobs.playlists import begin_playlist, get_segments, is_begun, read_playlist
from phoenix.jobs.repository import FullJob, get_full_job
from phoenix.media.reel.playlist import MEDIA_TYPE, SegmentedFile, render_playlist

router = APIRouter(tags=["content"], route_class=StrictRoute)

_EXAMPLE = render_playlist([SegmentedFile(1239, "", (122_841,), (32,))], ["clips/0/segments"], fps=16, is_over=False)
_PLAYLIST: Responses = {
    200: {
        "description": "The playlist.",
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}, "examples": {"example": {"value": _EXAMPLE}}}},
        "headers": {"ETag": {"description": "Version of the playlist.", "schema": {"type": "string"}}},
    },
    **NOT_MODIFIED,
}


@router.head("/v1/jobs/{job_id}/playlist.m3u8", include_in_schema=False)
@router.get("/v1/jobs/{job_id}/playlist.m3u8", response_class=Response, responses=_PLAYLIST)
async def get_playlist(
    request: Request, state: AppStateDep, database: DatabaseDep, reader: MediaReaderDep, job_id: JobIdInPath
) -> Response:
    """Watch a reel while it is rendered.

    An HLS playlist of the clips that are done, in order, with their crossfades. It grows until the job has ended: 409
    until the first clip is done. Its sound is the sound of the clips: a soundtrack is mixed in at the end. The segments
    are made once somebody asks for the playlist, so ask early.
    """
    async with database.read() as session:
        job = await get_full_job(session, job_id, owner_id=reader.owner_id)
    if not is_begun(job) and request.method == "GET":
        async with database.write() as uow:
            await begin_playlist(uow, job_id, owner_id=reader.owner_id)
    async with database.read() as session:
        job = await get_full_job(session, job_id, owner_id=reader.owner_id)
        playlist = await read_playlist(session, job)
    if not playlist.files and not playlist.is_over:
        # A player takes an empty playlist for a broken one.
        raise Conflict("There is nothing to watch yet: the first clip is not done.")
    query = await _sign(request, state, reader, job)
    urls = [f"clips/{index}/segments{query}" for index in range(len(playlist.files))]
    text = render_playlist(playlist.files, urls, fps=playlist.fps, is_over=playlist.is_over).encode()
    headers = {"ETag": etag_of(job.row.last_seq, text), "Cache-Control": "private, no-cache"}
    if is_not_modified(request.headers.get("if-none-match"), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    headers["Content-Length"] = str(len(text))
    return Response(b"" if request.method == "HEAD" else text, media_type=MEDIA_TYPE, headers=headers)


async def _sign(request: Request, state: AppState, reader: Caller, job: FullJob) -> str:
    """The query of the segments: the token of the playlist, or a new one for a caller with a key."""
    token = request.query_params.get("token")
    if token is None and reader.secret_id:
        token, _ = await state.signed_urls.media_token(job.row.id, reader, longest_run(job.row, utc_now()))
    return f"?token={token}" if token else ""


@router.head("/v1/jobs/{job_id}/clips/{index}/segments", include_in_schema=False)
@router.get(
    "/v1/jobs/{job_id}/clips/{index}/segments",
    response_class=Response,
    responses=stored_file("video/mp4"),
    dependencies=[Depends(document_range_headers)],
)
async def get_clip_segments(
    request: Request,
    database: DatabaseDep,
    store: StoreDep,
    reader: MediaReaderDep,
    take_slot: MediaSlotDep,
    job_id: JobIdInPath,
    index: ClipIndexInPath,
) -> Response:
    """Download what a player of the playlist loads of one clip.

    A fragmented MP4, of which the playlist names ranges. 409 until it is there.
    """
    async with database.read() as session:
        artifact = await get_segments(session, await get_full_job(session, job_id, owner_id=reader.owner_id), index)
    return await send_file(request, store, as_file(artifact, stem=f"{job_id}-segments-{index}"), take_slot)
