"""The time of real files: what is seen and heard together in a file stays together in everything made from it."""

import os
import struct
from fractions import Fraction
from pathlib import Path

import pytest

from fixtures.flashes import FlashingClip, flash_times, tone_times
from fixtures.media_files import MediaMaker, decode, sound_levels
from phoenix.contract import MediaInfo, SoundtrackRequest
from phoenix.media.errors import UnreadableMedia
from phoenix.media.ffmpeg import MediaTools
from phoenix.media.probe import ProbedFile, ProbeLimits, probe_files, probe_media
from phoenix.media.probe_child.limits import Limits
from phoenix.media.probe_child.main import probe_file
from phoenix.media.reel.join import join_clips
from phoenix.media.sniff import DEMUXERS
from phoenix.media.soundtrack import mux_soundtrack, prepare_soundtrack

LIMITS = ProbeLimits()
# Nothing is left out for a second, then one frame comes at the end.
SKIPPING = FlashingClip("skipping.mp4", seconds=10, flashes_s=(0.5,), sound_s=10, kept="lt(t,1)+gte(t,9.96)")
LATE = [
    FlashingClip("late.mp4", picture_from_s=0.5),
    FlashingClip("late.webm", picture_from_s=0.5, codecs=("libvpx", "libopus")),
    FlashingClip("late.mov", sound_from_s=0.5),
    FlashingClip("late.mkv", sound_from_s=0.5),
]
WISH = SoundtrackRequest.model_validate({"url": "https://sounds.example/a.mp3"})


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "reel.mp4"


def probe_one(path: Path) -> ProbedFile:
    (found,) = probe_files([path], LIMITS)
    return found


def test_a_recording_that_skips_frames_is_as_long_as_it_takes(media: MediaMaker) -> None:
    path = media.folder / "screen.mp4"
    graph = "testsrc2=s=64x36:r=30:d=10,select='lt(t,1)+gte(t,9.96)'"
    media.ffmpeg("-f", "lavfi", "-i", graph, "-fps_mode", "passthrough", "-c:v", "libx264", str(path))

    info = probe_media(path, LIMITS)

    assert (info.duration_s, info.video_duration_s) == (10, 10)
    assert (info.num_frames, info.fps) == (31, 30)


def test_a_recording_that_skips_frames_stays_in_sync(media: MediaMaker, output: Path, media_tools: MediaTools) -> None:
    clip = FlashingClip("a.mp4", seconds=3, flashes_s=(1,)).write(media)

    info = join_clips([SKIPPING.write(media), clip], output, tools=media_tools)

    assert info.duration_s == pytest.approx(13, abs=0.01)
    assert decode(output).steps == {Fraction(1, 30)}
    assert flash_times(output) == pytest.approx([0.5, 11], abs=1 / 30)
    assert tone_times(output) == pytest.approx([0.5, 11], abs=1 / 30)


@pytest.mark.parametrize("late", LATE, ids=lambda clip: clip.name)
def test_a_stream_that_begins_late_stays_in_sync(
    media: MediaMaker, output: Path, media_tools: MediaTools, late: FlashingClip
) -> None:
    path = late.write(media)

    join_clips([path, path], output, tools=media_tools)

    assert flash_times(output) == pytest.approx([1, 2, 4, 5], abs=1 / 30)
    assert tone_times(output) == pytest.approx([1, 2, 4, 5], abs=1 / 30)


def test_a_late_picture_is_preceded_by_its_first_frame(
    media: MediaMaker, output: Path, media_tools: MediaTools
) -> None:
    path = FlashingClip("late.mp4", picture_from_s=0.95, flashes_s=(1,)).write(media)

    join_clips([path], output, tools=media_tools)

    assert decode(output).num_frames == 90
    assert flash_times(output) == pytest.approx([1], abs=1 / 30)


