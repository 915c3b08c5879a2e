"""The command lines: they open only their input files, with harmless demuxers, and have exact values."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoenix.media.commands import sound, video
from phoenix.media.commands.sound import Leveling, Loudness, RawSound, SoundShape
from phoenix.media.commands.video import Encoding, Picture, Segment
from phoenix.media.stored_colour import BT709
from phoenix.media.timeline import SourceStream

PICTURE = Picture(832, 480, Fraction(16))
SHAPE = SoundShape(start_s=1, sound_s=4, duration_s=6)
LOUDNESS = Loudness(integrated_lufs=-20, true_peak_dbtp=-3, range_lu=5, threshold_lufs=-30)
OUT = Path("/out/x.mp4")


def options(command: list[str], name: str) -> list[str]:
    """The value of every `name` in a command line."""
    return [value for option, value in pairwise(command) if option == name]


def graph(command: list[str]) -> str:
    (filters,) = options(command, "-filter_complex")
    return filters


ALL = {
    "encode": video.encode_frames(PICTURE, Encoding(), OUT),
    "encode with sound": video.encode_frames(
        PICTURE, Encoding(), OUT, sound.fit(RawSound(Path("s.raw"), channels=2, rate_hz=24_000), 2.5, index=1)
    ),
    "copy": video.join_copy(Path("list.txt"), 1, OUT),
    "segments": video.join_segments(
        [Segment(SourceStream(Path("a.mp4"), 1, 0.5), 0, 9), Segment(SourceStream(Path("b")), 3, 9)],
        [2],
        PICTURE,
        Encoding(),
        OUT,
    ),
    "poster": video.poster(SourceStream(Path("a.mp4")), BT709, 1.0, 640, OUT),
    "measure": sound.measure(SourceStream(Path("a.mp3")), SHAPE),
    "prepare": sound.prepare(SourceStream(Path("a.mp3")), SHAPE, Leveling(LOUDNESS, -16), OUT),
    "mix": sound.mix([SourceStream(Path("a.mp4"), 1), SourceStream(Path("b.m4a"))], [-12.5, 0], 2.5, OUT),
    "lay": sound.mux_soundtrack(SourceStream(Path("a.mp4")), SourceStream(Path("b.m4a")), OUT),
    "fit": sound.mux_soundtrack(SourceStream(Path("a.mp4")), SourceStream(Path("b.m4a")), OUT, fit_to_s=2.5),
}
every_command = pytest.mark.parametrize("command", ALL.values(), ids=ALL.keys())


@every_command
def test_ffmpeg_reads_no_terminal_and_reports_progress(command: list[str]) -> None:
    assert "-nostdin" in command
    assert options(command, "-progress") == ["pipe:1"]
    assert command[-1] == "-y"


@every_command
def test_every_input_is_guarded(command: list[str]) -> None:
    inputs = options(command, "-i")

    assert len(options(command, "-protocol_whitelist")) == len(inputs)
    assert set(options(command, "-protocol_whitelist")) <= {"file", "pipe"}
    assert all(source == "pipe:0" or source.startswith("file:/") for source in inputs)
    assert len(options(command, "-format_whitelist")) == len([source for source in inputs if source != "pipe:0"])


@every_command
def test_no_demuxer_that_opens_other_files_is_allowed(command: list[str]) -> None:
    for allowed in options(command, "-format_whitelist"):
        harmful = {"hls", "dash", "concat", "sdp", "image2", "lavfi", "tedcaptions"} & set(allowed.split(","))
        assert harmful <= ({"concat"} if command == ALL["copy"] else set())


def test_streams_are_named_by_their_index_in_the_file() -> None:
    assert graph(ALL["segments"]).startswith("[0:1]")
    assert options(ALL["copy"], "-map") == ["0:1"]
    assert options(ALL["lay"], "-map") == ["0:0", "1:0"]


def test_time_stamps_count_from_the_zero_of_their_file() -> None:
    assert "setpts=round(PTS-0.500000000/TB)" in graph(ALL["segments"]).replace("\\", "")
    assert all("-copyts" in ALL[name] for name in ("segments", "measure", "prepare"))


def test_a_segment_from_the_middle_of_a_clip_begins_at_its_own_frame() -> None:
    assert "setpts=round(PTS-0.187500000/TB)" in graph(ALL["segments"]).replace("\\", "")


@every_command
def test_no_command_cuts_the_picture_to_the_sound(command: list[str]) -> None:
    assert "-shortest" not in command


@given(st.text(st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1))
def test_a_name_is_never_an_option_or_a_protocol(name: str) -> None:
    command = sound.measure(SourceStream(Path("/in") / name), SHAPE)

    assert options(command, "-i") == [f"file:/in/{name}"] or name in {".", ".."}
    assert name not in graph(command) or len(name) < 15


def test_frames_come_from_a_pipe_and_leave_as_what_browsers_play() -> None:
    command = ALL["encode"]

    assert options(command, "-i") == ["pipe:0"]
    assert options(command, "-s") == ["832x480"]
    assert options(command, "-framerate") == ["16/1"]
    assert options(command, "-c:v") == ["libx264"]
    assert options(command, "-pix_fmt") == ["rgb24", "yuv420p"]
    assert options(command, "-movflags") == ["+faststart"]


def test_raw_samples_are_read_as_what_they_are_and_fitted_to_the_picture() -> None:
    command = ALL["encode with sound"]

    assert options(command, "-f")[-2:] == ["f32le", "mp4"]
    assert options(command, "-ar") == ["24000", "48000"]
    assert "apad=whole_dur=2.500000[s" in graph(command)
    assert "atrim=end=2.500000" in graph(command)


def test_a_mix_adds_sounds_up_without_clipping_them() -> None:
    filters = graph(ALL["mix"])

    assert filters.startswith("[0:1]")
    assert "volume=-12.50dB:precision=float" in filters
    assert "amix=inputs=2:normalize=0" in filters
    assert options(ALL["mix"], "-c:a") == ["pcm_f32le"]


def test_the_encoder_obeys_its_settings() -> None:
    command = video.encode_frames(PICTURE, Encoding(preset="medium", crf=18, threads=1), OUT)

    assert [options(command, name) for name in ("-preset", "-crf", "-threads")] == [["medium"], ["18"], ["1"]]


@pytest.mark.parametrize("name", ["encode", "encode with sound", "copy", "segments", "prepare", "mix", "lay", "fit"])
def test_files_carry_no_dates_and_versions(name: str) -> None:
    assert options(ALL[name], "-fflags") == ["+bitexact"]
    assert options(ALL[name], "-map_metadata") == ["-1"]


def test_a_clip_may_be_joined_to_itself() -> None:
    segments = [Segment(SourceStream(Path("a.mp4")), 0, 16)] * 3

    command = video.join_segments(segments, [4, 4], PICTURE, Encoding(), OUT)

    assert len(options(command, "-i")) == 3
    assert graph(command).count("xfade=duration=0.250000:offset=0.750000") == 1
    assert graph(command).count("xfade=duration=0.250000:offset=1.500000") == 1


@given(st.lists(st.tuples(st.integers(10, 90), st.integers(1, 5)), min_size=2, max_size=8))
def test_crossfades_begin_at_the_planned_frames(clips: list[tuple[int, int]]) -> None:
    segments = [Segment(SourceStream(Path("a.mp4")), 0, frames) for frames, _ in clips]
    overlaps = [overlap for _, overlap in clips[1:]]

    filters = graph(video.join_segments(segments, overlaps, PICTURE, Encoding(), OUT))

    begins = 0
    for (frames, _), overlap in zip(clips, overlaps, strict=False):
        begins += frames - overlap
        assert f"offset={begins / 16:.6f}" in filters


def test_a_concat_list_quotes_names_and_states_lengths() -> None:
    text = video.concat_list_text([(Path("/a/it's.mp4"), 2.5), (Path("/a/b c.mp4"), 1 / 3)])

    assert (
        text
        == r"""file 'file:/a/it'\''s.mp4'
