"""A sound ends with the last sample that is heard, and a large file needs little reading to know when that is."""

import os
import struct
from pathlib import Path

import av
import pytest

from fixtures import child_processes
from fixtures.media_files import MediaMaker
from phoenix.media.errors import UnreadableMedia
from phoenix.media.probe import ProbeLimits, probe_files, probe_media
from phoenix.media.probe_child.limits import Limits
from phoenix.media.probe_child.main import probe_file
from phoenix.media.probe_child.mpeg_audio import count_frames
from phoenix.media.probe_child.ogg import is_one_stream
from phoenix.media.sniff import DEMUXERS

LIMITS = Limits(max_duration_s=3600, max_pixels=10**6, max_frame_pixels=10**6, max_streams=16, demuxers=list(DEMUXERS))
# Encoders of lossy sound add samples before and after it. The file says how many of them are not heard.
LOSSY = {
    "a.mp3": ("-c:a", "libmp3lame"),
    "a.opus": ("-c:a", "libopus", "-ar", "48000"),
    "a.ogg": ("-c:a", "libvorbis"),
    "a.m4a": ("-c:a", "aac"),
    "a.webm": ("-c:a", "libopus", "-ar", "48000"),
    "a.mkv": ("-c:a", "libmp3lame"),
}
LOSSLESS = {
    "a.mka": ("-c:a", "pcm_s16le"),
    "b.mka": ("-c:a", "flac"),
    "a.aiff": ("-c:a", "pcm_s16be"),
    "a.caf": ("-c:a", "pcm_s16le"),
    "a.flac": (),
}
# Matroska rounds each time to a millisecond.
TOLERANCE_S = 0.0015


@pytest.mark.parametrize("name", [*LOSSY, *LOSSLESS])
def test_the_length_of_a_sound_is_the_length_that_went_into_its_encoder(media: MediaMaker, name: str) -> None:
    # Of Vorbis with only one page, ffmpeg loses the first samples.
    lengths = [count + 60_000 * (name == "a.ogg") for count in (2_000, 12_791, 60_000)]
    source = "sine=440:r=48000,atrim=end_sample="

    paths = [
        media.sound(f"{count}-{name}", source=f"{source}{count}", options=(LOSSY | LOSSLESS)[name]) for count in lengths
    ]

    found = [each.info.audio_duration_s for each in probe_files(paths, ProbeLimits())]
    assert found == pytest.approx([count / 48_000 for count in lengths], abs=TOLERANCE_S)


@pytest.mark.parametrize("name", ["a.mp3", "a.opus", "a.ogg"])
def test_the_length_of_a_sound_is_the_length_that_ffmpeg_decodes(media: MediaMaker, name: str) -> None:
    path = media.sound(name, seconds=1.234, options=LOSSY[name])
    decoded = child_processes.run(
        [media.tools.ffmpeg, "-v", "error", "-i", str(path), "-f", "s16le", "-ac", "1", "-ar", "48000", "-"],
        check=True,
        capture_output=True,
    )

    assert probe_media(path, ProbeLimits()).duration_s == pytest.approx(len(decoded.stdout) / 96_000, abs=0.001)


LARGE = {
    "info.mp3": ("mp3", ("-b:a", "320k")),
    "vbr.mp3": ("mp3", ("-q:a", "0")),
    "plain.mp3": ("mp3", ("-b:a", "320k", "-write_xing", "0")),
    "a.ogg": ("ogg", ("-c:a", "flac", "-sample_fmt", "s16")),
    "a.aiff": ("aiff", ()),
    "a.caf": ("caf", ("-c:a", "pcm_s16be")),
}
LOOPS = {"mp3": 39, "ogg": 8, "aiff": 3, "caf": 3}


@pytest.fixture(scope="module")
def large_sounds(session_media: MediaMaker) -> dict[str, Path]:
    """Sounds of noise, of more than 20 MB."""
    return {name: _write_large(session_media, name) for name in LARGE}


def _write_large(media: MediaMaker, name: str) -> Path:
    demuxer, options = LARGE[name]
    short = media.sound(
        f"short-{name}", seconds=30, source="anoisesrc=r=48000:a=0.5,aformat=channel_layouts=stereo", options=options
    )
    path = media.folder / f"large-{name}"
    kept = ("-write_xing", "0") if "-write_xing" in options else ()
    media.ffmpeg("-stream_loop", str(LOOPS[demuxer]), "-i", str(short), "-c", "copy", *kept, str(path))
    return path


