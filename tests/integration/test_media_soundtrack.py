"""A soundtrack is as long, as loud and as faded as asked for, and lies under all of the picture."""

from pathlib import Path

import av
import pytest

from fixtures.media_files import MediaMaker, decode, sound_levels
from phoenix.contract import SoundtrackRequest
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.media.errors import MediaStopped
from phoenix.media.ffmpeg import FfmpegCallbacks, MediaTools
from phoenix.media.soundtrack import mux_soundtrack, prepare_soundtrack

AAC_FRAME_S = 1024 / 48_000
SECONDS = 4
"""Of a sound that is not short: ffmpeg treats those of less than three seconds in another way."""
MUSIC = "aevalsrc='(0.1+0.3*lt(mod(t,0.5),0.1))*sin(2*PI*220*t)+0.05*sin(2*PI*1760*t)+0.02*random(0)'"
CLICKS = "aevalsrc='0.9*sin(2*PI*440*t)*lt(mod(t,1),0.02)'"


def wish(**fields: float) -> SoundtrackRequest:
    return SoundtrackRequest.model_validate({"url": "https://sounds.example/a.mp3", **fields})


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "soundtrack.m4a"


@pytest.mark.parametrize("source", [MUSIC, "anoisesrc=c=pink:a=0.05:seed=1", "sine=440"])
@pytest.mark.parametrize("target_lufs", [-24, -16, -14])
def test_ordinary_sound_lands_within_one_unit_of_the_requested_loudness(
    media: MediaMaker, output: Path, media_tools: MediaTools, source: str, target_lufs: float
) -> None:
    sound = media.sound("in.wav", seconds=SECONDS, source=source)

    prepare_soundtrack(sound, output, wish(loudness_lufs=target_lufs), duration_s=None, tools=media_tools)

    measured = media.loudness(output, SECONDS)
    assert measured.integrated_lufs == pytest.approx(target_lufs, abs=1)
    assert measured.true_peak_dbtp <= -1.5


@pytest.mark.parametrize("source", [CLICKS, MUSIC, "anoisesrc=c=white:a=0.9:seed=1", "sine=440,volume=18dB"])
def test_the_peak_stays_below_its_limit_for_any_requested_loudness(
    media: MediaMaker, output: Path, media_tools: MediaTools, source: str
) -> None:
    sound = media.sound("in.wav", seconds=SECONDS, source=source)

    prepared = prepare_soundtrack(sound, output, wish(loudness_lufs=-5), duration_s=None, tools=media_tools)

    measured = media.loudness(output, SECONDS)
    assert measured.true_peak_dbtp <= -1.5
    assert prepared.true_peak_dbtp == pytest.approx(measured.true_peak_dbtp, abs=0.05)


@pytest.mark.parametrize("seconds", [0.1, 0.5, 1, 2.9])
def test_a_short_sound_reaches_the_requested_loudness_too(
    media: MediaMaker, output: Path, media_tools: MediaTools, seconds: float
) -> None:
    sound = media.sound("in.wav", seconds=seconds)

    prepared = prepare_soundtrack(sound, output, wish(), duration_s=None, tools=media_tools)

    assert prepared.loudness_lufs == pytest.approx(-16, abs=1)
    assert media.loudness(output, seconds).integrated_lufs == pytest.approx(-16, abs=1)


def test_silence_stays_silent(media: MediaMaker, output: Path, media_tools: MediaTools) -> None:
    sound = media.sound("in.wav", source="anullsrc=r=48000:cl=stereo", seconds=3)

    prepared = prepare_soundtrack(sound, output, wish(), duration_s=5, tools=media_tools)

    assert (prepared.duration_s, prepared.loudness_lufs) == (5, None)
    assert max(sound_levels(output)) < 0.001
    assert decode(output).sound_s == pytest.approx(5, abs=2 * AAC_FRAME_S)


def test_a_long_sound_is_cut_to_the_picture(mp3_file: Path, output: Path, media_tools: MediaTools) -> None:
    prepare_soundtrack(mp3_file, output, wish(), duration_s=2.5, tools=media_tools)

    assert decode(output).sound_s == pytest.approx(2.5, abs=2 * AAC_FRAME_S)


def test_a_short_sound_is_followed_by_silence(wav_file: Path, output: Path, media_tools: MediaTools) -> None:
    prepare_soundtrack(wav_file, output, wish(), duration_s=6, tools=media_tools)

    heard = sound_levels(output)
    assert decode(output).sound_s == pytest.approx(6, abs=2 * AAC_FRAME_S)
    assert min(heard[1:39]) > 0.1
    assert max(heard[42:]) < 0.001


def test_it_begins_where_start_s_says(media: MediaMaker, output: Path, media_tools: MediaTools) -> None:
    """Quiet for two seconds, then loud."""
    sound = media.sound("in.flac", source="aevalsrc='(0.01+0.4*gte(t,2))*sin(2*PI*440*t)'", seconds=4)

    prepared = prepare_soundtrack(sound, output, wish(start_s=1.5), duration_s=None, tools=media_tools)

    heard = sound_levels(output)
    assert prepared.duration_s == pytest.approx(2.5, abs=0.01)
    assert max(heard[:4]) < 0.1 * max(heard)
    assert min(heard[6:20]) > 0.8 * max(heard)


