"""The encoding of frames to an MP4, whose decoded frames equal the frames before."""

import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from fixtures.media_files import decode
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.media.commands.video import Picture, Resampling
from phoenix.media.encode import encode_frames
from phoenix.media.errors import MediaStopped
from phoenix.media.ffmpeg import FfmpegCallbacks, MediaTools, Progress

SMALL = Picture(64, 48, Fraction(16))
RED, GREEN, BLUE = b"\xff\x00\x00", b"\x00\xff\x00", b"\x00\x00\xff"


def frames_of(*colours: bytes, picture: Picture = SMALL) -> Iterator[bytes]:
    for colour in colours:
        yield colour * (picture.width * picture.height)


def test_every_frame_is_there_at_its_time_and_size(tmp_path: Path, media_tools: MediaTools) -> None:
    output = tmp_path / "clip.mp4"

    written = encode_frames(frames_of(*[RED] * 17), SMALL, output, tools=media_tools, num_frames=17)

    clip = decode(output)
    assert written == clip.num_frames == 17
    assert (clip.width, clip.height) == (64, 48)
    assert clip.steps == {Fraction(1, 16)}
    assert clip.sound_s == 0


@pytest.mark.parametrize("fps", [Fraction(1), Fraction(7), Fraction(24), Fraction(30000, 1001), Fraction(60)])
def test_any_frame_rate_is_kept_exactly(tmp_path: Path, media_tools: MediaTools, fps: Fraction) -> None:
    output = tmp_path / "clip.mp4"

    encode_frames(frames_of(*[BLUE] * 9), Picture(64, 48, fps), output, tools=media_tools)

    assert decode(output).steps == {1 / fps}


def test_colours_and_their_order_survive(tmp_path: Path, media_tools: MediaTools) -> None:
    output = tmp_path / "clip.mp4"

    encode_frames(frames_of(RED, RED, GREEN, GREEN, BLUE, BLUE), SMALL, output, tools=media_tools)

    strongest = [colour.index(max(colour)) for colour in decode(output).colours]
    assert strongest == [0, 0, 1, 1, 2, 2]


def test_the_same_frames_give_the_same_bytes(tmp_path: Path, media_tools: MediaTools) -> None:
    outputs = [tmp_path / "first.mp4", tmp_path / "second.mp4"]

    for output in outputs:
        encode_frames(frames_of(*[RED, GREEN] * 20), SMALL, output, tools=media_tools)

    assert outputs[0].read_bytes() == outputs[1].read_bytes()


def test_the_index_comes_first_so_that_a_player_can_start_at_once(tmp_path: Path, media_tools: MediaTools) -> None:
    output = tmp_path / "clip.mp4"

    encode_frames(frames_of(*[RED] * 8), SMALL, output, tools=media_tools)

    data = output.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_memoryviews_of_a_reused_buffer_are_encoded_one_by_one(tmp_path: Path, media_tools: MediaTools) -> None:
    buffer = bytearray(SMALL.frame_bytes)

    def frames() -> Iterator[memoryview]:
        for colour in (RED, GREEN, BLUE):
            buffer[:] = colour * (SMALL.width * SMALL.height)
            yield memoryview(buffer)

    encode_frames(frames(), SMALL, tmp_path / "clip.mp4", tools=media_tools)

    strongest = [colour.index(max(colour)) for colour in decode(tmp_path / "clip.mp4").colours]
    assert strongest == [0, 1, 2]


def test_frames_are_pulled_one_at_a_time(tmp_path: Path, media_tools: MediaTools) -> None:
    """More than a pipe and an encoder's look-ahead can hold: the rest must not have been asked for when it stops."""
    pulled = 0
    stopping = threading.Event()
    picture = Picture(640, 480, Fraction(16))

    def frames() -> Iterator[bytes]:
        nonlocal pulled
        for _ in range(1000):
            pulled += 1
            if pulled == 100:
                stopping.set()
            yield bytes(picture.frame_bytes)

    with pytest.raises(MediaStopped):
        encode_frames(
            frames(), picture, tmp_path / "x.mp4", tools=media_tools, callbacks=FfmpegCallbacks(stopping.is_set)
        )

    assert pulled <= 101


