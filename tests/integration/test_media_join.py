"""The join of any clips to one video with exactly the planned frames."""

from fractions import Fraction
from pathlib import Path

import pytest

from fixtures.colour_bars import BarsMaker
from fixtures.media_files import MediaMaker, decode, sound_levels
from phoenix.contract import Transition
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.media.errors import MediaStopped
from phoenix.media.ffmpeg import FfmpegCallbacks, MediaTools, Progress
from phoenix.media.reel.join import join_clips


def crossfade(seconds: float) -> Transition:
    return Transition(kind="crossfade", duration_s=seconds)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "reel.mp4"


def test_matching_clips_are_joined_frame_by_frame(mp4_file: Path, output: Path, media_tools: MediaTools) -> None:
    info = join_clips([mp4_file] * 3, output, tools=media_tools)

    reel = decode(output)
    assert reel.num_frames == info.num_frames == 96
    assert (reel.width, reel.height, reel.steps) == (128, 72, {Fraction(1, 16)})


def test_matching_clips_are_not_encoded_again(bars: BarsMaker, output: Path, media_tools: MediaTools) -> None:
    clip = bars.yuv("clip.mp4", "bt709", "bt709", "bt709", "bt709")

    join_clips([clip] * 3, output, tools=media_tools)

    assert decode(output).colours == decode(clip).colours * 3


def test_one_clip_alone_is_a_reel(mp4_file: Path, output: Path, media_tools: MediaTools) -> None:
    join_clips([mp4_file], output, tools=media_tools, transition=crossfade(0.5))

    assert decode(output).num_frames == 32


def test_clips_are_joined_in_their_order(media: MediaMaker, output: Path, media_tools: MediaTools) -> None:
    colours = ["red", "blue", "lime"]
    clips = [media.video(f"{name}.mp4", frames=4, source=f"color={name}") for name in colours]

    join_clips([clips[2], clips[0], clips[1]], output, tools=media_tools)

    strongest = [colour.index(max(colour)) for colour in decode(output).colours]
    assert strongest == [1] * 4 + [0] * 4 + [2] * 4


def test_the_first_clip_decides_size_and_frame_rate(
    media: MediaMaker, mp4_file: Path, output: Path, media_tools: MediaTools
) -> None:
    tall = media.video("tall.mp4", frames=45, size="50x90", fps="30")
    web = media.video("web.webm", frames=24, size="64x64", fps="12")

    join_clips([mp4_file, tall, web, mp4_file], output, tools=media_tools)

    reel = decode(output)
    assert reel.num_frames == 32 + 24 + 32 + 32
    assert (reel.width, reel.height, reel.steps) == (128, 72, {Fraction(1, 16)})


def test_a_clip_of_another_aspect_ratio_gets_bars_and_is_not_stretched(
    media: MediaMaker, output: Path, media_tools: MediaTools
) -> None:
    wide = media.video("wide.mp4", frames=2, size="128x72", source="color=white")
    square = media.video("square.mp4", frames=2, size="72x72", source="color=white")
    join_clips([wide, square], output, tools=media_tools)
    frame = output.with_suffix(".png")

    media.ffmpeg("-ss", "0.13", "-i", str(output), "-frames:v", "1", "-update", "1", str(frame))

    rows = _grey_row(media, frame)
    assert max(rows[:24]) < 30
    assert min(rows[32:96]) > 220
    assert max(rows[104:]) < 30


def _grey_row(media: MediaMaker, picture: Path) -> bytes:
    raw = picture.with_suffix(".raw")
    media.ffmpeg("-i", str(picture), "-vf", "crop=128:1:0:36", "-pix_fmt", "gray", "-f", "rawvideo", str(raw))
    return raw.read_bytes()


def test_an_odd_sized_first_clip_is_made_even(media: MediaMaker, output: Path, media_tools: MediaTools) -> None:
    odd = media.video("odd.webm", frames=8, size="65x49")

    join_clips([odd, odd], output, tools=media_tools)

    reel = decode(output)
    assert (reel.width, reel.height, reel.num_frames) == (64, 48, 16)


def test_a_video_from_a_phone_held_upright_stands_upright(
    media: MediaMaker, mp4_file: Path, output: Path, media_tools: MediaTools
) -> None:
    """Its pictures are stored lying, with a note to turn them."""
    phone = media.folder / "phone.mp4"
    media.ffmpeg("-display_rotation", "90", "-i", str(mp4_file), "-c", "copy", str(phone))

    join_clips([phone, mp4_file, phone], output, tools=media_tools)

    reel = decode(output)
    assert (reel.width, reel.height, reel.num_frames) == (72, 128, 96)


