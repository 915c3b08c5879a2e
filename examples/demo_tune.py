"""Writes a short tune to a WAV file with nothing but the standard library, so that the demo has a soundtrack.

python examples/demo_tune.py demo/tune.wav
"""

import math
import sys
import wave
from array import array
from itertools import count
from pathlib import Path

RATE_HZ = 44_100
BEAT_S = 0.375
NOTE_S = 1.8

# Four bars of a pentatonic walk (MIDI numbers), each over a held bass note.
MELODY = (
    (69, 72, 76, 79, 76, 72, 74, 76),
    (67, 71, 74, 79, 74, 71, 72, 74),
    (65, 69, 72, 76, 81, 79, 76, 72),
    (72, 74, 76, 79, 84, 79, 76, 72),
)
BASS = (45, 43, 41, 48)
OVERTONES = ((1, 1.0), (2, 0.35), (3, 0.12), (4, 0.05))


def frequency_hz(midi_note: int) -> float:
    return 440 * 2 ** ((midi_note - 69) / 12)


def pluck(midi_note: int, length_s: float) -> list[float]:
    """One note of a soft plucked string: overtones that fade the faster the higher they are."""
    pitch_hz = frequency_hz(midi_note)
    samples: list[float] = []
    for i in range(int(length_s * RATE_HZ)):
        at_s = i / RATE_HZ
        attack = min(1.0, at_s / 0.008)
        value = sum(
            share * math.exp(-3 * n * at_s / length_s) * math.sin(2 * math.pi * n * pitch_hz * at_s)
            for n, share in OVERTONES
        )
        # The last hundredth of a second fades to nothing: a note cut short would click.
        release = min(1.0, (length_s - at_s) / 0.01)
        samples.append(value * attack * release)
    return samples


def compose() -> "array[int]":
    """The tune as 16-bit mono samples."""
    beats = sum(len(bar) for bar in MELODY)
    mix = [0.0] * int((beats * BEAT_S + 2 * NOTE_S) * RATE_HZ)
    beat = count()
    for bar, bass_note in zip(MELODY, BASS, strict=True):
        for place, note in enumerate(bar):
            start = int(next(beat) * BEAT_S * RATE_HZ)
            if place == 0:
                add(mix, pluck(bass_note, 2 * NOTE_S), start, volume=0.5)
            add(mix, pluck(note, NOTE_S), start, volume=0.35)
    loudest = max(abs(value) for value in mix)
    return array("h", (int(0.8 * 32_767 * value / loudest) for value in mix))


def add(mix: list[float], samples: list[float], start: int, *, volume: float) -> None:
    for i, value in enumerate(samples, start):
        mix[i] += volume * value


def write_wav(path: Path, samples: "array[int]") -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        # A WAV is little-endian whatever the machine is.
        if sys.byteorder == "big":
            samples.byteswap()
        file.writeframes(samples.tobytes())


if __name__ == "__main__":
    write_wav(Path(sys.argv[1]), compose())
