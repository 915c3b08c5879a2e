"""Decodes videos and sounds: to raw frames in a file or one after the other, to a picture, or to raw samples."""

import os
import select
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Literal

from phoenix.clock import in_seconds
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.media.commands import sound as sound_commands
from phoenix.media.commands import video as commands
from phoenix.media.errors import MediaStopped, UnreadableMedia, invalid_media
from phoenix.media.ffmpeg import NO_CALLBACKS, FfmpegCallbacks, FfmpegResult, MediaTools, run_ffmpeg
from phoenix.media.probe import ProbedFile, ProbeLimits, probe_files
from phoenix.media.stored_colour import BT709


def decode_video(
    video: Path,
    picture: commands.Picture,
    output: Path,
    *,
    max_frames: int,
    min_frames: int,
    tools: MediaTools,
    limits: ProbeLimits,
    from_end: bool = False,
    callbacks: FfmpegCallbacks = NO_CALLBACKS,
) -> int:
    """Writes the first frames of `video` as raw rgb24, sampled at the rate of `picture` and cropped to fill its size.

    Writes `max_frames`, or fewer if the video is shorter; with `from_end`, the last frames. Returns how many.
    Raises `TaskFailed` (MEDIA_INVALID) for an unreadable video, and for a video of fewer than `min_frames`.
    """
    found = _probe(video, limits)
    total = found.timeline.count_frames(picture.fps)
    count = min(max_frames, total)
    if count < min_frames:
        long_s, needed_s = (in_seconds(float(frames / picture.fps)) for frames in (count, min_frames))
        raise invalid_media(f"a video of the clip is {long_s} long, and {needed_s} are needed", Stage.FETCH)
    start = total - count if from_end else 0
    segment = commands.Segment(found.timeline.get_picture(video), start, start + count, found.colour or BT709)
    run_ffmpeg(commands.decode_frames(segment, picture, output), tools=tools, stage=Stage.FETCH, callbacks=callbacks)
    written = output.stat().st_size
    if written != count * picture.frame_bytes:
        detail = f"ffmpeg wrote {written} bytes where {count} frames of {picture.frame_bytes} bytes were due"
        raise TaskFailed(FailureCode.ENGINE_FAILED, detail, stage=Stage.FETCH, retriable=True)
    return count


# The reader decides how long the decoding takes. Its caller limits that time.
_AS_LONG_AS_THE_READER_S = 7 * 86400
_POLL_MS = 100
_PIPE_BYTES = 1 << 20


@contextmanager
def open_frames(
    video: Path,
    picture: commands.Picture,
    pipe: Path,
    *,
    num_frames: int,
    start: int = 0,
    tools: MediaTools,
    limits: ProbeLimits,
    callbacks: FfmpegCallbacks = NO_CALLBACKS,
) -> Generator[Iterator[bytes]]:
    """Yields frames of `video` from `start` on as rgb24, in the size and at the rate of `picture`, one at a time.

    Makes a named pipe at `pipe` for the time of the block. At the end of the block the decoder has ended, also if
    frames are left. Reading raises `TaskFailed`, and `MediaStopped` on a stop.
    """
    found, is_over = _probe(video, limits), Event()
    segment = commands.Segment(found.timeline.get_picture(video), start, start + num_frames, found.colour or BT709)
    command = commands.decode_frames(segment, picture, pipe)
    patient = replace(tools, timeout_s=_AS_LONG_AS_THE_READER_S)
    watched = FfmpegCallbacks(lambda: is_over.is_set() or callbacks.should_stop(), callbacks.on_progress)
    os.mkfifo(pipe, 0o600)
    # Opened for writing too, so that opening waits for nobody, and an end is the end of the decoder.
    reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    with ThreadPoolExecutor(1, thread_name_prefix="decode") as pool:
        decoding = pool.submit(run_ffmpeg, command, tools=patient, stage=Stage.FETCH, callbacks=watched)
        try:
            yield _read_frames(reader, picture.frame_bytes, decoding)
        finally:
            is_over.set()
            with suppress(TaskFailed, MediaStopped):
                decoding.result()
            os.close(reader)
            pipe.unlink()


