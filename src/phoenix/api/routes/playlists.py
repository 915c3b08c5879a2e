"""Watching a reel while it is rendered: a playlist that grows, and the files that it names."""

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

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
from phoenix.contract import Omittable, ResolvedReel
from phoenix.errors import Conflict, NotFound
from phoenix.jobs.playlists import (
    CaptionsOfClips,
    Playlist,
    begin_playlist,
    get_segments,
    has_captions,
    is_begun,
    read_captions,
    read_playlist,
)
from phoenix.jobs.repository import FullJob, get_full_job
from phoenix.media.captions.cues import cues_of_clip
from phoenix.media.captions.layout import lay_out, track_box
from phoenix.media.reel.playlist import (
    MEDIA_TYPE,
    TIMESTAMP_MAP,
    PictureStream,
    SegmentedFile,
    peak_of,
    render_captions,
    render_multivariant,
    render_playlist,
)

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


class PlaylistRendition(StrEnum):
    """A part of a reel with a playlist of its own."""

    VIDEO = "video"
    CAPTIONS = "captions"


@router.head("/v1/jobs/{job_id}/playlist.m3u8", include_in_schema=False)
@router.get("/v1/jobs/{job_id}/playlist.m3u8", response_class=Response, responses=_PLAYLIST)
async def get_playlist(
    request: Request,
    state: AppStateDep,
    database: DatabaseDep,
    reader: MediaReaderDep,
    job_id: JobIdInPath,
    rendition: Annotated[
        Omittable[PlaylistRendition],
        Query(description="For players: a reel with captions has a playlist that names these two."),
    ] = None,
) -> Response:
    """Watch a reel while it is rendered.

    An HLS playlist of the clips that are done, in order, with their crossfades, and with captions as subtitles. It
    grows until the job has ended: 409 until the first clip is done. Its sound is the sound of the clips with narration
    and soundtrack. The segments are made once somebody asks for the playlist, so ask early.
    """
    async with database.read() as session:
        job = await get_full_job(session, job_id, owner_id=reader.owner_id)
    if not is_begun(job) and request.method == "GET":
        async with database.write() as uow:
            await begin_playlist(uow, job_id, owner_id=reader.owner_id)
    async with database.read() as session:
        job = await get_full_job(session, job_id, owner_id=reader.owner_id)
        playlist = await read_playlist(session, job)
        captions = await read_captions(session, job) if rendition is PlaylistRendition.CAPTIONS else None
    if not playlist.files and not playlist.is_over:
        # A player takes an empty playlist for a broken one.
        raise Conflict("There is nothing to watch yet: the first clip is not done.")
    token = await _sign(request, state, reader, job)
    text = _render(job, playlist, captions, rendition, token).encode()
    headers = {"ETag": etag_of(job.row.last_seq, text), "Cache-Control": "private, no-cache"}
    if is_not_modified(request.headers.get("if-none-match"), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    headers["Content-Length"] = str(len(text))
    return Response(b"" if request.method == "HEAD" else text, media_type=MEDIA_TYPE, headers=headers)


def _render(
    job: FullJob,
    playlist: Playlist,
    captions: CaptionsOfClips | None,
    rendition: PlaylistRendition | None,
    token: str | None,
) -> str:
    """The playlist that is asked for. The URLs in it have the token."""
    reel = job.request
    assert isinstance(reel, ResolvedReel)
    if captions is not None:
        lengths_s = captions.lengths_s
        count = len(playlist.files)
        urls = [_url(f"clips/{index}/segments", token, PlaylistRendition.CAPTIONS) for index in range(count)]
        return render_captions(lengths_s[:count], urls, longest_s=max(lengths_s), is_over=playlist.is_over)
    if rendition is None and has_captions(reel):
        stream = PictureStream(reel.width, reel.height, playlist.fps, peak_of(playlist.files, playlist.fps))
        video, subtitles = (_url("playlist.m3u8", token, each) for each in PlaylistRendition)
        return render_multivariant(video, subtitles, stream, is_shown=reel.captions == "burned")
    urls = [_url(f"clips/{index}/segments", token) for index in range(len(playlist.files))]
    return render_playlist(playlist.files, urls, fps=playlist.fps, is_over=playlist.is_over)


def _url(path: str, token: str | None, rendition: PlaylistRendition | None = None) -> str:
    query = [*([f"rendition={rendition.value}"] if rendition else []), *([f"token={token}"] if token else [])]
    return f"{path}?{'&'.join(query)}" if query else path


async def _sign(request: Request, state: AppState, reader: Caller, job: FullJob) -> str | None:
    """The token of the segments: the token of the playlist, or a new one for a caller with a key."""
    token = request.query_params.get("token")
    if token is None and reader.secret_id:
        token, _ = await state.signed_urls.media_token(job.row.id, reader, longest_run(job.row, utc_now()))
    return token


@router.head("/v1/jobs/{job_id}/clips/{index}/segments", include_in_schema=False)
@router.get(
    "/v1/jobs/{job_id}/clips/{index}/segments",
    response_class=Response,
    responses=stored_file("video/mp4", "text/vtt"),
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
    rendition: PlaylistRendition = PlaylistRendition.VIDEO,
) -> Response:
    """Download what a player of the playlist loads of one clip.

    A fragmented MP4, of which the playlist names ranges, or the captions as WebVTT. 409 until it is there.
    """
    async with database.read() as session:
        if rendition is PlaylistRendition.CAPTIONS:
            job = await get_full_job(session, job_id, owner_id=reader.owner_id)
            return _send_captions(request, await read_captions(session, job), index)
        artifact = await get_segments(session, await get_full_job(session, job_id, owner_id=reader.owner_id), index)
    return await send_file(request, store, as_file(artifact, stem=f"{job_id}-segments-{index}"), take_slot)


def _send_captions(request: Request, captions: CaptionsOfClips, index: int) -> Response:
    # Part of an extra that an API replica may lack.
    from phoenix.media.captions.subtitle_files import write_vtt  # noqa: PLC0415

    reel = captions.reel
    if not 0 <= index < len(reel.clips):
        raise NotFound(f"The job has no segments of a clip {index}.")
    if index >= captions.num_known:
        raise Conflict(f"The captions of clip {index} are not there yet.")
    laid = lay_out(cues_of_clip(reel, captions.spoken, index, captions.held), track_box(reel.width, reel.height))
    text = write_vtt(laid, timestamp_map=TIMESTAMP_MAP).encode()
    headers = {"Cache-Control": "private, no-cache", "Content-Length": str(len(text))}
    return Response(b"" if request.method == "HEAD" else text, media_type="text/vtt", headers=headers)
