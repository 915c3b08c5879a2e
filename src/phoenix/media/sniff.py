"""Finds the stated format of a file in its first bytes. Pure; `probe` checks whether the contents are valid."""

from dataclasses import dataclass

# A playlist (HLS, DASH, ffconcat) renamed to .mp4 makes ffmpeg read the files and URLs in it, so only these demuxers
# are used. The names are from `ffmpeg -demuxers`. The demuxer of MPEG transport streams is missing, because a build of
# ffmpeg 7.0 that is admitted ends with a signal at such files.
DEMUXERS = ("wav", "mp3", "flac", "ogg", "aac", "aiff", "caf", "amr", "mov", "matroska", "avi")
ACCEPTED = (
    "sound (MP3, WAV, FLAC, OGG, AAC, M4A, AIFF, CAF, AMR), video (MP4, MOV, WebM, MKV, AVI, 3GP) or picture "
    "(PNG, JPEG, WebP, HEIC, AVIF, TIFF, BMP, GIF)"
)
"""The accepted formats, for the message of a refusal."""

HEAD_BYTES = 4096
_ID3_HEADER_BYTES = 10
_TS_PACKET_BYTES = (188, 192, 204)
_QUICKTIME_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
# Sizes of the second header of a BMP, which begins with its own size.
_BMP_HEADER_BYTES = (12, 40, 52, 56, 64, 108, 124)


@dataclass(frozen=True)
class MediaFormat:
    """A container: its name for users, and the demuxer that may open it (None for a picture)."""

    name: str
    demuxer: str | None


WAV, MP3, FLAC = MediaFormat("wav", "wav"), MediaFormat("mp3", "mp3"), MediaFormat("flac", "flac")
OGG, AAC = MediaFormat("ogg", "ogg"), MediaFormat("aac", "aac")
AIFF, CAF, AMR = MediaFormat("aiff", "aiff"), MediaFormat("caf", "caf"), MediaFormat("amr", "amr")
MP4, MOV = MediaFormat("mp4", "mov"), MediaFormat("mov", "mov")
WEBM, MATROSKA = MediaFormat("webm", "matroska"), MediaFormat("matroska", "matroska")
AVI = MediaFormat("avi", "avi")
PNG, JPEG, WEBP = MediaFormat("png", None), MediaFormat("jpeg", None), MediaFormat("webp", None)
HEIC, AVIF, TIFF = MediaFormat("heic", None), MediaFormat("avif", None), MediaFormat("tiff", None)
BMP, GIF = MediaFormat("bmp", None), MediaFormat("gif", None)