def _read_frames(reader: int, frame_bytes: int, decoding: "Future[FfmpegResult]") -> Iterator[bytes]:
    frame, written = bytearray(), select.poll()
    written.register(reader, select.POLLIN)
    while True:
        # Asked before the read: what was written before the end is read after it.
        has_ended = decoding.done()
        try:
            frame += os.read(reader, min(_PIPE_BYTES, frame_bytes - len(frame)))
        except BlockingIOError:
            if has_ended:
                break
            written.poll(_POLL_MS)
        if len(frame) == frame_bytes:
            yield bytes(frame)
            frame.clear()
    decoding.result()
    if frame:
        detail = f"ffmpeg ended in the middle of a frame, after {len(frame)} of {frame_bytes} bytes"
        raise TaskFailed(FailureCode.ENGINE_FAILED, detail, stage=Stage.FETCH, retriable=True)


def count_frames(video: Path, limits: ProbeLimits) -> tuple[int, commands.Picture]:
    """Returns how many frames a video has at its own rate, and its even size and rate. Raises `TaskFailed`."""
    found = _probe(video, limits)
    assert found.timeline.picture is not None
    fps = found.timeline.picture.fps
    width, height = (max(2, (side or 0) // 2 * 2) for side in (found.info.width, found.info.height))
    return found.timeline.count_frames(fps), commands.Picture(width, height, fps)


def decode_sound(
    source: Path,
    output: Path,
    *,
    rate_hz: int,
    channels: Literal[1, 2] = 1,
    tools: MediaTools,
    limits: ProbeLimits,
    callbacks: FfmpegCallbacks = NO_CALLBACKS,
) -> None:
    """Writes the sound of a file as raw 32-bit floats. Raises `TaskFailed`, and `MediaStopped` on a stop."""
    try:
        (found,) = probe_files([source], limits)
    except UnreadableMedia as error:
        raise invalid_media(f"the sound cannot be read: {error.detail}", Stage.FETCH) from error
    if not found.timeline.sound_s:
        raise invalid_media("the file of the sound has no sound in it", Stage.FETCH)
    command = sound_commands.raw_samples(found.timeline.get_sound(source), rate_hz, channels, output)
    run_ffmpeg(command, tools=tools, stage=Stage.FETCH, callbacks=callbacks)


def write_last_frame(
    video: Path,
    output: Path,
    *,
    tools: MediaTools,
    limits: ProbeLimits,
    callbacks: FfmpegCallbacks = NO_CALLBACKS,
) -> None:
    """Writes the last frame of `video` as a PNG, in the size and the colours in which a player shows it.

    Raises `TaskFailed` (MEDIA_INVALID) for an unreadable video, and `MediaStopped` on a stop.
    """
    found = _probe(video, limits)
    assert found.timeline.picture is not None
    last = found.timeline.picture.num_frames - 1
    command = commands.still(found.timeline.get_picture(video), found.colour or BT709, last, output)
    run_ffmpeg(command, tools=tools, stage=Stage.FETCH, callbacks=callbacks)
    # ffmpeg succeeds without a file if no frame has this number.
    if not output.exists():
        raise invalid_media(f"a video of the clip does not have the {last + 1} frames that it states", Stage.FETCH)


def _probe(video: Path, limits: ProbeLimits) -> ProbedFile:
    try:
        (found,) = probe_files([video], limits)
    except UnreadableMedia as error:
        raise invalid_media(f"a video of the clip cannot be read: {error.detail}", Stage.FETCH) from error
    if found.timeline.picture is None:
        raise invalid_media("a video of the clip has no moving picture", Stage.FETCH)
    return found
