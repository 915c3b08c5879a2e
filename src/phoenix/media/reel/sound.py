"""Joins the sound of clips in sync with their pictures: with crossfades or cuts, like the pictures."""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import IO

from phoenix.errors import Stage
from phoenix.media.commands import sound
from phoenix.media.ffmpeg import FfmpegCallbacks, MediaTools, run_ffmpeg
from phoenix.media.timeline import SourceStream

_BLOCK_BYTES = 1 << 18
# Two channels of 16 bits each.
_SAMPLE_BYTES = 4


@dataclass(frozen=True)
class SoundPart:
    """The sound of a clip (None for no sound), and the length of the clip in frames of the reel."""

    source: SourceStream | None
    num_frames: int


def join_sound(
    parts: Sequence[SoundPart],
    overlaps: Sequence[int],
    fps: Fraction,
    output: Path,
    *,
    folder: Path,
    tools: MediaTools,
    callbacks: FfmpegCallbacks,
) -> None:
    """Writes AAC in an MP4 with the length of the reel. Parts i and i + 1 share `overlaps[i]` frames.

    `folder` has the samples of one part at a time. Raises the errors of `run_ffmpeg`.
    """
    mixer = _Mixer(
        parts, overlaps, fps, folder / "samples.raw", tools, FfmpegCallbacks(should_stop=callbacks.should_stop)
    )
    with closing(mixer.samples()) as samples:
        run_ffmpeg(
            sound.encode_samples(output), tools=tools, stage=Stage.ASSEMBLE, callbacks=callbacks, stdin_chunks=samples
        )


@dataclass(frozen=True)
class _Mixer:
    """Mixes the sound of the parts, one part after another."""

    parts: Sequence[SoundPart]
    overlaps: Sequence[int]
    fps: Fraction
    scratch: Path
    tools: MediaTools
    callbacks: FfmpegCallbacks

    def samples(self) -> Generator[bytes]:
        """Yields the sound of the reel in blocks of raw samples."""
        tail = b""
        first_frame = 0
        before = [0, *self.overlaps]
        after = [*self.overlaps, 0]
        for part, shared_before, shared_after in zip(self.parts, before, after, strict=True):
            last_frame = first_frame + part.num_frames
            head_bytes = self._bytes_between(first_frame, first_frame + shared_before)
            body_bytes = self._bytes_between(first_frame + shared_before, last_frame - shared_after)
            tail_bytes = self._bytes_between(last_frame - shared_after, last_frame)
            with self._open(part, shared_before, shared_after) as file:
                yield _mix(tail, _read(file, head_bytes))
                for start in range(0, body_bytes, _BLOCK_BYTES):
                    yield _read(file, min(_BLOCK_BYTES, body_bytes - start))
                tail = _read(file, tail_bytes)
            first_frame = last_frame - shared_after

    def _bytes_between(self, start: int, end: int) -> int:
        """Returns the bytes of sound between two frames of the reel.

        Counts from its start, so that errors do not add up.
        """
        return (self._sample_at(end) - self._sample_at(start)) * _SAMPLE_BYTES

    def _sample_at(self, frame: int) -> int:
        return round(frame / self.fps * sound.SAMPLE_RATE_HZ)

    def _open(self, part: SoundPart, shared_before: int, shared_after: int) -> IO[bytes]:
        if part.source is None:
            return BytesIO()
        fades_s = (float(shared_before / self.fps), float(shared_after / self.fps))
        command = sound.extract(part.source, float(part.num_frames / self.fps), fades_s, self.scratch)
        run_ffmpeg(command, tools=self.tools, stage=Stage.ASSEMBLE, callbacks=self.callbacks)
        return self.scratch.open("rb")


def _read(file: IO[bytes], size_bytes: int) -> bytes:
    """Returns exactly `size_bytes`, with silence after the end of the file."""
    return file.read(size_bytes).ljust(size_bytes, b"\0")


def _mix(first: bytes, second: bytes) -> bytes:
    """Returns the sum of two blocks of samples with equal length, clipped to 16 bits."""
    # numpy starts threads, and a process that is forked must not have any.
    import numpy as np  # noqa: PLC0415

    total = np.frombuffer(first, "<i2").astype(np.int32) + np.frombuffer(second, "<i2")
    return total.clip(-32768, 32767).astype("<i2").tobytes()
