"""The sound of clips: with their pictures after the encoding, in a reel, and under a soundtrack."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from fixtures.flashes import flash_times, tone_times
from fixtures.media_files import MediaMaker, decode
from phoenix.contract import MediaInfo, SoundtrackRequest, Transition
from phoenix.media.commands.video import Picture, Resampling
from phoenix.media.encode import Samples, encode_clip
from phoenix.media.ffmpeg import MediaTools
from phoenix.media.reel.join import join_clips
from phoenix.media.soundtrack import mix_soundtrack, mux_soundtrack, prepare_soundtrack

PICTURE = Picture(64, 48, Fraction(24))
NUM_FRAMES = 25
CLIP_S = NUM_FRAMES / 24
FLASHES = (6, 18)
AAC_FRAME_S = 1024 / 48_000
WITHIN_S = 0.01
"""AAC blurs the beginning of a tone by some milliseconds; a frame takes 42."""


def frames() -> list[bytes]:
    """Black, and white in two frames."""
    return [(b"\xff" if index in FLASHES else b"\x00") * PICTURE.frame_bytes for index in range(NUM_FRAMES)]


def tones(rate_hz: int, channels: int, seconds: float = CLIP_S, loudness: float = 0.8) -> Samples:
    """A tone of 1 kHz, for the 42 ms of each white frame."""
    times_s = np.arange(round(seconds * rate_hz)) / rate_hz
    is_loud = np.any([(times_s >= at / 24) & (times_s < (at + 1) / 24) for at in FLASHES], axis=0)
    values = (loudness * is_loud * np.sin(2 * np.pi * 1000 * times_s)).astype("<f4")
    return Samples(np.repeat(values[:, None], channels, axis=1).tobytes(), channels, rate_hz)


def write_clip(path: Path, sound: Samples | None, tools: MediaTools) -> Path:
    encode_clip(frames(), PICTURE, path, tools=tools, num_frames=NUM_FRAMES, sound=sound)
    return path


@pytest.mark.parametrize(("fps", "count"), [(12, 12), (30, 31), (48, 50)])
def test_a_clip_at_another_rate_keeps_its_length_its_speed_and_its_sound(
    tmp_path: Path, media_tools: MediaTools, fps: int, count: int
) -> None:
    path = tmp_path / "clip.mp4"
    resampling = Resampling(Fraction(fps), count)
    sound = tones(24_000, 1)
    encode_clip(frames(), PICTURE, path, tools=media_tools, num_frames=NUM_FRAMES, sound=sound, resampling=resampling)

    found = decode(path)
    assert found.num_frames == count
    assert flash_times(path) == pytest.approx([6 / 24, 18 / 24], abs=0.51 / fps)
    assert tone_times(path) == pytest.approx([6 / 24, 18 / 24], abs=WITHIN_S)
    assert found.sound_s == pytest.approx(count / fps, abs=AAC_FRAME_S)


@pytest.mark.parametrize(
    ("rate_hz", "channels", "sound_s"), [(24_000, 2, CLIP_S - 0.05), (16_000, 1, CLIP_S), (48_000, 2, CLIP_S + 0.3)]
)
def test_a_sound_of_any_length_and_rate_begins_and_ends_with_its_picture(
    tmp_path: Path, media_tools: MediaTools, rate_hz: int, channels: int, sound_s: float
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", tones(rate_hz, channels, sound_s), media_tools)

    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]
    assert flash_times(clip) == pytest.approx([6 / 24, 18 / 24])
    assert tone_times(clip) == pytest.approx([6 / 24, 18 / 24], abs=WITHIN_S)
    found = decode(clip)
    assert found.num_frames == NUM_FRAMES
    assert found.sound_s == pytest.approx(CLIP_S, abs=AAC_FRAME_S)


def test_the_same_frames_and_sound_give_the_same_bytes(tmp_path: Path, media_tools: MediaTools) -> None:
    first, second = (write_clip(tmp_path / f"{name}.mp4", tones(24_000, 2), media_tools) for name in "ab")

    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(("kind", "overlap"), [("cut", 0), ("crossfade", 5)])
def test_tones_stay_with_their_flashes_through_a_reel_where_one_clip_is_silent(
    tmp_path: Path, media_tools: MediaTools, kind: str, overlap: int
) -> None:
    talking = write_clip(tmp_path / "talking.mp4", tones(24_000, 2), media_tools)
    silent = write_clip(tmp_path / "silent.mp4", None, media_tools)
    transition = Transition.model_validate({"kind": kind, "duration_s": 5 / 24})

    info = join_clips([talking, silent, talking], tmp_path / "reel.mp4", tools=media_tools, transition=transition)

    starts = [0, 2 * (NUM_FRAMES - overlap)]
    expected = [(start + at) / 24 for start in starts for at in FLASHES]
    assert tone_times(tmp_path / "reel.mp4") == pytest.approx(expected, abs=WITHIN_S)
    assert set(np.round(expected, 3)) <= set(np.round(flash_times(tmp_path / "reel.mp4"), 3))
    assert info.audio_duration_s == pytest.approx(info.video_duration_s, abs=AAC_FRAME_S)


def level_db(path: Path, frequency_hz: int) -> float:
    """The level of a tone in the first second of a file, in decibels."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=48_000)
        parts = [part.to_ndarray()[0] for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    samples = np.concatenate(parts)[:48_000]
    wave = np.exp(-2j * np.pi * frequency_hz * np.arange(48_000) / 48_000)
    return 20 * np.log10(abs((samples * wave).mean()))


def lay(media: MediaMaker, clip_volume: str, **fields: float) -> tuple[Path, MediaInfo]:
    """A reel of 2 s with a tone of 440 Hz, under which lies a soundtrack of 1320 Hz."""
    request = SoundtrackRequest.model_validate({"url": "https://sounds.example/a.mp3", **fields})
    video, output = media.folder / "joined.mp4", media.folder / "reel.mp4"
    media.ffmpeg(
        *("-f", "lavfi", "-i", "color=black:s=64x48:r=16:d=2"),
        *("-f", "lavfi", "-i", f"sine=440:d=2,volume={clip_volume}"),
        *("-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", str(video)),
    )
    song, track, mixed = media.sound("song.wav", source="sine=1320", seconds=2), *map(media.folder.joinpath, ("t", "m"))
    prepare_soundtrack(song, track, request, duration_s=2, tools=media.tools)
    used = mix_soundtrack(video, track, mixed, request, tools=media.tools)
    return output, mux_soundtrack(video, used, output, tools=media.tools)


@pytest.mark.parametrize(("clip_volume", "clip_sound_db"), [("1", -12), ("0.1", -12), ("0.5", 6)])
def test_the_sound_of_clips_is_as_loud_beside_the_soundtrack_as_requested_however_loud_it_was(
    media: MediaMaker, clip_volume: str, clip_sound_db: float
) -> None:
    reel, info = lay(media, clip_volume, clip_sound_db=clip_sound_db)

    # Loudness weighs 1320 Hz by 1.5 dB more than 440 Hz.
    assert level_db(reel, 440) - level_db(reel, 1320) == pytest.approx(clip_sound_db + 1.5, abs=1)
    assert media.loudness(reel, 2).integrated_lufs == pytest.approx(-16, abs=1)
    assert media.loudness(reel, 2).true_peak_dbtp <= -1.5
    assert info.audio_duration_s == pytest.approx(2, abs=2 * AAC_FRAME_S)


def test_clips_with_nothing_to_hear_leave_the_soundtrack_alone(media: MediaMaker) -> None:
    reel, _ = lay(media, "0")

    assert not (media.folder / "m").exists()
    assert media.loudness(reel, 2).integrated_lufs == pytest.approx(-16, abs=1)
