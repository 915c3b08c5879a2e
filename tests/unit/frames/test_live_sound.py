"""A sound that comes piece by piece gives the features of the whole sound."""

import numpy as np
import pytest

from fixtures.frames import pcm_of
from fixtures.tiny_lips import noise, syllables
from phoenix.catalog.postprocessors import LipModelSpec
from phoenix.frames.live_sound import LiveSound, to_floats
from phoenix.lipsync.features import MelFeatures, WhisperFeatures, mel_around, mel_spectrogram, whisper_around
from phoenix.lipsync.interface import Moment, Speech

MEL = LipModelSpec(id="mel", title="Mel", format="onnx", source="mel.onnx")
WHISPER = LipModelSpec(
    id="whisper", title="W", format="onnx", source="w.onnx", features="whisper50x384", features_source="e.onnx"
)
DRAWN = LipModelSpec(id="drawn", title="Drawn", format="drawn")
PCM = pcm_of(noise(1.5))


def moments_of(
    spec: LipModelSpec, pcm: bytes, *, fps: float = 25, rate_hz: int = 16_000, step: int = 700
) -> list[Moment]:
    """The moments of all frames, each asked for as soon as it can be."""
    sound, found = LiveSound(spec, rate_hz=rate_hz, fps=fps), []

    def ask() -> None:
        while (moment := sound.find_moment(len(found))) is not None:
            sound.take(len(found))
            found.append(Moment(to_floats(moment.samples), moment.at, fps))

    for start in range(0, len(pcm), step):
        sound.append(pcm[start : start + step])
        ask()
    sound.end()
    ask()
    return found


@pytest.mark.parametrize("fps", [25, 30, 24000 / 1001, 60])
def test_mel_windows_equal_those_of_the_whole_sound(fps: float) -> None:
    moments = moments_of(MEL, PCM, fps=fps)
    whole = MelFeatures(mel_spectrogram(to_floats(PCM)), fps)
    np.testing.assert_allclose(mel_around(moments), whole.batch(range(len(moments))), atol=1e-5)


def test_a_sound_shorter_than_a_window_is_followed_by_silence() -> None:
    pcm = PCM[:2000]
    (first, second) = moments_of(MEL, pcm)
    whole = MelFeatures(mel_spectrogram(to_floats(pcm)), 25)
    np.testing.assert_allclose(mel_around([first, second])[:, :, :, :3], whole.batch([0, 1])[:, :, :, :3], atol=1e-5)
    assert mel_around([first])[0, 0, :, -1].max() == -4


def loudness(spectrogram: np.ndarray) -> np.ndarray:
    """In place of whisper: what each step hears is the mean of its own two columns."""
    steps = spectrogram.mean(axis=1).reshape(1, 1, 1500, 2).mean(axis=3)
    return np.broadcast_to(steps[..., None], (1, 5, 1500, 384)).astype(np.float32)


def test_whisper_windows_are_those_of_the_steps_around_the_frame() -> None:
    moments = moments_of(WHISPER, PCM)
    whole = WhisperFeatures.of(Speech(to_floats(PCM)), 25, loudness).batch(range(len(moments)))
    live = whisper_around(moments, loudness)
    assert live.shape == whole.shape
    # Each spectrogram is limited to a range below its own loudest value.
    assert np.corrcoef(live[5:30].ravel(), whole[5:30].ravel())[0, 1] > 0.95


@pytest.mark.parametrize("spec", [MEL, DRAWN], ids=lambda spec: spec.id)
@pytest.mark.parametrize("step", [2, 638, 10_000])
def test_the_size_of_the_pieces_changes_no_moment(spec: LipModelSpec, step: int) -> None:
    pcm = PCM[:12_000]
    for one, other in zip(moments_of(spec, pcm, step=step), moments_of(spec, pcm), strict=True):
        assert one.at == other.at
        np.testing.assert_array_equal(one.samples, other.samples)


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 24_000, 44_100, 48_000])
def test_a_resampled_tone_is_the_tone(rate_hz: int) -> None:
    def tone(rate: int) -> np.ndarray:
        return np.sin(2 * np.pi * 440 * np.arange(rate) / rate)

    pcm = np.round(tone(rate_hz) * 20_000).astype("<i2").tobytes()
    sound = LiveSound(MEL, rate_hz=rate_hz, fps=25)
    for start in range(0, len(pcm), 2_222):
        sound.append(pcm[start : start + 2_222])
    moment = sound.find_moment(5)
    assert moment is not None
    first = 5 * 640 - moment.at
    expected = tone(16_000)[first : first + len(moment.samples) // 2] * 20_000 / (1 << 15)
    np.testing.assert_allclose(to_floats(moment.samples), expected, atol=2e-3)


def test_what_was_asked_for_is_forgotten() -> None:
    sound, asked = LiveSound(MEL, rate_hz=16_000, fps=25), 0
    for _ in range(10):
        sound.append(PCM[:32_000])
        while sound.find_moment(asked) is not None:
            sound.take(asked)
            asked += 1
    assert (asked, sound.kept_bytes < 2 * 32_000) == (245, True)


def test_the_loudest_frames_open_the_drawn_mouth() -> None:
    sound = LiveSound(DRAWN, rate_hz=16_000, fps=25)
    sound.append(pcm_of(syllables(2)))
    peaks = [moment.peak_rms for index in range(40) if (moment := sound.find_moment(index))]
    assert max(peaks) > 0.2
    assert min(peaks) > 0.09
