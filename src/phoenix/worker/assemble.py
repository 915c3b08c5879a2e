"""Assembles a job's result: joins the clips, lays the sound under them, writes a poster, uploads."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from phoenix.contract.artifacts import MediaInfo
from phoenix.contract.requests import Transition
from phoenix.contract.resolved import ResolvedReel, ResolvedStitch
from phoenix.errors import Stage
from phoenix.jobs.execution.completion import AttemptOutput
from phoenix.media.encode import write_poster
from phoenix.media.ffmpeg import FfmpegCallbacks, MediaTools
from phoenix.media.join import join_clips
from phoenix.media.soundtrack import mux_soundtrack
from phoenix.storage.keys import OutputName
from phoenix.telemetry.logs import get_logger
from phoenix.worker.context import WorkerContext, ffmpeg_callbacks
from phoenix.worker.files import download_artifact, upload_result
from phoenix.worker.leases import HeldLease
from phoenix.worker.stopwatch import Stopwatch

_logger = get_logger(__name__)

POSTER = MediaInfo(media="image", format="jpeg")


@dataclass(frozen=True)
class AssemblyInputs:
    """The files that an assembly is made of."""

    parts: Sequence[Path]
    track: Path | None
    transition: Transition


async def assemble(context: WorkerContext, lease: HeldLease) -> AttemptOutput:
    """Makes and stores a job's result. Raises `TaskFailed`; `RenderStopped` or `MediaStopped` when asked to stop."""
    stopwatch = Stopwatch()
    with context.scratch.folder() as folder:
        with stopwatch.timing(Stage.FETCH):
            inputs = await _fetch(context, lease, folder)
        output, poster = folder / OutputName.OUTPUT, folder / OutputName.THUMBNAIL
        with stopwatch.timing(Stage.ASSEMBLE):
            info = await context.threads.run(join_parts, inputs, output, poster, context.tools, ffmpeg_callbacks(lease))
        with stopwatch.timing(Stage.UPLOAD):
            thumbnail = await upload_result(context, lease, OutputName.THUMBNAIL, poster, POSTER)
            result = await upload_result(context, lease, OutputName.OUTPUT, output, info)
    _logger.info("result assembled", parts=len(inputs.parts), **stopwatch.as_log())
    return replace(result, thumbnail=thumbnail)


def join_parts(
    inputs: AssemblyInputs, output: Path, poster: Path, tools: MediaTools, callbacks: FfmpegCallbacks
) -> MediaInfo:
    """Writes the result and its poster; returns what the result holds. Blocks."""
    track = inputs.track
    joined = output if track is None else output.with_name("silent.mp4")
    info = join_clips(
        inputs.parts,
        joined,
        tools=tools,
        transition=inputs.transition,
        keep_sound=track is None,
        callbacks=callbacks,
    )
    if track is not None:
        info = mux_soundtrack(joined, track, output, tools=tools, callbacks=callbacks)
    write_poster(output, poster, duration_s=info.duration_s or 0, tools=tools, callbacks=callbacks)
    return info


async def _fetch(context: WorkerContext, lease: HeldLease, folder: Path) -> AssemblyInputs:
    claim = lease.claim
    assert isinstance(claim.request, ResolvedReel | ResolvedStitch)
    artifact_ids = claim.request.artifact_ids if isinstance(claim.request, ResolvedStitch) else claim.clip_artifact_ids
    parts = [folder / f"part-{index}" for index in range(len(artifact_ids))]
    for artifact_id, part in zip(artifact_ids, parts, strict=True):
        await download_artifact(context, lease, artifact_id, part)
    track: Path | None = None
    if claim.soundtrack_artifact_id is not None:
        track = folder / OutputName.SOUNDTRACK
        await download_artifact(context, lease, claim.soundtrack_artifact_id, track)
    return AssemblyInputs(parts, track, claim.request.transition)
