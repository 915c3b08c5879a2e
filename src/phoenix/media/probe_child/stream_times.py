"""Reads when each stream begins and ends, and when its frames are shown, from time stamps.

The index of a container is read if there is one, because a large file takes long to read. The stated lengths and rates
of a file are often wrong: a screen recording that skips frames states the length of the frames that it has.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

import os
from collections.abc import Callable, Sequence
from typing import Any

from phoenix.media.probe_child.frame_rate import most_frequent
from phoenix.media.probe_child.limits import Limits, UnreadableFile, check_duration
from phoenix.media.probe_child.matroska import Blocks, BrokenMatroska, read_blocks
from phoenix.media.probe_child.streams import StreamStats, read_packets, record_packet

# The end of a sound is read from so many seconds before its stated end.
_TAIL_S = 2
# H.264 and HEVC store a frame at most this many frames before frames that are shown earlier.
_MAX_REORDERED = 16


def read_times(path: str, demuxer: str, container: Any, stats: Sequence[StreamStats], limits: Limits) -> None:
    """Reads into `stats` what the file contains. Raises `UnreadableFile`."""
    reader = _find_reader(demuxer, stats)
    if reader is None:
        read_packets(container, stats, limits, only_first=False)
    else:
        reader(path, container, stats, limits)
    for stream_stats in stats:
        if stream_stats.shown_from is not None:
            stream_stats.start_s = stream_stats.shown_from * stream_stats.stream.time_base
        check_duration(float(stream_stats.span_s), limits)
    starts_s = [stream_stats.start_s or 0 for stream_stats in stats]
    check_duration(float(max(stream_stats.end_s for stream_stats in stats) - min(starts_s)), limits)


_Reader = Callable[[str, Any, Sequence[StreamStats], Limits], None]


def _find_reader(demuxer: str, stats: Sequence[StreamStats]) -> _Reader | None:
    """Returns the function that reads an index. None for a format without an index."""
    if demuxer == "mov" and all(len(stream_stats.stream.index_entries) > 0 for stream_stats in stats):
        return _read_sample_tables
    # These can be read from any place on, and the first sound that is read there has the right time.
    if demuxer in ("wav", "flac") and stats[0].stream.duration is not None:
        return _read_ends
    return _read_matroska if demuxer == "matroska" else None


def _read_sample_tables(path: str, container: Any, stats: Sequence[StreamStats], limits: Limits) -> None:
    size_bytes = os.stat(path).st_size  # noqa: PTH116
    for stream_stats in stats:
        stream = stream_stats.stream
        # The samples of a stream to discard are not read.
        for other in container.streams:
            modes = other.discard.__class__
            other.discard = modes.default if other.index == stream.index else modes.all
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


def _shown_times(container: Any, stream_stats: StreamStats, decoded_at: Sequence[int]) -> list[int]:
    """Returns when frames are shown. The index has the times at which they are decoded, in the order of the file.

    An encoder decodes each frame at the time at which the frame is shown that comes `delay` frames earlier. So only the
    last frames have to be read.
    """
    first = min(stream_stats.times) if stream_stats.shown_from is None else stream_stats.shown_from
    delay = min(sum(time < first for time in decoded_at[: _MAX_REORDERED + 1]), _MAX_REORDERED)
    container.seek(decoded_at[-min(len(decoded_at), delay + 2)], stream=stream_stats.stream, any_frame=True)
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
        frame_s = most_frequent(times, stream_stats.stream.time_base)
        stream_stats.times = [time + shift for time in times]
        stream_stats.packets = len(times)
        last_s, stated_end_s = (tick * stream_stats.stream.time_base for tick in (times[-1], blocks.ends[index]))
        shift_s = shift * stream_stats.stream.time_base
        stream_stats.end_s = max(stream_stats.end_s, shift_s + max(last_s + frame_s, stated_end_s))
        stream_stats.is_cut |= blocks.is_cut


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
    stream = stream_stats.stream
    read_packets(container, stats, limits, only_first=True)
    container.seek(max(0, stream.duration - int(_TAIL_S / stream.time_base)), stream=stream)
    _read_rest(container, stream_stats)


def _read_rest(container: Any, stream_stats: StreamStats) -> list[int]:
    """Returns the times of the packets that were not read so far."""
    rest = StreamStats(stream_stats.stream)
    for packet in container.demux(stream_stats.stream):
        if packet.size:
            record_packet(rest, packet)
    stream_stats.is_cut |= rest.is_cut
    stream_stats.end_s = max(stream_stats.end_s, rest.end_s)
    return rest.times
