"""Reads the sound of an MP4, from the time of its first frame on."""

import io
from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from numpy.typing import NDArray

from phoenix.contract import ResolvedClip
from phoenix.engine.backends.veo.frames import unusable
from phoenix.engine.interface import RenderedSound

RATE_HZ = 48_000
CHANNELS = 2


def read_sound(mp4: bytes, clip: ResolvedClip) -> RenderedSound | None:
    """Returns the sound of the clip, as long as the clip; None if the video has none. Raises `TaskFailed`."""
    track = np.zeros((round(clip.duration_s * RATE_HZ), CHANNELS), "<f4")
    try:
        with av.open(io.BytesIO(mp4), mode="r", format="mp4") as container:
            if not container.streams.audio:
                return None
            picture_start_s = _start_s(container.streams.video[0])
            for at_s, samples in _decode(container):
                first = round((at_s - picture_start_s) * RATE_HZ)
                if first >= len(track):
                    break
                _place(samples, track, first)
    except FFmpegError as error:
        raise unusable(f"its sound cannot be read: {error}") from error
    return RenderedSound(track.clip(-1, 1).tobytes(), CHANNELS, RATE_HZ)


def _start_s(stream: av.VideoStream) -> Fraction:
    return Fraction(stream.start_time or 0) * Fraction(stream.time_base or 0)


def _decode(container: InputContainer) -> Iterator[tuple[Fraction, NDArray[np.float32]]]:
    """Yields samples `[samples, channels]` in stereo, and their times in seconds."""
    resampler = av.AudioResampler(format="flt", layout="stereo", rate=RATE_HZ)
    for frame in container.decode(audio=0):
        yield from map(_timed, resampler.resample(frame))
    yield from map(_timed, resampler.resample(None))


def _timed(frame: av.AudioFrame) -> tuple[Fraction, NDArray[np.float32]]:
    at_s = Fraction(frame.pts or 0) * Fraction(frame.time_base or 0)
    return at_s, frame.to_ndarray().astype(np.float32, copy=False).reshape(-1, CHANNELS)


def _place(samples: NDArray[np.float32], track: NDArray[np.float32], first: int) -> None:
    """Writes samples to the track from sample number `first` on. Leaves out those that are outside of it."""
    begin, end = max(0, first), min(len(track), first + len(samples))
    if begin < end:
        track[begin:end] = samples[begin - first : end - first]
