"""What a file states of its own length, and when that proves that something is missing."""

import io
import struct

import pytest

from phoenix.media.probe_child.completeness import check_bytes, find_stated_end
from phoenix.media.probe_child.limits import UnreadableFile
from phoenix.media.probe_child.mpeg_audio import StatedLength, find_stated_length

SOUND_BYTES = 100_000
HEADER_BYTES = 44
# MPEG 1 layer 3, 128 kbit/s, 44.1 kHz, stereo; MPEG 2 layer 3, 24 kHz, mono.
STEREO_FRAME, MONO_FRAME = b"\xff\xfb\x90\x64", b"\xff\xf3\x84\xc4"


def wav(
    riff_bytes: int | None = None, data_bytes: int | None = None, *, magic: bytes = b"RIFF", ds64: int = 0
) -> bytes:
    """A WAV with `SOUND_BYTES` of sound, which states these sizes instead of the true ones."""
    large = b"ds64" + struct.pack("<IQQQI", 28, ds64 + 36, ds64, 0, 0) if ds64 else b""
    riff_bytes = SOUND_BYTES + HEADER_BYTES - 8 + len(large) if riff_bytes is None else riff_bytes
    head = struct.pack("<4sI4s", magic, riff_bytes, b"WAVE") + large
    head += b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 24000, 48000, 2, 16)
    return head + b"data" + struct.pack("<I", SOUND_BYTES if data_bytes is None else data_bytes) + bytes(SOUND_BYTES)


def is_truncated(content: bytes) -> bool:
    file = io.BytesIO(content)
    try:
        check_bytes(file, find_stated_end(file))
    except UnreadableFile:
        return True
    return False


@pytest.mark.parametrize(
    "size_bytes",
    [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFFFFF - 36, 0x7FFFF000, 0x7FFFFFFE, 0x80000000, 0xFFFFFFFF - 44, 0xFFFFF000],
)
def test_a_size_that_the_writer_did_not_know_proves_nothing(size_bytes: int) -> None:
    riff_bytes = min(size_bytes + 36, 0xFFFFFFFF)

    assert not is_truncated(wav(riff_bytes, size_bytes))


@pytest.mark.parametrize(("riff_bytes", "data_bytes"), [(0xFFFFFFFF, None), (None, 0), (None, 0x7FFFFFFF), (36, 0)])
def test_one_placeholder_beside_a_true_size_proves_nothing(riff_bytes: int | None, data_bytes: int | None) -> None:
    assert not is_truncated(wav(riff_bytes, data_bytes))


@pytest.mark.parametrize("sizes", [(None, None), (0xFFFFFFFF, None), (0, None), (None, 0xFFFFFFFF), (None, 0)])
def test_a_wav_that_ends_before_a_stated_size_is_truncated(sizes: tuple[int | None, int | None]) -> None:
    assert is_truncated(wav(*sizes)[: SOUND_BYTES // 2])


def test_a_stated_hour_over_a_second_of_sound_is_truncated() -> None:
    assert is_truncated(wav(172_800_036, 172_800_000))


def test_a_header_that_was_counted_as_sound_is_no_truncation() -> None:
    assert not is_truncated(wav(None, SOUND_BYTES + HEADER_BYTES))


def test_a_wav_of_more_than_4_gib_states_its_size_in_another_place() -> None:
    sizes = (0xFFFFFFFF, 0xFFFFFFFF)

    assert not is_truncated(wav(*sizes, magic=b"RF64", ds64=SOUND_BYTES))
    assert is_truncated(wav(*sizes, magic=b"RF64", ds64=5_000_000_000_000))


@pytest.mark.parametrize(("stated_bytes", "truncated"), [(SOUND_BYTES, False), (2**64 - 1, False), (200_000, True)])
def test_a_caf_is_truncated_only_before_a_stated_size(stated_bytes: int, truncated: bool) -> None:
    content = b"caff\0\1\0\0desc" + struct.pack(">Q", 32) + bytes(32) + b"data" + struct.pack(">Q", stated_bytes)

    assert is_truncated(content + bytes(SOUND_BYTES)) == truncated


@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF\0\0\0\0WAVEfmt ", b"caff\0\1\0\0", wav()[:40]])
def test_a_file_without_a_stated_size_proves_nothing(content: bytes) -> None:
    assert find_stated_end(io.BytesIO(content)) in (None, SOUND_BYTES + HEADER_BYTES)


def mp3(frame: bytes, side_bytes: int, header: bytes, *, tag: bytes = b"") -> io.BytesIO:
    size = struct.pack(">4B", *(len(tag) >> shift & 0x7F for shift in (21, 14, 7, 0)))
    id3 = b"ID3\3\0\0" + size + tag if tag else b""
    return io.BytesIO(id3 + frame + bytes(side_bytes) + header + bytes(1000))


@pytest.mark.parametrize("name", [b"Xing", b"Info"])
@pytest.mark.parametrize(("frame", "side_bytes", "samples"), [(STEREO_FRAME, 32, 1152), (MONO_FRAME, 9, 576)])
def test_the_frames_of_an_mp3_are_stated_after_the_side_information(
    name: bytes, frame: bytes, side_bytes: int, samples: int
) -> None:
    header = name + struct.pack(">III", 3, 250, 9000)

    assert find_stated_length(mp3(frame, side_bytes, header)) == StatedLength(250, samples, 9000)


def test_a_vbri_header_states_the_frames_too() -> None:
    header = b"VBRI" + bytes(6) + struct.pack(">II", 9000, 250)

    assert find_stated_length(mp3(STEREO_FRAME, 32, header)) == StatedLength(250, 1152, 9000)


@pytest.mark.parametrize("text", [b"Information about this song", b"Xing" + bytes(8), b"\xff\xfb\x90\x64Info"])
def test_text_in_a_tag_states_no_length(text: bytes) -> None:
    assert find_stated_length(mp3(STEREO_FRAME, 32, bytes(16), tag=text)) is None


def test_a_header_behind_a_large_cover_picture_is_found() -> None:
    file = mp3(STEREO_FRAME, 32, b"Info" + struct.pack(">II", 1, 250), tag=bytes(300_000))

    assert find_stated_length(file) == StatedLength(250, 1152)


@pytest.mark.parametrize(("flags", "frames"), [(0, 250), (1, 0)])
def test_a_header_that_does_not_know_the_frames_states_no_length(flags: int, frames: int) -> None:
    assert find_stated_length(mp3(STEREO_FRAME, 32, b"Xing" + struct.pack(">II", flags, frames))) is None