def test_it_fades_in_and_out(wav_file: Path, output: Path, media_tools: MediaTools) -> None:
    prepare_soundtrack(wav_file, output, wish(fade_in_s=1, fade_out_s=1), duration_s=4, tools=media_tools)

    heard = sound_levels(output)
    loudest = max(heard)
    assert heard[0] < 0.2 * loudest
    assert heard[5] == pytest.approx(loudest / 2, rel=0.25)
    assert min(heard[12:28]) > 0.9 * loudest
    assert heard[34] == pytest.approx(loudest / 2, rel=0.25)
    assert heard[38] < 0.25 * loudest


def test_a_sound_that_ends_before_the_picture_fades_at_its_own_end(
    wav_file: Path, output: Path, media_tools: MediaTools
) -> None:
    prepare_soundtrack(wav_file, output, wish(fade_out_s=1), duration_s=8, tools=media_tools)

    heard = sound_levels(output)
    assert heard[34] == pytest.approx(max(heard) / 2, rel=0.25)
    assert heard[38] < 0.25 * max(heard)


def test_the_result_is_stereo_at_48_khz(mp3_file: Path, output: Path, media_tools: MediaTools) -> None:
    prepare_soundtrack(mp3_file, output, wish(), duration_s=3, tools=media_tools)

    with av.open(str(output)) as container:
        context = container.streams.audio[0].codec_context
        assert (context.sample_rate, context.channels, context.name) == (48_000, 2, "aac")


def test_the_sound_of_a_video_can_be_used(media: MediaMaker, output: Path, media_tools: MediaTools) -> None:
    video = media.video_with_sound("talking.mp4")

    prepare_soundtrack(video, output, wish(), duration_s=None, tools=media_tools)

    assert decode(output).num_frames == 0
    assert decode(output).sound_s == pytest.approx(2, abs=0.1)


def test_the_same_sound_gives_the_same_bytes(wav_file: Path, tmp_path: Path, media_tools: MediaTools) -> None:
    outputs = [tmp_path / "a.m4a", tmp_path / "b.m4a"]

    for output in outputs:
        prepare_soundtrack(wav_file, output, wish(), duration_s=3, tools=media_tools)

    assert outputs[0].read_bytes() == outputs[1].read_bytes()


def test_a_start_after_the_end_is_refused(wav_file: Path, output: Path, media_tools: MediaTools) -> None:
    with pytest.raises(TaskFailed, match=r"start_s is 9, and the sound ends at 4\.0 s") as caught:
        prepare_soundtrack(wav_file, output, wish(start_s=9), duration_s=3, tools=media_tools)

    assert (caught.value.code, caught.value.stage) == (FailureCode.MEDIA_INVALID, Stage.SOUNDTRACK)


def test_a_silent_film_is_no_soundtrack(mp4_file: Path, output: Path, media_tools: MediaTools) -> None:
    with pytest.raises(TaskFailed, match="no sound") as caught:
        prepare_soundtrack(mp4_file, output, wish(), duration_s=3, tools=media_tools)

    assert caught.value.code == FailureCode.MEDIA_INVALID


def test_a_broken_file_is_no_soundtrack(
    media: MediaMaker, mp3_file: Path, output: Path, media_tools: MediaTools
) -> None:
    with pytest.raises(TaskFailed, match="incomplete") as caught:
        prepare_soundtrack(media.beginning_of(mp3_file), output, wish(), duration_s=3, tools=media_tools)

    assert caught.value.code == FailureCode.MEDIA_INVALID
    assert not caught.value.retriable


def test_a_stop_takes_effect(mp3_file: Path, output: Path, media_tools: MediaTools) -> None:
    with pytest.raises(MediaStopped):
        prepare_soundtrack(
            mp3_file,
            output,
            wish(),
            duration_s=3,
            tools=media_tools,
            callbacks=FfmpegCallbacks(should_stop=lambda: True),
        )


@pytest.mark.parametrize("seconds", [0.5, 1.06, 2, 10])
def test_every_frame_is_kept_whatever_the_length_of_the_sound(
    media: MediaMaker, mp4_file: Path, media_tools: MediaTools, seconds: float
) -> None:
    """`-shortest` would cut the picture to a shorter sound."""
    sound, output = media.sound("in.wav", seconds=seconds), media.folder / "both.mp4"

    info = mux_soundtrack(mp4_file, sound, output, tools=media_tools)

    both = decode(output)
    assert both.num_frames == info.num_frames == 32
    assert both.steps == decode(mp4_file).steps
    assert both.sound_s == pytest.approx(2, abs=2 * AAC_FRAME_S)
    assert info.audio_codec == "aac"


def test_a_prepared_sound_is_added_without_encoding_either_again(
    mp4_file: Path, wav_file: Path, output: Path, tmp_path: Path, media_tools: MediaTools
) -> None:
    prepare_soundtrack(wav_file, output, wish(), duration_s=2, tools=media_tools)

    mux_soundtrack(mp4_file, output, tmp_path / "both.mp4", tools=media_tools)

    assert decode(tmp_path / "both.mp4").colours == decode(mp4_file).colours
    assert packets(tmp_path / "both.mp4") == packets(output)


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams.audio[0]) if packet.size]
