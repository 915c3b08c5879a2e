"""Renders one clip: fetches its conditions, waits for the device, makes and encodes frames, and uploads the file."""

import asyncio
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import cast

from phoenix.async_tasks import in_background
from phoenix.catalog.adapters import AdapterUse
from phoenix.catalog.model import EngineName, ModelSpec
from phoenix.catalog.postprocessors import InterpolatorSpec, LipModelSpec, UpscalerSpec
from phoenix.catalog.stored_entries import (
    EntryChanged,
    restore_adapters,
    restore_clip_lips,
    restore_entry,
    restore_interpolator,
    restore_upscaler,
)
from phoenix.contract import ClipCheck, MediaInfo, ResolvedClip, ResolvedReel
from phoenix.engine.frame_stream import Frame
from phoenix.engine.interface import ClipInputs, ConditionFile, RenderedClip
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.jobs.execution.task_completion import AttemptOutput
from phoenix.media.checks.clip_checks import PictureChecks, check_sound
from phoenix.media.commands.video import Picture, Resampling
from phoenix.media.encode import Samples, encode_clip
from phoenix.media.errors import UnreadableMedia
from phoenix.media.ffmpeg import FfmpegCallbacks, MediaTools
from phoenix.media.probe import probe_media
from phoenix.queues.queue import ReleaseSlot
from phoenix.storage.keys import OutputName
from phoenix.telemetry.logs import get_logger
from phoenix.worker.conditions import fetch_conditions
from phoenix.worker.context import WorkerContext
from phoenix.worker.leases import HeldLease
from phoenix.worker.progress_publisher import ProgressPublisher
from phoenix.worker.render_observer import ClipObserver, threadsafe_setter

_logger = get_logger(__name__)


async def render_clip(context: WorkerContext, lease: HeldLease, release_slot: ReleaseSlot) -> AttemptOutput:
    """Renders and stores one clip. Raises `TaskFailed`, and `RenderStopped` within one step after a stop."""
    entries = _look_up(context, lease)
    clip, model = entries.clip, entries.model
    has_news = asyncio.Event()
    observer = ClipObserver(
        lease,
        steps=clip.steps,
        num_frames=clip.num_output_frames,
        is_postprocessed=bool(clip.postprocessors),
        on_change=threadsafe_setter(has_news),
    )
    interval_s = context.settings.events.progress_interval_s
    progress = ProgressPublisher(context.database, context.publisher, lease.claim, observer, interval_s=interval_s)
    with context.scratch.folder() as folder:
        conditions = await fetch_conditions(context, lease, clip, model, folder=folder, observer=observer)
        said = await fetch_said(context, lease, clip, conditions, folder=folder, observer=observer)
        async with progress.publishing(has_news):
            # Before the device works for a clip that could not be finished.
            after = await context.threads.run(_open_postprocessing, context, lease, entries, observer, said)
            for_model = [each for each in conditions if each.role != "audio" or not clip.says_audio]
            inputs = ClipInputs(clip, model, tuple(for_model), entries.adapters)
            output = folder / OutputName.CLIP
            rendered = await context.threads.run(context.engines.render, inputs, observer)
            # The first frames are encoded while the last ones are decoded.
            async with in_background(leave_device(rendered, observer.on_made, release_slot), name="device"):
                changed = after.apply(rendered)
                info, checks = await context.threads.run(_encode, context, clip, changed, observer, output)
            with observer.stopwatch.timing(Stage.UPLOAD):
                result = await context.upload_result(lease, OutputName.CLIP, output, info)
    lease.peak_memory_bytes = rendered.peak_memory_bytes
    _log(clip, model, rendered, observer)
    return replace(
        result,
        timings=observer.stopwatch.clip_timings(),
        batch_size=rendered.batch_size,
        warnings=rendered.warnings,
        checks=(*checks, *after.find_checks()),
        made_with={**result.made_with, **entries.versions()},
    )


MAKERS: Mapping[EngineName, tuple[str, ...]] = {
    "animatic": ("phoenix", "numpy", "pillow"),
    "diffusers": ("phoenix", "diffusers", "peft", "torch", "transformers"),
    "veo": ("phoenix", "google-genai"),
}
"""The packages whose version decides the pixels of a clip, together with its request."""


POSTPROCESSORS = ("onnxruntime", "onnxruntime-gpu", "pillow")
"""The packages whose version decides what upscalers and interpolators with weights make of it."""