@pytest.mark.parametrize("name", ["held.mp4", "held.mkv"])
def test_a_last_frame_that_is_shown_long_is_shown_as_long_in_a_reel(
    media: MediaMaker, output: Path, media_tools: MediaTools, name: str
) -> None:
    held = media.folder / name
    hold = r"setts=duration=if(eq(N\,31)\,4\,1/16)/TB"
    source = ("-f", "lavfi", "-i", "testsrc2=s=64x36:r=16:d=2", "-c:v", "libx264", "-bf", "0", "-pix_fmt", "yuv420p")
    media.ffmpeg(*source, "-bsf:v", hold, str(held))

    join_clips([held], output, tools=media_tools)

    assert decode(output).num_frames == 31 + 4 * 16


def test_the_sound_of_a_video_counts_from_the_start_of_the_file_in_a_soundtrack(
    media: MediaMaker, output: Path, media_tools: MediaTools
) -> None:
    source = FlashingClip("late.mp4", sound_from_s=0.5).write(media)

    prepare_soundtrack(source, output, WISH, duration_s=None, tools=media_tools)

    assert tone_times(output) == pytest.approx([1, 2], abs=0.01)


def test_a_sound_longer_than_its_picture_is_known(media: MediaMaker) -> None:
    info = probe_media(FlashingClip("long.mp4", sound_s=8).write(media), LIMITS)

    assert (info.duration_s, info.video_duration_s, info.audio_duration_s) == (8, 3, 8)


def test_a_soundtrack_ends_with_the_picture_and_not_with_the_sound_of_the_clip(
    media: MediaMaker, output: Path, media_tools: MediaTools
) -> None:
    clip = FlashingClip("long.mp4", sound_s=8).write(media)

    info = mux_soundtrack(clip, media.sound("music.wav", seconds=9), output, tools=media_tools)

    assert info.duration_s == pytest.approx(3, abs=0.03)


def test_an_average_rate_is_not_the_rate_of_the_reel(media: MediaMaker, output: Path, media_tools: MediaTools) -> None:
    """85 frames in 6 seconds, in groups at 30 frames per second."""
    skips = FlashingClip("skips.mp4", seconds=6, kept="lt(mod(n,18),8)+lt(mod(n,18),9)*lt(n,90)").write(media)

    info = probe_media(skips, LIMITS)
    join_clips([skips], output, tools=media_tools)

    assert info.num_frames == 85
    assert decode(output).steps == {Fraction(1, 30)}


@pytest.mark.parametrize("clip", [SKIPPING, *LATE[:2]], ids=lambda clip: clip.name)
def test_a_picture_with_a_gap_is_not_copied(media: MediaMaker, clip: FlashingClip) -> None:
    assert probe_one(clip.write(media)).fingerprint is None


def test_a_picture_with_sound_can_be_copied(media: MediaMaker) -> None:
    assert probe_one(FlashingClip("a.mp4").write(media)).fingerprint is not None


def test_the_default_sound_is_used(media: MediaMaker, output: Path, media_tools: MediaTools) -> None:
    path = media.folder / "two.mp4"
    media.ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=s=64x36:r=16:d=2"),
        *("-f", "lavfi", "-i", "anullsrc=r=44100:cl=mono:d=2", "-f", "lavfi", "-i", "sine=r=48000:d=2"),
        *("-map", "0", "-map", "1", "-map", "2", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac"),
        *("-disposition:a:0", "0", "-disposition:a:1", "default", str(path)),
    )

    join_clips([path, path], output, tools=media_tools)

    assert probe_media(path, LIMITS).sample_rate_hz == 48000
    assert min(sound_levels(output)[2:18]) > 0.05


def test_a_cover_before_the_picture_is_not_the_picture(
    media: MediaMaker, output: Path, media_tools: MediaTools
) -> None:
    path = _with_cover_first(media, FlashingClip("a.mp4").write(media))

    info = join_clips([path, path], output, tools=media_tools)

    assert probe_one(path).timeline.get_picture(path).index == 1
    assert (info.width, info.height, info.num_frames) == (64, 36, 180)


