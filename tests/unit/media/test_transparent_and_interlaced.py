"""Videos that are not plain pictures: those with transparent parts, and those whose frames are two fields."""

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from fixtures.media_files import MediaMaker
from phoenix.contract import Transition
from phoenix.media.encode import write_poster
from phoenix.media.ffmpeg import MediaTools
from phoenix.media.probe import ProbeLimits, probe_files
from phoenix.media.probe_child.h264 import may_be_interlaced
from phoenix.media.reel.join import join_clips

SIZE = "128x72"
# The left half is opaque and red. The right half is transparent, and its hidden colour is green.
CUT_OUT = f"color=red:s={SIZE}:r=16:d=0.25,format=rgba,geq=r='220*lt(X,64)':g='255*gte(X,64)':b='0':a='255*lt(X,64)'"
PALETTE = f"{CUT_OUT},split[a][b];[a]palettegen=max_colors=8[p];[b][p]paletteuse"
MOVING_BOX = (
    f"color=black:s={SIZE}:r=32[ground];color=white:s=32x72:r=32[box];[ground][box]overlay=x=n*8,interlace=lowpass=off"
)
TRANSPARENT = {
    "vp8.webm": ("-c:v", "libvpx", "-pix_fmt", "yuva420p", "-auto-alt-ref", "0"),
    "vp9.webm": ("-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p", "-deadline", "realtime"),
    "prores.mov": ("-c:v", "prores_ks", "-profile:v", "4444", "-pix_fmt", "yuva444p10le"),
    "animation.mov": ("-c:v", "qtrle", "-pix_fmt", "argb"),
    "png.mov": ("-c:v", "png", "-pix_fmt", "rgba"),
    "deep-png.mov": ("-c:v", "png", "-pix_fmt", "rgba64be"),
    "palette.mov": ("-c:v", "png", "-pix_fmt", "pal8"),
}


