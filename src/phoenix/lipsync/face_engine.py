"""The talking engine around a lip model: tracks the face, crops it, asks the model in batches, and pastes back."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import islice

import numpy as np
from PIL import Image

from phoenix.errors import FailureCode, TaskFailed
from phoenix.lipsync.faces import FaceBox, FaceFinder, track
from phoenix.lipsync.features import is_silent
from phoenix.lipsync.interface import LipModel, Pixels, SoundFeatures, Speech, SyncCounts, SyncObserver
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

_FEATHER_SHARE = 0.08
"""The share of a box, at each of its edges, in which the changed face turns into the frame."""


@dataclass(frozen=True)
class _TrackedFrame:
    index: int
    frame: Pixels = field(repr=False)
    box: FaceBox | None
    silent: bool

    @property
    def is_kept(self) -> bool:
        return self.box is None or self.silent


class BatchLimit:
    """The most crops of one call of a lip model: halved after a memory shortage of the device, also for later syncs."""

    def __init__(self, most: int) -> None:
        self.most = most

    def halve(self, count: int) -> None:
        """So many crops were too many."""
        self.most = max(1, min(self.most, count // 2))


@dataclass(frozen=True)
class FaceEngine:
    """A `TalkingEngine` over a lip model and a finder of faces. `limit`: shared by all syncs with the model."""

    model: LipModel
    faces: FaceFinder
    limit: BatchLimit | None = None

    def sync(
        self, frames: Iterable[Pixels], fps: float, speech: Speech, observer: SyncObserver, *, first: int = 0
    ) -> Iterator[Pixels]:
        features = self.model.hear(speech, fps)
        batches = _Batches(self.model, features, self.limit or BatchLimit(self.model.batch_size))
        counts = SyncCounts()
        for group in _in_groups(_tracked(frames, self.faces, fps, speech, first), self.model.batch_size):
            asked = [each for each in group if not each.is_kept]
            changed = dict(
                zip(
                    (each.index for each in asked),
                    batches.change(asked, partial(observer.on_frames, counts)),
                    strict=True,
                )
            )
            counts = counts.plus(_count(group))
            observer.on_frames(counts)
            for each in group:
                yield changed.get(each.index, each.frame)


def _tracked(
    frames: Iterable[Pixels], faces: FaceFinder, fps: float, speech: Speech, first: int
) -> Iterator[_TrackedFrame]:
    for index, (frame, box) in enumerate(track(frames, faces), first):
        yield _TrackedFrame(index, frame, box, is_silent(speech, index, fps))


def _in_groups(tracked: Iterator[_TrackedFrame], batch_size: int) -> Iterator[Sequence[_TrackedFrame]]:
    """Groups with at most `batch_size` frames for the model. Kept frames between them wait for nothing else."""
    while group := list(islice(tracked, batch_size)):
        yield group


def _count(group: Sequence[_TrackedFrame]) -> SyncCounts:
    faceless = sum(each.box is None for each in group)
    return SyncCounts(len(group), faceless, sum(each.is_kept for each in group) - faceless)


class _Batches:
    """Calls the model, with half as many crops at a time after each memory shortage of the device."""

    def __init__(self, model: LipModel, features: SoundFeatures, limit: BatchLimit) -> None:
        self._model, self._features, self._limit = model, features, limit

    def change(self, asked: Sequence[_TrackedFrame], check: Callable[[], None]) -> Sequence[Pixels]:
        """Returns the changed frames. Raises `TaskFailed`, and between two calls the errors of `check`."""
        done: list[Pixels] = []
        while len(done) < len(asked):
            part = asked[len(done) : len(done) + self._limit.most]
            try:
                done += self._change_together(part)
            except TaskFailed as failure:
                if failure.code is not FailureCode.GPU_OOM or len(part) == 1:
                    raise
                self._limit.halve(len(part))
                _logger.warning("the device is out of memory; the batch is halved", batch_size=self._limit.most)
            if len(done) < len(asked):
                check()
        return done

    def _change_together(self, part: Sequence[_TrackedFrame]) -> Sequence[Pixels]:
        boxes = [each.box for each in part if each.box is not None]
        crops = np.stack([cut(each.frame, box, self._model.crop_px) for each, box in zip(part, boxes, strict=True)])
        mouths = self._model.mouths(self._features.batch(each.index for each in part), crops)
        return [paste(each.frame, box, mouth) for each, box, mouth in zip(part, boxes, mouths, strict=True)]


def cut(frame: Pixels, box: FaceBox, side_px: int) -> Pixels:
    """Returns the face as a square."""
    return _resize(frame[box.rows, box.columns], side_px, side_px)


def paste(frame: Pixels, box: FaceBox, face: Pixels) -> Pixels:
    """Returns a new frame with a square `face` in its box. At the outermost pixels of the box, it is the old frame."""
    changed = frame.copy()
    made = Image.fromarray(_resize(face, box.width, box.height))
    below = Image.fromarray(np.ascontiguousarray(frame[box.rows, box.columns]))
    changed[box.rows, box.columns] = np.asarray(Image.composite(made, below, feather(box.width, box.height)))
    return changed


@lru_cache(maxsize=64)
def feather(width: int, height: int) -> Image.Image:
    """Returns how much of the changed face is seen at each pixel: from 0 at the edges to 255."""
    across, down = _ramp(width), _ramp(height)
    return Image.fromarray(np.round(255 * np.minimum(down[:, None], across[None])).astype(np.uint8))


def _ramp(length: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    soft = max(1.0, length * _FEATHER_SHARE)
    distances = np.minimum(np.arange(length), np.arange(length)[::-1])
    return np.clip(distances / soft, 0.0, 1.0)


def _resize(picture: Pixels, width: int, height: int) -> Pixels:
    if picture.shape[:2] == (height, width):
        return np.ascontiguousarray(picture)
    shown = Image.fromarray(np.ascontiguousarray(picture))
    return np.asarray(shown.resize((width, height), Image.Resampling.BILINEAR))
