"""Reads the streams of a sound or a video: which are meant, and the packets of each."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from phoenix.media.probe_child.colour import sample_colour
from phoenix.media.probe_child.limits import Limits, UnreadableFile, check_duration, check_pixels

# Decoded packets per stream: enough to check that the stream has the stated contents. Fewer if they are large.
_SAMPLED_PACKETS, _SAMPLED_BYTES = 8, 1_000_000
# A decoder of sound needs some packets before its first right frame: an MP3 refers to the bits of nine earlier frames.
TAIL_PACKETS = 16
# Only a damaged end lets a decoder put out less.
_MAX_TRIMMED_S = Fraction(1, 4)
_MAX_CHANNELS = 64
_MAX_SAMPLE_RATE_HZ = 384_000


@dataclass
class StreamStats:
    """Statistics of one stream, from the packets that were read so far. `times` are in ticks of the stream.

    `tail` has the last packets of a sound.
    """

    stream: Any
    packets: int = 0
    frames: int = 0
    sampled_bytes: int = 0
    start_s: Fraction | None = None
    end_s: Fraction = Fraction(0)
    is_cut: bool = False
    rotation: int = 0
    colour: dict[str, Any] | None = None
    times: list[int] = field(default_factory=list[int])
    # A large file has many packets, and adding fractions takes longer than reading a packet.
    first_tick: int | None = None
    end_tick: int = 0
    tail: deque[Any] = field(default_factory=lambda: deque[Any](maxlen=TAIL_PACKETS))
    padding_s: Fraction = Fraction(0)
    # The time of the first frame that the decoder has put out. It differs from the time of the first packet: a decoder
    # drops the samples before the start of a sound.
    shown_from: int | None = None

    @property
    def span_s(self) -> Fraction:
        return self.end_s - (self.start_s or 0)

    @property
    def is_sampled(self) -> bool:
        is_enough = self.packets >= _SAMPLED_PACKETS or self.sampled_bytes >= _SAMPLED_BYTES
        return self.frames > 0 and is_enough


def choose_streams(container: Any) -> tuple[Any, Any]:
    """Returns the picture and the sound that a player would show: the default ones, or else the first ones, or None.

    The cover picture of a song is never meant.
    """
    return _choose([s for s in container.streams.video if not is_cover(s)]), _choose(container.streams.audio)


def _choose(streams: Sequence[Any]) -> Any:
    return next((stream for stream in streams if _has_flag(stream, "default")), streams[0] if streams else None)


def is_cover(stream: Any) -> bool:
    """Returns whether the stream is the cover picture of a song, which is a video stream of one frame."""
    return _has_flag(stream, "attached_pic")


def _has_flag(stream: Any, name: str) -> bool:
    flags: Any = stream.disposition
    return bool(flags & getattr(flags.__class__, name))


def check_headers(container: Any, video: Any, audio: Any, limits: Limits) -> None:
    if video is None and audio is None:
        raise UnreadableFile("it has neither sound nor pictures")
    stated_s = (container.duration or 0) / 1_000_000
    check_duration(stated_s, limits)
    if video is not None:
        check_pixels(video.codec_context.width, video.codec_context.height, limits.max_frame_pixels)
    if audio is not None:
        if not 1 <= audio.codec_context.channels <= _MAX_CHANNELS:
            raise UnreadableFile(f"it has {audio.codec_context.channels} channels; at most {_MAX_CHANNELS} are read")
        if not 1 <= audio.codec_context.sample_rate <= _MAX_SAMPLE_RATE_HZ:
            raise UnreadableFile(f"its sample rate is {audio.codec_context.sample_rate} Hz")


def read_packets(container: Any, stats: Sequence[StreamStats], limits: Limits, *, only_first: bool) -> None:
    """Reads every packet, or only the first ones, and decodes the first packets of each stream."""
    by_index = {stream_stats.stream.index: stream_stats for stream_stats in stats}
    ticks_s = {stream_stats.stream.index: float(stream_stats.stream.time_base) for stream_stats in stats}
    for packet in container.demux([stream_stats.stream for stream_stats in stats]):
        stream_stats = by_index[packet.stream.index]
        if packet.size == 0:
            continue
        is_sampled = stream_stats.is_sampled
        record_packet(stream_stats, packet)
        check_duration((stream_stats.end_tick - (stream_stats.first_tick or 0)) * ticks_s[packet.stream.index], limits)
        if not is_sampled:
            stream_stats.sampled_bytes += packet.size
            decode(stream_stats, packet, limits)
        if only_first and all(one.is_sampled for one in stats):
            break
    for stream_stats in stats:
        decode(stream_stats, None, limits)
        read_span(stream_stats)
        if stream_stats.frames == 0:
            raise UnreadableFile(f"none of its {stream_stats.stream.type} can be decoded")


def record_packet(stream_stats: StreamStats, packet: Any) -> None:
    stream_stats.is_cut |= packet.is_corrupt
    if packet.is_discard:
        return
    stream_stats.packets += 1
    if stream_stats.stream.type == "audio":
        stream_stats.tail.append(packet)
    time: int | None = packet.pts if packet.pts is not None else packet.dts
    duration: int = packet.duration or 0
    if time is None:
        stream_stats.end_tick += duration
        return
    stream_stats.times.append(time)
    if stream_stats.first_tick is None or time < stream_stats.first_tick:
        stream_stats.first_tick = time
    stream_stats.end_tick = max(stream_stats.end_tick, time + duration)


def read_span(stream_stats: StreamStats) -> None:
    """Sets when the stream begins and ends, by the packets that were read so far."""
    tick_s: Fraction = stream_stats.stream.time_base
    if stream_stats.first_tick is not None:
        stream_stats.start_s = stream_stats.first_tick * tick_s
    stream_stats.end_s = stream_stats.end_tick * tick_s


def trim_to_samples(stream_stats: StreamStats) -> None:
    """Ends a sound with the last sample that is heard. An encoder fills its last packets with silence.

    The decoder leaves out as many samples as the file says.
    """
    context = stream_stats.stream.codec_context
    context.flush_buffers()
    ends_s: list[Fraction] = []
    for packet in (*stream_stats.tail, None):
        try:
            frames = context.decode(packet)
        except (OSError, ValueError, EOFError):
            continue
        timed = [frame for frame in frames if frame.pts is not None]
        ends_s += [frame.pts * frame.time_base + Fraction(frame.samples, frame.sample_rate) for frame in timed]
    end_s = max(ends_s, default=stream_stats.end_s) - stream_stats.padding_s
    if 0 < stream_stats.end_s - end_s < _MAX_TRIMMED_S:
        stream_stats.end_s = end_s


def decode(stream_stats: StreamStats, packet: Any, limits: Limits) -> None:
    try:
        frames = stream_stats.stream.codec_context.decode(packet)
    except (OSError, ValueError, EOFError):
        # A player skips a few bad packets; a stream with only bad packets is refused at its end.
        return
    for frame in frames:
        stream_stats.frames += 1
        if frame.pts is not None and (stream_stats.shown_from is None or frame.pts < stream_stats.shown_from):
            stream_stats.shown_from = frame.pts
        if stream_stats.stream.type == "video":
            check_pixels(frame.width, frame.height, limits.max_frame_pixels)
            stream_stats.rotation = frame.rotation
            stream_stats.colour = sample_colour(frame, stream_stats.colour)
