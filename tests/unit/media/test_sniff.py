"""The format of a file by its first bytes, for any name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoenix.media import sniff
from phoenix.media.sniff import MediaFormat, find_format

ID3 = b"ID3\x04\0\0\0\0\0\x05" + b"title"


@pytest.mark.parametrize(
    ("head", "media_format"),
    [
        (b"RIFF\x24\0\0\0WAVEfmt ", sniff.WAV),
        (b"RF64\xff\xff\xff\xffWAVEds64", sniff.WAV),
        (b"RIFF\x24\0\0\0WEBPVP8 ", sniff.WEBP),
        (b"\xff\xfb\x90\x64", sniff.MP3),
        (b"\xff\xf3\x40\xc0", sniff.MP3),
        (ID3 + b"\xff\xfb\x90\x64", sniff.MP3),
        (b"ID3\x04\0\0\0\x7f\x7f\x7f" + bytes(100), sniff.MP3),
        (ID3 + b"fLaC", sniff.FLAC),
        (ID3 + b"\xff\xf1\x50\x80", sniff.AAC),
        (b"fLaC\0\0\0\x22", sniff.FLAC),
        (b"OggS\0\x02", sniff.OGG),
        (b"\xff\xf1\x50\x80", sniff.AAC),
        (b"\xff\xf9\x50\x80", sniff.AAC),
        (b"\0\0\0\x20ftypisom", sniff.MP4),
        (b"\0\0\0\x20ftypM4A ", sniff.MP4),
        (b"\0\0\0\x14ftypqt  ", sniff.MOV),
        (b"\0\0\0\x08wide\0\0", sniff.MOV),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x82\x84webm", sniff.WEBM),
        (b"\x1a\x45\xdf\xa3\xa3\x42\x82\x88matroska", sniff.MATROSKA),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", sniff.PNG),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", sniff.JPEG),
    ],
)
def test_a_known_format_is_recognised(head: bytes, media_format: MediaFormat) -> None:
    assert find_format(head) == media_format


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\xff",
        b"#EXTM3U\n",
        b"ffconcat version 1.0\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\n",
        b"<?xml version='1.0'?><MPD>",
        b"<svg",
        b"%PDF-1.7",
        b"PK\x03\x04",
        b"GIF89a",
        b"RIFF\x24\0\0\0AVI ",
        b"\0\0\0\x18ftypavif",
        b"\0\0\0\x18ftypheic",
        b"\xff\xff\xff\xff",
    ],
)
def test_any_other_format_is_not_recognised(head: bytes) -> None:
    assert find_format(head) is None


@given(st.binary(max_size=64))
def test_no_bytes_make_it_fail(head: bytes) -> None:
    find_format(head)


@given(st.binary(max_size=64))
def test_no_bytes_after_an_id3_tag_make_it_fail(rest: bytes) -> None:
    assert find_format(b"ID3" + rest) in {sniff.MP3, sniff.FLAC, sniff.AAC}
