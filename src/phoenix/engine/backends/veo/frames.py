"""Converts any MP4 to the frames of a clip, with the size, frame rate and number of frames of the clip."""

import io
import math
from collections.abc import Iterator
from fractions import Fraction

import av
from av.error import FFmpegError
from av.video.reformatter import Colorspace, Interpolation

from phoenix.contract import ResolvedClip
from phoenix.engine.interface import Frame
from phoenix.engine.stop_token import StopToken
from phoenix.errors import FailureCode, Stage, TaskFailed

MAX_PIXELS = 4096 * 2304
MAX_MISSING_S = 0.5
"""A video may be shorter than requested by this time; its last frame is then repeated."""

TIMING_TOLERANCE_S = Fraction(1, 200)
"""A frame may be late by this time: 1/24 s is no whole number in most time bases, and rounding would repeat a frame."""

UNSPECIFIED = 2
SCALING = Interpolation.LANCZOS | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
"""Without exact rounding, every colour is about two levels too dark."""


def read_frames(mp4: bytes, clip: ResolvedClip, stop: StopToken) -> Iterator[Frame]:
    """Returns the frames of the clip, decoded lazily. `sound` reads its sound.

    Decodes the first frame at once, and raises `TaskFailed` if the file is no video. The iterator raises `TaskFailed`
    if the video is truncated.
    """
    timed = _decode(mp4)
    first = next(timed, None)
    if first is None:
        raise unusable("it has no frames")
    return _resample(first[1], timed, clip, stop)


def _decode(mp4: bytes) -> Iterator[tuple[Fraction, av.VideoFrame]]:
    """Yields frames and their times in seconds, from 0."""
    try:
        with av.open(io.BytesIO(mp4), mode="r", format="mp4") as container:
            if not container.streams.video:
                raise unusable("it has no picture")
            stream = container.streams.video[0]
            if stream.width * stream.height > MAX_PIXELS:
                raise unusable(f"it has frames of {stream.width}x{stream.height}")
            started_s: Fraction | None = None
            for frame in container.decode(stream):
                at_s = Fraction(frame.pts or 0) * Fraction(frame.time_base or 0)
                started_s = at_s if started_s is None else started_s
                yield at_s - started_s, frame
    except FFmpegError as error:
        raise unusable(str(error)) from error


def _resample(
    shown: av.VideoFrame, later: Iterator[tuple[Fraction, av.VideoFrame]], clip: ResolvedClip, stop: StopToken
) -> Iterator[Frame]:
    """Yields, for each frame of the clip, the frame of the video that is shown at that time."""
    upcoming, last_s, picture = next(later, None), Fraction(0), _to_rgb24(shown, clip)
    for index in range(clip.num_frames):
        stop.check()
        due_s = Fraction(index, clip.fps) + TIMING_TOLERANCE_S
        is_stale = False
        while upcoming is not None and upcoming[0] <= due_s:
            last_s, shown = upcoming
            upcoming, is_stale = next(later, None), True
        if upcoming is None and due_s - last_s > MAX_MISSING_S:
            raise unusable(f"it ends after {float(last_s):.2f} of {clip.duration_s:.2f} s")
        picture = _to_rgb24(shown, clip) if is_stale else picture
        yield picture


def _to_rgb24(frame: av.VideoFrame, clip: ResolvedClip) -> bytes:
    """Returns the frame in rgb24, scaled to cover the size of the clip, and cropped around the middle."""
    scale = max(Fraction(clip.width, frame.width), Fraction(clip.height, frame.height))
    width, height = math.ceil(frame.width * scale), math.ceil(frame.height * scale)
    # An untagged video in HD is BT.709; swscale would read BT.601 and shift the colours.
    colours = Colorspace.ITU709 if frame.colorspace == UNSPECIFIED else None
    scaled = frame.reformat(width, height, format="rgb24", src_colorspace=colours, interpolation=SCALING).to_ndarray()
    left, top = (width - clip.width) // 2, (height - clip.height) // 2
    return scaled[top : top + clip.height, left : left + clip.width].tobytes()


def unusable(why: str) -> TaskFailed:
    """Returns the failure for a video that cannot be read."""
    return TaskFailed(
        FailureCode.ENGINE_FAILED, f"Google's video cannot be used: {why}", stage=Stage.DECODE, retriable=True
    )
