"""What happens to the frames of one clip between its model and its encoder, one frame after the other."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from phoenix.catalog.postprocessors import InterpolatorSpec, UpscalerSpec
from phoenix.contract import ResolvedClip
from phoenix.engine.frame_stream import Frame
from phoenix.engine.interface import RenderedClip, RenderObserver
from phoenix.engine.postprocessing.interpolation import Interpolator, interpolate
from phoenix.engine.postprocessing.onnx_file import unusable
from phoenix.engine.postprocessing.upscaling import Pixels, Upscaler
from phoenix.engine.slot_queue import DeviceSlots
from phoenix.errors import FailureCode, Stage, TaskFailed, install_extra

_MOST_MODELS = 2
"""An upscaler and an interpolator stay in memory for the next clip."""


@dataclass(frozen=True)
class FrameChange:
    """What changes the frames at last, in the size and at the rate (the second argument) that they have then."""

    change: Callable[[Iterator[Pixels], int], Iterator[Pixels]]
    is_on_gpu: bool


@dataclass(frozen=True)
class ClipPostprocessing:
    """The open models of one clip."""

    clip: ResolvedClip
    upscaler: Upscaler | None
    interpolator: Interpolator | None
    slots: DeviceSlots
    last: FrameChange | None = None

    def apply(self, rendered: RenderedClip, observer: RenderObserver, check: Callable[[], None]) -> RenderedClip:
        """Returns the clip with changed frames, in its new size and rate. They are made while they are read.

        Calls `check` between frames and between tiles; it may raise. On a GPU, the frames are made in a slot of the
        device. Motion estimation by ffmpeg is left to the encoder.
        """
        if self.upscaler is None and self.interpolator is None and self.last is None:
            return rendered
        width, height = self.clip.output_size if self.upscaler else (rendered.width, rendered.height)
        changed = replace(rendered, frames=self._frames(rendered, observer, check), width=width, height=height)
        if self.interpolator is None:
            return changed
        assert self.clip.output_fps is not None
        return replace(changed, fps=self.clip.output_fps, num_frames=self.clip.num_output_frames)

    def _frames(self, rendered: RenderedClip, observer: RenderObserver, check: Callable[[], None]) -> Iterator[Frame]:
        opened = [each for each in (self.upscaler, self.interpolator, self.last) if each is not None]
        with ExitStack() as device:
            if any(each.is_on_gpu for each in opened):
                with observer.waiting():
                    device.enter_context(self.slots.acquire(observer.stop))
            frames = _read(rendered)
            if self.upscaler is not None:
                frames = self._enlarge(frames, self.upscaler, check)
            if self.interpolator is not None:
                frames = interpolate(
                    frames,
                    made_fps=rendered.fps,
                    shown_fps=self.clip.output_fps or rendered.fps,
                    num_output_frames=self.clip.num_output_frames,
                    make_between=partial(self.interpolator.make_between, check=check),
                )
            if self.last is not None:
                is_faster = self.interpolator is not None and self.clip.output_fps is not None
                frames = self.last.change(frames, (self.clip.output_fps if is_faster else None) or rendered.fps)
            for frame in frames:
                check()
                yield frame.tobytes()

    def _enlarge(self, frames: Iterator[Pixels], upscaler: Upscaler, check: Callable[[], None]) -> Iterator[Pixels]:
        for frame in frames:
            made = upscaler.upscale(frame, check)
            size = self.clip.output_size
            if made.shape[1::-1] != size:
                made = np.asarray(Image.fromarray(made).resize(size, Image.Resampling.LANCZOS))
            yield made


def _read(rendered: RenderedClip) -> Iterator[Pixels]:
    """Raises `TaskFailed` for a frame of another size, and for another number of frames: the sound would be late."""
    count, frame_bytes = 0, rendered.width * rendered.height * 3
    for frame in rendered.frames:
        size_bytes = memoryview(frame).nbytes
        if size_bytes != frame_bytes or count == rendered.num_frames:
            raise _bad_frames(f"frame {count} has {size_bytes} bytes; {rendered.num_frames} of {frame_bytes} were due")
        count += 1
        yield np.frombuffer(frame, np.uint8).reshape(rendered.height, rendered.width, 3)
    if count < rendered.num_frames:
        raise _bad_frames(f"{rendered.num_frames} frames were due, and {count} came")


def _bad_frames(detail: str) -> TaskFailed:
    return TaskFailed(FailureCode.ENGINE_FAILED, detail, stage=Stage.POSTPROCESS)


class PostprocessorModels:
    """The upscalers and interpolators of one worker process. Keeps the last ones in memory. Thread-safe."""

    def __init__(self, *, device: str, slots: DeviceSlots) -> None:
        self._device, self._slots = device, slots
        self._lock = threading.Lock()
        self._opened: OrderedDict[object, Upscaler | Interpolator] = OrderedDict()

    def open(
        self, clip: ResolvedClip, upscaler: UpscalerSpec | None, interpolator: InterpolatorSpec | None
    ) -> ClipPostprocessing:
        """Opens the models of a clip. Raises `TaskFailed` (MODEL_UNAVAILABLE) before anything is rendered."""
        enlarging = None if upscaler is None else self._find_or_open(upscaler)
        between = None if interpolator is None else self._find_or_open(interpolator)
        assert enlarging is None or isinstance(enlarging, Upscaler)
        assert between is None or isinstance(between, Interpolator)
        if between is not None:
            between.check_fit(*clip.output_size)
        return ClipPostprocessing(clip, enlarging, between, self._slots)

    def _find_or_open(self, spec: UpscalerSpec | InterpolatorSpec) -> Upscaler | Interpolator | None:
        key = (spec, _version_of(spec.source))
        # Two clips at a time would load one model twice.
        with self._lock:
            opened = self._opened.get(key) or open_model(spec, device=self._device)
            if opened is not None:
                self._opened[key] = opened
                self._opened.move_to_end(key)
            while len(self._opened) > _MOST_MODELS:
                self._opened.popitem(last=False)
        return opened


def open_model(spec: UpscalerSpec | InterpolatorSpec, *, device: str) -> Upscaler | Interpolator | None:
    """Opens a model; None for what needs no model. Raises `TaskFailed` (MODEL_UNAVAILABLE) with the reason."""
    if spec.source is None:
        return None
    if find_spec("onnxruntime") is None:
        raise unusable(spec, f"this worker lacks onnxruntime; {install_extra('postprocess')}")
    if isinstance(spec, UpscalerSpec):
        return Upscaler(spec, device=device)
    return Interpolator(spec, spec.source, device=device)


def _version_of(source: str | None) -> tuple[int, int] | None:
    """A file that was replaced is another model."""
    if source is None:
        return None
    try:
        found = Path(source).expanduser().stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