_SIGNATURES = (
    (b"fLaC", FLAC),
    (b"OggS", OGG),
    (b"#!AMR\n", AMR),
    (b"#!AMR-WB\n", AMR),
    (b"caff\0\x01", CAF),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"\xff\xd8\xff", JPEG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
)
_PICTURE_BRANDS = {b"avif": AVIF, b"avis": AVIF} | dict.fromkeys(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), HEIC
)
# A picture in the boxes of MP4 with one of these major brands has its coding in the other brands.
_OPEN_PICTURE_BRANDS = (b"mif1", b"mif2", b"msf1", b"miaf")
_OTHER_KINDS = (
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a WMA sound or a WMV video"),
    (b"FLV\x01", "an FLV video"),
    (b"\0\0\x01\xba", "an MPEG program stream (MPG, VOB)"),
    (b"\0\0\x01\xb3", "an MPEG video without a container"),
    (b".RMF", "a RealMedia file"),
    (b"\x06\x0e\x2b\x34", "an MXF video"),
    (b"MThd", "a MIDI file"),
    (b".snd", "an AU sound"),
    (b"wvpk", "a WavPack sound"),
    (b"MAC ", "a Monkey's Audio sound"),
    (b"DSD ", "a DSD sound"),
    (b"RIFX", "a big-endian WAV"),
    (b"riff\x2e\x91\xcf\x11", "a Wave64 sound"),
    (b"\x0b\x77", "an AC-3 sound without a container"),
    (b"8BPS", "a Photoshop document"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (b"\0\0\x01\0", "an icon"),
    (b"\x76\x2f\x31\x01", "an OpenEXR picture"),
    (b"FUJIFILMCCD-RAW", "a raw picture of a camera"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"#EXTM3U", "a playlist"),
    (b"ffconcat", "a playlist"),
)
_TEXT_KINDS = (
    (b"<svg", "an SVG picture"),
    (b"<mpd", "a playlist"),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
)


def find_format(head: bytes) -> MediaFormat | None:
    """Returns the format of a file that begins with `head` (its first `HEAD_BYTES`, or less); None if it is unknown."""
    if head[:3] == b"ID3":
        return _after_id3(head)
    for signature, media_format in _SIGNATURES:
        if head.startswith(signature):
            return media_format
    return (
        _find_iff(head)
        or _find_box_format(head)
        or _find_matroska(head)
        or _find_tiff_or_bmp(head)
        or _find_mpeg_audio(head)
    )


def name_other_kind(head: bytes) -> str | None:
    """Returns what a file is that Phoenix knows and does not read, such as "a PDF document". None if it is unknown."""
    for signature, kind in _OTHER_KINDS:
        if head.startswith(signature):
            return kind
    if head[4:8] == b"ftyp" and head[8:12] in _OPEN_PICTURE_BRANDS:
        return "a HEIF picture that is neither HEIC nor AVIF"
    if head[4:12] == b"ftypcrx " or head[:3] in (b"II*", b"IIR", b"IIU", b"MM\0"):
        return "a raw picture of a camera"
    if _is_mpeg_ts(head):
        return "an MPEG transport stream (TS, M2TS)"
    text = head[:1024].lower()
    return next((kind for mark, kind in _TEXT_KINDS if mark in text), None)


def _after_id3(head: bytes) -> MediaFormat:
    body = head[_ID3_HEADER_BYTES + _synchsafe(head[6:10]) :]
    if body.startswith(b"fLaC"):
        return FLAC
    # A cover picture is often so large that the sound is not in the head.
    return _find_mpeg_audio(body) or MP3


def _synchsafe(data: bytes) -> int:
    return sum((byte & 0x7F) << shift for byte, shift in zip(data, (21, 14, 7, 0), strict=False))


def _find_iff(head: bytes) -> MediaFormat | None:
    """Finds the formats of chunks, whose kind follows the size of the file."""
    if head[:4] == b"FORM":
        return AIFF if head[8:12] in (b"AIFF", b"AIFC") else None
    if head[:4] not in (b"RIFF", b"RF64", b"BW64"):
        return None
    return {b"WAVE": WAV, b"WEBP": WEBP, b"AVI ": AVI}.get(head[8:12])


def _find_box_format(head: bytes) -> MediaFormat | None:
    if head[4:8] not in _QUICKTIME_BOXES:
        return None
    if head[4:8] != b"ftyp":
        return MOV
    brand = head[8:12]
    if brand in _PICTURE_BRANDS:
        return _PICTURE_BRANDS[brand]
    if brand in _OPEN_PICTURE_BRANDS:
        others = head[16 : min(int.from_bytes(head[:4]), HEAD_BYTES)]
        brands = (others[at : at + 4] for at in range(0, len(others), 4))
        return next((_PICTURE_BRANDS[other] for other in brands if other in _PICTURE_BRANDS), None)
    if brand == b"crx ":
        return None
    return MOV if brand == b"qt  " else MP4


def _find_matroska(head: bytes) -> MediaFormat | None:
    if not head.startswith(b"\x1a\x45\xdf\xa3"):
        return None
    return WEBM if b"webm" in head[:64] else MATROSKA


def _find_tiff_or_bmp(head: bytes) -> MediaFormat | None:
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        # Canon's raw pictures are TIFFs, and Pillow would open the thumbnail in them.
        return None if head[8:10] == b"CR" else TIFF
    is_bmp = head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADER_BYTES
    return BMP if is_bmp else None


def _is_mpeg_ts(head: bytes) -> bool:
    """Returns whether all packets begin with the byte of a transport stream. A camera puts four bytes before each."""
    for packet_bytes in _TS_PACKET_BYTES:
        marks = head[4 if packet_bytes == 192 else 0 :: packet_bytes]
        if len(marks) > 2 and set(marks) == {0x47}:
            return True
    return False


def _find_mpeg_audio(head: bytes) -> MediaFormat | None:
    """Finds MPEG audio, whose frames begin with eleven set bits. AAC in ADTS has layer 0."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    if layer == 0:
        return AAC if head[1] & 0xF6 == 0xF0 else None
    bitrate, sample_rate = head[2] >> 4, head[2] >> 2 & 3
    return MP3 if version != 1 and bitrate != 15 and sample_rate != 3 else None
