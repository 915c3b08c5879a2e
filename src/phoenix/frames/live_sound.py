"""A sound that comes piece by piece: what a lip model hears of each frame, and what is played with it."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from phoenix.catalog.postprocessors import LipModelSpec
from phoenix.frames.interface import SAMPLE_BYTES
from phoenix.lipsync.drawn_mouth import DRAWN_HEARING, LoudnessPeak
from phoenix.lipsync.features import MEL_HEARING, MEL_WINDOW, WHISPER_HEARING, rms_of
from phoenix.lipsync.interface import SPEECH_RATE_HZ, Hearing

_SAMPLE = np.dtype("<i2")
_FULL_SCALE = 1 << 15


def hearing_of(spec: LipModelSpec) -> Hearing:
    """Returns which samples the lip model needs for a frame."""
    if spec.format == "drawn":
        return DRAWN_HEARING
    return MEL_HEARING if spec.features == "mel80x16" else WHISPER_HEARING


@dataclass(frozen=True)
class HeardMoment:
    """The sound around a frame at 16 kHz, the sample at which the model hears the frame, and the peak of the sound."""

    samples: bytes
    at: int
    peak_rms: float


class _Samples:
    """Samples by their number from the start of the sound. The oldest can be forgotten."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._forgotten = 0

    @property
    def end(self) -> int:
        """The number of samples that came so far."""
        return self._forgotten + len(self._kept) // SAMPLE_BYTES

    @property
    def kept_bytes(self) -> int:
        return len(self._kept)

    def append(self, samples: bytes) -> None:
        self._kept += samples

    def part(self, start: int, end: int) -> bytes:
        first, last = (max(0, place - self._forgotten) * SAMPLE_BYTES for place in (start, end))
        return bytes(self._kept[first:last])

    def forget_before(self, start: int) -> None:
        count = min(start, self.end) - self._forgotten
        if count > 0:
            del self._kept[: count * SAMPLE_BYTES]
            self._forgotten += count


class LiveSound:
    """Give it sound, and ask for its frames in order, from 0 on. Frames that were asked for are forgotten."""

    def __init__(self, spec: LipModelSpec, *, rate_hz: int, fps: float) -> None:
        self._hearing = hearing_of(spec)
        self._rate_hz, self._fps = rate_hz, fps
        self._played, self._heard = _Samples(), _Samples()
        self._resampler = None if rate_hz == SPEECH_RATE_HZ else _Resampler(rate_hz)
        self._peak = LoudnessPeak(fps) if spec.format == "drawn" else None
        self._is_whole = False

    @property
    def duration_s(self) -> float:
        return self._played.end / self._rate_hz

    @property
    def longest_wait_s(self) -> float:
        """How much sound after the beginning of a frame has to come before the frame is rendered, at most."""
        return self._hearing.after / SPEECH_RATE_HZ + 1 / self._fps

    @property
    def num_frames(self) -> int | None:
        """How many frames the whole sound has; None while more of it may come."""
        return math.ceil(self._played.end * self._fps / self._rate_hz - 1e-6) if self._is_whole else None

    @property
    def kept_bytes(self) -> int:
        """The sound in memory."""
        return self._played.kept_bytes + self._heard.kept_bytes

    def append(self, pcm: bytes) -> None:
        self._played.append(pcm)
        self._heard.append(self._resampler.convert(pcm) if self._resampler else pcm)

    def end(self) -> None:
        """No more sound comes: after the last sample there is silence."""
        if not self._is_whole and self._resampler:
            self._heard.append(self._resampler.finish())
        self._is_whole = True

    def find_moment(self, index: int) -> HeardMoment | None:
        """Returns what the model hears for the next frame; None if too little sound has come, or the sound is over."""
        start = self._hearing.find_start(index, self._fps)
        if self._is_whole:
            if index >= (self.num_frames or 0):
                return None
            start = self._last_start(start)
        elif self._heard.end < start + self._hearing.after or self._played.end < self._play_start(index + 1):
            return None
        first = max(0, start - self._hearing.before)
        samples = self._heard.part(first, start + self._hearing.after)
        return HeardMoment(samples, start - first, self._follow_peak(samples, start - first))

    def take(self, index: int) -> bytes:
        """Returns the sound that is played with a frame, and forgets what no later frame needs."""
        start, end = self._play_start(index), self._play_start(index + 1)
        played = self._played.part(start, end)
        self._played.forget_before(end)
        # The last windows of a mel spectrogram lie before their frames.
        kept = self._hearing.before + MEL_WINDOW * self._hearing.step
        self._heard.forget_before(self._hearing.find_start(index + 1, self._fps) - kept)
        return played

    def _play_start(self, index: int) -> int:
        return round(index * self._rate_hz / self._fps)

    def _last_start(self, start: int) -> int:
        """As in a whole spectrogram, the last frames share the last window."""
        if self._hearing is not MEL_HEARING:
            return start
        return max(0, min(start, (self._heard.end // MEL_HEARING.step + 1 - MEL_WINDOW) * MEL_HEARING.step))

    def _follow_peak(self, samples: bytes, at: int) -> float:
        if self._peak is None:
            return 0.0
        end = at + round(SPEECH_RATE_HZ / self._fps)
        return self._peak.follow(rms_of(to_floats(samples)[at:end]))


def to_floats(samples: bytes) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """Returns samples from -1 to 1."""
    return np.frombuffer(samples, _SAMPLE).astype(np.float32) / np.float32(_FULL_SCALE)


_CROSSINGS = 16
"""Half of the length of the filter, in zero crossings of its sine."""


class _Resampler:
    """Converts a sound that comes piece by piece to the rate of speech. Its first sample stays the first one.

    The resampler of ffmpeg would start a thread per core for each sound.
    """

    def __init__(self, rate_hz: int) -> None:
        common = math.gcd(rate_hz, SPEECH_RATE_HZ)
        self._up, self._down = SPEECH_RATE_HZ // common, rate_hz // common
        passed = min(1.0, SPEECH_RATE_HZ / rate_hz)
        self._side = math.ceil(_CROSSINGS / passed)
        distances = np.arange(1 - self._side, self._side + 1) - np.arange(self._up)[:, None] / self._up
        weights = np.sinc(passed * distances) * (0.5 + 0.5 * np.cos(np.pi * distances / self._side))
        self._weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
        # What lies before the first sample is silence.
        self._kept = np.zeros(self._side - 1, np.float32)
        self._position = 0

    def convert(self, pcm: bytes) -> bytes:
        return self._convert(to_floats(pcm))

    def finish(self) -> bytes:
        return self._convert(np.zeros(self._side, np.float32))

    def _convert(self, samples: "np.ndarray[Any, np.dtype[np.float32]]") -> bytes:
        """`_position` counts steps of 1 / up of a sample from the first kept sample whose windows are not done."""
        kept = np.concatenate([self._kept, samples])
        windows = max(0, len(kept) - 2 * self._side + 1)
        places = np.arange(self._position, windows * self._up, self._down)
        starts, phases = places // self._up, places % self._up
        parts = (
            np.lib.stride_tricks.sliding_window_view(kept, 2 * self._side)[starts] if len(places) else kept[:0, None]
        )
        made = np.einsum("ij,ij->i", parts, self._weights[phases]) if len(places) else kept[:0]
        self._position += len(places) * self._down - windows * self._up
        self._kept = kept[windows:]
        return np.clip(np.round(made * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1).astype(_SAMPLE).tobytes()