def pictures(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24", src_colorspace="ITU709") for frame in container.decode(video=0)]


@pytest.fixture(scope="module")
def transparent(session_media: MediaMaker) -> dict[str, Path]:
    paths = {name: session_media.folder / name for name in TRANSPARENT}
    for name, encoder in TRANSPARENT.items():
        graph = PALETTE if name == "palette.mov" else CUT_OUT
        session_media.ffmpeg("-filter_complex", graph, "-frames:v", "4", *encoder, str(paths[name]))
    return paths


@pytest.fixture(scope="module")
def flattened(session_media: MediaMaker, transparent: dict[str, Path]) -> dict[str, np.ndarray]:
    """A frame of each clip, from a reel of all of them."""
    output = session_media.folder / "flattened.mp4"
    join_clips(list(transparent.values()), output, tools=session_media.tools)
    return dict(zip(transparent, pictures(output)[2::4], strict=True))


@pytest.mark.parametrize("name", TRANSPARENT)
def test_the_hidden_colour_of_transparent_pixels_does_not_show(flattened: dict[str, np.ndarray], name: str) -> None:
    left, right = flattened[name][36, 32], flattened[name][36, 96]

    assert left.tolist() == pytest.approx([220, 0, 0], abs=8)
    assert right.tolist() == pytest.approx([0, 0, 0], abs=8)


def test_half_transparent_white_is_grey(media: MediaMaker) -> None:
    clip, output = media.folder / "half.mov", media.folder / "reel.mp4"
    graph = f"color=white:s={SIZE}:r=16,format=rgba,colorchannelmixer=aa=0.5"
    media.ffmpeg("-filter_complex", graph, "-frames:v", "4", "-c:v", "png", str(clip))

    join_clips([clip], output, tools=media.tools)

    assert pictures(output)[1][36, 64].tolist() == pytest.approx([128, 128, 128], abs=8)


def test_a_poster_shows_no_hidden_colour(transparent: dict[str, Path], tmp_path: Path, media_tools: MediaTools) -> None:
    output = tmp_path / "poster.jpg"

    write_poster(transparent["vp9.webm"], output, duration_s=0.25, tools=media_tools)

    with Image.open(output) as poster:
        assert np.asarray(poster.convert("RGB"))[36, 96].max() < 9


@pytest.fixture(scope="module")
def interlaced(session_media: MediaMaker) -> Path:
    """A white box moves 8 pixels from field to field, so that the edges of a combed picture have teeth."""
    path = session_media.folder / "interlaced.mp4"
    encoder = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-flags", "+ildct+ilme", "-x264-params", "tff=1")
    session_media.ffmpeg("-filter_complex", MOVING_BOX, "-frames:v", "6", *encoder, str(path))
    return path


@pytest.fixture(scope="module")
def late_interlaced(session_media: MediaMaker) -> Path:
    """A second of progressive black, then the moving box in fields: nothing in the first frames shows the fields."""
    path = session_media.folder / "late.avi"
    early = f"color=black:s={SIZE}:r=16:d=1,setfield=prog,setpts=N/16/TB[early]"
    graph = f"{MOVING_BOX},trim=end_frame=6,setpts=N/16/TB[late];{early};[early][late]concat=n=2"
    # Its version 3 marks each frame by itself.
    session_media.ffmpeg("-filter_complex", graph, "-c:v", "ffv1", "-level", "3", "-pix_fmt", "yuv420p", str(path))
    return path


def teeth(picture: np.ndarray) -> float:
    """The share of pixels that differ from the line below."""
    grey = picture.mean(axis=2)
    return float((np.abs(np.diff(grey, axis=0)) > 64).mean())


def test_the_interlaced_clips_of_these_tests_are_combed(interlaced: Path, late_interlaced: Path) -> None:
    for path in (interlaced, late_interlaced):
        assert max(teeth(picture) for picture in pictures(path)) > 0.05


@pytest.mark.parametrize("transition", [Transition(kind="cut"), Transition(kind="crossfade", duration_s=1 / 16)])
def test_an_interlaced_clip_is_deinterlaced(
    interlaced: Path, tmp_path: Path, media_tools: MediaTools, transition: Transition
) -> None:
    output = tmp_path / "reel.mp4"

    info = join_clips([interlaced] * 2, output, tools=media_tools, transition=transition)

    assert info.num_frames == (12 if transition.kind == "cut" else 11)
    assert max(teeth(picture) for picture in pictures(output)) < 0.02
    colour = probe_files([output], ProbeLimits())[0].colour
    assert colour is not None
    assert not colour.is_interlaced


def test_fields_that_begin_late_are_deinterlaced(
    late_interlaced: Path, tmp_path: Path, media_tools: MediaTools
) -> None:
    output = tmp_path / "reel.mp4"

    info = join_clips([late_interlaced], output, tools=media_tools)

    assert info.num_frames == 22
    assert max(teeth(picture) for picture in pictures(output)) < 0.02


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [("fake-interlaced=1", True), ("tff=1", True), ("cqm=jvt", False), ("interlaced=0", False)],
)
@pytest.mark.parametrize("pixels", ["yuv420p", "yuv444p"])
def test_h264_is_only_copied_if_none_of_its_frames_can_be_interlaced(
    media: MediaMaker, parameters: str, expected: bool, pixels: str
) -> None:
    clip = media.folder / "a.mp4"
    encoder = ("-c:v", "libx264", "-pix_fmt", pixels, "-x264-params", parameters)
    media.ffmpeg("-f", "lavfi", "-i", f"color=s={SIZE}:r=16", "-frames:v", "3", *encoder, str(clip))

    colour = probe_files([clip], ProbeLimits())[0].colour

    assert colour is not None
    assert colour.is_interlaced == expected


@pytest.mark.parametrize(
    "extradata", [b"", b"\0\0\0\1\x67", b"\1\x64\0\x1f\xff\xe1\0\x02\x67\x64", b"\1\x64\0\x1f\xff\xe0"]
)
def test_h264_without_readable_parameters_may_be_interlaced(extradata: bytes) -> None:
    assert may_be_interlaced(extradata)
