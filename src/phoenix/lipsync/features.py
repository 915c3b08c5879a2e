"""Features of sound in numpy: the mel windows of Wav2Lip, the input of whisper, and how loud each frame is."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from phoenix.lipsync.interface import SPEECH_RATE_HZ, Hearing, Moment, Speech

Floats = NDArray[np.float32]

MEL_BANDS, MEL_WINDOW = 80, 16
MEL_RATE_HZ = 80
"""Columns of the spectrogram in a second."""
_HOP, _WINDOW = SPEECH_RATE_HZ // MEL_RATE_HZ, 800
_PREEMPHASIS = 0.97
_LOWEST_MEL_HZ, _HIGHEST_MEL_HZ = 55.0, 7600.0
_FLOOR = 1e-5
_REFERENCE_DB, _LOWEST_DB, _MOST = 20.0, -100.0, 4.0

SILENCE_RMS = 0.003
"""About -50 dB of full scale. Quieter speech moves no lips."""


MEL_HEARING = Hearing(_HOP, _WINDOW // 2 + 1, (MEL_WINDOW - 1) * _HOP + _WINDOW // 2)
"""One sample more than the first window reaches, for the pre-emphasis."""


def mel_spectrogram(samples: Floats) -> Floats:
    """Returns what Wav2Lip hears of a sound: 80 bands x (1 + samples / 200) columns, from -4 to 4."""
    if len(samples) == 0:
        return np.full((MEL_BANDS, 1), -_MOST, np.float32)
    return _mel_levels(np.abs(_spectrum(_emphasized(samples), _WINDOW, _HOP)))


def _emphasized(samples: Floats) -> NDArray[np.floating[Any]]:
    return np.append(samples[:1], samples[1:] - _PREEMPHASIS * samples[:-1])


def _mel_levels(magnitudes: NDArray[np.float64]) -> Floats:
    """From ... x 401 x columns to ... x 80 x columns."""
    bands = mel_filters(MEL_BANDS, _WINDOW, _LOWEST_MEL_HZ, _HIGHEST_MEL_HZ) @ magnitudes
    levels_db = 20 * np.log10(np.maximum(_FLOOR, bands)) - _REFERENCE_DB
    scaled = 2 * _MOST * (levels_db - _LOWEST_DB) / -_LOWEST_DB - _MOST
    return np.clip(scaled, -_MOST, _MOST).astype(np.float32)


def mel_window(spectrogram: Floats, index: int, fps: float) -> Floats:
    """Returns the 16 columns that belong to frame `index`. The last ones, for frames at the end and after it."""
    missing = MEL_WINDOW - spectrogram.shape[1]
    if missing > 0:
        spectrogram = np.pad(spectrogram, ((0, 0), (0, missing)), constant_values=-_MOST)
    start = min(int(index * float(MEL_RATE_HZ) / fps), spectrogram.shape[1] - MEL_WINDOW)
    return spectrogram[:, start : start + MEL_WINDOW]


@dataclass(frozen=True)
class MelFeatures:
    """The features `mel80x16` of a speech: B x 1 x 80 x 16."""

    spectrogram: Floats = field(repr=False)
    fps: float

    def batch(self, indices: Iterable[int]) -> Floats:
        return np.stack([mel_window(self.spectrogram, index, self.fps) for index in indices])[:, None]


def mel_around(moments: Sequence[Moment]) -> Floats:
    """Returns the windows of frames, B x 1 x 80 x 16, from the sound around each of them."""
    side = _WINDOW // 2
    heard = np.zeros((len(moments), side + MEL_HEARING.after))
    for row, moment in zip(heard, moments, strict=True):
        start = moment.at - side
        part = _emphasized(moment.samples)[max(0, start) : start + len(row)]
        row[max(0, -start) : max(0, -start) + len(part)] = part
    columns = np.lib.stride_tricks.sliding_window_view(heard, _WINDOW, axis=1)[:, ::_HOP]
    magnitudes = np.abs(np.fft.rfft(columns * _hann(_WINDOW), axis=2)).transpose(0, 2, 1)
    return _mel_levels(magnitudes)[:, None]


WHISPER_RATE_HZ = 50
"""Steps of whisper in a second."""
WHISPER_LAYERS, WHISPER_WIDTH = 5, 384
_WHISPER_STEPS, _WHISPER_SIDE = 10, 2
_WHISPER_S = 30
_WHISPER_WINDOW, _WHISPER_HOP = 400, 160
_WHISPER_STEP = SPEECH_RATE_HZ // WHISPER_RATE_HZ
WHISPER_HEARING = Hearing(_WHISPER_STEP, 2 * SPEECH_RATE_HZ, _WHISPER_STEPS * _WHISPER_STEP)
"""Whisper hears words, so it gets two seconds before a frame."""

EncodeSpeech = Callable[[Floats], Floats]
"""Makes 1 x 5 x 1500 x 384, the hidden layers of whisper-tiny, of 1 x 80 x 3000, thirty seconds of sound."""


def whisper_spectrogram(samples: Floats) -> Floats:
    """Returns what whisper hears of thirty seconds: 80 bands x 3000 columns. A shorter sound is filled with silence."""
    wanted = _WHISPER_S * SPEECH_RATE_HZ
    filled = np.pad(samples[:wanted], (0, max(0, wanted - len(samples))))
    powers = np.abs(_spectrum(filled, _WHISPER_WINDOW, _WHISPER_HOP, mode="reflect")[:, :-1]) ** 2
    levels = np.log10(np.maximum(1e-10, mel_filters(MEL_BANDS, _WHISPER_WINDOW, 0, SPEECH_RATE_HZ / 2) @ powers))
    return ((np.maximum(levels, levels.max() - 8) + 4) / 4).astype(np.float32)


@dataclass(frozen=True)
class WhisperFeatures:
    """The features `whisper50x384` of a speech, as MuseTalk arranges them: B x 50 x 384."""

    layers: Floats = field(repr=False)
    """Steps x 5 x 384, with silence before and after."""
    fps: float

    @classmethod
    def of(cls, speech: Speech, fps: float, encode: EncodeSpeech) -> "WhisperFeatures":
        parts: list[Floats] = []
        for start_s in range(0, max(1, math.ceil(speech.duration_s)), _WHISPER_S):
            heard = encode(whisper_spectrogram(speech.part(start_s, start_s + _WHISPER_S))[None])
            parts.append(heard[0].transpose(1, 0, 2))
        steps = np.concatenate(parts)[: math.floor(speech.duration_s * WHISPER_RATE_HZ)]
        before = math.ceil(WHISPER_RATE_HZ / fps) * _WHISPER_SIDE
        after = max(before * 3, _WHISPER_STEPS)
        return cls(np.pad(steps, ((before, after), (0, 0), (0, 0))), fps)

    def batch(self, indices: Iterable[int]) -> Floats:
        return np.stack([self.from_step(math.floor(index * WHISPER_RATE_HZ / self.fps)) for index in indices])

    def from_step(self, step: int) -> Floats:
        """Returns the features of a frame that begins at `step`: 50 x 384. The last ones after the end."""
        start = min(step, len(self.layers) - _WHISPER_STEPS)
        return self.layers[start : start + _WHISPER_STEPS].reshape(-1, WHISPER_WIDTH)


def whisper_around(moments: Sequence[Moment], encode: EncodeSpeech) -> Floats:
    """Returns the features of frames, B x 50 x 384, from the sound around each of them. Encodes each sound again."""
    heard = (WhisperFeatures.of(Speech(moment.samples), moment.fps, encode) for moment in moments)
    return np.stack([each.from_step(moment.at // _WHISPER_STEP) for each, moment in zip(heard, moments, strict=True)])


def is_silent(speech: Speech, index: int, fps: float) -> bool:
    """Whether nothing is heard around a frame: in the time that the features of the frame cover."""
    at_s = index / fps
    heard = speech.part(at_s - 1 / fps, at_s + MEL_WINDOW / MEL_RATE_HZ)
    return len(heard) == 0 or rms_of(heard) < SILENCE_RMS


def rms_of(samples: Floats) -> float:
    """The root of the mean square: from 0 to 1."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0


