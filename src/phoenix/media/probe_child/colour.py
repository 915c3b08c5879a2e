"""Reads from decoded frames how the pictures of a video are stored. Decides nothing about the colours.

Frames, and not headers, because the decoder joins what the stream and its container state. Only a header of H.264
says that no frame at all is interlaced, which matters if the video is copied.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from typing import Any

from phoenix.media.probe_child.h264 import may_be_interlaced

_FULL_RANGE = 2
# The decoders of ffmpeg for these ignore the transparency, which is in a second stream inside the packets.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


def sample_colour(frame: Any, sampled: dict[str, Any] | None) -> dict[str, Any]:
    """Returns the fields of `StoredColour` that a frame shows. `sampled` is the result for the frames before it."""
    pixels = frame.format
    is_rgb = pixels.is_rgb or pixels.has_palette
    return {
        "matrix": int(frame.colorspace),
        "transfer": int(frame.color_trc),
        "primaries": int(frame.color_primaries),
        "height_px": frame.height,
        "is_full_range": is_rgb or int(frame.color_range) == _FULL_RANGE or pixels.name.startswith("yuvj"),
        "is_rgb": is_rgb,
        "has_alpha": pixels.has_palette or any(component.is_alpha for component in pixels.components),
        # An encoder marks each frame by itself, so these frames prove nothing about the others.
        "is_interlaced": frame.interlaced_frame or (sampled is not None and sampled["is_interlaced"]),
    }


def describe_colour(stream: Any, sampled: dict[str, Any]) -> dict[str, Any]:
    """Returns all fields of `StoredColour`."""
    name = stream.codec_context.codec.canonical_name
    if name in _ALPHA_DECODERS and stream.metadata.get("alpha_mode") == "1":
        return sampled | {"has_alpha": True, "decoder": _ALPHA_DECODERS[name]}
    if name == "h264" and may_be_interlaced(stream.codec_context.extradata or b""):
        return sampled | {"is_interlaced": True}
    return sampled
