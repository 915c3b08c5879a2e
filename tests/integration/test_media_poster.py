"""Posters: pictures of a video, with a maximum width."""

from pathlib import Path

import pytest

from fixtures.media_files import MediaMaker
from phoenix.media.encode import write_poster
from phoenix.media.ffmpeg import MediaTools
from phoenix.media.probe import ProbeLimits, probe_media


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
