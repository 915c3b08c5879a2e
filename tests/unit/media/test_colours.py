"""The colours of videos, from the ways in which people's devices store them to what a player shows of the result."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from fixtures.colour_bars import BARS, BARS_WIDTH_PX, BT709_TAGS, TOLERANCE, BarsMaker, Rgb, Shown, deviation, show
from phoenix.contract import Transition
from phoenix.media.commands.video import Picture
from phoenix.media.encode import encode_frames, write_poster
from phoenix.media.errors import UnreadableMedia
from phoenix.media.ffmpeg import MediaTools
from phoenix.media.probe import ProbeLimits, probe_media
from phoenix.media.reel.join import CUT, join_clips
from phoenix.media.stored_colour import StoredColour

HD = ("bt709", "bt709", "bt709")
BT601 = ("smpte170m", "smpte170m", "smpte170m")
FRAMES = 4

SOURCES: dict[str, Callable[[BarsMaker], Path]] = {
    "tagged HD": lambda bars: bars.yuv("hd-tagged.mp4", "bt709", *HD),
    "untagged HD": lambda bars: bars.yuv("hd.mp4", "bt709"),
    "tagged SD": lambda bars: bars.yuv("sd-tagged.mp4", "bt601", *BT601, height_px=240),
    "untagged SD": lambda bars: bars.yuv("sd.mp4", "bt601", height_px=240),
    "HD in BT.601": lambda bars: bars.yuv("hd601.mp4", "bt601", *BT601),
    "SD in BT.709": lambda bars: bars.yuv("sd709.mp4", "bt709", *HD, height_px=240),
    "full range": lambda bars: bars.yuv("full.mp4", "bt709", *HD, range_="pc"),
    "full range in BT.601": lambda bars: bars.yuv("full601.mp4", "bt601", *BT601, range_="pc"),
    "untagged full range": lambda bars: bars.yuv("full-sd.mp4", "bt601", range_="pc", height_px=240),
    "10 bit": lambda bars: bars.yuv("ten.mp4", "bt709", *HD, pixels="yuv420p10le"),
    "10 bit untagged SD": lambda bars: bars.yuv("ten-sd.mp4", "bt601", pixels="yuv422p10le", height_px=240),
    "12 bit RGB": lambda bars: bars.make("twelve.mkv", "format=gbrp12le", "-c:v", "ffv1"),
    "16 bit RGB": lambda bars: bars.make("sixteen.mov", "format=rgb48be", "-c:v", "png"),
    "BT.2020 in SDR": lambda bars: bars.wide("wide.mp4"),
    "YCgCo": lambda bars: bars.rare("ycgco.mp4", "ycgco"),
    "YCgCo in full range": lambda bars: bars.rare("ycgco-full.mp4", "ycgco", range_="pc"),
    "BT.2020 with constant luminance": lambda bars: bars.rare("constant.mp4", "bt2020c", "bt2020"),
    "derived from the primaries": lambda bars: bars.rare("derived.mp4", "chroma-derived-nc", "bt2020"),
    "derived with constant luminance": lambda bars: bars.rare("derived-c.mp4", "chroma-derived-c", "smpte432"),
    "ICtCp": lambda bars: bars.hdr("ictcp.mov", "smpte2084", "ictcp"),
    "HLG": lambda bars: bars.hdr("hlg.mov", "arib-std-b67"),
    "PQ": lambda bars: bars.hdr("pq.mov", "smpte2084"),
}


@pytest.fixture(scope="module")
def sources(bars: BarsMaker) -> dict[str, Path]:
    return {name: make(bars) for name, make in SOURCES.items()}


def show_clips(bars: BarsMaker, clips: Sequence[Path], transition: Transition, overlap: int) -> list[Shown]:
    """The frames in the middle of the clips of a reel."""
    output = bars.media.folder / f"{transition.kind}.mp4"
    join_clips(clips, output, tools=bars.media.tools, transition=transition)
    return [show(output, index * (FRAMES - overlap) + 2) for index in range(len(clips))]


@pytest.fixture(scope="module")
def cut(bars: BarsMaker, sources: dict[str, Path]) -> dict[str, Shown]:
    return dict(zip(SOURCES, show_clips(bars, list(sources.values()), CUT, 0), strict=True))


@pytest.mark.parametrize("name", SOURCES)
def test_a_clip_that_is_cut_to_has_its_colours_in_tagged_bt709(cut: dict[str, Shown], name: str) -> None:
    assert deviation(cut[name].colours) <= TOLERANCE, cut[name].colours
    assert (cut[name].tags, cut[name].is_full_range) == (BT709_TAGS, False)


@pytest.fixture(scope="module")
def crossfaded(bars: BarsMaker, sources: dict[str, Path]) -> dict[str, Shown]:
    crossfade = Transition(kind="crossfade", duration_s=1 / 16)
    return dict(zip(SOURCES, show_clips(bars, list(sources.values()), crossfade, 1), strict=True))


@pytest.mark.parametrize("name", SOURCES)
def test_a_crossfaded_clip_has_its_colours_in_tagged_bt709(crossfaded: dict[str, Shown], name: str) -> None:
    assert deviation(crossfaded[name].colours) <= TOLERANCE, crossfaded[name].colours
    assert (crossfaded[name].tags, crossfaded[name].is_full_range) == (BT709_TAGS, False)


@pytest.mark.parametrize("name", ["full range", "tagged SD", "untagged SD", "YCgCo", "HLG"])
def test_clips_that_are_alike_but_not_in_bt709_are_encoded(
    bars: BarsMaker, sources: dict[str, Path], name: str
) -> None:
    output = bars.media.folder / "alike.mp4"

    join_clips([sources[name]] * 2, output, tools=bars.media.tools)

    shown = show(output, 5)
    assert deviation(shown.colours) <= TOLERANCE, shown.colours
    assert (shown.tags, shown.is_full_range) == (BT709_TAGS, False)


def packet_ends(path: Path) -> list[bytes]:
    """The last bytes of each packet: they are pixels, and differ after a second encoding."""
    with av.open(str(path)) as container:
        return [bytes(packet)[-24:] for packet in container.demux(video=0) if packet.size]


@pytest.mark.parametrize("name", ["tagged HD", "untagged HD", "untagged SD in BT.709"])
def test_clips_in_bt709_are_copied_and_tagged(bars: BarsMaker, sources: dict[str, Path], name: str) -> None:
    output = bars.media.folder / "copied.mp4"
    stated_matrix = ("bt709", "unknown", "unknown")
    clip = sources.get(name) or bars.yuv("matrix.mp4", "bt709", *stated_matrix, height_px=240)

    join_clips([clip] * 2, output, tools=bars.media.tools)

    copied = [show(output, index) for index in (1, FRAMES + 1)]
    assert {(shown.tags, shown.is_full_range) for shown in copied} == {(BT709_TAGS, False)}
    assert packet_ends(output) == packet_ends(clip) * 2


@pytest.mark.parametrize("name", ["tagged HD", "untagged HD", "untagged SD", "full range", "YCgCo", "PQ"])
def test_a_poster_has_the_colours_of_its_video(bars: BarsMaker, sources: dict[str, Path], name: str) -> None:
    output = bars.media.folder / "poster.jpg"

    write_poster(sources[name], output, duration_s=FRAMES / 16, tools=bars.media.tools)

    with Image.open(output) as poster:
        row = np.asarray(poster.convert("RGB"))[poster.height // 2, 16::32]
    colours: tuple[Rgb, ...] = tuple((int(r), int(g), int(b)) for r, g, b in row)
    assert deviation(colours) <= TOLERANCE, colours


def test_rendered_frames_become_tagged_bt709(tmp_path: Path, media_tools: MediaTools) -> None:
    row = np.repeat(np.array(BARS, "uint8"), BARS_WIDTH_PX // len(BARS), axis=0)
    frame = np.repeat(row[np.newaxis], 64, axis=0).tobytes()
    output = tmp_path / "clip.mp4"

    encode_frames([frame] * 3, Picture(BARS_WIDTH_PX, 64, Fraction(16)), output, tools=media_tools)

    shown = show(output, 1)
    assert deviation(shown.colours) <= TOLERANCE, shown.colours
    assert (shown.tags, shown.is_full_range) == (BT709_TAGS, False)


@pytest.mark.parametrize(
    ("matrix", "transfer", "primaries", "named"),
    [
        (11, 16, 9, "YDzDx"),
        (15, 2, 2, "IPT-C2"),
        (17, 1, 1, "YCgCo-Ro"),
        (10, 18, 9, "bt2020c"),
        (13, 16, 9, "chroma-derived-c"),
        (12, 1, 6, "chroma-derived-nc"),
        (14, 1, 1, "ictcp"),
        (7, 1, 9, "smpte240m"),
    ],
)
def test_colours_without_a_right_conversion_are_named(matrix: int, transfer: int, primaries: int, named: str) -> None:
    assert StoredColour(matrix, transfer, primaries).unconvertible == named


@pytest.mark.parametrize("matrix", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 99])
def test_colours_of_sdr_with_usual_primaries_have_a_conversion(matrix: int) -> None:
    assert StoredColour(matrix).unconvertible is None


def test_a_video_whose_colours_cannot_be_converted_is_refused_by_the_name_of_its_matrix(bars: BarsMaker) -> None:
    tag = "-x264-params", "colormatrix=ictcp:transfer=bt709:colorprim=bt709"
    clip = bars.make("unconvertible.mp4", "format=yuv420p", "-c:v", "libx264", *tag, height_px=64)

    with pytest.raises(UnreadableMedia, match="stored as ictcp"):
        probe_media(clip, ProbeLimits())
