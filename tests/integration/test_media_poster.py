"""Posters: pictures of a video, with a maximum width."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fixtures.media_files import MediaMaker
from phoenix.media.encode import write_poster
from phoenix.media.ffmpeg import MediaTools
from phoenix.media.probe import ProbeLimits, probe_media

DEFAULT_IS_SECOND = ("-disposition:v:0", "0", "-disposition:v:1", "default")


@pytest.mark.parametrize(("size", "expected"), [("128x72", (128, 72)), ("1280x720", (640, 360)), ("90x160", (90, 160))])
def test_a_poster_is_a_jpeg_of_at_most_the_requested_width(
    media: MediaMaker, media_tools: MediaTools, size: str, expected: tuple[int, int]
) -> None:
    video, output = media.video("a.mp4", size=size), media.folder / "poster.jpg"

    write_poster(video, output, duration_s=2, tools=media_tools)

    info = probe_media(output, ProbeLimits())
    assert (info.format, (info.width, info.height)) == ("jpeg", expected)


def test_a_video_of_one_frame_has_a_poster(media: MediaMaker, media_tools: MediaTools) -> None:
    video, output = media.video("a.mp4", frames=1), media.folder / "poster.jpg"

    write_poster(video, output, duration_s=1 / 16, tools=media_tools)

    assert probe_media(output, ProbeLimits()).width == 128


def test_the_same_video_gives_the_same_poster(mp4_file: Path, tmp_path: Path, media_tools: MediaTools) -> None:
    outputs = [tmp_path / "a.jpg", tmp_path / "b.jpg"]

    for output in outputs:
        write_poster(mp4_file, output, duration_s=2, tools=media_tools)

    assert outputs[0].read_bytes() == outputs[1].read_bytes()


def test_a_poster_shows_the_picture_that_a_player_shows(media: MediaMaker, media_tools: MediaTools) -> None:
    video, output = media.folder / "two.mkv", media.folder / "poster.jpg"
    sources = [("-f", "lavfi", "-i", f"color={colour}:s=64x48:r=16:d=1") for colour in ("blue", "red")]
    media.ffmpeg(*sources[0], *sources[1], *("-map", "0", "-map", "1", "-c:v", "ffv1"), str(video))
    media.ffmpeg("-i", str(video), *("-map", "0", "-c", "copy"), *DEFAULT_IS_SECOND, str(media.folder / "default.mkv"))

    write_poster(media.folder / "default.mkv", output, duration_s=1, tools=media_tools)

    with Image.open(output) as poster:
        red, _, blue = np.asarray(poster.convert("RGB"))[24, 32]
    assert red > 200
    assert blue < 50
