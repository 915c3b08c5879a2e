"""The talking engine without weights: draws a mouth that opens with the energy of the sound and widens with vowels."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phoenix.lipsync.faces import FaceBox, FaceFinder, track
from phoenix.lipsync.features import SILENCE_RMS, rms_of
from phoenix.lipsync.interface import SPEECH_RATE_HZ, Hearing, Moment, Pixels, Speech, SyncCounts, SyncObserver

_Floats = NDArray[np.floating[Any]]

_INSIDE, _LIPS = (38, 10, 16), (176, 72, 84)
_MOUTH_AT = (0.5, 0.72)
"""Of the face box: across and down."""
_WIDEST, _NARROWEST = 0.21, 0.11
"""Half of the mouth, as a share of the width of the face."""
_OPENEST, _LIP = 0.11, 0.018
"""Half of the opening and the thickness of a lip, as shares of the height of the face."""
_COVER = (0.3, 0.16)
"""Half of the patch of skin that covers the mouth of the picture, as shares of both sides."""
_CHEEKS = (0.22, 0.78, 0.55)
_QUIETEST_PEAK_RMS = 10 * SILENCE_RMS
# Between them is what makes an E of an O: the second formant, from rounded lips to spread lips.
_ROUNDED_HZ, _SPREAD_HZ = 700.0, 1900.0
_LOWEST_VOWEL_HZ, _HIGHEST_VOWEL_HZ = 200.0, 3500.0


@dataclass(frozen=True)
class MouthShape:
    """How open (0 to 1) and how wide (0 for an O, 1 for an E) a mouth is."""

    openness: float
    width: float


class SpeechShapes:
    """The shapes of a mouth that says a speech. The loudest frames open it fully; openness is linear in the energy."""

    def __init__(self, speech: Speech, fps: float) -> None:
        self._speech, self._fps = speech, fps
        count = int(np.ceil(speech.duration_s * fps))
        levels = [rms_of(self._heard(index)) for index in range(count)]
        self._peak = max(float(np.percentile(levels, 98)) if levels else 0.0, _QUIETEST_PEAK_RMS)

    def at(self, index: int) -> MouthShape:
        """Returns the shape in frame `index`. Closed after the end of the speech."""
        heard = self._heard(index)
        openness = min(1.0, rms_of(heard) / self._peak)
        return MouthShape(openness, _vowel_width(heard))

    def _heard(self, index: int) -> _Floats:
        return self._speech.part(index / self._fps, (index + 1) / self._fps)


def _vowel_width(heard: _Floats) -> float:
    """Where the energy of the vowel is, between the rounded and the spread ones: 0 to 1."""
    if len(heard) < 2:
        return 0.5
    powers = np.abs(np.fft.rfft(heard * np.hanning(len(heard)))) ** 2
    bins_hz = np.fft.rfftfreq(len(heard), 1 / SPEECH_RATE_HZ)
    powers[(bins_hz < _LOWEST_VOWEL_HZ) | (bins_hz > _HIGHEST_VOWEL_HZ)] = 0
    if not powers.any():
        return 0.5
    centre_hz = float(np.average(bins_hz, weights=powers))
    return float(np.clip((centre_hz - _ROUNDED_HZ) / (_SPREAD_HZ - _ROUNDED_HZ), 0, 1))


DRAWN_HEARING = Hearing(1, 0, SPEECH_RATE_HZ // 10)
"""The longest frame that is heard."""
_FIRST_PEAK_RMS, _HALF_LIFE_S = 0.1, 5.0


@dataclass
class LoudnessPeak:
    """How loud a sound is that nobody has whole. What was loud some seconds ago counts for less."""

    fps: float
    rms: float = _FIRST_PEAK_RMS

    def follow(self, level_rms: float) -> float:
        """Returns the peak, after a frame of this level."""
        self.rms = max(level_rms, self.rms * 0.5 ** (1 / (self.fps * _HALF_LIFE_S)), _QUIETEST_PEAK_RMS)
        return self.rms


def shape_at(moment: Moment, peak_rms: float) -> MouthShape:
    """Returns the shape in a frame of a sound that nobody has whole."""
    heard = moment.samples[moment.at : moment.at + round(SPEECH_RATE_HZ / moment.fps)]
    return MouthShape(min(1.0, rms_of(heard) / peak_rms), _vowel_width(heard))


@dataclass(frozen=True)
class DrawnMouth:
    """A `TalkingEngine` that draws. It draws closed lips in silence, because the mouth of the picture is covered."""

    faces: FaceFinder

    def sync(
        self, frames: Iterable[Pixels], fps: float, speech: Speech, observer: SyncObserver, *, first: int = 0
    ) -> Iterator[Pixels]:
        shapes = SpeechShapes(speech, fps)
        counts = SyncCounts()
        for index, (frame, box) in enumerate(track(frames, self.faces), first):
            counts = counts.plus(SyncCounts(1, without_face=int(box is None)))
            observer.on_frames(counts)
            yield frame if box is None else draw_mouth(frame, box, shapes.at(index))


def draw_mouth(frame: Pixels, box: FaceBox, shape: MouthShape) -> Pixels:
    """Returns a new frame with a mouth in the face."""
    across = np.arange(box.width) + 0.5 - _MOUTH_AT[0] * box.width
    down = (np.arange(box.height) + 0.5 - _MOUTH_AT[1] * box.height)[:, None]
    half_width = box.width * (_NARROWEST + (_WIDEST - _NARROWEST) * shape.width)
    half_open = box.height * _OPENEST * shape.openness
    lip = max(1.0, box.height * _LIP)
    face = frame[box.rows, box.columns].astype(np.float32)
    cover = np.minimum(1.0, 2 * _inside(across, down, box.width * _COVER[0], box.height * _COVER[1], soft=True))
    face = _laid_over(face, _skin_of(face), cover)
    face = _laid_over(face, _LIPS, _inside(across, down, half_width + lip, half_open + lip))
    if half_open >= 0.5:
        face = _laid_over(face, _INSIDE, _inside(across, down, half_width, half_open))
    drawn = frame.copy()
    drawn[box.rows, box.columns] = np.round(face)
    return drawn


def _skin_of(face: _Floats) -> tuple[float, ...]:
    """The middle colour of both cheeks."""
    height, width = face.shape[:2]
    side = max(1, width // 12)
    row = int(_CHEEKS[2] * height)
    cheeks = [face[row : row + side, int(at * width) - side : int(at * width) + side] for at in _CHEEKS[:2]]
    colours = np.concatenate([cheek.reshape(-1, 3) for cheek in cheeks])
    return tuple(np.median(colours, axis=0)) if len(colours) else (200.0, 160.0, 140.0)


def _inside(across: _Floats, down: _Floats, half_width: float, half_height: float, *, soft: bool = False) -> _Floats:
    """How much of each pixel is inside an ellipse around the middle; with `soft`, falling from the middle on."""
    distance = np.sqrt((across / half_width) ** 2 + (down / half_height) ** 2)
    if soft:
        return np.clip(1 - distance, 0, 1)
    return np.clip((1 - distance) * min(half_width, half_height) + 0.5, 0, 1)


def _laid_over(face: _Floats, colour: Iterable[float], share: _Floats) -> _Floats:
    alpha = share[..., None].astype(np.float32)
    return face * (1 - alpha) + np.asarray(tuple(colour), np.float32) * alpha