duration 2.500000
file 'file:/a/b c.mp4'
duration 0.333333
"""
    )


def test_a_line_break_cannot_add_a_file_to_a_concat_list() -> None:
    with pytest.raises(ValueError, match="line break"):
        video.concat_list_text([(Path("/a'\nfile '/etc/passwd"), 1)])


def test_a_fade_out_ends_with_the_sound_and_not_with_the_padding() -> None:
    shape = SoundShape(start_s=0, sound_s=4, duration_s=10, fade_out_s=1)

    assert "afade=duration=1.000000:start_time=3.000000:type=out" in graph(
        sound.prepare(SourceStream(Path("a")), shape, None, OUT)
    )


def test_without_leveling_the_volume_does_not_change() -> None:
    assert "loudnorm" not in graph(sound.prepare(SourceStream(Path("a")), SHAPE, None, OUT))


def test_a_leveled_sound_goes_back_to_48_khz() -> None:
    filters = graph(ALL["prepare"])

    assert filters.index("aresample=48000", filters.index("loudnorm")) > 0
    assert "measured_I=-20.00" in filters
    assert options(ALL["prepare"], "-ar") == ["48000"]


@given(
    st.builds(Loudness, *[st.floats(-200, 200)] * 4),
    st.floats(-40, -5),
)
def test_loudnorm_gets_only_values_that_it_accepts(measured: Loudness, target_lufs: float) -> None:
    filters = graph(sound.prepare(SourceStream(Path("a")), SHAPE, Leveling(measured, target_lufs), OUT))

    figures = dict(part.split("=") for part in filters.split("loudnorm=")[1].split("[")[0].split(":"))
    assert -99 <= float(figures["measured_I"]) < 0
    assert -99 <= float(figures["measured_TP"]) <= 99
    assert 0 < float(figures["measured_LRA"]) <= 50
    assert -99 <= float(figures["measured_thresh"]) <= 0


@pytest.mark.parametrize(("seconds", "is_repeated"), [(0.1, True), (2.9, True), (3, False), (60, False)])
def test_only_a_short_sound_is_repeated_to_be_measured(seconds: float, is_repeated: bool) -> None:
    shape = SoundShape(start_s=0, sound_s=seconds, duration_s=seconds)

    assert ("aloop" in graph(sound.measure(SourceStream(Path("a")), shape))) is is_repeated


def test_a_loudness_report_between_other_lines_is_parsed() -> None:
    text = """Stream {x} [Parsed_loudnorm_0 @ 0x1]
{
	"input_i" : "-23.10", "input_tp" : "-4.5", "input_lra" : "6.0", "input_thresh" : "-33.4",
	"normalization_type" : "dynamic"
}
[out#0] video:0KiB"""

    assert sound.parse_loudness(text) == Loudness(-23.1, -4.5, 6.0, -33.4)


def test_silence_is_detected_by_its_loudness() -> None:
    text = '{"input_i" : "-inf", "input_tp" : "-inf", "input_lra" : "0.0", "input_thresh" : "-70.0"}'

    assert sound.parse_loudness(text).is_silent


def test_no_report_is_an_error() -> None:
    with pytest.raises(ValueError, match="substring"):
        sound.parse_loudness("nothing of the sort")


@pytest.mark.parametrize(
    "layout", ["mono", "stereo", "5.1(side)", "7.1.4", "1 channels (LFE)", "3 channels", "8 channels"]
)
def test_a_layout_that_the_resampler_knows_is_left_to_it(layout: str) -> None:
    source = SourceStream(Path("a"), channel_layout=layout)

    assert graph(sound.extract(source, 1, (0, 0), OUT)).startswith("[0:0]asetpts")


@pytest.mark.parametrize(
    ("layout", "filters"),
    [
        ("ambisonic 1", "channelmap=0|0:channel_layout=stereo"),
        ("ambisonic 3+stereo", "channelmap=0|0:channel_layout=stereo"),
        ("2 channels (BL+BR)", "channelmap=0|1:channel_layout=stereo"),
        ("9 channels", f"pan=stereo|c0<{'+'.join(f'c{i}' for i in range(9))}|c1<{'+'.join(f'c{i}' for i in range(9))}"),
        ("3 channels (TFL+TFR+BC)", "channelmap=0|1|2:channel_layout=3C[s0];[s0]pan=stereo|c0<c0+c1+c2|c1<c0+c1+c2"),
    ],
)
def test_any_other_layout_is_mapped_to_stereo_first(layout: str, filters: str) -> None:
    source, shape = SourceStream(Path("a"), channel_layout=layout), SoundShape(start_s=0, sound_s=1, duration_s=1)

    assert graph(sound.extract(source, 1, (0, 0), OUT)).startswith(f"[0:0]{filters}[")
    assert graph(sound.prepare(source, shape, None, OUT)).startswith(f"[0:0]{filters}[")
