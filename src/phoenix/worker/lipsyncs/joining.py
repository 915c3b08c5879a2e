"""Joins the parts of a lip-sync, and adds the sound."""

from dataclasses import replace
from pathlib import Path

from phoenix.contract import MediaInfo, ResolvedLipsync
from phoenix.errors import Stage
from phoenix.jobs.execution.task_completion import AttemptOutput
from phoenix.media.reel.join import join_clips
from phoenix.storage.keys import OutputName
from phoenix.telemetry.logs import get_logger
from phoenix.worker.context import POSTER, WorkerContext, ffmpeg_callbacks
from phoenix.worker.leases import HeldLease
from phoenix.worker.lipsyncs import finish, no_face
from phoenix.worker.render_observer import Stopwatch

_logger = get_logger(__name__)


async def join_lipsync(context: WorkerContext, lease: HeldLease) -> AttemptOutput:
    """Makes and stores the result of parts. Raises `TaskFailed`, and `RenderStopped` or `MediaStopped` on a stop."""
    claim, request = lease.claim, lease.claim.request
    assert isinstance(request, ResolvedLipsync)
    if claim.has_no_face:
        raise no_face(Stage.ASSEMBLE)
    stopwatch = Stopwatch(on_enter=lease.enter_stage)
    with context.scratch.folder() as folder:
        parts = [folder / f"part-{part}" for part in range(len(claim.clip_artifact_ids))]
        sound, output, poster = folder / "sound", folder / OutputName.OUTPUT, folder / OutputName.THUMBNAIL
        with stopwatch.timing(Stage.FETCH):
            for artifact_id, path in zip(claim.clip_artifact_ids, parts, strict=True):
                await context.download_artifact(lease, artifact_id, path)
            await context.download_artifact(lease, request.video if request.sound == "keep" else request.audio, sound)
        with stopwatch.timing(Stage.ASSEMBLE):
            info = await context.threads.run(_join, context, lease, parts, sound, output, poster)
            signed_by = await context.sign_result(lease, output)
        with stopwatch.timing(Stage.UPLOAD):
            thumbnail = await context.upload_result(lease, OutputName.THUMBNAIL, poster, POSTER)
            result = await context.upload_result(lease, OutputName.OUTPUT, output, info)
    _logger.info("parts of a lip-sync joined", parts=len(parts), **stopwatch.as_log())
    return replace(result, made_with={**result.made_with, **signed_by}, thumbnail=thumbnail)


def _join(
    context: WorkerContext, lease: HeldLease, parts: list[Path], sound: Path, output: Path, poster: Path
) -> MediaInfo:
    callbacks, joined = ffmpeg_callbacks(lease), output.with_name("joined.mp4")
    join_clips(parts, joined, tools=context.tools, keep_sound=False, callbacks=callbacks)
    return finish(joined, sound, output, poster, context.tools, callbacks)
