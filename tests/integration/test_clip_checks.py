"""What the checks find in videos that ffmpeg has encoded and decoded, and in sounds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fixtures.child_processes import run
from phoenix.media.checks.clip_checks import PictureChecks, check_sound
from phoenix.media.encode import Samples
from phoenix.media.ffmpeg import MediaTools

WIDTH, HEIGHT, FPS = 320, 240, 16
SIZE = f"s={WIDTH}x{HEIGHT}:r={FPS}"
STILL = f"testsrc2={SIZE}:d=1,trim=end_frame=1,loop=15:1,setpts=N/{FPS}/TB"
RATE_HZ = 48_000


def decoded(source: str, folder: Path, ffmpeg: str) -> list[bytes]:
    """The frames of a video that was encoded from a filter graph."""
    video = folder / "video.mp4"
    for argv in (
        ["-f", "lavfi", "-i", source, "-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", str(video)],
        ["-i", str(video), "-f", "rawvideo", "-pix_fmt", "rgb24", str(folder / "frames")],
    ):
        run([ffmpeg, "-v", "error", "-y", *argv], check=True)
    data, size_bytes = (folder / "frames").read_bytes(), WIDTH * HEIGHT * 3
    return [data[start : start + size_bytes] for start in range(0, len(data), size_bytes)]


@pytest.fixture
def codes(tmp_path: Path, media_tools: MediaTools) -> Callable[[str], list[str]]:
    def find(source: str) -> list[str]:
        checks = PictureChecks(WIDTH, HEIGHT, FPS)
        frames = decoded(source, tmp_path, media_tools.ffmpeg)
        assert list(checks.watch(frames)) == frames
        return [check.code for check in checks.find()]

    return find


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (f"color=black:{SIZE}:d=1", ["BLACK"]),
        (f"color=black:{SIZE}:d=1,noise=alls=2:allf=t", ["BLACK"]),
        (f"color=black:{SIZE}:d=1,trim=end_frame=1", ["BLACK"]),
        (f"color=0x303030:{SIZE}:d=1", ["FROZEN"]),
        (STILL, ["FROZEN"]),
        (f"testsrc2={SIZE}:d=1,tpad=stop_mode=clone:stop_duration=3", ["FROZEN"]),
        (f"testsrc2={SIZE}:d=1", []),
        (f"testsrc2={SIZE}:d=1,trim=end_frame=1", []),
        # Dark, and something moves: every value is below the level at which a pixel looks black.
        (f"testsrc2={SIZE}:d=1,lutrgb=r=val/14:g=val/14:b=val/14", []),
        # Little changes from frame to frame.
        (f"{STILL},scroll=horizontal=0.004", []),
        # A cut to a still picture that is shorter than what is reported.
        (f"testsrc2={SIZE}:d=1,tpad=stop_mode=clone:stop_duration=1", []),
    ],
    ids=[
        "black",
        "black with noise",
        "one black frame",
        "a grey wall",
        "a still picture",
        "a freeze",
        "motion",
        "one frame",
        "dark motion",
        "slow motion",
        "a short freeze",
    ],
)
def test_what_is_wrong_with_a_picture_is_found(
    codes: Callable[[str], list[str]], source: str, expected: list[str]
) -> None:
    assert codes(source) == expected


def test_a_freeze_says_where_it_begins() -> None:
    moving = [np.full((HEIGHT, WIDTH, 3), 40 + 10 * number, np.uint8).tobytes() for number in range(8)]
    checks = PictureChecks(WIDTH, HEIGHT, FPS)

    for _ in checks.watch([*moving, *[moving[-1]] * 40]):
        pass

    assert [check.message for check in checks.find()] == ["Nothing moves for 2.6 s from 0.4 s on."]


def test_a_frame_of_another_size_is_left_to_the_encoder() -> None:
    checks = PictureChecks(WIDTH, HEIGHT, FPS)

    assert list(checks.watch([b"short"])) == [b"short"]


def wave(frequency_hz: float, amplitude: float) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * frequency_hz * np.arange(RATE_HZ) / RATE_HZ)


@pytest.mark.parametrize(
    ("sound", "expected"),
    [
        (np.zeros(RATE_HZ), ["SILENT"]),
        (np.zeros(0), ["SILENT"]),
        (wave(440, 0.0005), ["SILENT"]),
        (wave(440, 0.01), []),
        # At full scale, and whole.
        (wave(100, 1.0), []),
        (wave(440, 1.0), []),
        (wave(440, 1.5).clip(-1, 1), ["CLIPPED_SOUND"]),
        (wave(440, 1.5).clip(-1, 1).astype(np.float32) * (32767 / 32768), ["CLIPPED_SOUND"]),
        (np.where(np.arange(RATE_HZ) % 4800 == 0, 1.0, wave(440, 0.3)), []),
    ],
    ids=["silence", "nothing", "very soft", "soft", "full, low", "full", "cut off", "cut off in 16 bits", "clicks"],
)
def test_what_is_wrong_with_a_sound_is_found(sound: np.ndarray, expected: list[str]) -> None:
    stereo = np.stack([sound, sound], axis=1).astype("<f4")

    assert [check.code for check in check_sound(Samples(stereo.tobytes(), 2, RATE_HZ))] == expected
