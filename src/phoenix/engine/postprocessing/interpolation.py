"""Makes the frames between two frames with an ONNX model of the kind of RIFE."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from phoenix.catalog.postprocessors import InterpolatorSpec
from phoenix.engine.postprocessing.onnx_file import OnnxModel, Tensor, TensorPort, unusable
from phoenix.engine.postprocessing.tiles import round_up
from phoenix.engine.postprocessing.upscaling import Pixels, pad, to_pixels, to_planes

_SUPPORTED = (
    "an interpolator has one input of 6 channels (two frames), 7 (and the time) or 8 (and a scale), or else two frames"
    " of 3 channels and perhaps the time, all of them 32-bit or 16-bit floats, 1xCHANNELSxHEIGHTxWIDTH"
)
_JOINED = {6: False, 7: True, 8: True}
"""Whether a model with one input takes a time, by its number of channels."""

_MIDDLE = Fraction(1, 2)


class Interpolator:
    """An open interpolator. Thread-safe. Raises `TaskFailed` (MODEL_UNAVAILABLE) if its file is none."""

    def __init__(self, spec: InterpolatorSpec, source: str, *, device: str) -> None:
        self.spec = spec
        self._model = OnnxModel(spec, source, device=device)
        self._frames, self._time = self._find_inputs()
        takes_time = _JOINED[self._channels] if len(self._frames) == 1 else self._time is not None
        if takes_time != spec.any_time:
            found = "takes a time" if takes_time else "takes no time, and makes the middle of two frames"
            raise unusable(spec, f"the model {found}: set any_time = {str(takes_time).lower()}")
        self._check_size()

    @property
    def is_on_gpu(self) -> bool:
        return self._model.is_on_gpu

    def check_fit(self, width: int, height: int) -> None:
        """Raises `TaskFailed` if the model cannot take frames of this size."""
        sides = self._frames[0].shape[2:]
        if any(side is not None and side != length for side, length in zip(sides, (height, width), strict=True)):
            size = "x".join("any" if side is None else str(side) for side in reversed(sides))
            raise unusable(
                self.spec,
                f"it takes frames of {size} pixels, and the clip has {width}x{height}; export it for any size",
            )

    def make_between(self, first: Pixels, second: Pixels, time: Fraction, check: Callable[[], None]) -> Pixels:
        """Returns the frame at `time` from `first` (0) to `second` (1), both exclusive."""
        dtype = self._frames[0].dtype
        made = self._make(to_planes(first, dtype), to_planes(second, dtype), time, check)
        return to_pixels(np.array(made, np.float32))

    def _make(self, first: Tensor, second: Tensor, time: Fraction, check: Callable[[], None]) -> Tensor:
        check()
        if self.spec.any_time or time == _MIDDLE:
            return self._run(first, second, float(time))
        middle = self._run(first, second, 0.5).clip(0, 1).astype(first.dtype, copy=False)
        if time < _MIDDLE:
            return self._make(first, middle, 2 * time, check)
        return self._make(middle, second, 2 * time - 1, check)

    def _run(self, first: Tensor, second: Tensor, time: float) -> Tensor:
        height, width = first.shape[1:]
        size = tuple(
            round_up(length, self.spec.multiple) if fixed is None else fixed
            for length, fixed in zip((height, width), self._frames[0].shape[2:], strict=True)
        )
        made = self._model.run(self._values(pad(first, *size), pad(second, *size), time))
        return made[0, :, :height, :width]

    def _values(self, first: Tensor, second: Tensor, time: float) -> dict[str, Tensor]:
        if len(self._frames) == 2:
            values = {port.name: frame[None] for port, frame in zip(self._frames, (first, second), strict=True)}
            if self._time is not None:
                values[self._time.name] = np.full(_time_shape(self._time, first.shape[1:]), time, self._time.dtype)
            return values
        # The scale of the motion: 1 looks for it in full size.
        planes = [np.full((1, *first.shape[1:]), value, first.dtype) for value in (time, 1.0)]
        parts = [first, second, *planes[: self._channels - 6]]
        return {self._frames[0].name: np.concatenate(parts)[None]}

    @property
    def _channels(self) -> int:
        return self._frames[0].shape[1] or 0

    def _find_inputs(self) -> tuple[tuple[TensorPort, ...], TensorPort | None]:
        inputs = self._model.inputs
        if len(inputs) == 1 and inputs[0].takes_pictures(*_JOINED):
            return inputs, None
        frames = tuple(port for port in inputs if port.takes_pictures(3))
        others = [port for port in inputs if port not in frames]
        is_known = all(port.is_float and _is_time(port) for port in others)
        if len(frames) != 2 or len(others) > 1 or not is_known or frames[0].type_name != frames[1].type_name:
            raise unusable(self.spec, f"its inputs are {self._model.describe_inputs()}; {_SUPPORTED}")
        return frames, others[0] if others else None

    def _check_size(self) -> None:
        height, width = (self.spec.multiple if side is None else side for side in self._frames[0].shape[2:])
        grey: Any = np.full((3, height, width), 0.5, self._frames[0].dtype)
        made = self._model.run(self._values(grey, grey, 0.5))
        if made.shape != (1, 3, height, width):
            shape = "x".join(map(str, made.shape))
            raise unusable(
                self.spec, f"it makes {shape} of frames of 3x{height}x{width}, and not one frame of that size"
            )


def _is_time(port: TensorPort) -> bool:
    """Whether it takes one number, or one for each pixel."""
    of_pixels = port.shape[2:] if len(port.shape) == 4 else ()
    single = port.shape[: len(port.shape) - len(of_pixels)]
    return all(side in (None, 1) for side in single)


def _time_shape(port: TensorPort, size: tuple[int, ...]) -> tuple[int, ...]:
    if len(port.shape) < 4:
        return (1,) * len(port.shape)
    return (1, 1, *(length if side is None else side for side, length in zip(port.shape[2:], size, strict=True)))


def interpolate(
    frames: Iterator[Pixels],
    *,
    made_fps: int,
    shown_fps: int,
    num_output_frames: int,
    make_between: Callable[[Pixels, Pixels, Fraction], Pixels],
) -> Iterator[Pixels]:
    """Yields the frames at `shown_fps`, with two frames in memory. The last frame is shown until the end."""
    first, second, index = next(frames, None), next(frames, None), 0
    for number in range(num_output_frames):
        at = Fraction(number * made_fps, shown_fps)
        while at >= index + 1 and second is not None:
            first, second, index = second, next(frames, None), index + 1
        if first is None:
            return
        time = at - index
        yield first if second is None or time == 0 else make_between(first, second, time)
