"""Prepares a soundtrack (cut, faded, padded, leveled), mixes it with the sound of clips, and lays it under a video."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory

from phoenix.clock import plain_number
from phoenix.contract import MediaInfo, SoundSource, SoundtrackRequest
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.media.commands import sound
from phoenix.media.errors import UnreadableMedia, invalid_media
from phoenix.media.ffmpeg import NO_CALLBACKS, FfmpegCallbacks, FfmpegResult, MediaTools, run_ffmpeg
from phoenix.media.probe import ProbedFile, ProbeLimits, probe_files
from phoenix.media.timeline import SourceStream

_RunCommand = Callable[[list[str]], FfmpegResult]
"""Runs one command, like `run_ffmpeg`."""

# The error of the loudness that is accepted without another correction, in loudness units.
_TOLERANCE_LU = 0.3
_CORRECTIONS = 3
# Each encoding moves the peak: by up to this number of decibels from one correction to the next.
_PEAK_MARGIN_DB = 0.3
# An AAC frame is 21 ms long: a sound with a smaller error needs no padding.
_FITS_WITHIN_S = 0.03
# More would make the noise of clips heard that are almost silent.
_MOST_GAIN_DB = 20


@dataclass(frozen=True)
class PreparedSound:
    """The length and the measured loudness of a prepared sound. Loudness and peak are None for silence."""

    duration_s: float
    loudness_lufs: float | None
    true_peak_dbtp: float | None


@dataclass(frozen=True)
class PlacedSound:
    """A sound that begins at `start_s` of a result."""

    path: Path
    start_s: float


def prepare_soundtrack(
    source: Path,
    output: Path,
    request: SoundSource,
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
    run = partial(run_ffmpeg, tools=tools, stage=Stage.SOUNDTRACK, callbacks=callbacks)
    result = _write_leveled(stream, shape, request.loudness_lufs, output, run)
    if result is None:
        return PreparedSound(shape.duration_s, None, None)
    return PreparedSound(shape.duration_s, result.integrated_lufs, result.true_peak_dbtp)


def level_sound(
    source: Path, output: Path, loudness_lufs: float, *, tools: MediaTools, callbacks: FfmpegCallbacks = NO_CALLBACKS
) -> float:
    """Writes the whole sound of a file as AAC in an MP4, with this loudness. Returns its length in seconds.

    Raises `TaskFailed` (MEDIA_INVALID) if there is no usable sound.
    """
    found = _probe_sound(source, tools)
    length_s = found.timeline.sound_s or 0
    shape = sound.SoundShape(start_s=0, sound_s=length_s, duration_s=length_s)
    run = partial(run_ffmpeg, tools=tools, stage=Stage.SOUNDTRACK, callbacks=callbacks)
    _write_leveled(found.timeline.get_sound(source), shape, loudness_lufs, output, run)
    return length_s


def mix_narration(
    speeches: Sequence[PlacedSound],
    bed: Path | None,
    output: Path,
    *,
    duration_s: float,
    loudness_lufs: float,
    tools: MediaTools,
    callbacks: FfmpegCallbacks = NO_CALLBACKS,
) -> None:
    """Writes speeches over `bed`, any file with sound, as AAC in an MP4 of this length and loudness.

    The bed is quieter by about 11 dB while somebody speaks. The speeches have been leveled.
    """
    run = partial(run_ffmpeg, tools=tools, stage=Stage.ASSEMBLE, callbacks=callbacks)
    with TemporaryDirectory(dir=output.parent, prefix="voice-") as folder:
        voice = Path(folder) / "voice.wav"
        placed = [(find_sound(speech.path, tools)[0], speech.start_s) for speech in speeches]
        run(sound.place(placed, duration_s, voice))
        mixed = voice
        if bed is not None:
            mixed = Path(folder) / "mixed.wav"
            below, _ = find_sound(bed, tools)
            run(sound.duck(below, SourceStream(voice), duration_s, mixed))
        shape = sound.SoundShape(start_s=0, sound_s=duration_s, duration_s=duration_s)
        _write_leveled(SourceStream(mixed), shape, loudness_lufs, output, run)


def mix_soundtrack(
    video: Path,
    track: Path,
    output: Path,
    request: SoundtrackRequest,
    *,
    tools: MediaTools,
    callbacks: FfmpegCallbacks = NO_CALLBACKS,
) -> Path:
    """Writes the soundtrack `track` and the sound of `video` together, as AAC in an MP4 as long as the picture.

    The sound of the video is `request.clip_sound_db` louder than the soundtrack, and both together have the loudness
    that is requested for the soundtrack. Returns `output`; or `track`, without a mix, if the video is silent.
    """
    ours, theirs = _probe(video, tools).timeline, _probe_sound(track, tools).timeline
    picture_s = ours.picture_s or 0
    sounds = ours.get_sound(video), theirs.get_sound(track)
    run = partial(run_ffmpeg, tools=tools, stage=Stage.ASSEMBLE, callbacks=callbacks)
    whole = sound.SoundShape(start_s=0, sound_s=picture_s, duration_s=picture_s)
    clips, music = (_measure(stream, whole, run) for stream in sounds)
    if clips.is_silent:
        return track
    gain_db = plan_clip_gain_db(clips, music, request)
    with NamedTemporaryFile(dir=output.parent, prefix="mix-", suffix=".wav") as mixed:
        run(sound.mix(sounds, [gain_db, 0], picture_s, Path(mixed.name)))
        _write_leveled(SourceStream(Path(mixed.name)), whole, request.loudness_lufs, output, run)
    return output


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


def plan_shape(request: SoundSource, source_s: float, duration_s: float | None) -> sound.SoundShape:
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


def find_sound(path: Path, tools: MediaTools) -> tuple[SourceStream, float]:
    """The sound of a file, and its length in seconds. Raises `TaskFailed` (MEDIA_INVALID) if it has none."""
    timeline = _probe_sound(path, tools).timeline
    return timeline.get_sound(path), timeline.sound_s or 0


def measure_clip_gain_db(
    clip: SourceStream,
    length_s: float,
    request: SoundtrackRequest,
    *,
    tools: MediaTools,
    callbacks: FfmpegCallbacks = NO_CALLBACKS,
) -> float:
    """Returns the gain for the sound of one clip of a reel with a soundtrack; 0 if the clip is silent."""
    run = partial(run_ffmpeg, tools=tools, stage=Stage.ENCODE, callbacks=callbacks)
    measured = _measure(clip, sound.SoundShape(start_s=0, sound_s=length_s, duration_s=length_s), run)
    if measured.is_silent:
        return 0
    return min(_MOST_GAIN_DB, request.loudness_lufs + request.clip_sound_db - measured.integrated_lufs)


def plan_clip_gain_db(clips: sound.Loudness, music: sound.Loudness, request: SoundtrackRequest) -> float:
    """Returns the gain for the sound of clips that is not silent. The soundtrack may be silent."""
    reference_lufs = request.loudness_lufs if music.is_silent else music.integrated_lufs
    return min(_MOST_GAIN_DB, reference_lufs + request.clip_sound_db - clips.integrated_lufs)


def _write_leveled(
    source: SourceStream, shape: sound.SoundShape, target_lufs: float, output: Path, run: _RunCommand
) -> sound.Loudness | None:
    """Writes the sound as AAC in an MP4, with an integrated loudness of `target_lufs`. Returns what it measured there.

    The loudness is lower if the true peak would exceed `PEAK_LIMIT_DBTP`. Silence stays silent, and gives None. Raises
    the errors of `run`.
    """
    measured = _measure(source, shape, run)
    if measured.is_silent:
        run(sound.prepare(source, shape, None, output))
        return None
    leveling = sound.Leveling(measured, target_lufs)
    result = _prepare(source, shape, leveling, output, run)
    for _ in range(_CORRECTIONS):
        trim_db = plan_trim_db(result, target_lufs)
        if trim_db == 0:
            break
        leveling = replace(leveling, trim_db=leveling.trim_db + trim_db)
        result = _prepare(source, shape, leveling, output, run)
    return result


def _measure(source: SourceStream, shape: sound.SoundShape, run: _RunCommand) -> sound.Loudness:
    """Returns the loudness of a part of a sound. Raises the errors of `run`."""
    result = run(sound.measure(source, shape))
    try:
        return sound.parse_loudness(result.stderr)
    except (ValueError, KeyError) as error:
        detail = "ffmpeg reported no loudness"
        raise TaskFailed(FailureCode.ENGINE_FAILED, detail, stage=Stage.SOUNDTRACK) from error


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


def _prepare(
    source: SourceStream, shape: sound.SoundShape, leveling: sound.Leveling, output: Path, run: _RunCommand
) -> sound.Loudness:
    """Writes the sound, and returns the loudness of the result: limiter and AAC are inexact."""
    run(sound.prepare(source, shape, leveling, output))
    whole = sound.SoundShape(start_s=0, sound_s=shape.duration_s, duration_s=shape.duration_s)
    return _measure(SourceStream(output), whole, run)


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
