"""Renders one clip: fetches its image, waits for the device, makes and encodes frames, checks and uploads the file."""

import asyncio
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from phoenix.catalog.model import ModelSpec
from phoenix.contract import MediaInfo, ResolvedClip, ResolvedReel
from phoenix.engine.interface import ClipInputs, RenderedClip
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.jobs.execution.task_completion import AttemptOutput
from phoenix.media.commands.video import Picture
from phoenix.media.encode import encode_frames
from phoenix.media.errors import UnreadableMedia
from phoenix.media.ffmpeg import FfmpegCallbacks, MediaTools
from phoenix.media.probe import probe_media
from phoenix.queues.queue import ReleaseSlot
from phoenix.storage.keys import OutputName
from phoenix.telemetry.logs import get_logger
from phoenix.worker.context import WorkerContext
from phoenix.worker.leases import HeldLease
from phoenix.worker.progress_publisher import ProgressPublisher
from phoenix.worker.render_observer import ClipObserver, threadsafe_setter

_logger = get_logger(__name__)


async def render_clip(context: WorkerContext, lease: HeldLease, release_slot: ReleaseSlot) -> AttemptOutput:
    """Renders and stores one clip. Raises `TaskFailed`, and `RenderStopped` within one step after a stop."""
    clip, model = _look_up(context, lease)
    changed = asyncio.Event()
    observer = ClipObserver(lease, steps=clip.steps, num_frames=clip.num_frames, on_change=threadsafe_setter(changed))
    services = context.services
    interval_s = services.settings.events.progress_interval_s
    progress = ProgressPublisher(services.database, services.publisher, lease.claim, observer, interval_s=interval_s)
    with context.scratch.folder() as folder:
        image = await _fetch_image(context, lease, clip, folder, observer)
        async with progress.publishing(changed):
            inputs = ClipInputs(clip, model, image)
            output = folder / OutputName.CLIP
            rendered = await context.threads.run(context.engines.render, inputs, observer)
            release_slot()
            info = await context.threads.run(_encode, context, rendered, observer, output)
            with observer.stopwatch.timing(Stage.UPLOAD):
                result = await context.upload_result(lease, OutputName.CLIP, output, info)
    _log(clip, model, rendered, observer)
    return replace(
        result,
        timings=observer.stopwatch.clip_timings(),
        batch_size=rendered.batch_size,
        warnings=rendered.warnings,
    )


def _look_up(context: WorkerContext, lease: HeldLease) -> tuple[ResolvedClip, ModelSpec]:
    request = lease.claim.request
    assert isinstance(request, ResolvedReel)
    model = context.services.catalog.find(request.model)
    if model is None:
        detail = f"the model {request.model} is not in this worker's catalog"
        raise TaskFailed(FailureCode.MODEL_UNAVAILABLE, detail, stage=Stage.LOAD, retriable=True)
    return request.clips[lease.claim.position], model


async def _fetch_image(
    context: WorkerContext, lease: HeldLease, clip: ResolvedClip, folder: Path, observer: ClipObserver
) -> Path | None:
    if clip.image_artifact_id is None:
        return None
    path = folder / "image"
    with observer.stopwatch.timing(Stage.FETCH):
        await context.download_artifact(lease, clip.image_artifact_id, path)
    return path


def _encode(context: WorkerContext, rendered: RenderedClip, observer: ClipObserver, output: Path) -> MediaInfo:
    """Writes the MP4 of the clip, and probes the file to make sure that it is complete."""
    observer.on_stage(Stage.ENCODE)
    write_frames(rendered, output, tools=context.tools, callbacks=observer.ffmpeg_callbacks())
    try:
        info = probe_media(output, context.limits)
    except UnreadableMedia as error:
        raise _unusable(error.detail) from error
    if (info.num_frames, info.width, info.height) != (rendered.num_frames, rendered.width, rendered.height):
        raise _unusable(f"it has {info.num_frames} frames of {info.width}x{info.height}")
    observer.stopwatch.enter(None)
    return info


def write_frames(rendered: RenderedClip, output: Path, *, tools: MediaTools, callbacks: FfmpegCallbacks) -> None:
    """Encodes a clip to an MP4. Raises `TaskFailed`, and `MediaStopped` on a stop."""
    picture = Picture(rendered.width, rendered.height, Fraction(rendered.fps))
    try:
        encode_frames(
            rendered.frames, picture, output, tools=tools, num_frames=rendered.num_frames, callbacks=callbacks
        )
    except MemoryError:
        detail = "the worker ran out of memory while the clip was encoded"
        raise TaskFailed(FailureCode.ENGINE_FAILED, detail, stage=Stage.ENCODE, retriable=True) from None


def _unusable(why: str) -> TaskFailed:
    detail = f"the file of the clip is unusable: {why}"
    return TaskFailed(FailureCode.ENGINE_FAILED, detail, stage=Stage.ENCODE, retriable=True)


def _log(clip: ResolvedClip, model: ModelSpec, rendered: RenderedClip, observer: ClipObserver) -> None:
    stages = observer.stopwatch.as_log()
    _logger.info("clip rendered", clip_index=clip.index, model=model.id, batch_size=rendered.batch_size, **stages)
