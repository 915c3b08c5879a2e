"""Finds out whether an ffmpeg can do what Phoenix needs, by making a tiny reel with it. Leaves nothing behind.

Runs the commands alone, without a probe of what they write, so that a worker starts without a noticeable delay.
"""

import fcntl
import os
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO

from phoenix.errors import FailureCode, PhoenixError, Stage, TaskFailed
from phoenix.media.commands import sound, video
from phoenix.media.commands.sound import Leveling, SoundShape
from phoenix.media.commands.video import Picture, Segment
from phoenix.media.ffmpeg import Buffer, MediaTools, run_ffmpeg
from phoenix.media.stored_colour import StoredColour
from phoenix.media.timeline import SourceStream

# Of different sizes and rates, so that the second one has to be converted.
_FIRST, _SECOND = Picture(64, 48, Fraction(8)), Picture(48, 64, Fraction(12))
_FRAMES = 4
_CLIP_S = 0.5
_RAW_RATE_HZ = 16_000
_FLOAT_BYTES = 4
_HLG = StoredColour(matrix=9, transfer=18, primaries=9)
_SHAPE = SoundShape(start_s=0, sound_s=_CLIP_S, duration_s=_CLIP_S, fade_out_s=0.1)
_TARGET_LUFS = -16


class FfmpegUnusable(PhoenixError):
    """This ffmpeg cannot make a reel: install the extra `media`, or set PHOENIX_MEDIA__FFMPEG to another one."""


def run_shared_self_test(tools: MediaTools, folder: Path | None) -> None:
    """`run_self_test`, once for all processes that share `folder`: one of them tests while the others wait for it.

    It runs again for other settings, and for another file in the place of ffmpeg.
    """
    file = _open_record(folder) if folder else None
    if file is None:
        run_self_test(tools)
        return
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        line = _describe(tools)
        if line not in file.readlines():
            run_self_test(tools)
            # On a full disk the next process tests again.
            with suppress(OSError):
                os.write(file.fileno(), line.encode())


def _open_record(folder: Path) -> TextIO | None:
    """What was tested, in lines. None if a cleaner of temporary files has removed the folder, or the disk is full."""
    with suppress(OSError):
        return (folder / "tested").open("a+", encoding="utf-8")
    return None


def _describe(tools: MediaTools) -> str:
    """A line that differs for another file in the place of ffmpeg, and for other settings."""
    try:
        program = Path(tools.ffmpeg).stat()
    except OSError:
        return f"{tools!r}\n"
    return f"{program.st_ino} {program.st_size} {program.st_mtime_ns} {tools!r}\n"


@cache
def run_self_test(tools: MediaTools) -> None:
    """Makes clips, a cut, a crossfade, a poster of HDR and a soundtrack; once per process. Blocks for under a second.

    Raises `FfmpegUnusable`, which says what fails, and `TaskFailed` if the disk is full.
    """
    try:
        _make_reel(tools)
    except FfmpegUnusable:
        # One failure may be a lack of memory, and the refusal is for good.
        _make_reel(tools)


def _make_reel(tools: MediaTools) -> None:
    with TemporaryDirectory(prefix="phoenix-self-test-") as folder:
        trial = _Trial(Path(folder), tools)
        for step, run in (
            ("encode a clip", trial.encode_clips),
            ("encode a clip with sound", trial.encode_with_sound),
            ("join clips of different sizes and frame rates", trial.cut),
            ("crossfade clips", trial.crossfade),
            ("show HDR on an ordinary screen", trial.tone_map),
            ("add a soundtrack", trial.add_soundtrack),
        ):
            try:
                run()
            except (TaskFailed, ValueError, KeyError) as error:
                if isinstance(error, TaskFailed) and error.code is FailureCode.STORAGE_FULL:
                    raise
                raise FfmpegUnusable(f"{tools.ffmpeg} cannot {step}: {error}") from error


class _Trial:
    """The steps of one self-test. A step reads the files of earlier steps."""

    def __init__(self, folder: Path, tools: MediaTools) -> None:
        self._folder = folder
        self._tools = tools
        self._first, self._second, self._joined = folder / "first.mp4", folder / "second.mp4", folder / "joined.mp4"

    def encode_clips(self) -> None:
        for path, picture in ((self._first, _FIRST), (self._second, _SECOND)):
            frames = int(_CLIP_S * picture.fps)
            command = video.encode_frames(picture, self._tools.encoding, path)
            self._run(command, frames=frames, stdin_chunks=[b"\x80" * picture.frame_bytes] * frames)

    def encode_with_sound(self) -> None:
        samples = self._folder / "samples.raw"
        samples.write_bytes(bytes(int(_CLIP_S * _RAW_RATE_HZ) * _FLOAT_BYTES))
        track = sound.fit(sound.RawSound(samples, channels=1, rate_hz=_RAW_RATE_HZ), _CLIP_S, index=1)
        command = video.encode_frames(_FIRST, self._tools.encoding, self._folder / "talking.mp4", track)
        self._run(command, frames=_FRAMES, stdin_chunks=[b"\x80" * _FIRST.frame_bytes] * _FRAMES)

    def cut(self) -> None:
        converted = self._folder / "converted.mp4"
        self._join([Segment(SourceStream(self._second), 0, _FRAMES)], [], converted)
        concat_list = self._folder / "segments.txt"
        concat_list.write_text(video.concat_list_text([(self._first, _CLIP_S), (converted, _CLIP_S)]))
        # ffmpeg 7.0 counts no frames that it copies.
        self._run(video.join_copy(concat_list, 0, self._joined))

    def crossfade(self) -> None:
        segments = [Segment(SourceStream(self._first), 0, _FRAMES), Segment(SourceStream(self._second), 0, _FRAMES)]
        self._join(segments, [1], self._folder / "crossfaded.mp4")

    def tone_map(self) -> None:
        self._run(video.poster(SourceStream(self._first), _HLG, 0, _FIRST.width, self._folder / "poster.jpg"), frames=1)

    def add_soundtrack(self) -> None:
        tone, track = self._folder / "tone.m4a", self._folder / "track.m4a"
        # A square wave of 480 Hz.
        period = b"\x00\x10" * 100 + b"\x00\xf0" * 100
        self._run(sound.encode_samples(tone), stdin_chunks=[period * 240])
        loudness = sound.parse_loudness(self._run(sound.measure(SourceStream(tone), _SHAPE)))
        self._run(sound.prepare(SourceStream(tone), _SHAPE, Leveling(loudness, _TARGET_LUFS), track))
        self._run(sound.mix([SourceStream(tone), SourceStream(track)], [-6, 0], _CLIP_S, self._folder / "mixed.wav"))
        streams = SourceStream(self._joined), SourceStream(track)
        self._run(sound.mux_soundtrack(*streams, self._folder / "reel.mp4", fit_to_s=2 * _CLIP_S))

    def _join(self, segments: Sequence[Segment], overlaps: Sequence[int], output: Path) -> None:
        command = video.join_segments(segments, overlaps, _FIRST, self._tools.encoding, output)
        self._run(command, frames=_FRAMES * len(segments) - sum(overlaps))

    def _run(
        self, command: Sequence[str], *, frames: int | None = None, stdin_chunks: Sequence[Buffer] | None = None
    ) -> str:
        """Returns the error output. Raises `ValueError` for another number of frames in the result."""
        result = run_ffmpeg(command, tools=self._tools, stage=Stage.ASSEMBLE, stdin_chunks=stdin_chunks)
        if frames not in (None, result.progress.frames):
            raise ValueError(f"{result.progress.frames} frames were written, not {frames}")
        return result.stderr