def test_a_short_frame_is_refused(tmp_path: Path, media_tools: MediaTools) -> None:
    frames = [bytes(SMALL.frame_bytes), bytes(SMALL.frame_bytes - 1)]

    with pytest.raises(TaskFailed, match=r"frame 1 has 9215 bytes, not 9216") as caught:
        encode_frames(frames, SMALL, tmp_path / "clip.mp4", tools=media_tools)

    assert (caught.value.code, caught.value.stage) == (FailureCode.ENGINE_FAILED, Stage.ENCODE)


@pytest.mark.parametrize("came", [4, 6])
def test_a_wrong_number_of_frames_is_refused(tmp_path: Path, media_tools: MediaTools, came: int) -> None:
    with pytest.raises(TaskFailed, match=f"5 frames were due, {came} came"):
        encode_frames(frames_of(*[RED] * came), SMALL, tmp_path / "c.mp4", tools=media_tools, num_frames=5)


def test_no_frames_at_all_are_refused(tmp_path: Path, media_tools: MediaTools) -> None:
    with pytest.raises(TaskFailed, match="no frames"):
        encode_frames([], SMALL, tmp_path / "clip.mp4", tools=media_tools)


def test_an_odd_size_is_refused_before_anything_runs(tmp_path: Path, media_tools: MediaTools) -> None:
    with pytest.raises(TaskFailed, match="even"):
        encode_frames([], Picture(63, 48, Fraction(16)), tmp_path / "clip.mp4", tools=media_tools)


def test_an_error_of_the_renderer_passes_through(tmp_path: Path, media_tools: MediaTools) -> None:
    def frames() -> Iterator[bytes]:
        yield bytes(SMALL.frame_bytes)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        encode_frames(frames(), SMALL, tmp_path / "clip.mp4", tools=media_tools)


def test_progress_ends_at_the_last_frame(tmp_path: Path, media_tools: MediaTools) -> None:
    seen: list[Progress] = []

    encode_frames(
        frames_of(*[RED] * 24),
        SMALL,
        tmp_path / "c.mp4",
        tools=media_tools,
        callbacks=FfmpegCallbacks(on_progress=seen.append),
    )

    assert seen[-1].frames == 24
    assert [p.frames for p in seen] == sorted(p.frames for p in seen)


def grey(*levels: int) -> Iterator[bytes]:
    return frames_of(*(bytes([level] * 3) for level in levels))


@pytest.mark.parametrize("count", [1, 2, 3, 9])
@pytest.mark.parametrize("fps", [24, 32, 60])
def test_frames_between_frames_are_as_many_as_were_asked_for_however_short_the_clip_is(
    tmp_path: Path, media_tools: MediaTools, count: int, fps: int
) -> None:
    resampling = Resampling(Fraction(fps), round(count * fps / 16), with_motion=True)
    output = tmp_path / "clip.mp4"

    encode_frames(
        grey(*range(40, 40 + count)), SMALL, output, tools=media_tools, num_frames=count, resampling=resampling
    )

    clip = decode(output)
    assert clip.num_frames == resampling.num_frames
    assert clip.steps <= {Fraction(1, fps)}


def test_a_frame_between_two_frames_is_between_them_and_the_others_stay(
    tmp_path: Path, media_tools: MediaTools
) -> None:
    levels, output = [60, 80, 100, 120], tmp_path / "clip.mp4"

    encode_frames(
        grey(*levels),
        SMALL,
        output,
        tools=media_tools,
        num_frames=4,
        resampling=Resampling(Fraction(32), 8, with_motion=True),
    )

    shown = [colour[0] for colour in decode(output).colours]
    assert shown == pytest.approx([60, 70, 80, 90, 100, 110, 120, 120], abs=4)
