"""Decodes a video that guides a clip: to raw frames in the size and at the frame rate of the clip, or to a picture."""

from pathlib import Path

from phoenix.clock import in_seconds
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.media.commands import video as commands
from phoenix.media.errors import UnreadableMedia, invalid_media
from phoenix.media.ffmpeg import NO_CALLBACKS, FfmpegCallbacks, MediaTools, run_ffmpeg
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
