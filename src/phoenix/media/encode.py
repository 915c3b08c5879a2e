"""Encodes a stream of frames, and a sound, to an MP4, with one frame in memory at a time. Makes posters."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile

from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.media.commands import video as commands
from phoenix.media.commands.graph import Stream
from phoenix.media.commands.sound import RawSound, fit
from phoenix.media.ffmpeg import NO_CALLBACKS, Buffer, FfmpegCallbacks, MediaTools, run_ffmpeg
from phoenix.media.probe import ProbeLimits, probe_files
from phoenix.media.stored_colour import BT709

# The time of the poster frame in a long video.
_POSTER_TIME_S = 1.0


@dataclass(frozen=True)
class Samples:
    """Sound as little-endian 32-bit floats from -1 to 1: for each time, a value per channel."""

    values: bytes = field(repr=False)
    channels: int
    rate_hz: int


def encode_clip(
    frames: Iterable[Buffer],
    picture: commands.Picture,
    output: Path,
    *,
    tools: MediaTools,
    num_frames: int,
    sound: Samples | None = None,
    resampling: commands.Resampling | None = None,
    callbacks: FfmpegCallbacks = NO_CALLBACKS,
) -> None:
    """Writes a clip like `encode_frames`, with its sound as AAC. The sound is padded with silence, or cut, to fit.

    Writes the samples to a file next to the output for as long as it takes.
    """
    encode = partial(
        encode_frames,
        frames,
        picture,
        output,
        tools=tools,
        num_frames=num_frames,
        resampling=resampling,
        callbacks=callbacks,
    )
    if sound is None:
        encode()
        return
    with NamedTemporaryFile(dir=output.parent, prefix="samples-") as file:
        file.write(sound.values)
        file.flush()
        raw = RawSound(Path(file.name), sound.channels, sound.rate_hz)
        length_s = resampling.num_frames / resampling.fps if resampling else num_frames / picture.fps
        encode(sound=fit(raw, float(length_s), index=1))


def encode_frames(
    frames: Iterable[Buffer],
    picture: commands.Picture,
    output: Path,
    *,
    tools: MediaTools,
    num_frames: int | None = None,
    sound: Stream | None = None,
    resampling: commands.Resampling | None = None,
    callbacks: FfmpegCallbacks = NO_CALLBACKS,
) -> int:
    """Writes rgb24 frames (rows from the top, `height * width * 3` bytes each) as an H.264 MP4.

    Returns the number of frames that came. `picture` has their frame rate, and `resampling` has the rate of the file.
    The same frames, settings and ffmpeg give the same bytes. Raises `TaskFailed` if a frame has another size, or if the
    number of frames is not `num_frames`. Raises the errors of `frames`.
    """
    if picture.width % 2 or picture.height % 2:
        raise _bad_frames(f"{picture.width}x{picture.height} cannot be encoded: H.264 needs even sizes")
    counter = _FrameCounter(frames, picture.frame_bytes)
    command = commands.encode_frames(picture, tools.encoding, output, sound, resampling)
    result = run_ffmpeg(command, tools=tools, stage=Stage.ENCODE, callbacks=callbacks, stdin_chunks=counter)
    expected = counter.count if num_frames is None else num_frames
    encoded = expected if resampling is None else resampling.num_frames
    if (counter.count, result.progress.frames) != (expected, encoded):
        raise _bad_frames(f"{expected} frames were due, {counter.count} came, {result.progress.frames} were encoded")
    return counter.count


def _bad_frames(detail: str) -> TaskFailed:
    return TaskFailed(FailureCode.ENGINE_FAILED, detail, stage=Stage.ENCODE)


class _FrameCounter:
    """Counts frames, and checks their sizes: a short frame would shift all later frames."""

    def __init__(self, frames: Iterable[Buffer], frame_bytes: int) -> None:
        self.count = 0
        self._frames = frames
        self._frame_bytes = frame_bytes

    def __iter__(self) -> Iterator[Buffer]:
        for frame in self._frames:
            size_bytes = memoryview(frame).nbytes
            if size_bytes != self._frame_bytes:
                raise _bad_frames(f"frame {self.count} has {size_bytes} bytes, not {self._frame_bytes}")
            self.count += 1
            yield frame
        if self.count == 0:
            raise _bad_frames("there were no frames to encode")


def write_poster(
    video: Path,
    output: Path,
    *,
    duration_s: float,
    tools: MediaTools,
    width_px: int = 640,
    callbacks: FfmpegCallbacks = NO_CALLBACKS,
) -> None:
    """Writes a JPEG, at most `width_px` wide, of a frame near the start. The first frame may still be black."""
    limits = ProbeLimits(max_duration_s=tools.max_part_s, timeout_s=tools.probe_timeout_s)
    (found,) = probe_files([video], limits)
    picture = found.timeline.get_picture(video)
    for at_s in (min(_POSTER_TIME_S, duration_s / 2), 0):
        command = commands.poster(picture, found.colour or BT709, at_s, width_px, output)
        run_ffmpeg(command, tools=tools, stage=Stage.ASSEMBLE, callbacks=callbacks)
        # A video of one frame has no frame in the middle: ffmpeg then succeeds without a file.
        if output.exists():
            return
