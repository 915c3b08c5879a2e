"""Probing says what a file holds, and refuses what is no media, cut short, too large, or leads to another file."""

import re
import struct
import wave
import zlib
from pathlib import Path

import pytest

from fixtures.media_files import MediaMaker
from phoenix.errors import PhoenixError
from phoenix.media.errors import UnreadableMedia
from phoenix.media.probe import ProbeLimits, media_type_of, probe_files, probe_media

LIMITS = ProbeLimits()


def test_a_video_is_described(mp4_file: Path) -> None:
    info = probe_media(mp4_file, LIMITS)

    assert (info.media, info.format, info.video_codec, info.pixel_format) == ("video", "mp4", "h264", "yuv420p")
    assert (info.width, info.height, info.fps, info.num_frames, info.duration_s) == (128, 72, 16.0, 32, 2.0)
    assert info.audio_codec is None


def test_a_sound_is_described(mp3_file: Path) -> None:
    info = probe_media(mp3_file, LIMITS)

    assert (info.media, info.format, info.audio_codec) == ("audio", "mp3", "mp3")
    assert (info.sample_rate_hz, info.channels) == (44100, 1)
    assert info.duration_s == pytest.approx(20, abs=0.1)
    assert info.width is None


def test_a_picture_is_described(png_file: Path) -> None:
    info = probe_media(png_file, LIMITS)

    assert (info.media, info.format, info.width, info.height) == ("image", "png", 64, 48)
    assert info.duration_s is None


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("a.wav", "audio/wav"),
        ("a.mp3", "audio/mpeg"),
        ("a.flac", "audio/flac"),
        ("a.ogg", "audio/ogg"),
        ("a.aac", "audio/aac"),
        ("a.m4a", "audio/mp4"),
    ],
)
def test_every_sound_format_is_read(media: MediaMaker, name: str, media_type: str) -> None:
    info = probe_media(media.sound(name), LIMITS)

    assert media_type_of(info) == media_type
    assert info.duration_s == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("a.mp4", "video/mp4"),
        ("a.mov", "video/quicktime"),
        ("a.webm", "video/webm"),
        ("a.mkv", "video/x-matroska"),
    ],
)
def test_every_video_format_is_read(media: MediaMaker, name: str, media_type: str) -> None:
    info = probe_media(media.video(name), LIMITS)

    assert media_type_of(info) == media_type
    assert (info.num_frames, info.fps, info.width) == (32, 16.0, 128)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
def test_every_picture_format_is_read(media: MediaMaker, name: str) -> None:
    assert probe_media(media.picture(name), LIMITS).width == 64


def test_a_song_with_a_cover_picture_is_sound(media: MediaMaker, mp3_file: Path) -> None:
    cover, song = media.picture("cover.png"), media.folder / "song.mp3"
    media.ffmpeg("-i", str(mp3_file), "-i", str(cover), "-map", "0:a", "-map", "1:v", "-c:a", "copy", str(song))

    info = probe_media(song, LIMITS)

    assert (info.media, info.format) == ("audio", "mp3")


def test_a_name_says_nothing_about_the_format(media: MediaMaker) -> None:
    path = media.sound("a.wav").rename(media.folder / "-i http:x;$(id).mp4")

    assert probe_media(path, LIMITS).format == "wav"


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.flac", "a.m4a"])
@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_a_sound_that_was_cut_short_is_refused(media: MediaMaker, name: str, fraction: float) -> None:
    with pytest.raises(UnreadableMedia):
        probe_media(media.beginning_of(media.sound(name, seconds=10), fraction), LIMITS)


@pytest.mark.parametrize("name", ["a.mp4", "a.webm"])
@pytest.mark.parametrize("fraction", [0.3, 0.9])
def test_a_video_that_was_cut_short_is_refused(media: MediaMaker, name: str, fraction: float) -> None:
    whole = media.video(name, frames=80)
    if name.endswith("mp4"):
        # With its index in front, so that it opens as if nothing was missing.
        whole = whole.rename(media.folder / "slow.mp4")
        media.ffmpeg("-i", str(whole), "-c", "copy", "-movflags", "+faststart", str(media.folder / name))

    with pytest.raises(UnreadableMedia):
        probe_media(media.beginning_of(media.folder / name, fraction), LIMITS)


def test_a_picture_that_was_cut_short_is_refused(media: MediaMaker) -> None:
    with pytest.raises(UnreadableMedia):
        probe_media(media.beginning_of(media.picture("a.png")), LIMITS)


def test_a_wav_written_to_a_pipe_is_whole_though_it_states_no_size(media: MediaMaker) -> None:
    path = media.sound("a.wav")
    data = bytearray(path.read_bytes())
    data[4:8] = b"\xff\xff\xff\xff"
    at = data.index(b"data") + 4
    data[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(data)

    assert probe_media(path, LIMITS).duration_s == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"hello, world" * 100,
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"RIFF\x04\0\0\0WAVE",
        b"ID3\x04\0\0\0\0\0\0",
        b"\xff\xfb\x90\x64" + bytes(2000),
        b"OggS" + bytes(500),
        b"\x1a\x45\xdf\xa3" + bytes(500),
        b"\0\0\0\x18ftypmp42" + bytes(5000),
        b"\0\0\0\x18ftypavif" + bytes(500),
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"\xff\xd8\xff\xe0" + bytes(100),
    ],
)
def test_what_is_no_media_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(content)

    with pytest.raises(UnreadableMedia) as refused:
        probe_media(path, LIMITS)

    # The sender of the file reads this.
    assert not re.search(r"Error|Exception|/", refused.value.detail)


