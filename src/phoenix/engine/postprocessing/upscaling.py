"""Enlarges frames with an ONNX model, tile by tile."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from phoenix.catalog.postprocessors import UpscalerSpec
from phoenix.engine.postprocessing.onnx_file import OnnxModel, Tensor, TensorPort, unusable
from phoenix.engine.postprocessing.tiles import TileSpan, plan_spans, round_up

Pixels = NDArray[np.uint8]
"""One picture: rows from the top, columns, and red, green and blue."""

_TRIAL_PX = 64


class Upscaler:
    """An open upscaler. Thread-safe. Raises `TaskFailed` (MODEL_UNAVAILABLE) if its file is no upscaler."""

    def __init__(self, spec: UpscalerSpec, *, device: str) -> None:
        self.spec = spec
        self._model = OnnxModel(spec, spec.source, device=device)
        self._input = self._find_input()
        self._check_factor()

    @property
    def is_on_gpu(self) -> bool:
        return self._model.is_on_gpu

    def upscale(self, frame: Pixels, check: Callable[[], None]) -> Pixels:
        """Returns the frame `factor` times as wide and as high. Calls `check` before each tile, which may raise."""
        factor = self.spec.factor
        picture, (height, width) = to_planes(frame, self._input.dtype), frame.shape[:2]
        rows, columns = self._spans(height, self._input.shape[2]), self._spans(width, self._input.shape[3])
        made = np.zeros((3, height * factor, width * factor), np.float32)
        for row in rows:
            for column in columns:
                check()
                tile = self._run(picture[:, row.start : row.end, column.start : column.end])
                tile *= row.weights[:, None]
                tile *= column.weights
                made[:, _times(row, factor), _times(column, factor)] += tile
        return to_pixels(made)

    def _spans(self, length: int, fixed: int | None) -> tuple[TileSpan, ...]:
        spec, is_fixed = self.spec, fixed is not None
        return plan_spans(
            length,
            tile=spec.tile_px if fixed is None else fixed,
            overlap=spec.overlap_px,
            multiple=spec.multiple,
            factor=spec.factor,
            is_fixed=is_fixed,
        )

    def _run(self, tile: Tensor) -> Tensor:
        height, width = tile.shape[1:]
        padded = pad(tile, self._padded(height, self._input.shape[2]), self._padded(width, self._input.shape[3]))
        made = self._model.run({self._input.name: padded[None]})[0]
        return made[:, : height * self.spec.factor, : width * self.spec.factor]

    def _padded(self, length: int, fixed: int | None) -> int:
        return round_up(length, self.spec.multiple) if fixed is None else fixed

    def _find_input(self) -> TensorPort:
        inputs = self._model.inputs
        if len(inputs) != 1 or not inputs[0].takes_pictures(3):
            raise unusable(
                self.spec,
                f"its inputs are {self._model.describe_inputs()}, and an upscaler has one input of 32-bit or 16-bit"
                " floats, 1x3xHEIGHTxWIDTH",
            )
        for side in inputs[0].shape[2:]:
            if side is not None and side < 4 * self.spec.overlap_px:
                raise unusable(
                    self.spec, f"it takes tiles of {side} pixels: set overlap_px to a quarter of it, or less"
                )
        return inputs[0]

    def _check_factor(self) -> None:
        """Grey goes in: the size of what comes out is the only way to know the factor of a model."""
        height, width = (self._padded(_TRIAL_PX, side) for side in self._input.shape[2:])
        made = self._model.run({self._input.name: np.full((1, 3, height, width), 0.5, self._input.dtype)})
        factor = self.spec.factor
        if made.shape == (1, 3, height * factor, width * factor):
            return
        true = [each for each in range(1, 17) if made.shape == (1, 3, height * each, width * each)]
        shapes = f"it makes {'x'.join(map(str, made.shape))} of 1x3x{height}x{width}"
        remedy = f"set factor to {true[0]}" if true else "a picture has to become a whole number of times as large"
        raise unusable(self.spec, f"{shapes}, and its entry says factor {factor}; {remedy}")


def to_planes(frame: Pixels, dtype: "np.dtype[np.generic]") -> Tensor:
    """Returns red, green and blue, one after the other, from 0 to 1."""
    planes = np.ascontiguousarray(frame.transpose(2, 0, 1), dtype=np.float32)
    planes /= 255
    return planes.astype(dtype, copy=False)


def to_pixels(planes: Tensor) -> Pixels:
    """Returns the rounded pixels of what a model made. Changes `planes`."""
    np.clip(planes, 0, 1, out=planes)
    planes *= 255
    planes += 0.5
    return np.ascontiguousarray(planes.astype(np.uint8).transpose(1, 2, 0))


def pad(planes: Tensor, height: int, width: int) -> Tensor:
    """Repeats the last row and the last column until the picture has this size."""
    missing = (height - planes.shape[1], width - planes.shape[2])
    if missing == (0, 0):
        return planes
    return np.pad(planes, ((0, 0), (0, missing[0]), (0, missing[1])), mode="edge")


def _times(span: TileSpan, factor: int) -> slice:
    return slice(span.start * factor, span.end * factor)
