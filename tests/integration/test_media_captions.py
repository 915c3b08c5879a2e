"""Captions in a video: ink at the time of their clips and at no other, and a track that players read."""

from pathlib import Path

import av
import numpy as np
import pytest

from fixtures.media_files import MediaMaker, decode
from phoenix.errors import FailureCode, TaskFailed
from phoenix.media.captions.cues import Cue
from phoenix.media.captions.drawing import add_caption_track, burn_captions
from phoenix.media.captions.font import CAPTION_FILTER
from phoenix.media.captions.subtitle_files import write_srt
from phoenix.media.ffmpeg import MediaTools, has_filter

LONG = "The harbour wakes up and the boats leave, one after another, for the islands beyond the cape. " * 2


def ink(path: Path) -> list[int]:
    """The bright pixels of each frame of a video whose picture is dark."""
    with av.open(str(path)) as container:
        return [int((frame.to_ndarray(format="gray") > 160).sum()) for frame in container.decode(video=0)]


def edges(path: Path, frame: int) -> tuple[float, float, float]:
    """How far the ink of a frame is from the left and right edge, and where it begins, in shares of the picture."""
    with av.open(str(path)) as container:
        picture = [each.to_ndarray(format="gray") > 160 for each in container.decode(video=0)][frame]
    rows, columns = np.nonzero(picture)
    height, width = picture.shape
    return columns.min() / width, 1 - columns.max() / width, rows.min() / height


def dark(media: MediaMaker, size: str = "256x144") -> Path:
    return media.video("dark.mp4", frames=32, size=size, source="color=0x102010")


def burned(media: MediaMaker, tools: MediaTools, *cues: Cue, size: str = "256x144") -> Path:
    output = media.folder / "burned.mp4"
    burn_captions(dark(media, size), cues, output, tools=tools)
    return output


def test_a_caption_is_drawn_in_its_time_and_at_no_other(media: MediaMaker, media_tools: MediaTools) -> None:
    found = ink(burned(media, media_tools, Cue(0.5, 1.0, "a red balloon")))

    assert [count > 20 for count in found] == [0.5 <= frame / 16 < 1.0 for frame in range(32)]


def test_the_picture_around_a_caption_stays_as_it_was(media: MediaMaker, media_tools: MediaTools) -> None:
    output = burned(media, media_tools, Cue(0, 1, "below"))

    before, after = decode(media.folder / "dark.mp4"), decode(output)
    assert (after.num_frames, after.width, after.steps) == (before.num_frames, before.width, before.steps)
    assert np.abs(np.array(after.colours) - np.array(before.colours)).max() <= 3


@pytest.mark.parametrize("size", ["854x480", "480x854", "128x72"])
def test_a_long_caption_stays_in_the_lower_part_of_the_picture(
    media: MediaMaker, media_tools: MediaTools, size: str
) -> None:
    left, right, top = edges(burned(media, media_tools, Cue(0, 2, LONG), size=size), 4)

    assert min(left, right) > 0.02
    assert top > 0.6


@pytest.mark.parametrize("text", [r"{\an8}{\pos(10,10)}high", r"{\alpha&HFF&}hidden", "{only braces}", r"\N\N\Nlow"])
def test_no_text_of_a_client_moves_or_hides_a_caption(media: MediaMaker, media_tools: MediaTools, text: str) -> None:
    output = burned(media, media_tools, Cue(0, 2, text))

    assert ink(output)[4] > 20
    assert edges(output, 4)[2] > 0.7


@pytest.mark.parametrize("text", ["Ελληνικά", "Кириллица", "Łódź", "עברית"])
def test_other_alphabets_leave_ink(media: MediaMaker, media_tools: MediaTools, text: str) -> None:
    assert ink(burned(media, media_tools, Cue(0, 2, text), size="640x360"))[4] > 100


def test_a_folder_with_an_odd_name_is_no_obstacle(media: MediaMaker, media_tools: MediaTools) -> None:
    folder = media.folder / "it's: a [folder], \\odd=1;"
    folder.mkdir()

    burn_captions(dark(media), [Cue(0, 2, "here")], folder / "burned.mp4", tools=media_tools)

    assert ink(folder / "burned.mp4")[4] > 20


def test_an_ffmpeg_without_libass_is_named(media: MediaMaker, media_tools: MediaTools, tmp_path: Path) -> None:
    plain = tmp_path / "plain-ffmpeg"
    plain.write_text("#!/bin/sh\necho ' ... scale  V->V  Scale the input video.'\n")
    plain.chmod(0o755)

    with pytest.raises(TaskFailed, match="without libass") as failed:
        burn_captions(
            dark(media),
            [Cue(0, 1, "x")],
            tmp_path / "o.mp4",
            tools=MediaTools(ffmpeg=str(plain), encoding=media_tools.encoding),
        )

    assert (failed.value.code, failed.value.retriable) == (FailureCode.MODEL_UNAVAILABLE, False)


def test_the_bundled_ffmpeg_draws_captions(media_tools: MediaTools) -> None:
    assert has_filter(media_tools.ffmpeg, CAPTION_FILTER)


def test_a_track_has_the_captions_beside_picture_and_sound(media: MediaMaker, media_tools: MediaTools) -> None:
    source, subtitles = media.video_with_sound("reel.mp4"), media.folder / "track.srt"
    subtitles.write_text(write_srt([Cue(0.5, 1.0, r"<b>{\an8}C:\new")]))

    info = add_caption_track(source, subtitles, media.folder / "tracked.mp4", tools=media_tools)

    assert (info.num_frames, info.video_codec, info.audio_codec) == (32, "h264", "aac")
    media.ffmpeg("-i", str(media.folder / "tracked.mp4"), "-map", "0:s", str(media.folder / "read.srt"))
    read = (media.folder / "read.srt").read_text().replace("\u2060", "")
    assert "00:00:00,500 --> 00:00:01,000" in read
    assert r"<b>{\an8}C:\new" in read
