"""Decides what the time of a file is: when its streams begin and end, as seen by somebody who plays the file. Pure.

`probe` reads the times. All streams of a file have one common zero. The zero is the start of the first stream.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

SAMPLE_RATE_HZ = 48_000
"""Of all sound that Phoenix makes."""


@dataclass(frozen=True)
class Picture:
    """The size in pixels and the frames per second of a video."""

    width: int
    height: int
    fps: Fraction

    @property
    def frame_bytes(self) -> int:
        return self.width * self.height * 3

    @property
    def fps_text(self) -> str:
        return f"{self.fps.numerator}/{self.fps.denominator}"


@dataclass(frozen=True)
class SourceStream:
    """One stream of a file, for a command. `index` is its position among all streams of the file.

    Its time stamps are shown from `zero_s` on. `channel_layout` is how ffmpeg names the arrangement of the channels of
    a sound.
    """

    path: Path
    index: int = 0
    zero_s: float = 0
    channel_layout: str = "stereo"


@dataclass(frozen=True)
class SoundTimes:
    """The default sound of a file. `index` is its position among all streams; the times are time stamps."""

    index: int
    start_s: float
    end_s: float
    channel_layout: str = "stereo"


@dataclass(frozen=True)
class PictureTimes:
    """The default picture of a file. `index` is its position among all streams; the times are time stamps.

    `fps` is the rate at which the frames are shown. It is the most likely rate if the frames are not at even distances.
    """

    index: int
    start_s: float
    end_s: float
    num_frames: int
    fps: Fraction
    is_regular: bool


@dataclass(frozen=True)
class Timeline:
    """The time of one file. An image has no streams. All lengths begin at the zero of the file."""

    picture: PictureTimes | None = None
    sound: SoundTimes | None = None

    @property
    def zero_s(self) -> float:
        """Returns the time stamp at which the file begins."""
        if self.picture is None or self.sound is None:
            stream = self.picture or self.sound
            return stream.start_s if stream else 0
        # Half a frame is too short to be seen, and a frame cannot be shown earlier than at its beat.
        is_together = abs(self.picture.start_s - self.sound.start_s) < 0.5 / self.picture.fps
        return self.picture.start_s if is_together else min(self.picture.start_s, self.sound.start_s)

    @property
    def duration_s(self) -> float:
        """Returns the length of the file, which is the end of its last stream."""
        return max(self.picture_s or 0, self.sound_s or 0)

    @property
    def picture_s(self) -> float | None:
        """Returns the end of the picture. A clip has this length in a reel."""
        return self.picture and max(0, self.picture.end_s - self.zero_s)

    @property
    def sound_s(self) -> float | None:
        """Returns the end of the sound."""
        return self.sound and max(0, self.sound.end_s - self.zero_s)

    def get_picture(self, path: Path) -> SourceStream:
        """Returns the picture of the file, which is at `path`."""
        assert self.picture is not None
        return SourceStream(path, self.picture.index, self.zero_s)

    def get_sound(self, path: Path) -> SourceStream:
        """Returns the sound of the file, which is at `path`."""
        assert self.sound is not None
        return SourceStream(path, self.sound.index, self.zero_s, self.sound.channel_layout)

    def count_frames(self, fps: Fraction) -> int:
        """Returns the number of frames from the zero of the file to the end of its picture, at a rate of `fps`."""
        assert self.picture is not None
        is_plain = self.picture.is_regular and self.picture.start_s == self.zero_s
        if is_plain and self.picture.fps == fps:
            return self.picture.num_frames
        return max(1, round(Fraction(self.picture_s or 0) * fps))


def parse_timeline(found: dict[str, Any]) -> Timeline:
    """Parses the output of the process that reads files."""
    picture, sound = found.get("picture"), found.get("sound")
    return Timeline(
        picture=picture and PictureTimes(fps=Fraction(picture.pop("fps")), **picture),
        sound=sound and SoundTimes(**sound),
    )
