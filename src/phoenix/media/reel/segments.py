"""Makes the segments of a reel that a player of a growing playlist loads, clip by clip.

All segments share one header and one timeline, so that a player joins them without a gap. A clip is published without
the frames that it shares with the next clip, and the segments of the next clip begin with their crossfade. The sound of
a clip ends a little before its picture: an AAC encoder needs to hear what comes next, which is known only up to there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from hashlib import sha256
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from phoenix.contract import ResolvedReel, Transition
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.media.commands import sound, video
from phoenix.media.ffmpeg import FfmpegCallbacks, MediaTools, run_ffmpeg
from phoenix.media.reel.join import probe_parts
from phoenix.media.reel.plan import overlaps_of
from phoenix.media.reel.playlist import SEGMENT_S, SegmentedFile
from phoenix.media.stored_colour import BT709

PACKET_SAMPLES = 1024
"""Samples per packet of AAC."""
_MARGIN_PACKETS = 2
"""How far the sound of a span ends before its picture, and how much more of it the encoder hears at both ends."""
_ORIGIN_S = 10
"""The time of the first frame on the timeline of a playlist. ffmpeg writes a wrong time for sound from 0 on."""

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class SpanSource:
    """Frames `start` to `end` of part `part`, at the frame rate of the reel."""

    part: int
    start: int
    end: int


@dataclass(frozen=True)
class Span:
    """Frames `start` to `end` of the reel, and their sources. Sources i and i + 1 share `overlaps[i]` frames."""

    start: int
    end: int
    sources: tuple[SpanSource, ...]
    overlaps: tuple[int, ...]
    is_last: bool


@dataclass(frozen=True)
class ReelTimeline:
    """The parts of a reel, in frames. Part i has `counts[i]`, and shares `overlaps[i]` with the next part."""

    picture: video.Picture
    counts: tuple[int, ...]
    overlaps: tuple[int, ...]

    def start_of(self, part: int) -> int:
        """The first frame of a part in the reel."""
        return sum(self.counts[:part]) - sum(self.overlaps[:part])

    def end_of(self, part: int) -> int:
        """The frame of the reel at which the span of a part ends: where the next part begins."""
        return self.start_of(part) + self.counts[part] - self._shared_after(part)

    def span_of(self, parts: range) -> Span:
        """The span of these parts, in order. It begins with the crossfade from the part before, if there is one."""
        first, last = parts[0], parts[-1]
        sources = [SpanSource(part, 0, self.counts[part]) for part in parts]
        overlaps = list(self.overlaps[first:last])
        sources[-1] = replace(sources[-1], end=self.counts[last] - self._shared_after(last))
        if first > 0 and self.overlaps[first - 1] > 0:
            count, shared = self.counts[first - 1], self.overlaps[first - 1]
            sources.insert(0, SpanSource(first - 1, count - shared, count))
            overlaps.insert(0, shared)
        is_last = last == len(self.counts) - 1
        return Span(self.start_of(first), self.end_of(last), tuple(sources), tuple(overlaps), is_last)

    def packets_of(self, span: Span) -> range:
        """The packets of sound of a span, counted from the start of the reel."""
        end = ceil(self.sample_at(span.end) / PACKET_SAMPLES) if span.is_last else self._last_packet(span.end)
        return range(self._last_packet(span.start), end)

    def parts_heard(self, span: Span) -> range:
        """The parts that are seen or heard in a span, or that the encoder of its sound has to hear."""
        first_sample = max(0, self.packets_of(span)[0] - _MARGIN_PACKETS) * PACKET_SAMPLES
        ends = [self.start_of(part) + count for part, count in enumerate(self.counts)]
        first = next(part for part, end in enumerate(ends) if self.sample_at(end) > first_sample)
        return range(min(first, span.sources[0].part), span.sources[-1].part + 1)

    def sample_at(self, frame: int) -> int:
        """The sample of the reel that is heard when a frame appears."""
        return round(frame / self.picture.fps * sound.SAMPLE_RATE_HZ)

    def _shared_after(self, part: int) -> int:
        return self.overlaps[part] if part < len(self.overlaps) else 0

    def _last_packet(self, frame: int) -> int:
        return max(0, self.sample_at(frame) // PACKET_SAMPLES - _MARGIN_PACKETS)


def plan_timeline(counts: Sequence[int], transition: Transition, picture: video.Picture) -> ReelTimeline:
    """The timeline of a reel whose parts have these numbers of frames."""
    overlaps = [0] * (len(counts) - 1)
    if transition.kind == "crossfade":
        overlaps = overlaps_of(counts, max(1, round(transition.duration_s * picture.fps)))
    return ReelTimeline(picture, tuple(counts), tuple(overlaps))


def timeline_of(reel: ResolvedReel) -> ReelTimeline:
    """The timeline of a reel, known before any clip is rendered. A clip that the reel extends is its first part."""
    picture = video.Picture(max(2, reel.width & ~1), max(2, reel.height & ~1), Fraction(reel.fps))
    lengths_s = [Fraction(clip.num_output_frames, clip.output_fps or clip.fps) for clip in reel.clips]
    if reel.extends is not None:
        lengths_s.insert(0, Fraction(reel.extends.duration_s))
    return plan_timeline([max(1, round(length_s * reel.fps)) for length_s in lengths_s], reel.transition, picture)


def span_of_clip(reel: ResolvedReel, index: int) -> Span:
    """What the segments of a clip show. The segments of the first clip also show the clip that the reel extends."""
    before = 1 if reel.extends else 0
    return timeline_of(reel).span_of(range(index + before if index else 0, index + before + 1))


def write_segments(
    timeline: ReelTimeline,
    span: Span,
    files: Sequence[Path],
    output: Path,
    *,
    tools: MediaTools,
    keep_sound: bool,
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
        mixer = _WindowMixer(timeline, sounds if keep_sound else {}, Path(folder), tools, callbacks)
        packets = timeline.packets_of(span)
        first_heard = max(0, packets[0] - _MARGIN_PACKETS)
        samples = mixer.mix(first_heard * PACKET_SAMPLES, (packets[-1] + 1 + _MARGIN_PACKETS) * PACKET_SAMPLES)
        raw = Path(folder) / "samples.raw"
        raw.write_bytes(samples)
        origin = ceil(_ORIGIN_S * timeline.picture.fps)
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


@dataclass(frozen=True)
class _WindowMixer:
    """Mixes the sound of the parts of a reel within a window of time."""

    timeline: ReelTimeline
    sounds: dict[int, "video.SourceStream"]
    folder: Path
    tools: MediaTools
    callbacks: FfmpegCallbacks

    def mix(self, start: int, end: int) -> bytes:
        """The samples `start` to `end` of the reel, in stereo, with silence where nothing is heard."""
        # It starts threads, and workers are forked from a process that has imported this module.
        import numpy as np  # noqa: PLC0415

        total = np.zeros((end - start, 2), np.int32)
        for part in self.sounds:
            first = self.timeline.sample_at(self.timeline.start_of(part))
            samples = self._read(part)
            begin, stop = max(start, first), min(end, first + len(samples))
            if begin < stop:
                total[begin - start : stop - start] += samples[begin - first : stop - first]
        return total.clip(-32768, 32767).astype("<i2").tobytes()

    def _read(self, part: int) -> "np.ndarray[tuple[int, int], np.dtype[np.int16]]":
        """The sound of a part, as long as its picture, with its fades."""
        import numpy as np  # noqa: PLC0415

        fps, count = self.timeline.picture.fps, self.timeline.counts[part]
        before = self.timeline.overlaps[part - 1] if part > 0 else 0
        after = self.timeline.overlaps[part] if part < len(self.timeline.overlaps) else 0
        raw = self.folder / f"{part}.raw"
        quiet = FfmpegCallbacks(should_stop=self.callbacks.should_stop)
        command = sound.extract(self.sounds[part], float(count / fps), (float(before / fps), float(after / fps)), raw)
        run_ffmpeg(command, tools=self.tools, stage=Stage.ENCODE, callbacks=quiet)
        return np.fromfile(raw, "<i2").reshape(-1, 2)


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
