"""What a file may be at most, and the refusal of a file that is more."""

from dataclasses import dataclass

# The stated length of a file may be wrong by a few frames.
_TOLERANCE_S = 0.25


class UnreadableFile(Exception):
    """The file is refused. The message is shown to its sender."""


@dataclass(frozen=True)
class Limits:
    """`max_pixels` is for still pictures, and `max_frame_pixels` for the pictures of a video."""

    max_duration_s: float
    max_pixels: int
    max_frame_pixels: int
    max_streams: int
    demuxers: list[str]


def check_duration(duration_s: float, limits: Limits) -> None:
    # An MP3 of exactly one hour has a few more frames.
    if duration_s > limits.max_duration_s + _TOLERANCE_S:
        raise UnreadableFile(f"it is longer than {limits.max_duration_s:.12g} s")


def check_pixels(width: int, height: int, most: int) -> None:
    if width < 1 or height < 1:
        raise UnreadableFile("its pictures have no size")
    if width * height > most:
        raise UnreadableFile(f"its pictures are {width}x{height}; at most {most} pixels are read")
