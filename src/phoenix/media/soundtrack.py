"""Prepares a soundtrack (cut, faded, padded, leveled), and mixes it under a video."""

from dataclasses import dataclass, replace
from pathlib import Path

from phoenix.clock import plain_number
from phoenix.contract import MediaInfo, SoundtrackRequest
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.media.commands import sound
from phoenix.media.errors import UnreadableMedia, invalid_media
from phoenix.media.ffmpeg import NO_CALLBACKS, FfmpegCallbacks, MediaTools, run_ffmpeg
from phoenix.media.probe import ProbedFile, ProbeLimits, probe_files
from phoenix.media.timeline import SourceStream

# The error of the loudness that is accepted without another correction, in loudness units.
_TOLERANCE_LU = 0.3
_CORRECTIONS = 3
# Each encoding moves the peak: by up to this number of decibels from one correction to the next.
_PEAK_MARGIN_DB = 0.3
# An AAC frame is 21 ms long: a sound with a smaller error needs no padding.
_FITS_WITHIN_S = 0.03


@dataclass(frozen=True)
class PreparedSound:
    """The length and the measured loudness of a prepared sound. Loudness and peak are None for silence."""

    duration_s: float
    loudness_lufs: float | None
    true_peak_dbtp: float | None


def prepare_soundtrack(
    source: Path,
    output: Path,
    request: SoundtrackRequest,
    *,
    duration_s: float | None,
    tools: MediaTools,
    callbacks: FfmpegCallbacks = NO_CALLBACKS,
) -> PreparedSound:
    """Writes `source` as AAC in an MP4, prepared for `request`.

    The length is `duration_s`, or the length of the sound if None. The integrated loudness is `request.loudness_lufs`,
    or lower if the true peak would exceed `PEAK_LIMIT_DBTP`. Silence stays silent. Raises `TaskFailed` (MEDIA_INVALID)
    if there is no usable sound.
    """
    found = _probe_sound(source, tools)
    stream = found.timeline.get_sound(source)
    shape = plan_shape(request, found.timeline.sound_s or 0, duration_s)
    measured = _measure(stream, shape, tools, callbacks)
    if measured.is_silent:
        _prepare(stream, shape, None, output, tools, callbacks)
        return PreparedSound(shape.duration_s, None, None)
    result = _level(stream, shape, sound.Leveling(measured, request.loudness_lufs), output, tools, callbacks)
    return PreparedSound(shape.duration_s, result.integrated_lufs, result.true_peak_dbtp)


def mux_soundtrack(
    video: Path, track: Path, output: Path, *, tools: MediaTools, callbacks: FfmpegCallbacks = NO_CALLBACKS
) -> MediaInfo:
    """Writes an MP4 with the pictures of `video` and with `track`, cut or padded to the length of the pictures."""
    picture, found = _probe(video, tools).timeline, _probe_sound(track, tools)
    picture_s, sound_s = picture.picture_s or 0, found.timeline.sound_s or 0
    fits = found.info.audio_codec == "aac" and abs(sound_s - picture_s) <= _FITS_WITHIN_S
    streams = picture.get_picture(video), found.timeline.get_sound(track)
    command = sound.mux_soundtrack(*streams, output, fit_to_s=None if fits else picture_s)
    run_ffmpeg(command, tools=tools, stage=Stage.ASSEMBLE, callbacks=callbacks)
    return _probe(output, tools).info


def plan_shape(request: SoundtrackRequest, source_s: float, duration_s: float | None) -> sound.SoundShape:
    """Returns the used part of a sound of `source_s` seconds. Raises `TaskFailed` if the part is empty."""
    left_s = source_s - request.start_s
    if left_s <= 0:
        detail = f"start_s is {plain_number(request.start_s)}, and the sound ends at {source_s:.1f} s"
        raise invalid_media(detail, Stage.SOUNDTRACK)
    total_s = left_s if duration_s is None else duration_s
    sound_s = min(left_s, total_s)
    return sound.SoundShape(
        start_s=request.start_s,
        sound_s=sound_s,
        duration_s=total_s,
        fade_in_s=min(request.fade_in_s, sound_s),
        fade_out_s=min(request.fade_out_s, sound_s),
    )


def plan_trim_db(result: sound.Loudness, target_lufs: float) -> float:
    """Returns the gain that a leveled sound still needs. The peak limit has priority. 0 if the error is small."""
    if result.is_silent:
        return 0
    gain_db = target_lufs - result.integrated_lufs
    headroom_db = sound.PEAK_LIMIT_DBTP - result.true_peak_dbtp
    if headroom_db < 0:
        return min(gain_db, headroom_db - _PEAK_MARGIN_DB)
    trim_db = min(gain_db, max(0.0, headroom_db - _PEAK_MARGIN_DB))
    return trim_db if abs(trim_db) > _TOLERANCE_LU else 0


def _level(
    source: SourceStream,
    shape: sound.SoundShape,
    leveling: sound.Leveling,
    output: Path,
    tools: MediaTools,
    callbacks: FfmpegCallbacks,
) -> sound.Loudness:
    """Prepares, measures the result (limiter and AAC are inexact), and corrects. Returns the last measurement."""
    _prepare(source, shape, leveling, output, tools, callbacks)
    result = _measure(SourceStream(output), _whole(shape), tools, callbacks)
    for _ in range(_CORRECTIONS):
        trim_db = plan_trim_db(result, leveling.target_lufs)
        if trim_db == 0:
            break
        leveling = replace(leveling, trim_db=leveling.trim_db + trim_db)
        _prepare(source, shape, leveling, output, tools, callbacks)
        result = _measure(SourceStream(output), _whole(shape), tools, callbacks)
    return result


def _whole(shape: sound.SoundShape) -> sound.SoundShape:
    return sound.SoundShape(start_s=0, sound_s=shape.duration_s, duration_s=shape.duration_s)


def _prepare(
    source: SourceStream,
    shape: sound.SoundShape,
    leveling: sound.Leveling | None,
    output: Path,
    tools: MediaTools,
    callbacks: FfmpegCallbacks,
) -> None:
    command = sound.prepare(source, shape, leveling, output)
    run_ffmpeg(command, tools=tools, stage=Stage.SOUNDTRACK, callbacks=callbacks)


def _measure(
    source: SourceStream, shape: sound.SoundShape, tools: MediaTools, callbacks: FfmpegCallbacks
) -> sound.Loudness:
    result = run_ffmpeg(sound.measure(source, shape), tools=tools, stage=Stage.SOUNDTRACK, callbacks=callbacks)
    try:
        return sound.parse_loudness(result.stderr)
    except (ValueError, KeyError) as error:
        detail = "ffmpeg reported no loudness"
        raise TaskFailed(FailureCode.ENGINE_FAILED, detail, stage=Stage.SOUNDTRACK) from error


def _probe_sound(source: Path, tools: MediaTools) -> ProbedFile:
    found = _probe(source, tools)
    if not found.timeline.sound_s:
        raise invalid_media("the soundtrack has no sound in it", Stage.SOUNDTRACK)
    return found


def _probe(source: Path, tools: MediaTools) -> ProbedFile:
    limits = ProbeLimits(max_duration_s=tools.max_part_s, timeout_s=tools.probe_timeout_s)
    try:
        return probe_files([source], limits)[0]
    except UnreadableMedia as error:
        raise invalid_media(f"the soundtrack cannot be used: {error.detail}", Stage.SOUNDTRACK) from error