def test_stretched_pixels_are_made_square(media: MediaMaker, output: Path, media_tools: MediaTools) -> None:
    square, wide = media.video("square.mp4", frames=4, size="64x72"), media.folder / "wide.mp4"
    media.ffmpeg("-i", str(square), "-vf", "setsar=2/1", "-c:v", "libx264", str(wide))

    join_clips([wide, wide], output, tools=media_tools)

    reel = decode(output)
    assert (reel.width, reel.height, reel.num_frames) == (128, 72, 8)


@pytest.mark.parametrize("fps", ["7", "24", "30000/1001"])
def test_no_frame_is_off_its_beat_at_any_rate(
    media: MediaMaker, output: Path, media_tools: MediaTools, fps: str
) -> None:
    clips = [media.video(f"{frames}.mp4", frames=frames, fps=fps) for frames in (7, 11)] * 6

    join_clips(clips, output, tools=media_tools)

    reel = decode(output)
    assert (reel.num_frames, reel.steps) == (108, {1 / Fraction(fps)})


def test_a_crossfade_overlaps_the_clips(mp4_file: Path, output: Path, media_tools: MediaTools) -> None:
    join_clips([mp4_file] * 3, output, tools=media_tools, transition=crossfade(0.5))

    reel = decode(output)
    assert reel.num_frames == 3 * 32 - 2 * 8
    assert reel.steps == {Fraction(1, 16)}


def test_a_crossfade_blends(media: MediaMaker, output: Path, media_tools: MediaTools) -> None:
    red = media.video("red.mp4", frames=16, source="color=red")
    blue = media.video("blue.mp4", frames=16, source="color=blue")

    join_clips([red, blue], output, tools=media_tools, transition=crossfade(0.5))

    reds = [colour[0] for colour in decode(output).colours]
    assert len(reds) == 24
    assert min(reds[:8]) > 240
    assert reds[8:17] == sorted(reds[8:17], reverse=True)
    assert 90 < reds[12] < 170
    assert max(reds[17:]) < 15


@pytest.mark.parametrize("count", [7, 8, 9, 15, 16, 17, 23])
def test_a_long_crossfaded_reel_has_no_seam(mp4_file: Path, output: Path, media_tools: MediaTools, count: int) -> None:
    """Around the sizes at which the work is split into several commands."""
    join_clips([mp4_file] * count, output, tools=media_tools, transition=crossfade(0.25))

    reel = decode(output)
    assert reel.num_frames == count * 32 - (count - 1) * 4
    assert reel.steps == {Fraction(1, 16)}


def test_a_split_in_a_long_reel_changes_no_picture(media: MediaMaker, output: Path, media_tools: MediaTools) -> None:
    """Every clip is one grey, so that in the reel each body has its clip's grey."""
    greys = [20 + 8 * index for index in range(20)]
    clips = [media.video(f"{g}.mp4", frames=12, source=f"color=0x{g:02x}{g:02x}{g:02x}") for g in greys]

    join_clips(clips, output, tools=media_tools, transition=crossfade(0.25))

    found = [colour[0] for colour in decode(output).colours]
    middles = [found[index * 8 + 6] for index in range(20)]
    assert middles == pytest.approx(greys, abs=4)
    assert found == pytest.approx(sorted(found), abs=2)


def test_clips_that_differ_can_be_crossfaded(
    media: MediaMaker, mp4_file: Path, output: Path, media_tools: MediaTools
) -> None:
    other = media.video("other.webm", frames=75, size="100x100", fps="25")

    join_clips([mp4_file, other] * 5, output, tools=media_tools, transition=crossfade(0.5))

    reel = decode(output)
    assert reel.num_frames == 5 * 32 + 5 * 48 - 9 * 8
    assert (reel.width, reel.height, reel.steps) == (128, 72, {Fraction(1, 16)})


def test_a_crossfade_is_shortened_for_a_clip_that_is_too_short_for_it(
    media: MediaMaker, mp4_file: Path, output: Path, media_tools: MediaTools
) -> None:
    short = media.video("short.mp4", frames=6)

    join_clips([mp4_file, short, mp4_file], output, tools=media_tools, transition=crossfade(2))

    assert decode(output).num_frames == 32 + 6 + 32 - 3 - 3


