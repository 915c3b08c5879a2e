"""Describes the chosen streams of a file: what `MediaInfo` and the join need to know."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from fractions import Fraction
from hashlib import sha256
from typing import Any

from phoenix.media.probe_child.colour import describe_colour
from phoenix.media.probe_child.streams import StreamStats


def describe(video: Any, audio: Any, stats: list[StreamStats]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "media": "audio" if video is None else "video",
        "duration_s": round(float(max(stream_stats.span_s for stream_stats in stats)), 6),
    }
    if audio is not None:
        context = audio.codec_context
        found |= {
            "audio_codec": context.codec.canonical_name,
            "sample_rate_hz": context.sample_rate,
            "channels": context.channels,
        }
    if video is not None:
        found |= describe_video(video, stats[0])
    return found


def describe_video(video: Any, stats: StreamStats) -> dict[str, Any]:
    context = video.codec_context
    rate = video.average_rate or Fraction(stats.packets) / (stats.span_s or 1)
    colour = describe_colour(video, stats.colour or {})
    signature = (context.name, context.width, context.height, context.pix_fmt, rate, video.time_base, colour)
    width, height = shown_size(context, stats.rotation)
    return {
        "width": width,
        "height": height,
        "fps": float(rate),
        "num_frames": stats.packets,
        "video_codec": context.codec.canonical_name,
        "pixel_format": context.pix_fmt,
        "video_duration_s": round(float(stats.span_s), 6),
        "colour": colour,
        # A rotated or stretched picture has no fingerprint: the coded size does not show it, so it is not joined by
        # copying.
        "fingerprint": sha256(repr(signature).encode() + (context.extradata or b"")).hexdigest()
        if (width, height, stats.rotation) == (context.width, context.height, 0)
        else None,
    }


def shown_size(context: Any, rotation: int) -> tuple[int, int]:
    """Returns width and height as shown by a player: in square pixels, and upright (phones store rotated pictures)."""
    aspect = context.sample_aspect_ratio or Fraction(1)
    width, height = round(context.width * aspect), context.height
    return (height, width) if rotation % 180 else (width, height)
