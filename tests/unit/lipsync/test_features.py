"""Features of sound: the published formulas, worked out by other arithmetic, and the windows of frames."""

import math

import numpy as np
import pytest

from fixtures.tiny_lips import noise, syllables
from phoenix.lipsync.features import (
    MelFeatures,
    WhisperFeatures,
    is_silent,
    mel_spectrogram,
    mel_window,
    whisper_spectrogram,
)
from phoenix.lipsync.interface import SPEECH_RATE_HZ, Speech


def hz_of_mel(mel: float) -> float:
    return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)


def mel_of_hz(hz: float) -> float:
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * math.log(hz / 1000, 6.4)


def slaney_filters(bands: int, window: int, lowest_hz: float, highest_hz: float) -> np.ndarray:
    """Triangles by linear interpolation between their three corners, each with the area of one bin."""
    steps = np.linspace(mel_of_hz(lowest_hz), mel_of_hz(highest_hz), bands + 2)
    corners = [hz_of_mel(step) for step in steps]
    bins_hz = [16000 * index / window for index in range(window // 2 + 1)]
    rows = []
    for left, middle, right in zip(corners, corners[1:], corners[2:], strict=False):
        rows.append(np.interp(bins_hz, [left, middle, right], [0, 2 / (right - left), 0], left=0, right=0))
    return np.array(rows)


def column_by_definition(samples: np.ndarray, column: int, window: int, hop: int) -> np.ndarray:
    """The magnitudes of one column by the sum that defines the Fourier transform."""
    times = np.arange(window)
    heard = np.array([samples[at] if 0 <= (at := column * hop - window // 2 + t) < len(samples) else 0 for t in times])
    weighted = heard * np.sin(np.pi * times / window) ** 2
    angles = 2j * np.pi * np.outer(np.arange(window // 2 + 1), times) / window
    return np.abs(np.exp(-angles) @ weighted)


@pytest.mark.parametrize("speech", [noise(1, level=0.1), syllables(1), noise(1, level=1e-4)], ids=["a", "b", "c"])
def test_the_mel_spectrogram_is_within_a_ten_thousandth_of_the_published_formula(speech: Speech) -> None:
    samples = speech.samples.astype(np.float64)
    emphasized = np.array([samples[0], *(samples[i] - 0.97 * samples[i - 1] for i in range(1, len(samples)))])
    filters = slaney_filters(80, 800, 55, 7600)
    made = mel_spectrogram(speech.samples)
    assert made.shape == (80, 1 + len(samples) // 200)
    for column in (0, 1, 2, 17, 40, 78, 79, 80):
        levels = 20 * np.log10(np.maximum(1e-5, filters @ column_by_definition(emphasized, column, 800, 200))) - 20
        expected = np.clip(8 * (levels + 100) / 100 - 4, -4, 4)
        np.testing.assert_allclose(made[:, column], expected, atol=1e-4)


def test_the_whisper_spectrogram_is_within_a_ten_thousandth_of_the_published_formula() -> None:
    speech = noise(1)
    padded = np.zeros(30 * 16000)
    padded[:16000] = speech.samples
    made = whisper_spectrogram(speech.samples)
    assert made.shape == (80, 3000)
    filters = slaney_filters(80, 400, 0, 8000)
    columns = (3, 40, 99, 120, 2000)
    powers = np.array([filters @ column_by_definition(padded, column, 400, 160) ** 2 for column in columns]).T
    levels = np.log10(np.maximum(1e-10, powers))
    # The loudest value of all columns decides the floor, and the made values show which it is.
    loudest = float(made.max()) * 4 - 4
    np.testing.assert_allclose(made[:, columns], (np.maximum(levels, loudest - 8) + 4) / 4, atol=1e-4)


def test_an_empty_sound_is_as_quiet_as_can_be() -> None:
    assert mel_spectrogram(np.zeros(0, np.float32)).tolist() == [[-4.0]] * 80


@pytest.mark.parametrize("fps", [24, 25, 29.97, 60])
def test_a_window_begins_at_the_column_of_its_frame(fps: float) -> None:
    spectrogram = mel_spectrogram(noise(2).samples)
    for index in (0, 1, 7, 20):
        start = int(index * 80 / fps)
        np.testing.assert_array_equal(mel_window(spectrogram, index, fps), spectrogram[:, start : start + 16])


def test_the_last_frames_have_the_last_window() -> None:
    spectrogram = mel_spectrogram(noise(1).samples)
    for index in (24, 25, 400):
        np.testing.assert_array_equal(mel_window(spectrogram, index, 25), spectrogram[:, -16:])


def test_a_sound_that_is_shorter_than_a_window_is_followed_by_silence() -> None:
    window = mel_window(mel_spectrogram(noise(0.05).samples), 0, 25)
    assert window.shape == (80, 16)
    assert (window[:, -10:] == -4).all()


def test_mel_features_come_in_batches_of_four_dimensions() -> None:
    features = MelFeatures(mel_spectrogram(noise(1).samples), 25)
    batch = features.batch([3, 9])
    assert batch.shape == (2, 1, 80, 16)
    np.testing.assert_array_equal(batch[1, 0], mel_window(features.spectrogram, 9, 25))


def encode_as_columns(spectrogram: np.ndarray) -> np.ndarray:
    """Layer by layer, each step has its own number and the number of its layer."""
    steps = np.arange(1500, dtype=np.float32)[None, :, None] + 10000 * np.arange(5, dtype=np.float32)[:, None, None]
    return np.broadcast_to(steps, (5, 1500, 384))[None]


def test_whisper_features_are_ten_steps_around_the_frame_layer_after_layer() -> None:
    batch = WhisperFeatures.of(noise(2), 25, encode_as_columns).batch([10])
    assert batch.shape == (1, 50, 384)
    steps, layers = batch[0, :, 0] % 10000, batch[0, :, 0] // 10000
    # Frame 10 is at step 20, and four steps before it are heard.
    assert steps.reshape(10, 5)[:, 0].tolist() == list(range(16, 26))
    assert layers.reshape(10, 5).tolist() == [[0, 1, 2, 3, 4]] * 10


def test_whisper_hears_a_long_sound_in_parts_of_thirty_seconds() -> None:
    parts: list[int] = []

    def encode(spectrogram: np.ndarray) -> np.ndarray:
        parts.append(len(parts))
        return np.full((1, 5, 1500, 384), float(len(parts)), np.float32)

    features = WhisperFeatures.of(Speech(np.zeros(31 * SPEECH_RATE_HZ, np.float32)), 25, encode)
    assert features.batch([30 * 25 - 10, 30 * 25 + 5])[:, 25, 0].tolist() == [1, 2]


@pytest.mark.parametrize(("index", "silent"), [(5, False), (40, True), (49, False), (200, True)])
def test_a_frame_is_silent_if_nothing_is_heard_in_the_time_of_its_features(index: int, silent: bool) -> None:
    samples = np.concatenate([noise(1).samples, np.zeros(SPEECH_RATE_HZ, np.float32), noise(1).samples])
    assert is_silent(Speech(samples), index, 25) is silent