@pytest.mark.parametrize("name", ["list.mp4", "list.mp3", "list.wav"])
@pytest.mark.parametrize(
    "template",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nfile://{secret}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{secret}'\n",
        "ffconcat version 1.0\nfile {name}\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
        "<?xml version='1.0'?><MPD><Period><BaseURL>file://{secret}</BaseURL></Period></MPD>",
    ],
)
def test_a_playlist_under_another_name_is_refused(tmp_path: Path, mp4_file: Path, name: str, template: str) -> None:
    (tmp_path / mp4_file.name).write_bytes(mp4_file.read_bytes())
    path = tmp_path / name
    path.write_text(template.format(secret=mp4_file, name=mp4_file.name))

    with pytest.raises(UnreadableMedia):
        probe_media(path, LIMITS)


def test_five_hours_of_sound_are_refused(media: MediaMaker) -> None:
    path = media.sound("long.flac", seconds=5 * 3600, source="anullsrc=r=1000:cl=mono")
    assert path.stat().st_size < 4_000_000

    with pytest.raises(UnreadableMedia, match="longer than 3600 s"):
        probe_media(path, LIMITS)


def test_a_header_that_understates_the_length_does_not_help(media: MediaMaker) -> None:
    path = media.sound("long.flac", seconds=120, source="anullsrc=r=8000:cl=mono")
    data = bytearray(path.read_bytes())
    # The low 36 bits of bytes 18 to 25 are the number of samples.
    data[21] &= 0xF0
    data[22:26] = struct.pack(">I", 8000)
    path.write_bytes(data)

    with pytest.raises(UnreadableMedia, match="longer than 60 s"):
        probe_media(path, ProbeLimits(max_duration_s=60))


def test_an_hour_exactly_is_not_over_an_hour(media: MediaMaker) -> None:
    path = media.sound("minute.mp3", seconds=60)

    assert probe_media(path, ProbeLimits(max_duration_s=60)).duration_s == pytest.approx(60, abs=0.2)


def test_a_picture_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(30_000 * (1 + 30_000 // 8)))
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))
    assert path.stat().st_size < 200_000

    with pytest.raises(UnreadableMedia, match="30000x30000"):
        probe_media(path, LIMITS)


def test_a_video_of_too_many_pixels_is_refused(mp4_file: Path) -> None:
    with pytest.raises(UnreadableMedia, match="128x72"):
        probe_media(mp4_file, ProbeLimits(max_frame_pixels=9000))


def test_too_many_streams_are_refused(media: MediaMaker, wav_file: Path) -> None:
    path = media.folder / "many.mkv"
    media.ffmpeg("-i", str(wav_file), *("-map", "0:a") * 40, "-c", "copy", str(path))

    with pytest.raises(UnreadableMedia, match="40 streams"):
        probe_media(path, LIMITS)


@pytest.mark.parametrize(("channels", "rate_hz"), [(65_535, 8000), (1, 4_000_000_000), (1, 0)])
def test_an_absurd_wav_is_refused(tmp_path: Path, channels: int, rate_hz: int) -> None:
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(200_000))
    data = bytearray(path.read_bytes())
    data[22:28] = struct.pack("<HI", channels, rate_hz)
    path.write_bytes(data)

    with pytest.raises(UnreadableMedia):
        probe_media(path, LIMITS)


def test_a_file_is_not_blamed_for_a_machine_that_is_too_busy_to_read_it(media: MediaMaker) -> None:
    path = media.sound("a.wav", seconds=4)

    with pytest.raises(PhoenixError, match="too busy") as caught:
        probe_media(path, ProbeLimits(timeout_s=0.001))

    assert not isinstance(caught.value, UnreadableMedia)


def test_the_first_bad_one_of_many_files_is_named_by_its_index(mp4_file: Path, media: MediaMaker) -> None:
    cut = media.beginning_of(mp4_file)

    with pytest.raises(UnreadableMedia) as caught:
        probe_files([mp4_file] * 60 + [cut, cut], LIMITS)

    assert caught.value.index == 60


def test_equal_clips_have_one_fingerprint_and_others_another(media: MediaMaker, mp4_file: Path) -> None:
    same, small = media.video("same.mp4", frames=5), media.video("small.mp4", size="64x64")
    slow, copy = media.video("slow.mp4", fps="12"), media.video("copy.mov")

    first, *others = probe_files([mp4_file, same, small, slow, copy], LIMITS)

    assert [one.fingerprint == first.fingerprint for one in others] == [True, False, False, True]
