"""Makes the face in a video say a sound: decodes, moves the lips, encodes, and adds the sound.

A long lip-sync has parts. Each is a task that makes its frames alone; `joining` puts them together.
"""

import asyncio
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import islice, repeat
from pathlib import Path

import numpy as np
from PIL import Image

from phoenix.catalog.postprocessors import LipModelSpec
from phoenix.catalog.stored_entries import EntryChanged, restore_lip_model
from phoenix.contract import CheckCode, ClipCheck, MediaInfo, ResolvedLipsync
from phoenix.engine.previews import PreviewThrottle, preview_size, to_jpeg
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.jobs.execution.task_completion import AttemptOutput
from phoenix.lipsync.faces import SMOOTHED_FRAMES, FaceBox
from phoenix.lipsync.interface import SPEECH_RATE_HZ, Pixels, Speech, SyncCounts, TalkingEngine
from phoenix.media.commands.video import Picture
from phoenix.media.decode import count_frames, decode_sound, open_frames
from phoenix.media.encode import encode_frames, write_poster
from phoenix.media.errors import invalid_media
from phoenix.media.ffmpeg import FfmpegCallbacks, MediaTools
from phoenix.media.probe import probe_media
from phoenix.media.soundtrack import mux_soundtrack
from phoenix.still_pictures import open_picture
from phoenix.storage.keys import OutputName
from phoenix.telemetry.logs import get_logger
from phoenix.worker.context import POSTER, WorkerContext, ffmpeg_callbacks
from phoenix.worker.leases import HeldLease
from phoenix.worker.progress_publisher import ProgressPublisher
from phoenix.worker.render_observer import ClipObserver, threadsafe_setter

_logger = get_logger(__name__)


async def sync_lips(context: WorkerContext, lease: HeldLease) -> AttemptOutput:
    """Makes and stores the result of a lip-sync, or a part. Raises `TaskFailed`, `RenderStopped` or `MediaStopped`."""
    request = lease.claim.request
    assert isinstance(request, ResolvedLipsync)
    has_news = asyncio.Event()
    frames = max(1, round(request.duration_s * request.fps / request.parts))
    observer = ClipObserver(lease, steps=frames, num_frames=frames, on_change=threadsafe_setter(has_news))
    interval_s = context.settings.events.progress_interval_s
    progress = ProgressPublisher(context.database, context.publisher, lease.claim, observer, interval_s=interval_s)
    with context.scratch.folder() as folder:
        job = LipsyncWork(context, lease, request, observer, folder)
        with observer.stopwatch.timing(Stage.FETCH):
            await context.download_artifact(lease, request.video, job.video)
            await context.download_artifact(lease, request.audio, job.audio)
        async with progress.publishing(has_news):
            made = await context.threads.run(job.make_frames)
            if request.parts > 1:
                return await _store_part(context, lease, job, made)
            info = await context.threads.run(job.add_sound, made)
        signed_by = await context.sign_result(lease, job.output)
        with observer.stopwatch.timing(Stage.UPLOAD):
            thumbnail = await context.upload_result(lease, OutputName.THUMBNAIL, job.poster, POSTER)
            result = await context.upload_result(lease, OutputName.OUTPUT, job.output, info)
    _logger.info("lips moved", model=request.model, **job.watched.as_log(), **observer.stopwatch.as_log())
    return replace(result, made_with={**result.made_with, **signed_by}, thumbnail=thumbnail)


async def _store_part(context: WorkerContext, lease: HeldLease, job: "LipsyncWork", made: Path) -> AttemptOutput:
    observer = job.observer
    info = await context.threads.run(probe_media, made, context.limits)
    with observer.stopwatch.timing(Stage.UPLOAD):
        result = await context.upload_result(lease, OutputName.CLIP, made, info)
    _logger.info("lips moved in a part", **job.watched.as_log(), **observer.stopwatch.as_log())
    message = "No frame of the part has a face."
    has_face = job.watched.has_face
    return replace(result, checks=() if has_face else (ClipCheck(code=CheckCode.NO_FACE, message=message),))


