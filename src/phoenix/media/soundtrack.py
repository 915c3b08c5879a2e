"""Prepares a soundtrack (cut, faded, padded, leveled), and lays it under a video."""

from dataclasses import dataclass, replace
from pathlib import Path

from phoenix.contract.artifacts import MediaInfo
from phoenix.contract.requests import SoundtrackRequest
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.media.commands import sound
from phoenix.media.errors import UnreadableMedia, invalid_media
from phoenix.media.ffmpeg import NO_CALLBACKS, FfmpegCallbacks, MediaTools, run_ffmpeg
from phoenix.media.probe import ProbeLimits, probe_media

# How far the result may be off before it is corrected once more, in loudness units.
_TOLERANCE_LU = 0.3
_CORRECTIONS = 3
# Each encoding moves the peak: by up to this much, in decibels, from one trim to the next.
_PEAK_MARGIN_DB = 0.3
# An AAC frame is 21 ms: a sound that is off by less needs no padding.
_FITS_WITHIN_S = 0.03


@dataclass(frozen=True)
class PreparedSound:
    """What was measured of a prepared sound; loudness and peak are None for silence."""

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
    """Writes `source` as AAC in an MP4, `duration_s` long (as long as the sound if None), as `request` wants it.

    The integrated loudness is `request.loudness_lufs`, except where that would put the true peak over
    `PEAK_LIMIT_DBTP`; silence stays silent. Raises `TaskFailed` with MEDIA_INVALID where there is no sound to use.
    """
    shape = plan_shape(request, _probe_sound(source, tools).duration_s or 0, duration_s)
    measured = _measure(source, shape, tools, callbacks)
    if measured.is_silent:
        _prepare(source, shape, None, output, tools, callbacks)
        return PreparedSound(shape.duration_s, None, None)
    result = _level(source, shape, sound.Leveling(measured, request.loudness_lufs), output, tools, callbacks)
    return PreparedSound(shape.duration_s, result.integrated_lufs, result.true_peak_dbtp)


def mux_soundtrack(
    video: Path, track: Path, output: Path, *, tools: MediaTools, callbacks: FfmpegCallbacks = NO_CALLBACKS
) -> MediaInfo:
    """Writes an MP4 of the pictures of `video` with `track` under all of them, neither longer nor shorter."""
    picture_s = _probe(video, tools).duration_s or 0
    found = _probe_sound(track, tools)
    fits = found.audio_codec == "aac" and abs((found.duration_s or 0) - picture_s) <= _FITS_WITHIN_S
    fit_to_s = None if fits else picture_s
    command = sound.mux_soundtrack(video, track, output, fit_to_s=fit_to_s)
    run_ffmpeg(command, tools=tools, stage=Stage.ASSEMBLE, callbacks=callbacks)
    return _probe(output, tools)


def plan_shape(request: SoundtrackRequest, source_s: float, duration_s: float | None) -> sound.SoundShape:
    """Which part of a sound of `source_s` seconds is used. Raises `TaskFailed` if none of it is."""
    left_s = source_s - request.start_s
    if left_s <= 0:
        detail = f"start_s is {request.start_s:g}, and the sound ends at {source_s:.1f} s"
        raise invalid_media(detail, Stage.SOUNDTRACK)
    wanted_s = left_s if duration_s is None else duration_s
    sound_s = min(left_s, wanted_s)
    return sound.SoundShape(
        start_s=request.start_s,
        sound_s=sound_s,
        duration_s=wanted_s,
        fade_in_s=min(request.fade_in_s, sound_s),
        fade_out_s=min(request.fade_out_s, sound_s),
    )


def plan_trim_db(result: sound.Loudness, target_lufs: float) -> float:
    """The gain that a leveled sound still needs; the limit on its peak comes first. 0 if it is close enough."""
    if result.is_silent:
        return 0
    wanted_db = target_lufs - result.integrated_lufs
    peak_room_db = sound.PEAK_LIMIT_DBTP - result.true_peak_dbtp
    if peak_room_db < 0:
        return min(wanted_db, peak_room_db - _PEAK_MARGIN_DB)
    trim_db = min(wanted_db, max(0.0, peak_room_db - _PEAK_MARGIN_DB))
    return trim_db if abs(trim_db) > _TOLERANCE_LU else 0


def _level(
    source: Path,
    shape: sound.SoundShape,
    leveling: sound.Leveling,
    output: Path,
    tools: MediaTools,
    callbacks: FfmpegCallbacks,
) -> sound.Loudness:
    """Prepares, measures the result (limiter and AAC both miss a little), and corrects. Returns the last measure."""
    _prepare(source, shape, leveling, output, tools, callbacks)
    result = _measure(output, _whole(shape), tools, callbacks)
    for _ in range(_CORRECTIONS):
        trim_db = plan_trim_db(result, leveling.target_lufs)
        if trim_db == 0:
            break
        leveling = replace(leveling, trim_db=leveling.trim_db + trim_db)
        _prepare(source, shape, leveling, output, tools, callbacks)
        result = _measure(output, _whole(shape), tools, callbacks)
    return result


def _whole(shape: sound.SoundShape) -> sound.SoundShape:
    return sound.SoundShape(start_s=0, sound_s=shape.duration_s, duration_s=shape.duration_s)


def _prepare(
    source: Path,
    shape: sound.SoundShape,
    leveling: sound.Leveling | None,
    output: Path,
    tools: MediaTools,
    callbacks: FfmpegCallbacks,
) -> None:
    command = sound.prepare(source, shape, leveling, output)
    run_ffmpeg(command, tools=tools, stage=Stage.SOUNDTRACK, callbacks=callbacks)


def _measure(source: Path, shape: sound.SoundShape, tools: MediaTools, callbacks: FfmpegCallbacks) -> sound.Loudness:
    result = run_ffmpeg(sound.measure(source, shape), tools=tools, stage=Stage.SOUNDTRACK, callbacks=callbacks)
    try:
        return sound.parse_loudness(result.stderr)
    except (ValueError, KeyError) as error:
        detail = "ffmpeg reported no loudness"
        raise TaskFailed(FailureCode.ENGINE_FAILED, detail, stage=Stage.SOUNDTRACK) from error


def _probe_sound(source: Path, tools: MediaTools) -> MediaInfo:
    info = _probe(source, tools)
    if info.audio_codec is None or not info.duration_s:
        raise invalid_media("the soundtrack has no sound in it", Stage.SOUNDTRACK)
    return info


def _probe(source: Path, tools: MediaTools) -> MediaInfo:
    limits = ProbeLimits(max_duration_s=tools.max_part_s, timeout_s=tools.probe_timeout_s)
    try:
        return probe_media(source, limits)
    except UnreadableMedia as error:
        raise invalid_media(f"the soundtrack cannot be used: {error.detail}", Stage.SOUNDTRACK) from error
