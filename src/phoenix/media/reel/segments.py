"""Makes the segments of a reel that a player of a growing playlist loads, clip by clip.

All segments share one header and one timeline, so that a player joins them without a gap. A clip is published without
the frames that it shares with the next clip, and the segments of the next clip begin with their crossfade. The sound of
a clip ends a little before its picture: an AAC encoder needs to hear what comes next, which is known only up to there.
"""

from collections.abc import Sequence
from hashlib import sha256
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.media.commands import video
from phoenix.media.ffmpeg import FfmpegCallbacks, MediaTools, run_ffmpeg
from phoenix.media.reel.join import probe_parts
from phoenix.media.reel.playlist import ORIGIN_S, SEGMENT_S, SegmentedFile
from phoenix.media.reel.spans import MARGIN_PACKETS, PACKET_SAMPLES, ReelTimeline, Span
from phoenix.media.reel.window_sound import AddedSound, WindowMixer
from phoenix.media.stored_colour import BT709


def write_segments(
    timeline: ReelTimeline,
    span: Span,
    files: Sequence[Path],
    output: Path,
    *,
    tools: MediaTools,
    added_sound: AddedSound,
    callbacks: FfmpegCallbacks,
) -> SegmentedFile:
    """Writes the segments of a span. `files`: the parts `timeline.parts_heard(span)`. Raises `TaskFailed`."""
    heard = timeline.parts_heard(span)
    probed = dict(zip(heard, probe_parts(files, tools), strict=True))
    paths = dict(zip(heard, files, strict=True))
    segments = [
        video.Segment(
            probed[each.part].timeline.get_picture(paths[each.part]),
            each.start,
            each.end,
            probed[each.part].colour or BT709,
        )
        for each in span.sources
    ]
    sounds = {
        part: found.timeline.get_sound(paths[part])
        for part, found in probed.items()
        if found.timeline.sound is not None
    }
    frames = max(1, round(SEGMENT_S * timeline.picture.fps))
    with TemporaryDirectory(dir=output.parent, prefix="span-") as folder:
        mixer = WindowMixer(timeline, sounds, added_sound, Path(folder), tools, callbacks)
        packets = timeline.packets_of(span)
        first_heard = max(0, packets[0] - MARGIN_PACKETS)
        samples = mixer.mix(first_heard * PACKET_SAMPLES, (packets[-1] + 1 + MARGIN_PACKETS) * PACKET_SAMPLES)
        raw = Path(folder) / "samples.raw"
        raw.write_bytes(samples)
        origin = ceil(ORIGIN_S * timeline.picture.fps)
        times = video.FragmentTimes(
            first_frame=origin + span.start,
            frames_per_fragment=frames,
            first_sample=timeline.sample_at(origin) + first_heard * PACKET_SAMPLES,
            # The encoder puts a packet of silence before the first one.
            first_packet=packets[0] - first_heard + 1,
            end_packet=packets[-1] + 2 - first_heard,
        )
        command = video.encode_fragments(segments, span.overlaps, timeline.picture, tools.encoding, raw, times, output)
        run_ffmpeg(command, tools=tools, stage=Stage.ENCODE, callbacks=callbacks)
    return _index(output, span.end - span.start, frames)


def _index(path: Path, num_frames: int, frames_per_segment: int) -> SegmentedFile:
    """What is in the file. Raises `TaskFailed` if it has another number of segments than planned."""
    data = path.read_bytes()
    starts = [position for position, kind in _boxes(data) if kind == b"moof"]
    full, rest = divmod(num_frames, frames_per_segment)
    lengths = [frames_per_segment] * full + ([rest] if rest else [])
    if len(starts) != len(lengths):
        detail = f"the encoder made {len(starts)} segments, not {len(lengths)}"
        raise TaskFailed(FailureCode.ENGINE_FAILED, detail, stage=Stage.ENCODE)
    ends = [*starts[1:], len(data)]
    sizes = tuple(end - start for start, end in zip(starts, ends, strict=True))
    return SegmentedFile(starts[0], sha256(data[: starts[0]]).hexdigest(), sizes, tuple(lengths))


def _boxes(data: bytes) -> list[tuple[int, bytes]]:
    """Position and kind of each box of the top level."""
    found: list[tuple[int, bytes]] = []
    position = 0
    while position + 8 <= len(data):
        found.append((position, data[position + 4 : position + 8]))
        position += int.from_bytes(data[position : position + 4]) or len(data)
    return found
