"""Describes the chosen streams of a file: what `MediaInfo` and the join need to know."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from fractions import Fraction
from hashlib import sha256
from typing import Any

from phoenix.media.probe_child.colour import describe_colour
from phoenix.media.probe_child.frame_rate import find_rate
from phoenix.media.probe_child.streams import StreamStats

# A picture that begins later than its file, by more than this, is not copied.
_LATE_S = 0.002
_HALF = Fraction(1, 2)


def describe(container: Any, video: Any, audio: Any, stats: list[StreamStats], layout: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {"media": "audio" if video is None else "video", "timeline": {}}
    if audio is not None:
        context = audio.codec_context
        found |= {
            "audio_codec": context.codec.canonical_name,
            "sample_rate_hz": context.sample_rate,
            "channels": context.channels,
        }
        found["timeline"]["sound"] = describe_span(stats[-1]) | {"channel_layout": layout or "stereo"}
    if video is not None:
        rate, is_regular = find_rate_of(video, stats[0])
        found |= describe_video(container, video, stats[0], rate if is_regular else None)
        found["fps"] = float(rate)
        found["timeline"]["picture"] = {
            **describe_span(stats[0]),
            "num_frames": stats[0].packets,
            "fps": str(rate),
            "is_regular": is_regular,
        }
    return found


def describe_span(stats: StreamStats) -> dict[str, Any]:
    start_s, end_s = float(stats.start_s or 0), float(stats.end_s)
    return {"index": stats.stream.index, "start_s": round(start_s, 9), "end_s": round(end_s, 9)}


def find_rate_of(video: Any, stats: StreamStats) -> tuple[Fraction, bool]:
    """Returns the frames per second, and whether all frames are shown for equally long."""
    if len(stats.times) < stats.packets:
        # A raw stream states no times.
        return video.average_rate or Fraction(stats.packets) / (stats.span_s or 1), True
    times = sorted(stats.times)
    rate, is_regular = find_rate(times, video.time_base, (video.average_rate, video.base_rate))
    last_s = stats.end_s - times[-1] * video.time_base
    if last_s * rate < _HALF:
        # Some writers do not know how long the last frame is shown.
        stats.end_s += 1 / rate - last_s
    return rate, is_regular and last_s * rate < 1 + _HALF


def describe_video(container: Any, video: Any, stats: StreamStats, rate: Fraction | None) -> dict[str, Any]:
    """`rate` is None if frames are not at even distances."""
    context = video.codec_context
    colour = describe_colour(video, stats.colour or {})
    sizes = (context.name, context.width, context.height, context.pix_fmt)
    signature = (video.index, *sizes, rate, video.time_base, colour)
    width, height = shown_size(context, stats.rotation)
    is_upright = (width, height, stats.rotation) == (context.width, context.height, 0)
    begins_s = (stats.start_s or 0) - Fraction(container.start_time or 0, 1_000_000)
    return {
        "width": width,
        "height": height,
        "num_frames": stats.packets,
        "video_codec": context.codec.canonical_name,
        "pixel_format": context.pix_fmt,
        "colour": colour,
        # The coded size does not show that a picture is rotated or stretched, and a copied stream keeps its gaps: such
        # a video has no fingerprint, so that it is not joined by copying.
        "fingerprint": sha256(repr(signature).encode() + (context.extradata or b"")).hexdigest()
        if is_upright and rate is not None and abs(begins_s) <= _LATE_S
        else None,
    }


def shown_size(context: Any, rotation: int) -> tuple[int, int]:
    """Returns width and height as shown by a player: in square pixels, and upright (phones store rotated pictures)."""
    aspect = context.sample_aspect_ratio or Fraction(1)
    width, height = round(context.width * aspect), context.height
    return (height, width) if rotation % 180 else (width, height)