def _spectrum(
    samples: NDArray[np.floating[Any]], window: int, hop: int, mode: Literal["constant", "reflect"] = "constant"
) -> NDArray[np.complex128]:
    """Returns bands x columns. Each column is centred at its time, so half a window is added at both ends."""
    centred = np.pad(samples.astype(np.float64), window // 2, mode=mode)
    columns = np.lib.stride_tricks.sliding_window_view(centred, window)[::hop]
    return np.fft.rfft(columns * _hann(window), axis=1).T


@cache
def _hann(window: int) -> NDArray[np.float64]:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)


@cache
def mel_filters(bands: int, window: int, lowest_hz: float, highest_hz: float) -> NDArray[np.float64]:
    """Returns triangles of equal area on the mel scale of Slaney: bands x (window / 2 + 1)."""
    edges_hz = _mel_to_hz(np.linspace(_hz_to_mel(lowest_hz), _hz_to_mel(highest_hz), bands + 2))
    bins_hz = np.arange(window // 2 + 1) * SPEECH_RATE_HZ / window
    widths_hz = np.diff(edges_hz)
    rising = (bins_hz - edges_hz[:-2, None]) / widths_hz[:-1, None]
    falling = (edges_hz[2:, None] - bins_hz) / widths_hz[1:, None]
    return np.maximum(0, np.minimum(rising, falling)) * (2 / (edges_hz[2:] - edges_hz[:-2]))[:, None]


# The scale is linear up to 1000 Hz, and logarithmic above.
_KNEE_HZ, _HZ_PER_MEL, _LOG_STEP = 1000.0, 200 / 3, math.log(6.4) / 27


def _hz_to_mel(hz: float) -> float:
    if hz < _KNEE_HZ:
        return hz / _HZ_PER_MEL
    return _KNEE_HZ / _HZ_PER_MEL + math.log(hz / _KNEE_HZ) / _LOG_STEP


def _mel_to_hz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    knee = _KNEE_HZ / _HZ_PER_MEL
    return np.where(mels < knee, mels * _HZ_PER_MEL, _KNEE_HZ * np.exp((mels - knee) * _LOG_STEP))