class _Watched:
    """Counts the frames, passes them on as steps of the attempt, and ends the sync on a stop."""

    def __init__(self, observer: ClipObserver, num_frames: int) -> None:
        self.counts = SyncCounts()
        self._observer, self._num_frames = observer, num_frames

    def on_frames(self, counts: SyncCounts) -> None:
        self.counts = counts
        self._observer.on_step(min(counts.frames, self._num_frames), self._num_frames)

    @property
    def has_face(self) -> bool:
        return self.counts.without_face < self.counts.frames

    def as_log(self) -> dict[str, int]:
        counts = self.counts
        return {"frames": counts.frames, "without_face": counts.without_face, "silent": counts.silent}


@dataclass
class LipsyncWork:
    """One attempt at a lip-sync or at a part, in a folder of its own. Its methods block."""

    context: WorkerContext
    lease: HeldLease
    request: ResolvedLipsync
    observer: ClipObserver
    folder: Path

    def __post_init__(self) -> None:
        self.video, self.audio = self.folder / "video", self.folder / "audio"
        self.output, self.poster = self.folder / OutputName.OUTPUT, self.folder / OutputName.THUMBNAIL
        self.watched = _Watched(self.observer, 1)

    def make_frames(self) -> Path:
        """Returns the file with the frames, without sound. Raises `TaskFailed` if a whole lip-sync has no face."""
        request = self.request
        with self.observer.stopwatch.timing(Stage.FETCH):
            speech = read_speech(self.context, self.lease, self.audio)
            available, picture = self._measure()
        wanted = max(1, round(speech.duration_s * picture.fps))
        num_frames = min(wanted, available) if request.when_shorter == "trim" and available else wanted
        spec, engine = self._open_engine()
        mine = frames_of_part(num_frames, request.parts, self.lease.claim.position, batch=spec.batch)
        self.watched = _Watched(self.observer, len(mine))
        silent = self.folder / "silent.mp4"
        read = range(mine.start, min(mine.stop + SMOOTHED_FRAMES - 1, num_frames))
        with self._frames(picture, read, available) as frames, self._on_device():
            self.observer.on_stage(Stage.POSTPROCESS)
            made = engine.sync(frames, float(picture.fps), speech, self.watched, first=mine.start)
            encode_frames(
                self._shown(islice(made, len(mine))),
                picture,
                silent,
                tools=self.context.tools,
                num_frames=len(mine),
                callbacks=self.observer.ffmpeg_callbacks(),
            )
        if request.parts == 1 and not self.watched.has_face:
            raise no_face(Stage.POSTPROCESS)
        return silent

    def add_sound(self, silent: Path) -> MediaInfo:
        """Writes the result and its thumbnail. Returns the format and length of the result."""
        with self.observer.stopwatch.timing(Stage.ASSEMBLE):
            sound = self.video if self.request.sound == "keep" else self.audio
            return finish(silent, sound, self.output, self.poster, self.context.tools, ffmpeg_callbacks(self.lease))

    def _shown(self, made: Iterator[Pixels]) -> Iterator[memoryview]:
        """The frames as the encoder takes them. Some of them are previews."""
        throttle = PreviewThrottle(self.context.settings.engine.preview_interval_s)
        for frame in made:
            if throttle.is_due():
                height, width = frame.shape[:2]
                self.observer.on_preview(to_jpeg(Image.fromarray(frame).resize(preview_size(width, height))))
            yield frame.data

    def _measure(self) -> tuple[int, Picture]:
        """The frames that the video has, none for a still picture, and the picture of the result."""
        request = self.request
        if request.is_picture:
            return 0, Picture(request.width, request.height, Fraction(request.fps).limit_denominator(1001))
        return count_frames(self.video, self.context.limits)

    def _open_engine(self) -> tuple[LipModelSpec, TalkingEngine]:
        box = self.request.box
        with self.observer.stopwatch.timing(Stage.LOAD):
            try:
                spec = restore_lip_model(self.request, self.context.catalog)
            except EntryChanged as changed:
                detail = f"{changed.detail} (in the catalog of this worker)"
                raise TaskFailed(FailureCode.MODEL_UNAVAILABLE, detail, stage=Stage.LOAD, retriable=True) from changed
            return spec, self.context.talking.open(spec, box and FaceBox(box.x, box.y, box.width, box.height))

    @contextmanager
    def _on_device(self) -> Generator[None]:
        """Takes a slot of the device for the block, as a clip does."""
        with ExitStack() as device:
            with self.observer.waiting():
                device.enter_context(self.context.slots.acquire(self.observer.stop))
            yield

    @contextmanager
    def _frames(self, picture: Picture, wanted: range, available: int) -> Generator[Iterator[Pixels]]:
        """The frames of the video, again from the beginning or with its last frame held, as often as needed."""
        if self.request.is_picture:
            yield repeat(_open_still(self.video, picture), len(wanted))
            return
        if available == 0:
            raise invalid_media("the video has no frames", Stage.FETCH)
        # Closed before the folder is removed: the decoder writes to a pipe in it.
        with closing(self._passes(picture, wanted.start, available)) as passes:
            yield islice(passes, len(wanted))

    def _passes(self, picture: Picture, start: int, available: int) -> Generator[Pixels]:
        begin = start % available if self.request.when_shorter == "loop" else min(start, available - 1)
        shape = (picture.height, picture.width, 3)
        read = partial(
            open_frames,
            self.video,
            picture,
            self.folder / "frames.pipe",
            tools=self.context.tools,
            limits=self.context.limits,
            callbacks=ffmpeg_callbacks(self.lease),
        )
        last: Pixels | None = None
        while True:
            with read(start=begin, num_frames=available - begin) as frames:
                for frame in frames:
                    last = np.frombuffer(frame, np.uint8).reshape(shape)
                    yield last
            if last is None:
                raise invalid_media("the video has no frames", Stage.FETCH)
            if self.request.when_shorter == "hold":
                yield from repeat(last)
            begin = 0