def test_a_clip_of_one_frame_is_cut_to(
    media: MediaMaker, mp4_file: Path, output: Path, media_tools: MediaTools
) -> None:
    single = media.video("single.mp4", frames=1)

    join_clips([mp4_file, single, mp4_file], output, tools=media_tools, transition=crossfade(0.5))

    assert decode(output).num_frames == 65


def test_the_sound_of_clips_can_be_left_out(media: MediaMaker, output: Path, media_tools: MediaTools) -> None:
    clip = media.video_with_sound("talking.mp4", seconds=2)

    join_clips([clip, clip], output, tools=media_tools, keep_sound=False)

    reel = decode(output)
    assert (reel.num_frames, reel.steps, reel.sound_s) == (64, {Fraction(1, 16)}, 0)


@pytest.mark.parametrize("transition", [crossfade(0.5), Transition()])
def test_the_sound_of_clips_is_in_sync_with_their_pictures(
    media: MediaMaker, mp4_file: Path, output: Path, media_tools: MediaTools, transition: Transition
) -> None:
    talking = media.video_with_sound("talking.mp4", seconds=2)

    info = join_clips([mp4_file, talking, mp4_file], output, tools=media_tools, transition=transition)

    overlap = 8 if transition.kind == "crossfade" else 0
    reel = decode(output)
    assert reel.num_frames == 96 - 2 * overlap
    assert reel.steps == {Fraction(1, 16)}
    assert info.audio_codec == "aac"
    assert reel.sound_s == pytest.approx(reel.duration_s, abs=0.05)
    heard = sound_levels(output)
    begin, end = (32 - overlap) / 16, (64 - overlap) / 16
    assert max(heard[: int(begin * 10) - 1]) < 0.01
    assert min(heard[int(begin * 10) + 6 : int(end * 10) - 6]) > 0.05
    assert max(heard[int(end * 10) + 2 :]) < 0.01


def test_two_sounds_are_crossfaded_without_a_dip_or_a_click(
    media: MediaMaker, output: Path, media_tools: MediaTools
) -> None:
    clips = [media.video_with_sound(f"{name}.mp4", seconds=2) for name in "ab"]

    join_clips(clips, output, tools=media_tools, transition=crossfade(1))

    heard = sound_levels(output)
    steady = heard[5]
    assert len(heard) >= 29
    assert max(heard[1:-1]) < 1.2 * steady
    assert min(heard[1:-1]) > 0.8 * steady


def test_a_clip_that_was_cut_short_is_refused_by_its_number(
    media: MediaMaker, mp4_file: Path, output: Path, media_tools: MediaTools
) -> None:
    with pytest.raises(TaskFailed, match="clip 1 cannot be joined") as caught:
        join_clips([mp4_file, media.beginning_of(mp4_file)], output, tools=media_tools)

    assert (caught.value.code, caught.value.stage) == (FailureCode.MEDIA_INVALID, Stage.ASSEMBLE)
    assert not caught.value.retriable


def test_a_sound_is_no_clip(mp4_file: Path, wav_file: Path, output: Path, media_tools: MediaTools) -> None:
    with pytest.raises(TaskFailed, match="clip 1 cannot be joined: it is no video"):
        join_clips([mp4_file, wav_file], output, tools=media_tools)


def test_names_with_quotes_and_spaces_are_only_names(
    media: MediaMaker, mp4_file: Path, output: Path, media_tools: MediaTools
) -> None:
    odd = media.folder / "it's\\ a 'clip' # [0:v];,=|.mp4"
    odd.write_bytes(mp4_file.read_bytes())

    join_clips([odd, odd], output, tools=media_tools)

    assert decode(output).num_frames == 64


def test_progress_rises_over_all_the_commands_of_a_join(mp4_file: Path, output: Path, media_tools: MediaTools) -> None:
    seen: list[Progress] = []

    join_clips(
        [mp4_file] * 20,
        output,
        tools=media_tools,
        transition=crossfade(0.5),
        callbacks=FfmpegCallbacks(on_progress=seen.append),
    )

    frames = [progress.frames for progress in seen]
    assert frames == sorted(frames)
    assert frames[-1] == 20 * 32 - 19 * 8


def test_a_stopped_join_leaves_no_segments(mp4_file: Path, output: Path, media_tools: MediaTools) -> None:
    with pytest.raises(MediaStopped):
        join_clips(
            [mp4_file] * 3,
            output,
            tools=media_tools,
            transition=crossfade(0.5),
            callbacks=FfmpegCallbacks(lambda: True),
        )

    assert list(output.parent.iterdir()) == []
