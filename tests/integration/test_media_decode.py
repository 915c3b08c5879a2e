"""A video that guides a clip: its frames at the rate and in the size of the clip, and what cannot be decoded."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fixtures.colour_bars import BARS, TOLERANCE, BarsMaker, deviation
from fixtures.media_files import MediaMaker
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.media.commands.video import Picture
from phoenix.media.decode import decode_sound, decode_video, open_frames, write_last_frame
from phoenix.media.encode import encode_frames
from phoenix.media.ffmpeg import FfmpegCallbacks, MediaStopped, MediaTools
from phoenix.media.probe import ProbeLimits

RATE = Fraction(16)
SMALL = Picture(32, 32, RATE)
FRAMES = 24


def grey(number: int) -> int:
    """The grey of a frame of `counting`; each is 6 lighter than the frame before."""
    return 40 + 6 * number


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory, media_tools: MediaTools) -> Path:
    """24 frames of 32x32 at 16 frames per second."""
    path = tmp_path_factory.mktemp("decode") / "counting.mp4"
    frames = (bytes([grey(number)]) * SMALL.frame_bytes for number in range(FRAMES))
    encode_frames(frames, SMALL, path, tools=media_tools)
    return path


class Decoder:
    """Decodes into a file of one test."""

    def __init__(self, output: Path, tools: MediaTools) -> None:
        self.output = output
        self._tools = tools

    def frames(self, video: Path, picture: Picture = SMALL, **changes: Any) -> NDArray[np.uint8]:
        """`[frames, height, width, 3]`, as many as the function says that it wrote."""
        limits = {"max_frames": FRAMES, "min_frames": 1, **changes}
        count = decode_video(video, picture, self.output, tools=self._tools, limits=ProbeLimits(), **limits)
        return np.fromfile(self.output, np.uint8).reshape(count, picture.height, picture.width, 3)

    def greys(self, video: Path, picture: Picture = SMALL, **changes: Any) -> list[float]:
        return [float(frame.mean()) for frame in self.frames(video, picture, **changes)]


@pytest.fixture
def decoder(tmp_path: Path, media_tools: MediaTools) -> Decoder:
    return Decoder(tmp_path / "frames.rgb", media_tools)


def numbered(numbers: range | list[int]) -> Any:
    return pytest.approx([grey(number) for number in numbers], abs=2)


def test_every_frame_is_decoded_in_order(decoder: Decoder, counting: Path) -> None:
    assert decoder.greys(counting) == numbered(range(FRAMES))


def test_a_longer_video_is_used_from_its_start(decoder: Decoder, counting: Path) -> None:
    assert decoder.greys(counting, max_frames=9, min_frames=9) == numbered(range(9))


def test_a_shorter_video_gives_the_frames_that_it_has(decoder: Decoder, counting: Path) -> None:
    assert len(decoder.frames(counting, max_frames=81, min_frames=FRAMES)) == FRAMES


@pytest.mark.parametrize(
    ("fps", "shown"),
    [
        (Fraction(8), list(range(0, FRAMES, 2))),
        (Fraction(32), [number // 2 for number in range(2 * FRAMES)]),
    ],
)
def test_frames_are_sampled_at_the_rate_of_the_clip(
    decoder: Decoder, counting: Path, fps: Fraction, shown: list[int]
) -> None:
    found = decoder.greys(counting, Picture(32, 32, fps), max_frames=100)
    assert len(found) == len(shown)
    # A frame halfway between two frames of the video may be either of them.
    assert max(abs(level - grey(number)) for level, number in zip(found, shown, strict=True)) <= 8


def test_a_rate_that_is_no_whole_number_keeps_the_length(decoder: Decoder, media: MediaMaker) -> None:
    video = media.video("film.mp4", frames=48, fps="24000/1001")
    assert len(decoder.frames(video, SMALL, max_frames=100)) == 32


def test_a_wide_video_is_cropped_at_its_sides_and_not_squeezed(decoder: Decoder, media: MediaMaker) -> None:
    video = media.folder / "bars.mp4"
    graph = "color=red:s=128x64:r=16:d=0.5,drawbox=x=32:w=64:h=64:color=lime:t=fill"
    media.ffmpeg("-f", "lavfi", "-i", graph, "-c:v", "libx264", "-qp", "4", "-pix_fmt", "yuv444p", str(video))

    (first, *_) = decoder.frames(video, Picture(32, 32, RATE))

    assert (first[:, 2:-2, 1] > 200).all()
    assert (first[:, 2:-2, 0] < 60).all()


def test_pixels_that_are_not_square_are_made_square_first(decoder: Decoder, media: MediaMaker) -> None:
    video = media.folder / "anamorphic.mp4"
    # 64x64 stored and 128x64 shown, of which the left half is green.
    graph = "color=red:s=64x64:r=16:d=0.5,drawbox=x=0:w=32:h=64:color=lime:t=fill,setsar=2"
    media.ffmpeg("-f", "lavfi", "-i", graph, "-c:v", "libx264", "-qp", "4", "-pix_fmt", "yuv420p", str(video))

    (first, *_) = decoder.frames(video, Picture(64, 32, RATE))

    assert first[16, 4, 1] > 200
    assert first[16, 60, 0] > 200
    assert first[16, 28, 1] > 200


def test_frames_have_the_colours_that_a_player_shows(decoder: Decoder, bars: BarsMaker) -> None:
    video = bars.yuv("bars.mp4", "smpte170m", "smpte170m", "bt709", "bt709", height_px=480)

    row = decoder.frames(video, Picture(320, 240, RATE))[0][120]

    step = len(row) // len(BARS)
    colours = tuple((int(r), int(g), int(b)) for r, g, b in row[step // 2 :: step][: len(BARS)])
    assert deviation(colours) <= TOLERANCE


def test_a_picture_that_begins_after_its_sound_is_shown_from_the_start(
    decoder: Decoder, counting: Path, media: MediaMaker
) -> None:
    late = media.folder / "late.mp4"
    sound = ("-f", "lavfi", "-i", "sine=330:d=2")
    media.ffmpeg("-itsoffset", "0.5", "-i", str(counting), *sound, "-c:v", "copy", "-c:a", "aac", str(late))

    found = decoder.greys(late, max_frames=16)

    # Half a second of the first frame, then the others at their times.
    assert found == numbered([0] * 8 + list(range(8)))


@pytest.mark.parametrize(("needed", "long"), [(32, "2 s"), (25, "1.5625 s")])
def test_a_video_that_is_too_short_is_named_with_both_lengths(
    decoder: Decoder, counting: Path, needed: int, long: str
) -> None:
    with pytest.raises(TaskFailed, match=rf"is 1\.5 s long, and {long} are needed") as caught:
        decoder.frames(counting, max_frames=needed, min_frames=needed)

    assert (caught.value.code, caught.value.stage) == (FailureCode.MEDIA_INVALID, Stage.FETCH)
    assert not decoder.output.exists()


def test_a_picture_is_no_video(decoder: Decoder, png_file: Path) -> None:
    with pytest.raises(TaskFailed, match="has no moving picture") as caught:
        decoder.frames(png_file)
    assert caught.value.code is FailureCode.MEDIA_INVALID


def test_a_text_is_no_video(decoder: Decoder, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("milk")
    with pytest.raises(TaskFailed, match="a video of the clip cannot be read") as caught:
        decoder.frames(text)
    assert (caught.value.code, caught.value.retriable) == (FailureCode.MEDIA_INVALID, False)


def test_a_video_that_is_cut_off_is_refused(decoder: Decoder, media: MediaMaker) -> None:
    cut = media.beginning_of(media.video("whole.mp4"))
    with pytest.raises(TaskFailed) as caught:
        decoder.frames(cut)
    assert caught.value.code is FailureCode.MEDIA_INVALID


@pytest.mark.parametrize("decode", [decode_video, write_last_frame])
def test_a_stop_ends_the_decode(decode: Any, counting: Path, tmp_path: Path, media_tools: MediaTools) -> None:
    stopped = FfmpegCallbacks(lambda: True, lambda _: None)
    extra = {} if decode is write_last_frame else {"max_frames": FRAMES, "min_frames": 1}
    target = (tmp_path / "last.png",) if decode is write_last_frame else (SMALL, tmp_path / "frames.rgb")
    with pytest.raises(MediaStopped):
        decode(counting, *target, tools=media_tools, limits=ProbeLimits(), callbacks=stopped, **extra)


def test_progress_is_reported_while_a_video_is_decoded(
    decoder: Decoder, media: MediaMaker, tmp_path: Path, media_tools: MediaTools
) -> None:
    seen: list[object] = []
    video = media.video("long.mp4", frames=160)
    callbacks = FfmpegCallbacks(lambda: False, seen.append)

    frames = decoder.frames(video, Picture(640, 360, RATE), max_frames=160, callbacks=callbacks)

    assert len(frames) == 160
    assert seen


def test_frames_come_one_after_the_other_as_they_are_written(
    tmp_path: Path, counting: Path, media_tools: MediaTools
) -> None:
    pipe, limits = tmp_path / "pipe", ProbeLimits()
    with open_frames(counting, SMALL, pipe, num_frames=FRAMES, tools=media_tools, limits=limits) as frames:
        levels = [float(np.frombuffer(frame, np.uint8).mean()) for frame in frames]
    assert levels == numbered(range(FRAMES))
    assert not pipe.exists()


def test_a_reader_that_leaves_early_ends_the_decoder(
    tmp_path: Path, media: MediaMaker, media_tools: MediaTools
) -> None:
    video, limits = media.video("long.mp4", frames=400, size="320x240"), ProbeLimits()
    picture, pipe = Picture(320, 240, RATE), tmp_path / "pipe"
    with open_frames(video, picture, pipe, num_frames=400, tools=media_tools, limits=limits) as frames:
        assert len(next(frames)) == picture.frame_bytes
    assert not pipe.exists()


def test_a_stop_reaches_the_reader_of_frames(tmp_path: Path, media: MediaMaker, media_tools: MediaTools) -> None:
    video, limits = media.video("long.mp4", frames=400, size="320x240"), ProbeLimits()
    callbacks = FfmpegCallbacks(should_stop=lambda: True)
    opened = open_frames(
        video,
        Picture(320, 240, RATE),
        tmp_path / "pipe",
        num_frames=400,
        tools=media_tools,
        limits=limits,
        callbacks=callbacks,
    )
    with opened as frames, pytest.raises(MediaStopped):
        list(frames)


def test_a_sound_becomes_samples_of_one_channel_at_the_asked_rate(
    tmp_path: Path, media: MediaMaker, media_tools: MediaTools
) -> None:
    stereo = media.sound("two.wav", seconds=1.5, source="sine=440:r=44100", options=("-ac", "2"))
    output = tmp_path / "raw"
    decode_sound(stereo, output, rate_hz=16000, tools=media_tools, limits=ProbeLimits())
    samples = np.fromfile(output, "<f4")
    assert len(samples) == pytest.approx(24000, abs=40)
    powers = np.abs(np.fft.rfft(samples))
    assert np.fft.rfftfreq(len(samples), 1 / 16000)[powers.argmax()] == pytest.approx(440, abs=2)


def test_a_video_without_sound_has_no_samples(tmp_path: Path, counting: Path, media_tools: MediaTools) -> None:
    with pytest.raises(TaskFailed, match="the file of the sound has no sound in it"):
        decode_sound(counting, tmp_path / "raw", rate_hz=16000, tools=media_tools, limits=ProbeLimits())
