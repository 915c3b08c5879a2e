"""Converts pictures of any colour to BT.709 in limited range, and tags them.

Nothing else names a matrix, a transfer, primaries or a range to ffmpeg. The colours are pinned on the frames, because
output options such as `-colorspace` set the tags in some versions of ffmpeg, and lose two of them in others.
"""

from dataclasses import replace
from typing import Any

from phoenix.media.commands.graph import Stream
from phoenix.media.stored_colour import BT709, StoredColour

# BT.2408: the luminance of white paper in HDR, which is the white of SDR.
_WHITE_NITS = 203
# What phones are mastered for, and the nominal peak of HLG.
_PEAK_NITS = 1000
# Up to this part of the white of SDR, tone mapping keeps the colours. Highlights share the rest.
_UNCHANGED_FRACTION = 0.7

BT709_TAGS_OF_H264 = (
    "h264_metadata=colour_primaries=1:transfer_characteristics=1:matrix_coefficients=1:video_full_range_flag=0"
)
"""The bitstream filter that tags copied H.264 as BT.709 in limited range. It does not decode the pictures."""


def input_options(colour: StoredColour) -> dict[str, Any]:
    """Returns the options of the input, for `open_file`."""
    return {"c:v": colour.decoder} if colour.decoder else {}


def read(frames: Stream, colour: StoredColour) -> Stream:
    """Returns frames as a player reads them: with colours pinned, progressive, and opaque on a black ground.

    Comes before a change of the size or the frame rate: fields of different times must not be mixed, and the hidden
    colour of transparent pixels must not leak into their neighbours.
    """
    # An encoder marks each frame by itself, and the first interlaced frame may come late. Other frames pass unchanged.
    may_be_interlaced = colour.is_interlaced or not colour.is_rgb
    frames = _pin(frames, colour, field_mode="auto" if may_be_interlaced else "prog")
    if may_be_interlaced:
        frames = frames.filter("bwdif", mode="send_frame", parity="auto", deint="interlaced")
    if colour.has_alpha:
        # `premultiply` would take 16 for black, were the frames still tagged as limited.
        frames = _pin(frames.filter("format", "gbrap16"), replace(colour, is_rgb=True))
        frames = frames.filter("premultiply", inplace=1).filter("format", "gbrp16")
    return frames


def scale_to_bt709(frames: Stream, colour: StoredColour, width: int | str, height: int | str, **options: Any) -> Stream:
    """Returns the frames of `read` in another size, in BT.709 and limited range. `options` go to `scale`."""
    stored = replace(colour, is_rgb=colour.is_rgb or colour.has_alpha)
    frames = _pin(frames, stored)
    if stored.needs_zscale:
        # At the new size, because these filters compute in 32-bit floats, and mostly it is smaller.
        frames = _convert_light(frames.filter("scale", width, height, **options), stored)
    else:
        frames = frames.filter("scale", width, height, **options, out_color_matrix="bt709", out_range="tv")
    return pin_bt709(frames)


def pin_bt709(frames: Stream) -> Stream:
    """Returns frames that are tagged as BT.709, in limited range and progressive. They have to be so already."""
    return _pin(frames.filter("format", "yuv420p"), BT709)


def for_jpeg(frames: Stream) -> Stream:
    """Returns BT.709 frames as a JPEG stores them: in BT.601 and full range.

    By way of RGB, because in some versions of ffmpeg, `scale` changes the range alone, or the matrix alone.
    """
    return frames.filter("format", "rgb24").filter("scale", out_color_matrix="bt601", out_range="full")


def _convert_light(frames: Stream, colour: StoredColour) -> Stream:
    """Converts transfer, primaries and rare matrices, which `scale` cannot convert. Tone-maps HDR to SDR."""
    # zscale refuses odd sizes of pictures with subsampled colours.
    frames = frames.filter("format", "gbrp16" if colour.is_rgb else "yuv444p16")
    frames = _pin(frames, colour, matrix=colour.matrix_name)
    if colour.is_hdr:
        peak = f"{_PEAK_NITS / _WHITE_NITS:.3f}"
        frames = (
            frames.filter("zscale", transfer="linear", npl=_WHITE_NITS)
            .filter("format", "gbrpf32")
            .filter("zscale", primaries="709")
            .filter("tonemap", "mobius", param=_UNCHANGED_FRACTION, peak=peak, desat=0)
        )
    frames = frames.filter("zscale", primaries="709", transfer="709", matrix="709", range="limited")
    return _pin(frames.filter("format", "yuv444p"), BT709)


def _pin(frames: Stream, colour: StoredColour, *, matrix: str | None = None, field_mode: str = "prog") -> Stream:
    """Tags frames with what they are. In ffmpeg 7.0, some filters lose the tags: this comes before each conversion.

    A matrix that `scale` does not know is named only for `zscale`, by `matrix`. Until then BT.709 stands for it:
    `scale` fails at an unknown name, and keeps the matrix if it is not asked for another one.
    """
    return frames.filter(
        "setparams",
        colorspace=matrix or colour.scaled_matrix_name,
        color_primaries=colour.primaries_name,
        color_trc=colour.transfer_name,
        range="pc" if colour.is_full_range or colour.is_rgb else "tv",
        field_mode=field_mode,
    )
