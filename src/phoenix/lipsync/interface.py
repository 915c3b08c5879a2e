"""The two interfaces of lip-sync, and what passes through them.

A job calls a `TalkingEngine`. A file of an operator becomes a `LipModel`, which knows nothing of videos: `FaceEngine`
is the talking engine around it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""One picture: rows from the top, columns, and red, green and blue."""

Tensor = NDArray[Any]

SPEECH_RATE_HZ = 16_000
"""The sample rate that all features are made for."""


@dataclass(frozen=True)
class Speech:
    """A sound from the first frame on: one channel of 32-bit floats from -1 to 1, at `SPEECH_RATE_HZ`."""

    samples: NDArray[np.float32] = field(repr=False)

    @property
    def duration_s(self) -> float:
        return len(self.samples) / SPEECH_RATE_HZ

    def part(self, start_s: float, end_s: float) -> NDArray[np.float32]:
        """Returns the samples between two times, without those before the beginning and after the end."""
        start, end = (max(0, round(at_s * SPEECH_RATE_HZ)) for at_s in (start_s, end_s))
        return self.samples[start:end]


@dataclass(frozen=True)
class Moment:
    """The sound around one frame of a speech that nobody has whole. The model hears the frame at the sample `at`."""

    samples: NDArray[np.float32] = field(repr=False)
    at: int
    fps: float


@dataclass(frozen=True)
class Hearing:
    """Which samples a lip model needs for a frame. It hears each frame at a multiple of `step`."""

    step: int
    before: int
    """Samples before that place, as far as the sound has them."""
    after: int

    def find_start(self, index: int, fps: float) -> int:
        """Returns the sample at which the model hears frame `index`."""
        return int(index * (SPEECH_RATE_HZ / self.step) / fps) * self.step


@dataclass(frozen=True)
class SyncCounts:
    """How many frames came out of a talking engine so far, and what happened to them."""

    frames: int = 0
    without_face: int = 0
    """Frames that are unchanged because no face was found in them."""
    silent: int = 0
    """Frames that are unchanged because nothing is heard. No model was asked for them."""

    def plus(self, other: "SyncCounts") -> "SyncCounts":
        return SyncCounts(
            self.frames + other.frames, self.without_face + other.without_face, self.silent + other.silent
        )


class SyncObserver(Protocol):
    """Observes a sync, in the thread that reads the frames."""

    def on_frames(self, counts: SyncCounts) -> None:
        """The counts have grown. May raise an error to end the sync, also between two batches of one sync."""
        ...


class TalkingEngine(Protocol):
    """Makes the face in a video say a sound."""

    def sync(
        self, frames: Iterable[Pixels], fps: float, speech: Speech, observer: SyncObserver, *, first: int = 0
    ) -> Iterator[Pixels]:
        """Returns as many frames as come, each in its size, in order. They are made while they are read.

        `first`: the number of the first of them, where the speech begins with frame 0. Does not change the frames that
        it gets. Raises `TaskFailed`, and the errors of `frames` and `observer`.
        """
        ...


class SoundFeatures(Protocol):
    """What a lip model hears of a speech, frame by frame."""

    def batch(self, indices: Iterable[int]) -> NDArray[np.float32]:
        """Returns the features of these frames, one after the other in the first dimension."""
        ...


class LipModel(Protocol):
    """Makes mouths that fit features of sound. Thread-safe."""

    @property
    def crop_px(self) -> int:
        """The side of its square crops."""
        ...

    @property
    def batch_size(self) -> int:
        """The most crops of one call."""
        ...

    def hear(self, speech: Speech, fps: float) -> SoundFeatures:
        """Returns what the model needs to know of a speech, for frames at this rate."""
        ...

    def hear_around(self, moments: Sequence[Moment]) -> NDArray[np.float32]:
        """Returns the features of frames, each from the sound around it. They equal what `hear` finds in the speech."""
        ...

    def mouths(self, features: NDArray[np.float32], crops: Pixels) -> Pixels:
        """Returns a changed crop for each of `crops`: B x `crop_px` x `crop_px` x 3. Raises `TaskFailed`."""
        ...