def frames_of_part(num_frames: int, parts: int, part: int, *, batch: int) -> range:
    """Returns which frames a part makes. Every number of parts makes the same batches, if each is whole."""
    multiple = batch if num_frames >= parts * batch else 1
    bounds = [num_frames * number // parts // multiple * multiple for number in (part, part + 1)]
    return range(bounds[0], num_frames if part == parts - 1 else bounds[1])


def no_face(stage: Stage) -> TaskFailed:
    """Returns the failure of a lip-sync in which no face was found."""
    return invalid_media("no face appears in the video; give the box of the face", stage)


def finish(
    silent: Path, sound: Path, output: Path, poster: Path, tools: MediaTools, callbacks: FfmpegCallbacks
) -> MediaInfo:
    """Writes the result of frames and a sound, and its thumbnail. Blocks."""
    info = mux_soundtrack(silent, sound, output, tools=tools, callbacks=callbacks)
    write_poster(
        output, poster, duration_s=info.video_duration_s or info.duration_s or 0, tools=tools, callbacks=callbacks
    )
    return info


def read_speech(context: WorkerContext, lease: HeldLease, path: Path) -> Speech:
    """Decodes the sound of a file, next to which it writes. Raises `TaskFailed`, and `MediaStopped` on a stop."""
    raw = path.with_suffix(".f32")
    decode_sound(
        path,
        raw,
        rate_hz=SPEECH_RATE_HZ,
        tools=context.tools,
        limits=context.limits,
        callbacks=ffmpeg_callbacks(lease),
    )
    return Speech(np.fromfile(raw, np.dtype("<f4")).astype(np.float32, copy=False))


def _open_still(path: Path, picture: Picture) -> Pixels:
    """The picture in the size of the result: the last row and column of an odd size are left out."""
    try:
        still = open_picture(path)
    except (OSError, ValueError, SyntaxError) as error:
        raise invalid_media("the picture cannot be read", Stage.FETCH) from error
    return np.asarray(still.crop((0, 0, picture.width, picture.height)).convert("RGB"))
