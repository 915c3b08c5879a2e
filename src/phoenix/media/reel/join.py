"""Joins clips to one video, and checks the result against the plan. A soundtrack is mixed in later."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from phoenix.contract import MediaInfo, Transition
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.media.commands import video
from phoenix.media.errors import UnreadableMedia, invalid_media
from phoenix.media.ffmpeg import NO_CALLBACKS, FfmpegCallbacks, MediaTools, Progress, run_ffmpeg
from phoenix.media.probe import ProbedFile, ProbeLimits, probe_files
from phoenix.media.reel import plan
from phoenix.media.reel.sound import SoundPart, join_sound
from phoenix.media.reel.spans import overlaps_of
from phoenix.media.soundtrack import mux_soundtrack
from phoenix.media.stored_colour import BT709
from phoenix.media.timeline import SourceStream

CUT = Transition(kind="cut")
_NONE_HELD: Mapping[int, int] = {}
# Time stamps are rounded, so the stated length of a file differs from the sum of its frames.
_TOLERANCE_S = 0.01


def join_clips(
    parts: Sequence[Path],
    output: Path,
    *,
    tools: MediaTools,
    transition: Transition = CUT,
    keep_sound: bool = True,
    held: Mapping[int, int] = _NONE_HELD,
    callbacks: FfmpegCallbacks = NO_CALLBACKS,
) -> MediaInfo:
    """Joins `parts`, in order, to an MP4 with the size and frame rate of the first part. Returns what the MP4 contains.

    Copies parts that match; encodes other parts, and all parts of a crossfaded reel. Shortens a crossfade that is too
    long for a clip. Joins the sound of the parts, unless `keep_sound` is false because a soundtrack replaces it.
    `held`: for how many frames a part holds its last frame, by index. Raises `TaskFailed` (MEDIA_INVALID) if a part
    cannot be used.
    """
    if not parts:
        raise ValueError("there is nothing to join")
    probed = probe_parts(parts, tools)
    picture = plan.picture_of(probed[0].info, probed[0].timeline)
    counts = [clip.timeline.count_frames(picture.fps) + held.get(index, 0) for index, clip in enumerate(probed)]
    overlaps = [0] * (len(parts) - 1)
    if transition.kind == "crossfade":
        overlaps = overlaps_of(counts, max(1, round(transition.duration_s * picture.fps)))
    with TemporaryDirectory(dir=output.parent, prefix="join-") as folder:
        join = _Join(parts, probed, counts, overlaps, picture, Path(folder), tools, callbacks).with_held(held)
        if keep_sound and any(clip.timeline.sound for clip in probed):
            return join.with_sound(output)
        return join.without_sound(output)


def probe_parts(parts: Sequence[Path], tools: MediaTools) -> list[ProbedFile]:
    """Returns what is in the parts. Raises `TaskFailed` (MEDIA_INVALID) for a part that is no usable video."""
    limits = ProbeLimits(max_duration_s=tools.max_part_s, timeout_s=tools.probe_timeout_s)
    try:
        probed = probe_files(parts, limits)
    except UnreadableMedia as error:
        raise invalid_media(f"clip {error.index} cannot be joined: {error.detail}", Stage.ASSEMBLE) from error
    for index, clip in enumerate(probed):
        if clip.info.media != "video":
            raise invalid_media(f"clip {index} cannot be joined: it is no video", Stage.ASSEMBLE)
    return probed


class _Mismatch(TaskFailed):
    """The joined file differs from the plan."""


@dataclass(frozen=True)
class _Join:
    """One join in progress, with a folder for temporary files."""

    parts: Sequence[Path]
    probed: Sequence[ProbedFile]
    counts: Sequence[int]
    overlaps: Sequence[int]
    picture: video.Picture
    folder: Path
    tools: MediaTools
    callbacks: FfmpegCallbacks
    longer: Mapping[int, SourceStream] = field(default_factory=dict[int, SourceStream])
    """The pictures of the parts that hold their last frame, by index: encoded again, with the held frames."""

    def with_held(self, held: Mapping[int, int]) -> "_Join":
        """The join with longer pictures of the parts that hold their last frame."""
        longer: dict[int, SourceStream] = {}
        for index in held:
            (chunk,) = plan.chunks_of([self._pictures[index]], [self.counts[index]], [])
            longer[index] = self._encode(chunk, self.folder / f"held-{index}.mp4", Progress(0, 0))
        return replace(self, longer=longer)

    def with_sound(self, output: Path) -> MediaInfo:
        silent, track = self.folder / "silent.mp4", self.folder / "sound.m4a"
        self.without_sound(silent)
        quiet = FfmpegCallbacks(should_stop=self.callbacks.should_stop)
        clips = zip(self.parts, self.probed, self.counts, strict=True)
        parts = [
            SoundPart(clip.timeline.get_sound(part) if clip.timeline.sound else None, count)
            for part, clip, count in clips
        ]
        join_sound(parts, self.overlaps, self.picture.fps, track, folder=self.folder, tools=self.tools, callbacks=quiet)
        return mux_soundtrack(silent, track, output, tools=self.tools, callbacks=quiet)

    def without_sound(self, output: Path) -> MediaInfo:
        return self._with_crossfades(output) if any(self.overlaps) else self._with_cuts(output)

    def _with_cuts(self, output: Path) -> MediaInfo:
        if self._can_copy_all():
            try:
                return self._concatenate(self._pictures, self.counts, output, add_tags=not self._are_tagged)
            except _Mismatch:
                # ffmpeg reports no error for streams that do not match: encode them.
                pass
        return self._concatenate(self._matching_parts(), self.counts, output)

    def _with_crossfades(self, output: Path) -> MediaInfo:
        chunks = plan.chunks_of(self._pictures, self.counts, self.overlaps)
        segments: list[SourceStream] = []
        done = Progress(0, 0)
        for index, chunk in enumerate(chunks):
            segments.append(self._encode(chunk, self.folder / f"{index}.mp4", done))
            done = self._advanced(done, chunk.num_frames)
        return self._concatenate(segments, [chunk.num_frames for chunk in chunks], output)

    @property
    def _pictures(self) -> list[SourceStream]:
        own = [clip.timeline.get_picture(part) for part, clip in zip(self.parts, self.probed, strict=True)]
        return [self.longer.get(index, picture) for index, picture in enumerate(own)]

    def _can_copy_all(self) -> bool:
        first = self.probed[0]
        is_alike = first.fingerprint is not None and {clip.fingerprint for clip in self.probed} == {first.fingerprint}
        return is_alike and not self.longer and _can_be_copied(first)

    @property
    def _are_tagged(self) -> bool:
        colour = self.probed[0].colour
        return colour is not None and colour.is_tagged_bt709

    def _matching_parts(self) -> list[SourceStream]:
        """Returns the parts in the encoding of this encoder. Uses parts with that encoding directly."""
        matching: list[SourceStream] = []
        ours: str | None = None
        done = Progress(0, 0)
        for index, part in enumerate(self._pictures):
            if index in self.longer or (ours is not None and self.probed[index].fingerprint == ours):
                matching.append(part)
            else:
                (chunk,) = plan.chunks_of([part], [self.counts[index]], [])
                matching.append(self._encode(chunk, self.folder / f"{index}.mp4", done))
                ours = ours or probe_parts([matching[-1].path], self.tools)[0].fingerprint
            done = self._advanced(done, self.counts[index])
        return matching

    def _encode(self, chunk: plan.Chunk, segment: Path, done: Progress) -> SourceStream:
        colours = {part: clip.colour or BT709 for part, clip in zip(self.parts, self.probed, strict=True)}
        segments = [replace(each, colour=colours.get(each.source.path, BT709)) for each in chunk.segments]
        command = video.join_segments(segments, chunk.overlaps, self.picture, self.tools.encoding, segment)
        run_ffmpeg(command, tools=self.tools, stage=Stage.ASSEMBLE, callbacks=self.callbacks.offset_by(done))
        return SourceStream(segment)

    def _advanced(self, done: Progress, frames: int) -> Progress:
        total = done.frames + frames
        return Progress(total, float(total / self.picture.fps))

    def _concatenate(
        self, segments: Sequence[SourceStream], counts: Sequence[int], output: Path, *, add_tags: bool = False
    ) -> MediaInfo:
        durations_s = [float(count / self.picture.fps) for count in counts]
        concat_list = self.folder / "segments.txt"
        paths = [segment.path for segment in segments]
        concat_list.write_text(video.concat_list_text(list(zip(paths, durations_s, strict=True))))
        quiet = FfmpegCallbacks(should_stop=self.callbacks.should_stop)
        command = video.join_copy(concat_list, segments[0].index, output, add_tags=add_tags)
        run_ffmpeg(command, tools=self.tools, stage=Stage.ASSEMBLE, callbacks=quiet)
        return self._verified(output, sum(counts))

    def _verified(self, output: Path, num_frames: int) -> MediaInfo:
        (probed,) = probe_parts([output], self.tools)
        info = probed.info
        duration_s = float(num_frames / self.picture.fps)
        is_right = (
            (probed.colour is not None and probed.colour.is_tagged_bt709)
            and info.num_frames == num_frames
            and (info.width, info.height) == (self.picture.width, self.picture.height)
            and abs((info.video_duration_s or 0) - duration_s) < _TOLERANCE_S + 1 / float(self.picture.fps)
        )
        if not is_right:
            size = f"{self.picture.width}x{self.picture.height}"
            planned = f"{num_frames} frames of {size} in {duration_s:.2f} s and BT.709"
            found = f"{info.num_frames} of {info.width}x{info.height} in {info.duration_s} s with {probed.colour}"
            detail = f"the joined video differs from the plan: {found}, not {planned}"
            raise _Mismatch(FailureCode.ENGINE_FAILED, detail, stage=Stage.ASSEMBLE)
        return info


def _can_be_copied(clip: ProbedFile) -> bool:
    """Returns whether browsers play the video without re-encoding, in the right colours."""
    info = clip.info
    is_playable = (info.format, info.video_codec, info.pixel_format) == ("mp4", "h264", "yuv420p")
    return is_playable and clip.colour is not None and clip.colour.can_be_copied