LIP_MOVERS = ("numpy", "onnxruntime", "onnxruntime-gpu", "pillow", "torch")
"""The packages whose version decides what lip models make of it."""


@cache
def versions_for(
    engine: EngineName, *, has_models_after: bool = False, has_moved_lips: bool = False
) -> Mapping[str, str]:
    """The versions of the packages that render clips of this engine; without packages that are not installed."""
    found: dict[str, str] = {}
    after = (*(POSTPROCESSORS if has_models_after else ()), *(LIP_MOVERS if has_moved_lips else ()))
    for package in dict.fromkeys((*MAKERS[engine], *after)):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


@dataclass(frozen=True)
class ClipEntries:
    """A clip, and the entries of its request."""

    clip: ResolvedClip
    model: ModelSpec
    adapters: tuple[AdapterUse, ...]
    upscaler: UpscalerSpec | None
    interpolator: InterpolatorSpec | None
    lip_model: LipModelSpec | None

    @property
    def has_models_after(self) -> bool:
        """Whether a model changes the frames. Motion estimation is up to the encoder."""
        return self.upscaler is not None or (self.interpolator is not None and self.interpolator.source is not None)

    def versions(self) -> Mapping[str, str]:
        """The versions of the packages that decide the pixels of the clip."""
        has_lips = self.lip_model is not None
        return versions_for(self.model.engine, has_models_after=self.has_models_after, has_moved_lips=has_lips)


def _look_up(context: WorkerContext, lease: HeldLease) -> ClipEntries:
    """Raises `TaskFailed` (MODEL_UNAVAILABLE) if the catalog no longer has what the request was accepted with."""
    reel = lease.claim.request
    assert isinstance(reel, ResolvedReel)
    clip = reel.renders[lease.claim.position]
    try:
        return ClipEntries(
            clip,
            restore_entry(reel, context.catalog),
            restore_adapters(clip, reel, context.catalog),
            restore_upscaler(clip, reel, context.catalog),
            restore_interpolator(clip, reel, context.catalog),
            restore_clip_lips(clip, reel, context.catalog),
        )
    except EntryChanged as changed:
        # Another worker may have the catalog of the request.
        detail = f"{changed.detail} (in the catalog of this worker)"
        raise TaskFailed(FailureCode.MODEL_UNAVAILABLE, detail, stage=Stage.LOAD, retriable=True) from changed


async def fetch_said(
    context: WorkerContext,
    lease: HeldLease,
    clip: ResolvedClip,
    conditions: Sequence[ConditionFile],
    *,
    folder: Path,
    observer: ClipObserver,
) -> Path | None:
    """The file with the sound that the lips of the clip say; None if they stay as the model makes them."""
    if clip.says_audio:
        return next(each.path for each in conditions if each.role == "audio")
    if not clip.says_narration:
        return None
    assert lease.claim.speech_artifact_id is not None
    said = folder / "said"
    with observer.stopwatch.timing(Stage.FETCH):
        await context.download_artifact(lease, lease.claim.speech_artifact_id, said)
    return said


@dataclass(frozen=True)
class Postprocessing:
    """What changes the frames of the clip, their size and rate, and its sound; and what is wrong with the result."""

    apply: Callable[[RenderedClip], RenderedClip]
    find_checks: Callable[[], Sequence[ClipCheck]] = tuple


def _open_postprocessing(
    context: WorkerContext, lease: HeldLease, entries: ClipEntries, observer: ClipObserver, said: Path | None
) -> Postprocessing:
    """Opens the models after the model of the clip. Raises `TaskFailed`."""
    if not entries.has_models_after and entries.lip_model is None:
        return Postprocessing(_leave_unchanged)
    lips = None
    with observer.stopwatch.timing(Stage.LOAD):
        opened = context.engines.open_postprocessing(entries.clip, entries.upscaler, entries.interpolator)
        if entries.lip_model is not None and said is not None:
            # It needs numpy, which starts threads: a process that is forked must not have any.
            from phoenix.worker.lipsyncs.clip_lips import open_clip_lips  # noqa: PLC0415

            lips = open_clip_lips(context, lease, entries.clip, entries.lip_model, said, observer.check)
            opened = replace(opened, last=lips.change)
    observer.begin_postprocessing()
    sound = lips and lips.sound

    def apply(rendered: RenderedClip) -> RenderedClip:
        changed = opened.apply(rendered, observer, observer.check)
        return replace(changed, frames=_watch_end(changed.frames, observer), sound=sound or changed.sound)

    return Postprocessing(apply) if lips is None else Postprocessing(apply, lips.find_checks)


