"""The format of a file by its first bytes, for any name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoenix.media import sniff
from phoenix.media.sniff import MediaFormat, find_format, name_other_kind

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
        (b"BW64\xff\xff\xff\xffWAVEds64", sniff.WAV),
        (b"FORM\0\0\0\0AIFFCOMM", sniff.AIFF),
        (b"FORM\0\0\0\0AIFCFVER", sniff.AIFF),
        (b"caff\0\x01\0\0desc", sniff.CAF),
        (b"#!AMR\n\x3c", sniff.AMR),
        (b"#!AMR-WB\n\x44", sniff.AMR),
        (b"RIFF\x24\0\0\0AVI LIST", sniff.AVI),
        (b"\0\0\0\x14ftyp3gp4", sniff.MP4),
        (b"\0\0\0\x18ftypheic", sniff.HEIC),
        (b"\0\0\0\x18ftypavif", sniff.AVIF),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heic", sniff.HEIC),
        (b"\0\0\0\x1cftypmif1\0\0\0\0miafavif", sniff.AVIF),
        (b"II*\0\x08\0\0\0", sniff.TIFF),
        (b"MM\0*\0\0\0\x08", sniff.TIFF),
        (b"BM" + bytes(12) + b"\x28\0\0\0", sniff.BMP),
        (b"GIF89a", sniff.GIF),
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
        b"BM" + bytes(16),
        b"FORM\0\0\0\0ILBM",
        b"\x47" + bytes(187),
        b"II*\0\x10\0\0\0CR\x02\0",
        b"\0\0\0\x18ftypcrx ",
        b"\0\0\0\x10ftypmif1\0\0\0\0heicavif",
        b"\xff\xff\xff\xff",
    ],
)
def test_any_other_format_is_not_recognised(head: bytes) -> None:
    assert find_format(head) is None


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a WMA sound or a WMV video"),
        (b"II*\0\x10\0\0\0CR\x02\0", "a raw picture of a camera"),
        (b"\0\0\0\x18ftypcrx ", "a raw picture of a camera"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1jpeg", "a HEIF picture that is neither HEIC nor AVIF"),
        (b"%PDF-1.7", "a PDF document"),
        (b"#EXTM3U\n", "a playlist"),
        (b"<?xml version='1.0'?>\n<svg xmlns=", "an SVG picture"),
        (b"\n<!DOCTYPE HTML>", "a web page"),
        ((b"\x47" + bytes(187)) * 4, "an MPEG transport stream (TS, M2TS)"),
        ((bytes(4) + b"\x47" + bytes(187)) * 4, "an MPEG transport stream (TS, M2TS)"),
    ],
)
def test_a_known_kind_that_is_not_read_is_named(head: bytes, kind: str) -> None:
    assert find_format(head) is None
    assert name_other_kind(head) == kind


def test_no_name_is_invented_for_unknown_bytes() -> None:
    assert name_other_kind(b"hello, world") is None


@given(st.binary(max_size=64))
def test_no_bytes_make_it_fail(head: bytes) -> None:
    find_format(head)
    name_other_kind(head)


@given(st.binary(max_size=64))
def test_no_bytes_after_an_id3_tag_make_it_fail(rest: bytes) -> None:
    assert find_format(b"ID3" + rest) in {sniff.MP3, sniff.FLAC, sniff.AAC}
