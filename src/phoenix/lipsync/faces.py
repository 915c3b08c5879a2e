"""Where the face is in each frame: boxes, their smoothing over time, and a detector of the operator."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

from phoenix.catalog.postprocessors import Postprocessor
from phoenix.engine.postprocessing.onnx_file import OnnxModel, Tensor, unusable
from phoenix.lipsync.interface import Pixels

SMOOTHED_FRAMES = 5
"""A box is the mean of the boxes of so many frames: this one and the next ones."""


@dataclass(frozen=True)
class FaceBox:
    """A rectangle of whole pixels, from the left and the top of a frame."""

    left: int
    top: int
    width: int
    height: int

    def within(self, width: int, height: int) -> "FaceBox | None":
        """Returns the part of the box that is inside a frame of this size; None if nothing of it is."""
        left, top = max(0, self.left), max(0, self.top)
        right, bottom = min(width, self.left + self.width), min(height, self.top + self.height)
        return FaceBox(left, top, right - left, bottom - top) if right - left > 1 and bottom - top > 1 else None

    @property
    def rows(self) -> slice:
        return slice(self.top, self.top + self.height)

    @property
    def columns(self) -> slice:
        return slice(self.left, self.left + self.width)

    @property
    def area_px(self) -> int:
        return self.width * self.height


class FaceFinder(Protocol):
    """Finds the face that talks."""

    def find(self, frame: Pixels) -> FaceBox | None:
        """Returns the face of a frame, inside the frame; None if there is none."""
        ...


@dataclass(frozen=True)
class FixedFace:
    """The face is at the same place in every frame, as the request says."""

    box: FaceBox

    def find(self, frame: Pixels) -> FaceBox | None:
        return self.box.within(frame.shape[1], frame.shape[0])


def track(frames: Iterable[Pixels], finder: FaceFinder) -> Iterator[tuple[Pixels, FaceBox | None]]:
    """Returns each frame with its smoothed box. Reads at most four frames ahead.

    A frame that comes again, as the same object, is looked at once: a still picture has one face.
    """
    waiting: deque[tuple[Pixels, FaceBox | None]] = deque()
    for frame in frames:
        known = waiting and waiting[-1][0] is frame
        waiting.append((frame, waiting[-1][1] if known else finder.find(frame)))
        if len(waiting) == SMOOTHED_FRAMES:
            yield _smoothed(waiting)
            waiting.popleft()
    while waiting:
        yield _smoothed(waiting)
        waiting.popleft()


def _smoothed(waiting: Sequence[tuple[Pixels, FaceBox | None]]) -> tuple[Pixels, FaceBox | None]:
    """The first frame, with the mean of the boxes from it up to a frame without a face."""
    frame, first = waiting[0]
    boxes: list[FaceBox] = []
    for _, box in waiting:
        if box is None:
            break
        boxes.append(box)
    if first is None or all(box == first for box in boxes):
        return frame, first
    left, top, width, height = (
        round(float(side)) for side in np.mean([(box.left, box.top, box.width, box.height) for box in boxes], axis=0)
    )
    return frame, FaceBox(left, top, width, height).within(frame.shape[1], frame.shape[0])


_LONGEST_SIDE_PX = 320
_STRIDE_PX, _MULTIPLE_PX = 4, 32
_LEAST_SCORE = 0.5
# Detectors end a face at its chin, and an open mouth moves the chin.
_CHIN_SHARE = 0.1


class DetectedFace:
    """Finds the largest face with a file in the form of CenterFace: 1x3xHEIGHTxWIDTH, and maps of every fourth pixel.

    Thread-safe. Raises `TaskFailed` (MODEL_UNAVAILABLE) if the file is no such detector.
    """

    def __init__(self, spec: Postprocessor, source: str, *, device: str) -> None:
        self._spec = spec
        self._model = OnnxModel(spec, source, device=device)
        inputs = self._model.inputs
        if len(inputs) != 1 or not inputs[0].takes_pictures(3) or any(inputs[0].shape[2:]):
            why = f"its inputs are {self._model.describe_inputs()}, and a face detector takes 1x3x?x?"
            raise unusable(spec, f"{why} of floats; make its sizes free, see docs/lip-sync.md")
        self._maps(np.zeros((_MULTIPLE_PX, _MULTIPLE_PX, 3), np.uint8))

    def find(self, frame: Pixels) -> FaceBox | None:
        height, width = frame.shape[:2]
        scale = min(1.0, _LONGEST_SIDE_PX / max(height, width))
        size = _scaled(width, scale), _scaled(height, scale)
        scores, sizes, offsets = self._maps(np.asarray(Image.fromarray(frame).resize(size)))
        rows, columns = np.nonzero(scores > _LEAST_SCORE)
        if len(rows) == 0:
            return None
        heights, widths = np.exp(sizes[:, rows, columns]) * _STRIDE_PX
        centres_y = (rows + offsets[0, rows, columns] + 0.5) * _STRIDE_PX
        centres_x = (columns + offsets[1, rows, columns] + 0.5) * _STRIDE_PX
        best = int(np.argmax(scores[rows, columns] * heights * widths))
        across, down = width / size[0], height / size[1]
        box_width, box_height = widths[best] * across, heights[best] * down
        return FaceBox(
            round(float(centres_x[best] * across - box_width / 2)),
            round(float(centres_y[best] * down - box_height / 2)),
            round(float(box_width)),
            round(float(box_height * (1 + _CHIN_SHARE))),
        ).within(width, height)

    def _maps(self, picture: Pixels) -> tuple[Tensor, Tensor, Tensor]:
        """Scores, logarithms of height and width, and offsets of the centre, down and across."""
        planes = picture.astype(np.float32).transpose(2, 0, 1)[None]
        made = self._model.run_all({self._model.inputs[0].name: planes.astype(self._model.inputs[0].dtype)})
        cells = tuple(side // _STRIDE_PX for side in picture.shape[:2])
        if [each.shape for each in made[:3]] != [(1, 1, *cells), (1, 2, *cells), (1, 2, *cells)]:
            found = ", ".join("x".join(map(str, each.shape)) for each in made)
            raise unusable(self._spec, f"it makes {found}; a face detector makes scores, sizes and offsets")
        return made[0][0, 0], made[1][0], made[2][0]


def _scaled(side: int, scale: float) -> int:
    return max(_MULTIPLE_PX, round(side * scale / _MULTIPLE_PX) * _MULTIPLE_PX)
