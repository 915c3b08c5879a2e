"""Reads media files in a separate process, where a hostile file can do no harm. `probe` runs it as a script.

Takes one JSON argument, and prints one JSON object per file. Imports nothing of Phoenix, because it runs isolated.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

import json
import resource
import sys
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from typing import Any

MEMORY_BYTES = 2 * 1024**3
# Number of decoded packets per stream: enough to check that the stream has the stated contents.
_SAMPLED_PACKETS = 8
_MAX_CHANNELS = 64
_MAX_SAMPLE_RATE_HZ = 384_000
# The stated length of a file may be wrong by a few frames. If more than this is missing, the file is truncated.
_MISSING_FRACTION, _MISSING_S = 0.03, 0.25


class UnreadableFile(Exception):
    """The file is refused. The message is shown to its sender."""


@dataclass
class StreamStats:
    """Statistics of one stream, from the packets that were demuxed so far."""

    stream: Any
    packets: int = 0
    frames: int = 0
    start_s: Fraction | None = None
    end_s: Fraction = Fraction(0)
    is_cut: bool = False
    rotation: int = 0

    @property
    def span_s(self) -> Fraction:
        return self.end_s - (self.start_s or 0)


@dataclass(frozen=True)
class Limits:
    max_duration_s: float
    max_pixels: int
    max_streams: int
    demuxers: list[str]


def main() -> None:
    request = json.loads(sys.argv[1])
    confine(request.pop("cpu_s"))
    files = request.pop("files")
    limits = Limits(**request)
    for path, demuxer in files:
        print(json.dumps(probe_file(path, demuxer, limits)), flush=True)  # noqa: T201


def confine(cpu_s: int) -> None:
    """Limits the memory and the time of this process, and forbids it to write files."""
    for name, value in (("AS", MEMORY_BYTES), ("CPU", cpu_s), ("FSIZE", 0), ("CORE", 0)):
        # Some systems refuse a limit on the address space; the time limit of the parent still applies.
        with suppress(ValueError, OSError):
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))


def probe_file(path: str, demuxer: str | None, limits: Limits) -> dict[str, Any]:
    try:
        return read_picture(path, limits) if demuxer is None else read_streams(path, demuxer, limits)
    except UnreadableFile as error:
        return {"error": str(error)}
    except MemoryError:
        return {"error": "it takes too much memory to read"}
    except (OSError, ValueError, SyntaxError, ArithmeticError, EOFError) as error:
        return {"error": f"it is damaged or not what it says it is ({type(error).__name__})"}


def read_picture(path: str, limits: Limits) -> dict[str, Any]:
    """Checks the size in the header first: a file of 100 kB may have 900 million pixels."""
    from PIL import Image  # noqa: PLC0415 - imported only for pictures

    Image.MAX_IMAGE_PIXELS = None
    with Image.open(path, formats=["PNG", "JPEG", "WEBP"]) as picture:
        check_pixels(picture.width, picture.height, limits)
        picture.load()
        return {"media": "image", "width": picture.width, "height": picture.height, "pixel_format": picture.mode}


def read_streams(path: str, demuxer: str, limits: Limits) -> dict[str, Any]:
    import av  # noqa: PLC0415 - imported only for pictures

    options = {"protocol_whitelist": "file", "format_whitelist": ",".join(limits.demuxers)}
    with av.open(f"file:{path}", format=demuxer, options=options, metadata_errors="replace") as container:
        if len(container.streams) > limits.max_streams:
            raise UnreadableFile(f"it has {len(container.streams)} streams; at most {limits.max_streams} are read")
        video = next((s for s in container.streams.video if not is_cover(s)), None)
        audio = next(iter(container.streams.audio), None)
        check_headers(container, video, audio, limits)
        stats = [StreamStats(stream) for stream in (video, audio) if stream is not None]
        for stream_stats in stats:
            stream_stats.stream.thread_count = 1
        demux(container, stats, limits)
        if states_length(path, demuxer):
            check_whole(container, stats)
        return describe(video, audio, stats)


def is_cover(stream: Any) -> bool:
    """Returns whether the stream is the cover picture of a song, which is a video stream of one frame."""
    flags: Any = stream.disposition
    return bool(flags & flags.__class__.attached_pic)


def check_headers(container: Any, video: Any, audio: Any, limits: Limits) -> None:
    if video is None and audio is None:
        raise UnreadableFile("it has neither sound nor pictures")
    stated_s = (container.duration or 0) / 1_000_000
    check_duration(stated_s, limits)
    if video is not None:
        check_pixels(video.codec_context.width, video.codec_context.height, limits)
    if audio is not None:
        if not 1 <= audio.codec_context.channels <= _MAX_CHANNELS:
            raise UnreadableFile(f"it has {audio.codec_context.channels} channels; at most {_MAX_CHANNELS} are read")
        if not 1 <= audio.codec_context.sample_rate <= _MAX_SAMPLE_RATE_HZ:
            raise UnreadableFile(f"its sample rate is {audio.codec_context.sample_rate} Hz")


def check_duration(duration_s: float, limits: Limits) -> None:
    # An MP3 of exactly one hour has a few more frames.
    if duration_s > limits.max_duration_s + _MISSING_S:
        raise UnreadableFile(f"it is longer than {limits.max_duration_s:g} s")


def check_pixels(width: int, height: int, limits: Limits) -> None:
    if width < 1 or height < 1:
        raise UnreadableFile("its pictures have no size")
    if width * height > limits.max_pixels:
        raise UnreadableFile(f"its pictures are {width}x{height}; at most {limits.max_pixels} pixels are read")


def demux(container: Any, stats: list[StreamStats], limits: Limits) -> None:
    """Reads every packet, and decodes the first packets of each stream."""
    by_index = {stream_stats.stream.index: stream_stats for stream_stats in stats}
    for packet in container.demux([stream_stats.stream for stream_stats in stats]):
        stream_stats = by_index[packet.stream.index]
        if packet.size == 0:
            continue
        record_packet(stream_stats, packet)
        check_duration(float(stream_stats.span_s), limits)
        if stream_stats.packets <= _SAMPLED_PACKETS or stream_stats.frames == 0:
            decode(stream_stats, packet, limits)
    for stream_stats in stats:
        decode(stream_stats, None, limits)
        if stream_stats.frames == 0:
            raise UnreadableFile(f"none of its {stream_stats.stream.type} can be decoded")


def record_packet(stream_stats: StreamStats, packet: Any) -> None:
    stream_stats.is_cut |= packet.is_corrupt
    if packet.is_discard:
        return
    stream_stats.packets += 1
    time = packet.pts if packet.pts is not None else packet.dts
    if time is None:
        stream_stats.end_s += (packet.duration or 0) * packet.time_base
        return
    start_s = time * packet.time_base
    stream_stats.start_s = start_s if stream_stats.start_s is None else min(stream_stats.start_s, start_s)
    stream_stats.end_s = max(stream_stats.end_s, start_s + (packet.duration or 0) * packet.time_base)


def decode(stream_stats: StreamStats, packet: Any, limits: Limits) -> None:
    try:
        frames = stream_stats.stream.codec_context.decode(packet)
    except (OSError, ValueError, EOFError):
        # A player skips a few bad packets; a stream with only bad packets is refused at its end.
        return
    for frame in frames:
        stream_stats.frames += 1
        if stream_stats.stream.type == "video":
            check_pixels(frame.width, frame.height, limits)
            stream_stats.rotation = frame.rotation


def states_length(path: str, demuxer: str) -> bool:
    """Returns whether the file states its length, so that truncation can be detected."""
    with open(path, "rb") as file:  # noqa: PTH123
        head = file.read(64 * 1024)
    if demuxer == "mp3":
        # Without this header, the length is estimated from the bit rate of the first frame.
        return b"Xing" in head or b"Info" in head
    if demuxer == "wav":
        # A writer to a pipe does not know the size, and states zero or all ones.
        return head[4:8] not in (b"\xff\xff\xff\xff", b"\0\0\0\0")
    return demuxer in ("mov", "matroska", "flac")


def check_whole(container: Any, stats: list[StreamStats]) -> None:
    for stream_stats in stats:
        if stream_stats.is_cut:
            raise UnreadableFile("it ends in the middle: the file is incomplete")
        if stream_stats.stream.duration is not None:
            check_length(stream_stats.span_s, stream_stats.stream.duration * stream_stats.stream.time_base)
    if container.duration is not None:
        check_length(max(stream_stats.end_s for stream_stats in stats), Fraction(container.duration, 1_000_000))


def check_length(found_s: Fraction, stated_s: Fraction) -> None:
    if float(stated_s - found_s) > _MISSING_S + _MISSING_FRACTION * float(stated_s):
        raise UnreadableFile(f"it ends after {float(found_s):.1f} of {float(stated_s):.1f} s: the file is incomplete")


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
    signature = (context.name, context.width, context.height, context.pix_fmt, rate, video.time_base)
    width, height = shown_size(context, stats.rotation)
    return {
        "width": width,
        "height": height,
        "fps": float(rate),
        "num_frames": stats.packets,
        "video_codec": context.codec.canonical_name,
        "pixel_format": context.pix_fmt,
        "video_duration_s": round(float(stats.span_s), 6),
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


if __name__ == "__main__":
    main()
