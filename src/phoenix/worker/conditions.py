"""Fetches the conditions of a clip. Videos are decoded here, because an engine knows no media files."""

import math
from fractions import Fraction
from functools import partial
from pathlib import Path

from phoenix.catalog.model import ModelSpec
from phoenix.contract import PICTURE_ROLES, VIDEO_ROLES, ResolvedClip, ResolvedCondition
from phoenix.engine.interface import ConditionFile
from phoenix.errors import Stage
from phoenix.media.commands.video import Picture
from phoenix.media.decode import decode_video, write_last_frame
from phoenix.media.ffmpeg import FfmpegCallbacks
from phoenix.worker.context import WorkerContext
from phoenix.worker.leases import HeldLease
from phoenix.worker.render_observer import ClipObserver


async def fetch_conditions(
    context: WorkerContext,
    lease: HeldLease,
    clip: ResolvedClip,
    model: ModelSpec,
    *,
    folder: Path,
    observer: ClipObserver,
) -> tuple[ConditionFile, ...]:
    """Downloads each condition into `folder`, in order. Raises `TaskFailed`, and `RenderStopped` after a stop."""
    files: list[ConditionFile] = []
    for place, condition in enumerate(clip.conditions):
        path = folder / f"condition-{place}"
        with observer.stopwatch.timing(Stage.FETCH):
            await _download(context, lease, condition, path)
            if condition.is_from_clip and condition.role in PICTURE_ROLES:
                path = await context.threads.run(_take_last_frame, context, lease, path)
            elif condition.role in VIDEO_ROLES:
                decode = partial(_decode, context, lease, clip, model, condition, path)
                path = await context.threads.run(decode)
        files.append(
            ConditionFile(condition.role, path, condition.at_s, condition.strength, is_ending=continues(condition))
        )
    return tuple(files)


async def _download(context: WorkerContext, lease: HeldLease, condition: ResolvedCondition, path: Path) -> None:
    artifact_id = lease.claim.previous_artifact_id if condition.source.previous_clip else condition.artifact_id
    assert artifact_id is not None
    await context.download_artifact(lease, artifact_id, path)


def _take_last_frame(context: WorkerContext, lease: HeldLease, video: Path) -> Path:
    output = video.with_suffix(".png")
    write_last_frame(video, output, tools=context.tools, limits=context.limits, callbacks=_ffmpeg_callbacks(lease))
    video.unlink()
    return output


def _decode(
    context: WorkerContext,
    lease: HeldLease,
    clip: ResolvedClip,
    model: ModelSpec,
    condition: ResolvedCondition,
    video: Path,
) -> Path:
    """Returns the raw frames of a video: as many as the clip has, or fewer if the entry allows a shorter video."""
    output = video.with_suffix(".rgb")
    decode_video(
        video,
        Picture(clip.width, clip.height, Fraction(clip.fps)),
        output,
        max_frames=clip.frames_of_source(condition.overlap_s),
        min_frames=min_frames(clip, model, condition),
        tools=context.tools,
        limits=context.limits,
        from_end=continues(condition),
        callbacks=_ffmpeg_callbacks(lease),
    )
    video.unlink()
    return output


def _ffmpeg_callbacks(lease: HeldLease) -> FfmpegCallbacks:
    return FfmpegCallbacks(lambda: lease.stop.reason is not None, lambda _: lease.record_progress())


def min_frames(clip: ResolvedClip, model: ModelSpec, condition: ResolvedCondition) -> int:
    """Returns how many frames the video must have at the rate of the clip."""
    rule = model.conditions.get(condition.role)
    if rule is None or rule.needed_s is None:
        return clip.num_frames
    return min(clip.frames_of_source(condition.overlap_s), max(1, math.floor(rule.needed_s * clip.fps)))


def continues(condition: ResolvedCondition) -> bool:
    """Returns whether the clip continues the video from its end."""
    return condition.source.previous_clip is True or condition.overlap_s is not None
