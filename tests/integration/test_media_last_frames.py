"""The end of a video: its last frame as a picture, and its last frames, in the colours that a player shows."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fixtures.colour_bars import BARS, TOLERANCE, BarsMaker, deviation
from fixtures.media_files import MediaMaker
from phoenix.errors import FailureCode, TaskFailed
from phoenix.media.commands.video import Picture
from phoenix.media.decode import decode_video, write_last_frame
from phoenix.media.encode import encode_frames
from phoenix.media.ffmpeg import MediaTools
from phoenix.media.probe import ProbeLimits

SIZE_PX, FRAMES = 32, 24
PICTURE = Picture(SIZE_PX, SIZE_PX, Fraction(16))


def grey(number: int) -> int:
    """The grey of a frame of `clip`; each is 6 lighter than the frame before."""
    return 40 + 6 * number


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, media_tools: MediaTools) -> Path:
    path = tmp_path_factory.mktemp("last_frames") / "clip.mp4"
    frames = (bytes([grey(number)]) * PICTURE.frame_bytes for number in range(FRAMES))
    encode_frames(frames, PICTURE, path, tools=media_tools)
    return path


def test_the_last_frame_is_exactly_the_last(clip: Path, tmp_path: Path, media_tools: MediaTools) -> None:
    write_last_frame(clip, tmp_path / "last.png", tools=media_tools, limits=ProbeLimits())

    with Image.open(tmp_path / "last.png") as picture:
        assert picture.mode == "RGB"
        assert np.asarray(picture).mean() == pytest.approx(grey(FRAMES - 1), abs=2)


def test_the_last_frame_has_the_colours_that_a_player_shows(
    bars: BarsMaker, tmp_path: Path, media_tools: MediaTools
) -> None:
    video = bars.yuv("bars.mp4", "smpte170m", "smpte170m", "bt709", "bt709", height_px=480)

    write_last_frame(video, tmp_path / "last.png", tools=media_tools, limits=ProbeLimits())

    with Image.open(tmp_path / "last.png") as picture:
        row = np.asarray(picture)[picture.height // 2]
    step = len(row) // len(BARS)
    colours = tuple((int(r), int(g), int(b)) for r, g, b in row[step // 2 :: step][: len(BARS)])
    assert deviation(colours) <= TOLERANCE


@pytest.mark.parametrize(("max_frames", "first"), [(9, FRAMES - 9), (FRAMES + 5, 0)])
def test_the_last_frames_end_with_the_video(
    clip: Path, tmp_path: Path, media_tools: MediaTools, max_frames: int, first: int
) -> None:
    output = tmp_path / "end.rgb"

    count = decode_video(
        clip,
        PICTURE,
        output,
        max_frames=max_frames,
        min_frames=1,
        from_end=True,
        tools=media_tools,
        limits=ProbeLimits(),
    )

    frames = np.fromfile(output, np.uint8).reshape(count, -1)
    assert count == FRAMES - first
    assert frames.mean(axis=1) == pytest.approx([grey(number) for number in range(first, FRAMES)], abs=2)


def test_a_sound_has_no_last_frame(media: MediaMaker, tmp_path: Path, media_tools: MediaTools) -> None:
    sound = media.sound("a.mp3", seconds=1)

    with pytest.raises(TaskFailed, match="has no moving picture") as caught:
        write_last_frame(sound, tmp_path / "last.png", tools=media_tools, limits=ProbeLimits())

    assert caught.value.code is FailureCode.MEDIA_INVALID
