"""The tasks of the media queue: preparing a soundtrack while clips are rendered, and assembling the result of a job."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from phoenix.catalog.resolve import joined_length_s, picture_length_s
from phoenix.contract import (
    CaptionMode,
    MediaInfo,
    ResolvedLipsync,
    ResolvedReel,
    ResolvedRequest,
    ResolvedSoundtrack,
    ResolvedStitch,
    SoundSource,
    SoundtrackRequest,
    Transition,
)
from phoenix.errors import Stage, TaskFailed
from phoenix.jobs.artifacts import find_known_media
from phoenix.jobs.execution.task_completion import AttemptOutput
from phoenix.media.captions.cues import Cue, plan_cues
from phoenix.media.captions.drawing import add_caption_track, burn_captions
from phoenix.media.captions.layout import lay_out, track_box
from phoenix.media.captions.subtitle_files import write_srt, write_vtt
from phoenix.media.encode import write_poster
from phoenix.media.errors import invalid_media
from phoenix.media.fetch import fetch_file
from phoenix.media.ffmpeg import FfmpegCallbacks, MediaTools
from phoenix.media.probe import probe_media
from phoenix.media.reel.join import join_clips
from phoenix.media.reel.segments import write_segments
from phoenix.media.reel.spans import ReelTimeline, Span, span_of_clip, timeline_of
from phoenix.media.reel.window_sound import AddedSound
from phoenix.media.soundtrack import mix_narration, mix_soundtrack, mux_soundtrack, prepare_soundtrack
from phoenix.storage.keys import OutputName
from phoenix.telemetry.logs import get_logger
from phoenix.worker.context import POSTER, WorkerContext, cancel_on_stop, ffmpeg_callbacks, retry_until_available
from phoenix.worker.leases import HeldLease
from phoenix.worker.narration import NO_NARRATION, Narration, fetch_narration, fetch_speeches, read_held_frames
from phoenix.worker.render_observer import Stopwatch

_logger = get_logger(__name__)


async def make_soundtrack(context: WorkerContext, lease: HeldLease) -> AttemptOutput:
    """Prepares and stores a soundtrack. Raises `TaskFailed`, and `RenderStopped` or `MediaStopped` on a stop."""
    wanted = requested_sound(lease.claim.request)
    stopwatch = Stopwatch(on_enter=lease.enter_stage)
    with context.scratch.folder() as folder:
        source, output = folder / "source", folder / OutputName.SOUNDTRACK
        with stopwatch.timing(Stage.FETCH):
            await _fetch_sound(context, lease, wanted, source)
            duration_s = await _target_s(context, lease)
        with stopwatch.timing(Stage.SOUNDTRACK):
            await context.threads.run(
                prepare_soundtrack,
                source,
                output,
                wanted,
                duration_s=duration_s,
                tools=context.tools,
                callbacks=ffmpeg_callbacks(lease),
            )
            info = await context.threads.run(probe_media, output, context.limits)
        with stopwatch.timing(Stage.UPLOAD):
            result = await context.upload_result(lease, OutputName.SOUNDTRACK, output, info)
    _logger.info("soundtrack prepared", duration_s=info.duration_s, **stopwatch.as_log())
    return result


def requested_sound(request: ResolvedRequest) -> SoundSource:
    """The sound that a request names."""
    assert not isinstance(request, ResolvedLipsync)
    sound = request.source if isinstance(request, ResolvedSoundtrack) else request.soundtrack
    assert sound is not None
    return sound


async def _fetch_sound(context: WorkerContext, lease: HeldLease, wanted: SoundSource, path: Path) -> None:
    if wanted.artifact_id is not None:
        await context.download_artifact(lease, wanted.artifact_id, path)
        return
    settings = context.settings
    fetching = fetch_file(
        str(wanted.url),
        path,
        policy=context.egress,
        max_bytes=settings.limits.max_upload_bytes,
        timeout_s=settings.media.fetch_timeout_s,
    )
    await cancel_on_stop(fetching, lease.stop)
    lease.record_progress()


async def _target_s(context: WorkerContext, lease: HeldLease) -> float | None:
    """Length of the video in seconds; None to keep the length of the sound."""
    match lease.claim.request:
        case ResolvedReel() as reel:
            held = await read_held_frames(context, lease, reel)
            return joined_length_s(reel.transition, reel.part_lengths_s) + sum(held.values()) / reel.fps
        case ResolvedStitch() as stitch:
            return joined_length_s(stitch.transition, await _lengths_s(context, lease, stitch.artifact_ids))
        case ResolvedSoundtrack() as soundtrack:
            return soundtrack.duration_s
        case ResolvedLipsync() as lipsync:
            return lipsync.duration_s


async def _lengths_s(context: WorkerContext, lease: HeldLease, artifact_ids: list[str]) -> list[float]:
    async def look_up() -> list[float]:
        async with context.database.read() as session:
            known = await find_known_media(session, artifact_ids, owner_id=lease.claim.owner_id)
        lengths_s = [picture_length_s(known[artifact_id]) for artifact_id in artifact_ids if artifact_id in known]
        return [length_s for length_s in lengths_s if length_s is not None]

    lengths_s = await retry_until_available(look_up, lease.stop)
    if len(lengths_s) < len(artifact_ids):
        raise _gone()
    return lengths_s


def _gone() -> TaskFailed:
    return invalid_media("a video to join no longer exists", Stage.FETCH)


@dataclass(frozen=True)
class AssemblyInputs:
    """The files that an assembly joins: videos, and a prepared soundtrack if the job has one."""

    parts: Sequence[Path]
    transition: Transition
    keeps_sound: bool = True
    track: Path | None = None
    soundtrack: SoundtrackRequest | None = None
    first_clip: int = 0
    """The part that is clip 0: a reel may begin with a clip that it extends."""
    narration: Narration = NO_NARRATION
    loudness_lufs: float = -16
    """Of the result, if it has a narration and no soundtrack."""
    captions: CaptionMode = "off"
    cues: Sequence[Cue] = ()


async def assemble(context: WorkerContext, lease: HeldLease) -> AttemptOutput:
    """Makes and stores the result of a job. Raises `TaskFailed`, and `RenderStopped` or `MediaStopped` on a stop."""
    stopwatch = Stopwatch(on_enter=lease.enter_stage)
    with context.scratch.folder() as folder:
        with stopwatch.timing(Stage.FETCH):
            inputs = await _fetch_inputs(context, lease, folder)
        output, poster = folder / OutputName.OUTPUT, folder / OutputName.THUMBNAIL
        with stopwatch.timing(Stage.ASSEMBLE):
            info = await context.threads.run(join_parts, inputs, output, poster, context.tools, ffmpeg_callbacks(lease))
            signed_by = await context.sign_result(lease, output)
        with stopwatch.timing(Stage.UPLOAD):
            thumbnail = await context.upload_result(lease, OutputName.THUMBNAIL, poster, POSTER)
            captions = await _upload_captions(context, lease, inputs, info, folder)
            result = await context.upload_result(lease, OutputName.OUTPUT, output, info)
    _logger.info("result assembled", parts=len(inputs.parts), **stopwatch.as_log())
    return replace(result, made_with={**result.made_with, **signed_by}, thumbnail=thumbnail, captions=captions)


async def _upload_captions(
    context: WorkerContext, lease: HeldLease, inputs: AssemblyInputs, info: MediaInfo, folder: Path
) -> tuple[AttemptOutput, ...]:
    """Stores the captions as files, in the formats that players read."""
    if not inputs.cues:
        return ()
    laid = lay_out(inputs.cues, track_box(info.width or 1, info.height or 1))
    stored: list[AttemptOutput] = []
    for name, text in ((OutputName.SRT, write_srt(laid)), (OutputName.VTT, write_vtt(laid))):
        (folder / name).write_text(text, encoding="utf-8")
        described = MediaInfo(media="text", format=name.rpartition(".")[2], duration_s=info.duration_s)
        stored.append(await context.upload_result(lease, name, folder / name, described))
    return tuple(stored)


def join_parts(
    inputs: AssemblyInputs, output: Path, poster: Path, tools: MediaTools, callbacks: FfmpegCallbacks
) -> MediaInfo:
    """Writes the result and its thumbnail. Returns the format and length of the result. Blocks."""
    joined = output.with_name("joined.mp4")
    info = join_clips(
        inputs.parts,
        joined,
        tools=tools,
        transition=inputs.transition,
        keep_sound=inputs.keeps_sound,
        held={index + inputs.first_clip: frames for index, frames in inputs.narration.held.items()},
        callbacks=callbacks,
    )
    picture, track = joined, _mix_sound(inputs, joined, info, tools, callbacks)
    if inputs.cues and inputs.captions == "burned":
        picture = output.with_name("drawn.mp4")
        burn_captions(joined, inputs.cues, picture, tools=tools, callbacks=callbacks)
        track = track or (joined if info.audio_codec is not None else None)
    if track is not None:
        muxed = output.with_name("muxed.mp4")
        info = mux_soundtrack(picture, track, muxed, tools=tools, callbacks=callbacks)
        picture = muxed
    if inputs.cues and inputs.captions == "track":
        tracked = output.with_name("tracked.mp4")
        subtitles = output.with_name("track.srt")
        laid = lay_out(inputs.cues, track_box(info.width or 1, info.height or 1))
        subtitles.write_text(write_srt(laid), encoding="utf-8")
        info = add_caption_track(picture, subtitles, tracked, tools=tools, callbacks=callbacks)
        picture = tracked
    picture.rename(output)
    write_poster(output, poster, duration_s=picture_length_s(info) or 0, tools=tools, callbacks=callbacks)
    return info


def _mix_sound(
    inputs: AssemblyInputs, joined: Path, info: MediaInfo, tools: MediaTools, callbacks: FfmpegCallbacks
) -> Path | None:
    """The sound of the result; None if the joined clips have it already, or if there is none."""
    track, soundtrack = inputs.track, inputs.soundtrack
    if track is not None and info.audio_codec is not None and soundtrack is not None:
        mixed = joined.with_name("mixed.m4a")
        track = mix_soundtrack(joined, track, mixed, soundtrack, tools=tools, callbacks=callbacks)
    if not inputs.narration.speeches:
        return track
    narrated = joined.with_name("narrated.m4a")
    mix_narration(
        inputs.narration.speeches,
        track or (joined if info.audio_codec is not None else None),
        narrated,
        duration_s=picture_length_s(info) or 0,
        loudness_lufs=soundtrack.loudness_lufs if soundtrack else inputs.loudness_lufs,
        tools=tools,
        callbacks=callbacks,
    )
    return narrated


async def make_segments(context: WorkerContext, lease: HeldLease) -> AttemptOutput:
    """Makes and stores what a player loads of one clip. Raises `TaskFailed`, and `RenderStopped` or `MediaStopped`."""
    reel = lease.claim.request
    assert isinstance(reel, ResolvedReel)
    index = lease.claim.position + len(reel.clips)
    held = await read_held_frames(context, lease, reel)
    timeline, span = timeline_of(reel, held), span_of_clip(reel, index, held)
    stopwatch = Stopwatch(on_enter=lease.enter_stage)
    with context.scratch.folder() as folder:
        artifact_ids = _list_parts(reel, lease.claim.clip_artifact_ids)
        parts = [folder / f"part-{part}" for part in timeline.parts_heard(span)]
        with stopwatch.timing(Stage.FETCH):
            for part, path in zip(timeline.parts_heard(span), parts, strict=True):
                await context.download_artifact(lease, artifact_ids[part], path)
            track = await _fetch_track(context, lease, folder)
            # Music is still quieter for a moment after the clip before has spoken.
            speeches = await fetch_speeches(context, lease, folder, range(index - 1, index + 1), held)
        added = AddedSound(reel.clip_sound == "keep", speeches, track, reel.soundtrack)
        output = folder / OutputName.SEGMENTS
        with stopwatch.timing(Stage.ENCODE):
            segments = await context.threads.run(
                write_segments,
                timeline,
                span,
                parts,
                output,
                tools=context.tools,
                added_sound=added,
                callbacks=ffmpeg_callbacks(lease),
            )
        with stopwatch.timing(Stage.UPLOAD):
            result = await context.upload_result(lease, OutputName.SEGMENTS, output, _describe(timeline, span))
    _logger.info("segments made", segments=len(segments.segment_bytes), **stopwatch.as_log())
    return replace(result, segments=segments)


def _describe(timeline: ReelTimeline, span: Span) -> MediaInfo:
    picture = timeline.picture
    num_frames = span.end - span.start
    return MediaInfo(
        media="video",
        format="mp4",
        duration_s=float(num_frames / picture.fps),
        width=picture.width,
        height=picture.height,
        fps=float(picture.fps),
        num_frames=num_frames,
        video_codec="h264",
        audio_codec="aac",
    )


async def _fetch_inputs(context: WorkerContext, lease: HeldLease, folder: Path) -> AssemblyInputs:
    claim = lease.claim
    assert isinstance(claim.request, ResolvedReel | ResolvedStitch)
    artifact_ids = _list_parts(claim.request, claim.clip_artifact_ids)
    parts = [folder / f"part-{index}" for index in range(len(artifact_ids))]
    for artifact_id, part in zip(artifact_ids, parts, strict=True):
        await context.download_artifact(lease, artifact_id, part)
    track = await _fetch_track(context, lease, folder)
    narration = await fetch_narration(context, lease, folder)
    reel = claim.request if isinstance(claim.request, ResolvedReel) else None
    captions = reel.captions if reel else "off"
    return AssemblyInputs(
        parts,
        claim.request.transition,
        keeps_sound=claim.request.clip_sound == "keep",
        track=track,
        soundtrack=claim.request.soundtrack,
        first_clip=1 if reel and reel.extends else 0,
        narration=narration,
        loudness_lufs=context.settings.media.loudness_lufs,
        captions=captions,
        cues=plan_cues(reel, narration.words, narration.held) if reel and captions != "off" else (),
    )


async def _fetch_track(context: WorkerContext, lease: HeldLease, folder: Path) -> Path | None:
    """Downloads the prepared soundtrack of the job, if it has one."""
    if lease.claim.soundtrack_artifact_id is None:
        return None
    track = folder / OutputName.SOUNDTRACK
    await context.download_artifact(lease, lease.claim.soundtrack_artifact_id, track)
    return track


def _list_parts(request: ResolvedReel | ResolvedStitch, clip_artifact_ids: Sequence[str]) -> Sequence[str]:
    """Artifact ids of what is joined, in order."""
    if isinstance(request, ResolvedStitch):
        return request.artifact_ids
    return [*([request.extends.artifact_id] if request.extends else []), *clip_artifact_ids]