def _with_cover_first(media: MediaMaker, clip: Path) -> Path:
    """Moves the box of the cover, which ffmpeg writes as the last one, before the boxes of the tracks."""
    path = media.folder / "covered.mp4"
    media.ffmpeg(
        *("-i", str(clip), "-i", str(media.picture("cover.png")), "-map", "0", "-map", "1", "-c", "copy"),
        *("-disposition:v:1", "attached_pic", str(path)),
    )
    data = path.read_bytes()
    start = data.index(b"moov") + 4
    boxes: list[bytes] = []
    while start < len(data):
        (size_bytes,) = struct.unpack_from(">I", data, start)
        boxes.append(data[start : start + size_bytes])
        start += size_bytes
    path.write_bytes(data[: data.index(b"moov") + 4] + boxes[-1] + b"".join(boxes[:-1]))
    return path


FORMS = {
    "end.mp4": (),
    "front.mp4": ("-movflags", "+faststart"),
    "fragments.mp4": ("-movflags", "+frag_keyframe+empty_moov+default_base_moof"),
    "a.mov": (),
    "a.mkv": (),
}


@pytest.fixture(scope="module")
def large_files(tmp_path_factory: pytest.TempPathFactory, media_tools: MediaTools) -> dict[str, Path]:
    """10 s with a key frame in each second, of more than 20 MB, in each form."""
    media = MediaMaker(tmp_path_factory.mktemp("large"), media_tools)
    second = media.folder / "second.mkv"
    media.ffmpeg(
        *("-f", "lavfi", "-i", "color=gray:s=640x360:r=30:d=1,noise=alls=90:allf=t", "-f", "lavfi", "-i", "sine=d=1"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-crf", "18", "-pix_fmt", "yuv420p", "-c:a", "pcm_s16le"),
        str(second),
    )
    files: dict[str, Path] = {}
    for name, options in FORMS.items():
        files[name] = media.folder / name
        media.ffmpeg("-stream_loop", "9", "-i", str(second), "-c:v", "copy", "-c:a", "aac", *options, str(files[name]))
    files["a.wav"] = media.sound("a.wav", seconds=300, options=("-ar", "48000", "-ac", "2"))
    return files


@pytest.mark.parametrize("name", [*FORMS, "a.wav"])
def test_a_large_file_is_probed_without_reading_it(large_files: dict[str, Path], name: str) -> None:
    """As many bytes as 2 % of 200 MB: the number hardly grows with the file."""
    path = large_files[name]

    before = _bytes_read()
    found = probe_file(
        str(path),
        {".wav": "wav", ".mkv": "matroska"}.get(path.suffix, "mov"),
        Limits(max_duration_s=3600, max_pixels=10**6, max_frame_pixels=10**6, max_streams=16, demuxers=list(DEMUXERS)),
    )

    assert "error" not in found
    assert path.stat().st_size > 20_000_000
    assert _bytes_read() - before < 4_000_000


@pytest.mark.parametrize("name", ["front.mp4", "fragments.mp4", "a.mkv", "a.wav"])
def test_a_large_file_that_is_cut_short_is_refused(large_files: dict[str, Path], tmp_path: Path, name: str) -> None:
    cut = tmp_path / name
    data = large_files[name].read_bytes()
    cut.write_bytes(data[: int(len(data) * 0.9)])

    with pytest.raises(UnreadableMedia):
        probe_media(cut, LIMITS)


@pytest.mark.parametrize("name", FORMS)
def test_every_frame_of_a_large_file_is_counted(large_files: dict[str, Path], name: str) -> None:
    info: MediaInfo = probe_media(large_files[name], LIMITS)

    assert (info.num_frames, info.fps) == (300, 30)
    assert info.video_duration_s == pytest.approx(10, abs=0.1)


def _bytes_read() -> int:
    """What this process has read from files so far."""
    return int(Path(f"/proc/{os.getpid()}/io").read_text().split()[1])