@pytest.mark.parametrize("name", LARGE)
def test_a_large_sound_is_probed_without_reading_it(large_sounds: dict[str, Path], name: str) -> None:
    """As many bytes as 2 % of 200 MB: the number hardly grows with the file."""
    path, demuxer = large_sounds[name], LARGE[name][0]

    before = _bytes_read()
    found = probe_file(str(path), demuxer, LIMITS)

    expected_s = 30 * (LOOPS[demuxer] + 1)
    assert found["timeline"]["sound"]["end_s"] == pytest.approx(expected_s, abs=0.03 * (LOOPS[demuxer] + 2))
    assert path.stat().st_size > 20_000_000
    assert _bytes_read() - before < 4_000_000


@pytest.mark.parametrize("name", ["info.mp3", "vbr.mp3", "plain.mp3"])
def test_the_frames_of_a_large_mp3_are_all_counted(large_sounds: dict[str, Path], name: str) -> None:
    frames = _count_all_frames(large_sounds[name])

    assert count_frames(str(large_sounds[name])) == frames


def _count_all_frames(path: Path) -> int:
    """The frames that have a time. The one with the header has none."""
    with av.open(str(path)) as container:
        return sum(packet.size > 0 for packet in container.demux(audio=0))


@pytest.mark.parametrize("name", ["info.mp3", "vbr.mp3", "a.aiff", "a.caf"])
def test_a_large_sound_that_is_cut_short_is_refused(large_sounds: dict[str, Path], tmp_path: Path, name: str) -> None:
    cut = tmp_path / name
    data = large_sounds[name].read_bytes()
    cut.write_bytes(data[: int(len(data) * 0.9)])

    with pytest.raises(UnreadableMedia, match="incomplete"):
        probe_media(cut, ProbeLimits())


def test_tags_at_the_end_of_an_mp3_are_no_sound(large_sounds: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "tagged.mp3"
    # Its header and its footer are alike. The size is that of the contents and the footer.
    ends = b"APETAGEX" + struct.pack("<IIII", 2000, 2000, 1, 0x80000000) + bytes(8)
    content = large_sounds["info.mp3"].read_bytes()
    path.write_bytes(content + ends + bytes(2000 - len(ends)) + ends + b"TAG" + bytes(125))

    assert count_frames(str(path)) == count_frames(str(large_sounds["info.mp3"]))


@pytest.mark.parametrize("change", ["joined of two", "with a part missing", "with a part of another rate"])
def test_only_all_frames_prove_the_length_of_an_mp3(
    large_sounds: dict[str, Path], media: MediaMaker, change: str
) -> None:
    data, path = large_sounds["plain.mp3"].read_bytes(), media.folder / "changed.mp3"
    middle = len(data) // 2
    if change == "joined of two":
        path.write_bytes(large_sounds["info.mp3"].read_bytes() + data)
    elif change == "with a part missing":
        path.write_bytes(data[:middle] + data[middle + 12_345 :])
    else:
        other = media.sound("other.mp3", seconds=1, options=("-b:a", "96k", "-ar", "48000", "-ac", "2"))
        path.write_bytes(data[:middle] + other.read_bytes() + data[middle:])

    assert count_frames(str(path)) is None


@pytest.mark.parametrize("frames", [1, 10_000_000])
def test_an_mp3_that_states_an_impossible_number_of_frames_is_read_as_a_whole(
    large_sounds: dict[str, Path], tmp_path: Path, frames: int
) -> None:
    data, path = bytearray(large_sounds["info.mp3"].read_bytes()), tmp_path / "false.mp3"
    at = data.index(b"Info") + 8
    data[at : at + 4] = struct.pack(">I", frames)
    path.write_bytes(data)

    assert count_frames(str(path)) is None


def test_an_ogg_that_was_joined_of_two_is_not_one_stream(large_sounds: dict[str, Path], tmp_path: Path) -> None:
    joined, data = tmp_path / "joined.ogg", large_sounds["a.ogg"].read_bytes()
    joined.write_bytes(data + data)

    assert is_one_stream(str(large_sounds["a.ogg"]))
    assert not is_one_stream(str(joined))


def _bytes_read() -> int:
    """What this process has read from files so far."""
    return int(Path(f"/proc/{os.getpid()}/io").read_text().split()[1])
