"""Reads when each stream begins and ends, and when its frames are shown, from time stamps.

The index of a container is read if there is one, because a large file takes long to read. The stated lengths and rates
of a file are often wrong: a screen recording that skips frames states the length of the frames that it has.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

import os
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

from phoenix.media.probe_child.frame_rate import most_frequent
from phoenix.media.probe_child.limits import Limits, UnreadableFile, check_duration
from phoenix.media.probe_child.matroska import Blocks, BrokenMatroska, read_blocks
from phoenix.media.probe_child.mpeg_audio import count_frames
from phoenix.media.probe_child.ogg import is_one_stream
from phoenix.media.probe_child.streams import (
    TAIL_PACKETS,
    StreamStats,
    read_packets,
    read_span,
    record_packet,
    trim_to_samples,
)

# The end of a sound is read from so many seconds before its stated end.
_TAIL_S = 2
_AVI_INDEX_BYTES, _MAX_AVI_REST_BYTES = 16, 64 * 1024
# An MP3 states its padding in 12 bits.
_MAX_PADDING_S = Fraction(1, 2)
_MAX_SOUND_PACKET_BYTES = 1_000_000
# H.264 and HEVC store a frame at most this many frames before frames that are shown earlier.
_MAX_REORDERED = 16


def read_times(path: str, demuxer: str, container: Any, stats: Sequence[StreamStats], limits: Limits) -> None:
    """Reads into `stats` what the file contains. Raises `UnreadableFile`."""
    reader = _find_reader(path, demuxer, stats)
    if reader is None:
        read_packets(container, stats, limits, only_first=False)
    else:
        reader(path, container, stats, limits)
    for stream_stats in stats:
        if stream_stats.stream.type == "audio":
            trim_to_samples(stream_stats)
        if stream_stats.shown_from is not None:
            stream_stats.start_s = stream_stats.shown_from * stream_stats.stream.time_base
        check_duration(float(stream_stats.span_s), limits)
    starts_s = [stream_stats.start_s or 0 for stream_stats in stats]
    check_duration(float(max(stream_stats.end_s for stream_stats in stats) - min(starts_s)), limits)


_Reader = Callable[[str, Any, Sequence[StreamStats], Limits], None]


def _find_reader(path: str, demuxer: str, stats: Sequence[StreamStats]) -> _Reader | None:
    """Returns the function that reads an index, or the end. None for a file that has to be read as a whole."""
    has_index = all(len(stream_stats.stream.index_entries) > 0 for stream_stats in stats)
    if demuxer == "matroska":
        return _read_matroska
    if demuxer == "mov" and has_index:
        return _read_sample_tables
    if demuxer == "avi" and has_index and _is_indexed_to_end(path, stats):
        return _read_chunk_index
    is_sound = stats[0].stream.type == "audio" and len(stats) == 1 and stats[0].stream.duration is not None
    # These can be read from any place on, and the first sound that is read there has the right time.
    if is_sound and (demuxer in ("wav", "flac", "aiff", "caf") or (demuxer == "ogg" and is_one_stream(path))):
        return _read_ends
    return _read_stated_frames if is_sound and demuxer == "mp3" and count_frames(path) is not None else None


def _read_sample_tables(path: str, container: Any, stats: Sequence[StreamStats], limits: Limits) -> None:
    size_bytes = os.stat(path).st_size  # noqa: PTH116
    for stream_stats in stats:
        stream = stream_stats.stream
        _read_only(container, stream)
        stream_stats.is_cut = any(entry.pos + entry.size > size_bytes for entry in stream.index_entries)
        if stream_stats.is_cut:
            continue
        decoded_at = [entry.timestamp for entry in stream.index_entries if not entry.is_discard]
        if not decoded_at:
            raise UnreadableFile(f"its {stream.type} has nothing that is shown")
        container.seek(stream.index_entries[0].timestamp, stream=stream, any_frame=True)
        read_packets(container, [stream_stats], limits, only_first=True)
        stream_stats.times = _shown_times(container, stream_stats, decoded_at)
        stream_stats.packets = len(decoded_at)


def _is_indexed_to_end(path: str, stats: Sequence[StreamStats]) -> bool:
    """Returns whether the index of an AVI names the last chunks: the index of an early writer ends after a gigabyte."""
    entries = sum(len(stream_stats.stream.index_entries) for stream_stats in stats)
    ends = [entry.pos + entry.size for stream_stats in stats for entry in stream_stats.stream.index_entries[-1:]]
    rest_bytes = os.stat(path).st_size - max(ends)  # noqa: PTH116
    return 0 <= rest_bytes <= _MAX_AVI_REST_BYTES + 2 * _AVI_INDEX_BYTES * entries


def _read_chunk_index(_path: str, container: Any, stats: Sequence[StreamStats], limits: Limits) -> None:
    """Reads the index of an AVI. It has no times: each frame of a picture is shown for one tick."""
    read_packets(container, stats, limits, only_first=True)
    for stream_stats in stats:
        stream = stream_stats.stream
        if stream.type == "audio":
            # An entry may be several frames of sound, or a part of one.
            _read_tail(container, stream_stats)
            continue
        shift = (stream_stats.first_tick or 0) - stream.index_entries[0].timestamp
        stream_stats.times = [entry.timestamp + shift for entry in stream.index_entries if entry.size]
        stream_stats.packets = len(stream_stats.times)
        stream_stats.end_s = (max(stream_stats.times) + 1) * stream.time_base


def _read_stated_frames(path: str, container: Any, stats: Sequence[StreamStats], limits: Limits) -> None:
    """Reads the beginning of an MP3 whose length is proved. libavformat subtracts what the encoder has added."""
    (stream_stats,) = stats
    read_packets(container, stats, limits, only_first=True)
    stream_stats.packets = count_frames(path) or 0
    stream_stats.tail.clear()
    frame_s = Fraction(stream_stats.stream.codec_context.frame_size, stream_stats.stream.codec_context.sample_rate)
    stream_stats.end_s = stream_stats.packets * frame_s
    stated_end_s = (stream_stats.shown_from or 0) * stream_stats.stream.time_base
    stated_end_s += stream_stats.stream.duration * stream_stats.stream.time_base
    if 0 <= stream_stats.end_s - stated_end_s < _MAX_PADDING_S:
        stream_stats.end_s = stated_end_s


def _read_only(container: Any, stream: Any) -> None:
    """Discards the packets of other streams. They are skipped, and not read."""
    for other in container.streams:
        modes = other.discard.__class__
        other.discard = modes.default if other.index == stream.index else modes.all


def _shown_times(container: Any, stream_stats: StreamStats, decoded_at: Sequence[int]) -> list[int]:
    """Returns when frames are shown. The index has the times at which they are decoded, in the order of the file.

    An encoder decodes each frame at the time at which the frame is shown that comes `delay` frames earlier. So only the
    last frames have to be read.
    """
    first = min(stream_stats.times) if stream_stats.shown_from is None else stream_stats.shown_from
    delay = min(sum(time < first for time in decoded_at[: _MAX_REORDERED + 1]), _MAX_REORDERED)
    last = TAIL_PACKETS if stream_stats.stream.type == "audio" else delay + 2
    container.seek(decoded_at[-min(len(decoded_at), last)], stream=stream_stats.stream, any_frame=True)
    return sorted({*decoded_at[delay:], *_read_rest(container, stream_stats)})


def _read_matroska(path: str, container: Any, stats: Sequence[StreamStats], limits: Limits) -> None:
    blocks = _find_blocks(path, stats)
    read_packets(container, stats, limits, only_first=blocks is not None)
    if blocks is None:
        return
    for stream_stats in stats:
        index: int = stream_stats.stream.index
        times = sorted(blocks.times[index])
        # A block states no delay of the codec, and a packet does.
        shift = min(stream_stats.times) - times[0]
        tick_s: Fraction = stream_stats.stream.time_base
        frame_s = most_frequent(times, tick_s)
        stream_stats.times = [time + shift for time in times]
        stream_stats.packets = len(times)
        # An end that an earlier block states is rounded, and at most a tick after the start of the last block.
        states_end = blocks.ends[index] > times[-1] + 1
        last_end_s = blocks.ends[index] * tick_s if states_end else times[-1] * tick_s + frame_s
        stream_stats.end_s = max(stream_stats.end_s, shift * tick_s + last_end_s)
        stream_stats.is_cut |= blocks.is_cut
        stream_stats.tail.clear()
        if stream_stats.stream.type == "audio":
            stream_stats.tail.extend(_read_last_packets(path, stream_stats, blocks))
            # These packets do not state their padding.
            stream_stats.padding_s = Fraction(blocks.padding_ns[index], 1_000_000_000)


def _read_last_packets(path: str, stream_stats: StreamStats, blocks: Blocks) -> Iterator[Any]:
    """Yields the last packets of a sound. Seeking in a file without cues would read all of it."""
    import av  # noqa: PLC0415 - imported only for sounds and videos

    index: int = stream_stats.stream.index
    last = blocks.last[index]
    if not last:
        return
    with open(path, "rb") as file:  # noqa: PTH123
        for (offset, size_bytes), time in zip(last, stream_stats.times[-len(last) :], strict=True):
            file.seek(offset)
            packet = av.Packet(file.read(min(size_bytes, _MAX_SOUND_PACKET_BYTES)))
            packet.pts, packet.time_base = time, stream_stats.stream.time_base
            yield packet


def _find_blocks(path: str, stats: Sequence[StreamStats]) -> Blocks | None:
    """Returns the blocks of all streams. None for a damaged file: libavformat finds the parts that can be used."""
    try:
        blocks = read_blocks(path)
    except BrokenMatroska:
        return None
    indices: list[int] = [stream_stats.stream.index for stream_stats in stats]
    return blocks if all(index < len(blocks.times) and blocks.times[index] for index in indices) else None


def _read_ends(_path: str, container: Any, stats: Sequence[StreamStats], limits: Limits) -> None:
    """Reads the beginning and the end of a sound."""
    (stream_stats,) = stats
    read_packets(container, stats, limits, only_first=True)
    _read_tail(container, stream_stats)


def _read_tail(container: Any, stream_stats: StreamStats) -> None:
    stream = stream_stats.stream
    # Only WAV and its like always state a length in ticks.
    _read_only(container, stream)
    end = stream.index_entries[-1].timestamp if stream.duration is None else stream.duration
    try:
        container.seek(max(0, end - int(_TAIL_S / stream.time_base)), stream=stream)
    except OSError:
        # The place does not exist. All of the file says where it ends.
        container.seek(0, stream=stream)
    _read_rest(container, stream_stats)


def _read_rest(container: Any, stream_stats: StreamStats) -> list[int]:
    """Returns the times of the packets that were not read so far."""
    rest = StreamStats(stream_stats.stream)
    for packet in container.demux(stream_stats.stream):
        if packet.size:
            record_packet(rest, packet)
    read_span(rest)
    stream_stats.is_cut |= rest.is_cut
    stream_stats.end_s = max(stream_stats.end_s, rest.end_s)
    if rest.tail:
        stream_stats.tail = rest.tail
    return rest.times
