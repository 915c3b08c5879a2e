"""Command lines that make and measure sound, and mix it under a picture."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from phoenix.media.commands.graph import (
    KEEP_TIME,
    Stream,
    combine,
    open_file,
    open_pipe,
    open_stream,
    since,
    write_file,
    write_nothing,
)
from phoenix.media.timeline import SAMPLE_RATE_HZ, SourceStream

SAMPLE_FORMAT = "s16le"
PEAK_LIMIT_DBTP = -1.5
# AAC moves peaks by some tenths of a decibel (0.6 seen), so the limiter aims below the limit.
_PEAK_AIM_DBTP = -2.5
# Loudness is measured in windows of 0.4 to 3 s: shorter sounds are repeated to fill a window.
_SHORTEST_MEASURED_S = 3.0
_REPRODUCIBLE = {"fflags": "+bitexact", "flags:a": "+bitexact", "map_metadata": -1}
# Floats, so that nothing is clipped before a sum is leveled.
_FLOAT_WAV = {"c:a": "pcm_f32le", "f": "wav", "rf64": "auto"}
# About 11 dB below a voice of -16 LUFS. Slow to return, so that the bed does not pump between words.
_DUCKING = {"threshold": 0.03, "ratio": 4, "attack": 25, "release": 450, "knee": 4}
_SPARE_S = 10
AAC = {"c:a": "aac", "b:a": "192k", "ar": SAMPLE_RATE_HZ, "ac": 2}
_MP4 = {"f": "mp4", "movflags": "+faststart"}
# How ffmpeg names a layout without a name: "9 channels", or "2 channels (BL+BR)" if it knows the loudspeakers.
_NAMELESS_LAYOUT = re.compile(r"(\d{1,2}) channels( \()?")
_MAX_GUESSED_CHANNELS = 8


@dataclass(frozen=True)
class RawSound:
    """A file of little-endian 32-bit floats from -1 to 1: for each time, a value per channel."""

    path: Path
    channels: int
    rate_hz: int


@dataclass(frozen=True)
class SoundShape:
    """The used part of a sound: `sound_s` seconds from `start_s`, then silence up to `duration_s`."""

    start_s: float
    sound_s: float
    duration_s: float
    fade_in_s: float = 0
    fade_out_s: float = 0


@dataclass(frozen=True)
class Loudness:
    """Measurements by EBU R 128. `integrated_lufs` is minus infinity for silence."""

    integrated_lufs: float
    true_peak_dbtp: float
    range_lu: float
    threshold_lufs: float

    @property
    def is_silent(self) -> bool:
        return not math.isfinite(self.integrated_lufs) or self.integrated_lufs <= -70


@dataclass(frozen=True)
class Leveling:
    """The measured and the target loudness. `trim_db` corrects the remaining error of an earlier pass."""

    measured: Loudness
    target_lufs: float
    trim_db: float = 0


def measure(source: SourceStream, shape: SoundShape) -> list[str]:
    """Returns the command that measures the result of `prepare` without leveling. `parse_loudness` reads its output."""
    sound = _shaped(source, shape)
    if shape.duration_s < _SHORTEST_MEASURED_S:
        repeats = math.ceil(_SHORTEST_MEASURED_S / shape.duration_s)
        sound = sound.filter("aloop", loop=repeats, size=math.ceil(shape.duration_s * SAMPLE_RATE_HZ))
    return write_nothing(sound.filter("loudnorm", print_format="json"), KEEP_TIME)


def parse_loudness(stderr: str) -> Loudness:
    """Parses the output of `measure`. Raises `ValueError` or `KeyError` if it has no report."""
    start, end = stderr.rindex("{"), stderr.rindex("}")
    report = json.loads(stderr[start : end + 1])
    return Loudness(
        integrated_lufs=float(report["input_i"]),
        true_peak_dbtp=float(report["input_tp"]),
        range_lu=float(report["input_lra"]),
        threshold_lufs=float(report["input_thresh"]),
    )


def prepare(source: SourceStream, shape: SoundShape, leveling: Leveling | None, output: Path) -> list[str]:
    """Returns the command that cuts, fades, pads and levels a sound, and writes AAC in an MP4."""
    sound = _shaped(source, shape)
    if leveling is not None:
        sound = _leveled(sound, leveling)
    return write_file([sound], output, {**AAC, **_REPRODUCIBLE, **_MP4, **KEEP_TIME})


def extract(clip: SourceStream, duration_s: float, fades_s: tuple[float, float], output: Path) -> list[str]:
    """Returns the command that writes the sound of a clip as raw samples (`SAMPLE_FORMAT`).

    The result is `duration_s` long, and fades in and out for `fades_s`.
    """
    fade_in_s, fade_out_s = fades_s
    track = _from_zero(clip)
    track = _padded(_faded(track, duration_s, fade_in_s, fade_out_s), duration_s)
    return write_file([track], output, {"f": SAMPLE_FORMAT, "ac": 2, "ar": SAMPLE_RATE_HZ, **KEEP_TIME})


def raw_samples(sound: SourceStream, rate_hz: int, channels: Literal[1, 2], output: Path) -> list[str]:
    """Returns the command that writes a sound as raw 32-bit floats, from the zero of its file on."""
    layout = "mono" if channels == 1 else "stereo"
    track = _from_zero(sound).filter("aformat", channel_layouts=layout).filter("aresample", rate_hz)
    return write_file([track], output, {"f": "f32le", "ac": channels, "ar": rate_hz, **KEEP_TIME})


def encode_samples(output: Path) -> list[str]:
    """Returns the command that encodes raw stereo samples on standard input to AAC in an MP4."""
    samples = open_pipe(format=SAMPLE_FORMAT, ar=SAMPLE_RATE_HZ, ac=2)["a:0"]
    return write_file([samples], output, {**AAC, **_REPRODUCIBLE, **_MP4})


def mix(sounds: Sequence[SourceStream], gains_db: Sequence[float], duration_s: float, output: Path) -> list[str]:
    """Returns the command that adds up sounds from the start of their files, each with its gain, for `duration_s`.

    Writes a WAV.
    """
    tracks = [
        _padded(_from_zero(sound, index).filter("aformat", channel_layouts="stereo"), duration_s)
        .filter("aformat", sample_fmts="fltp")
        .filter("volume", f"{gain_db:.2f}dB", precision="float")
        for index, (sound, gain_db) in enumerate(zip(sounds, gains_db, strict=True))
    ]
    mixed = combine(tracks, "amix", inputs=len(tracks), normalize=0)
    return write_file([mixed], output, {**_FLOAT_WAV, **_REPRODUCIBLE, **KEEP_TIME})


def place(sounds: Sequence[tuple[SourceStream, float]], duration_s: float, output: Path) -> list[str]:
    """Returns the command that adds up sounds, each from its time in seconds on, to a WAV of this length."""
    tracks = [
        _padded(_delayed(_from_zero(sound, index), start_s), duration_s)
        for index, (sound, start_s) in enumerate(sounds)
    ]
    mixed = tracks[0] if len(tracks) == 1 else combine(tracks, "amix", inputs=len(tracks), normalize=0)
    return write_file([mixed], output, {**_FLOAT_WAV, **_REPRODUCIBLE, **KEEP_TIME})


def duck(bed: SourceStream, voice: SourceStream, duration_s: float, output: Path) -> list[str]:
    """Returns the command that lays a voice over a bed, which is quieter while the voice is heard, as a WAV."""
    # The compressor drops what it has not compared when one of its inputs ends, so both end later than the result.
    below = _padded(_from_zero(bed, 0).filter("aformat", channel_layouts="stereo"), duration_s + _SPARE_S)
    # The voice is opened twice, since a stream of a graph has one reader.
    keys = _padded(_from_zero(voice, 1), duration_s + 2 * _SPARE_S)
    heard = _padded(_from_zero(voice, 2), duration_s)
    ducked = combine([below, keys], "sidechaincompress", **_DUCKING)
    mixed = _padded(combine([ducked, heard], "amix", inputs=2, normalize=0), duration_s)
    return write_file([mixed], output, {**_FLOAT_WAV, **_REPRODUCIBLE, **KEEP_TIME})


def _delayed(sound: Stream, start_s: float) -> Stream:
    stereo = sound.filter("aformat", sample_fmts="fltp", channel_layouts="stereo")
    return stereo.filter("adelay", delays=f"{round(start_s * 1000)}", all=1)


def fit(raw: RawSound, duration_s: float, *, index: int) -> Stream:
    """Returns a raw sound as an input with this index: padded with silence, or cut, to `duration_s`."""
    samples = open_file(raw.path, index=index, demuxers=("f32le",), format="f32le", ar=raw.rate_hz, ac=raw.channels)[
        "a:0"
    ]
    return _padded(samples.filter("aresample", SAMPLE_RATE_HZ), duration_s)


def mux_soundtrack(
    video: SourceStream, sound: SourceStream, output: Path, *, fit_to_s: float | None = None
) -> list[str]:
    """Returns the command that writes picture and sound to one MP4. Copies the picture.

    Copies the sound too, unless `fit_to_s` is given: then the sound is padded with silence or cut to that length.
    (`-shortest` would cut the picture: 16 frames for a sound that is 0.94 s too short.)
    """
    picture = open_stream(video, index=0)
    track = open_stream(sound, index=1)
    options: dict[str, Any] = {"c:v": "copy", "c:a": "copy"}
    if fit_to_s is not None:
        track = _padded(track, fit_to_s)
        options |= AAC
    return write_file([picture, track], output, {**options, **_REPRODUCIBLE, **_MP4})


def _from_zero(source: SourceStream, index: int = 0) -> Stream:
    """Returns the sound from the zero of its file on. Silence fills its gaps, also before its start.

    So the sound stays in sync with the picture.
    """
    sound = _with_known_layout(open_stream(source, index=index), source.channel_layout)
    sound = sound.filter("asetpts", since(source.zero_s))
    return sound.filter("aresample", SAMPLE_RATE_HZ, **{"async": 1, "first_pts": 0})


def _shaped(source: SourceStream, shape: SoundShape) -> Stream:
    sound = (
        _from_zero(source)
        .filter("atrim", start=_number(shape.start_s), end=_number(shape.start_s + shape.sound_s))
        .filter("asetpts", "PTS-STARTPTS")
        .filter("aformat", sample_fmts="fltp", channel_layouts="stereo")
    )
    # The fade ends with the sound, because a fade over the padding would be inaudible.
    sound = _faded(sound, shape.sound_s, shape.fade_in_s, shape.fade_out_s)
    return _padded(sound, shape.duration_s)


def _with_known_layout(sound: Stream, layout: str) -> Stream:
    """Returns the sound in a layout that ffmpeg's resampler brings to stereo.

    The resampler knows the layouts that have a name, and guesses the loudspeakers of up to eight channels. Ambisonic
    sound has its sum in its first channel. Two channels are taken for left and right. Any other unusual number of
    channels, such as the tracks of a recorder, is mixed in equal parts.
    """
    if layout.startswith("ambisonic"):
        return _chosen(sound, [0, 0], "stereo")
    match = _NAMELESS_LAYOUT.match(layout)
    channels = int(match[1]) if match else 1
    if match is None or channels == 1 or (channels <= _MAX_GUESSED_CHANNELS and not match[2]):
        return sound
    if channels == 2:
        return _chosen(sound, [0, 1], "stereo")
    if match[2]:
        sound = _chosen(sound, range(channels), f"{channels}C")
    mix = "+".join(f"c{channel}" for channel in range(channels))
    return sound.filter("pan", f"stereo|c0<{mix}|c1<{mix}")


def _chosen(sound: Stream, channels: Sequence[int], layout: str) -> Stream:
    # `pan` would pass the layout to the resampler, which fails at it.
    return sound.filter("channelmap", "|".join(map(str, channels)), channel_layout=layout)


def _faded(sound: Stream, sound_s: float, fade_in_s: float, fade_out_s: float) -> Stream:
    if fade_in_s > 0:
        sound = sound.filter("afade", type="in", start_time=0, duration=_number(fade_in_s))
    if fade_out_s > 0:
        start_s = max(0.0, sound_s - fade_out_s)
        sound = sound.filter("afade", type="out", start_time=_number(start_s), duration=_number(fade_out_s))
    return sound


def _padded(sound: Stream, duration_s: float) -> Stream:
    seconds = _number(duration_s)
    return sound.filter("apad", whole_dur=seconds).filter("atrim", end=seconds)


def _leveled(sound: Stream, leveling: Leveling) -> Stream:
    measured = leveling.measured
    sound = sound.filter(
        "loudnorm",
        I=leveling.target_lufs,
        TP=_PEAK_AIM_DBTP,
        # A plain gain if the peak allows it: loudnorm compresses if the measured range is above LRA, or is 0,
        # as for a steady tone.
        LRA=50,
        linear="true",
        measured_I=_within(measured.integrated_lufs, -99, -0.01),
        measured_TP=_within(measured.true_peak_dbtp, -99, 99),
        measured_LRA=_within(measured.range_lu, 0.1, 50),
        measured_thresh=_within(measured.threshold_lufs, -99, 0),
    )
    # loudnorm may output 192 kHz, which AAC does not support.
    sound = sound.filter("aresample", SAMPLE_RATE_HZ)
    if leveling.trim_db:
        sound = sound.filter("volume", f"{leveling.trim_db:.2f}dB")
    return sound


def _within(value: float, lowest: float, highest: float) -> str:
    return f"{min(max(value, lowest), highest):.2f}"


def _number(seconds: float) -> str:
    return f"{seconds:.6f}"