def _leave_unchanged(rendered: RenderedClip) -> RenderedClip:
    return rendered


def _watch_end(frames: Iterator[Frame], observer: ClipObserver) -> Iterator[Frame]:
    yield from frames
    observer.end_postprocessing()


async def leave_device(rendered: RenderedClip, on_made: Callable[[], None], release_slot: ReleaseSlot) -> None:
    """Gives the slot back once all frames are made, and says so: until then the clip is decoded."""
    made = asyncio.Event()
    rendered.when_made(threadsafe_setter(made))
    await made.wait()
    # First the stage, so that a claim of the next clip finds that this clip no longer needs the slot.
    on_made()
    release_slot()


def _encode(
    context: WorkerContext, clip: ResolvedClip, rendered: RenderedClip, observer: ClipObserver, output: Path
) -> tuple[MediaInfo, list[ClipCheck]]:
    """Writes the MP4 of the clip, and probes the file to make sure that it is complete. Returns the failed checks."""
    picture = PictureChecks(rendered.width, rendered.height, rendered.fps)
    with _closing(rendered.frames):
        watched = replace(rendered, frames=picture.watch(rendered.frames))
        write_frames(clip, watched, output, tools=context.tools, callbacks=observer.ffmpeg_callbacks())
    try:
        info = probe_media(output, context.limits)
    except UnreadableMedia as error:
        raise _unusable(error.detail) from error
    if (info.num_frames, info.width, info.height) != (clip.num_output_frames, rendered.width, rendered.height):
        raise _unusable(f"it has {info.num_frames} frames of {info.width}x{info.height}")
    if (info.audio_codec is None) != (rendered.sound is None):
        raise _unusable("it has no sound" if rendered.sound else "it has sound")
    sound = _samples_of(rendered)
    checks = [*picture.find(), *(check_sound(sound) if sound else ())]
    observer.stopwatch.enter(None)
    return info, checks


def _closing(frames: Iterator[Frame]) -> AbstractContextManager[object]:
    """Ends what makes the frames, also after an error of the encoder: it may have a slot of the device."""
    return closing(cast("Generator[Frame, None, None]", frames)) if isinstance(frames, Generator) else nullcontext()


def write_frames(
    clip: ResolvedClip, rendered: RenderedClip, output: Path, *, tools: MediaTools, callbacks: FfmpegCallbacks
) -> None:
    """Encodes the frames and the sound of a clip to an MP4, at the frame rate of its file.

    Raises `TaskFailed`, and `MediaStopped` on a stop.
    """
    picture = Picture(rendered.width, rendered.height, Fraction(rendered.fps))
    try:
        encode_clip(
            rendered.frames,
            picture,
            output,
            tools=tools,
            num_frames=rendered.num_frames,
            sound=_samples_of(rendered),
            resampling=_resampling_of(clip, rendered),
            callbacks=callbacks,
        )
    except MemoryError:
        detail = "the worker ran out of memory while the clip was encoded"
        raise TaskFailed(FailureCode.ENGINE_FAILED, detail, stage=Stage.ENCODE, retriable=True) from None


def _resampling_of(clip: ResolvedClip, rendered: RenderedClip) -> Resampling | None:
    if clip.output_fps in (None, rendered.fps):
        return None
    with_motion = clip.interpolate is not None
    return Resampling(Fraction(clip.output_fps), clip.num_output_frames, with_motion=with_motion)


def _samples_of(rendered: RenderedClip) -> Samples | None:
    sound = rendered.sound
    return sound and Samples(sound.samples, sound.channels, sound.rate_hz)


def _unusable(why: str) -> TaskFailed:
    detail = f"the file of the clip is unusable: {why}"
    return TaskFailed(FailureCode.ENGINE_FAILED, detail, stage=Stage.ENCODE, retriable=True)


def _log(clip: ResolvedClip, model: ModelSpec, rendered: RenderedClip, observer: ClipObserver) -> None:
    stages = observer.stopwatch.as_log()
    _logger.info("clip rendered", clip_index=clip.index, model=model.id, batch_size=rendered.batch_size, **stages)
