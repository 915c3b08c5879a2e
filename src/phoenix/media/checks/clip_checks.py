"""Looks at the frames of a clip while they pass to the encoder, and at its sound: black, frozen, silent, clipped.

Values that are not numbers need no check here: engines refuse them before they become pixels.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from phoenix.contract import CheckCode, ClipCheck
from phoenix.media.encode import Samples
from phoenix.media.ffmpeg import Buffer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STRIDE_PX = 8
"""One pixel of 64 is looked at, which costs less than a hundredth of the encoder's time."""
DARK_LEVEL = 20
"""The brightest value, of 255, of a pixel that looks black. Limited range and noise of a decoder are below it."""
DARK_SHARE = 0.98
"""The share of dark pixels in a black frame, as in ffmpeg's `blackdetect`."""
CHANGE_LEVELS = 10
"""By how much, of 255, a pixel changes where something moves. Noise, and what an encoder refines, are below it."""
CHANGED_SHARE = 0.001
"""The share of changed pixels in a frame in which something moves."""
FREEZE_S = 2.0
"""The shortest still part of a moving clip that is reported, as in ffmpeg's `freezedetect`."""
SILENT_PEAK = 0.001
"""The highest peak of a silent sound: -60 dB."""
CLIPPED_PEAK = 0.999
"""A sample at least this high is at the limit of the format."""
FLAT = 1e-6
"""The largest difference of three samples in a row where a wave was cut off. A whole wave is round at its peak."""
CLIPPED_SHARE = 0.001
"""The share of samples in such flat parts from which distortion is heard."""


class PictureChecks:
    """Looks at each frame of one clip. `find` says what was seen, once all frames have passed."""

    def __init__(self, width: int, height: int, fps: float) -> None:
        self._shape = (height, width, 3)
        self._fps = fps
        self._first: NDArray[np.int16] | None = None
        self._is_black = True
        self._count = 0
        self._still_since = 0
        self._longest = (0, 0)
        """The first frame and the number of frames of the longest still part."""

    def watch(self, frames: Iterable[Buffer]) -> Iterator[Buffer]:
        """Yields the frames, rgb24 of the size of the clip, as they are."""
        for frame in frames:
            if memoryview(frame).nbytes == self._shape[0] * self._shape[1] * 3:
                self._look(frame)
            yield frame

    def _look(self, frame: Buffer) -> None:
        # numpy starts threads, and a process that is forked must not have any.
        import numpy as np  # noqa: PLC0415

        pixels = np.frombuffer(frame, np.uint8).reshape(self._shape)[::STRIDE_PX, ::STRIDE_PX].astype(np.int16)
        if self._is_black:
            self._is_black = float((pixels.max(axis=2) <= DARK_LEVEL).mean()) >= DARK_SHARE
        # Compared with the first frame of the still part, because a slow motion changes little from frame to frame.
        if self._first is None or self._has_changed(np.abs(pixels - self._first).max(axis=2)):
            self._first, self._still_since = pixels, self._count
        self._count += 1
        if self._count - self._still_since > self._longest[1]:
            self._longest = (self._still_since, self._count - self._still_since)

    @staticmethod
    def _has_changed(change: "NDArray[np.int16]") -> bool:
        return float((change > CHANGE_LEVELS).mean()) >= CHANGED_SHARE

    def find(self) -> list[ClipCheck]:
        """The failed checks of the picture."""
        start, length = self._longest
        is_still = length == self._count > 1
        if self._is_black and (is_still or self._count == 1):
            return [ClipCheck(code=CheckCode.BLACK, message="Every frame is black.")]
        if is_still:
            return [ClipCheck(code=CheckCode.FROZEN, message="Nothing moves: all frames are the same picture.")]
        if length / self._fps < FREEZE_S:
            return []
        since_s, for_s = start / self._fps, length / self._fps
        return [ClipCheck(code=CheckCode.FROZEN, message=f"Nothing moves for {for_s:.1f} s from {since_s:.1f} s on.")]


def check_sound(sound: Samples) -> list[ClipCheck]:
    """The failed checks of a sound."""
    import numpy as np  # noqa: PLC0415

    values = np.frombuffer(sound.values, "<f4").reshape(-1, sound.channels)
    if values.size == 0 or float(np.abs(values).max()) <= SILENT_PEAK:
        return [ClipCheck(code=CheckCode.SILENT, message="Its sound is silent.")]
    is_flat = (np.abs(np.diff(values, axis=0)) < FLAT) & (np.abs(values[1:]) >= CLIPPED_PEAK)
    in_runs = is_flat[1:] & is_flat[:-1]
    share = float(in_runs.mean()) if in_runs.size else 0.0
    if share < CLIPPED_SHARE:
        return []
    return [ClipCheck(code=CheckCode.CLIPPED_SOUND, message=f"Its sound is cut off at full scale: {share:.1%} of it.")]
