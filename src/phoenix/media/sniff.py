"""Finds the stated format of a file in its first bytes. Pure; `probe` checks whether the contents are valid."""

from dataclasses import dataclass

# A playlist (HLS, DASH, ffconcat) renamed to .mp4 makes ffmpeg read the files and URLs in it, so only these demuxers
# are used. The names are from `ffmpeg -demuxers`.
DEMUXERS = ("wav", "mp3", "flac", "ogg", "aac", "mov", "matroska")
HEAD_BYTES = 4096
_ID3_HEADER_BYTES = 10
# AVIF and HEIC are pictures in the box format of MP4, and are not supported.
_PICTURE_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"hevc", b"mif1", b"msf1")
_QUICKTIME_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")


@dataclass(frozen=True)
class MediaFormat:
    """A container: its name for users, and the demuxer that may open it (None for a picture)."""

    name: str
    demuxer: str | None


WAV, MP3, FLAC = MediaFormat("wav", "wav"), MediaFormat("mp3", "mp3"), MediaFormat("flac", "flac")
OGG, AAC = MediaFormat("ogg", "ogg"), MediaFormat("aac", "aac")
MP4, MOV = MediaFormat("mp4", "mov"), MediaFormat("mov", "mov")
WEBM, MATROSKA = MediaFormat("webm", "matroska"), MediaFormat("matroska", "matroska")
PNG, JPEG, WEBP = MediaFormat("png", None), MediaFormat("jpeg", None), MediaFormat("webp", None)

_SIGNATURES = (
    (b"fLaC", FLAC),
    (b"OggS", OGG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"\xff\xd8\xff", JPEG),
)


def find_format(head: bytes) -> MediaFormat | None:
    """Returns the format of a file that begins with `head` (its first `HEAD_BYTES`, or less); None if it is unknown."""
    if head[:3] == b"ID3":
        return _after_id3(head)
    for signature, media_format in _SIGNATURES:
        if head.startswith(signature):
            return media_format
    return _find_riff(head) or _find_box_format(head) or _find_matroska(head) or _find_mpeg_audio(head)


def _after_id3(head: bytes) -> MediaFormat:
    body = head[_ID3_HEADER_BYTES + _synchsafe(head[6:10]) :]
    if body.startswith(b"fLaC"):
        return FLAC
    # A cover picture is often so large that the sound is not in the head.
    return _find_mpeg_audio(body) or MP3


def _synchsafe(data: bytes) -> int:
    return sum((byte & 0x7F) << shift for byte, shift in zip(data, (21, 14, 7, 0), strict=False))


def _find_riff(head: bytes) -> MediaFormat | None:
    if head[:4] not in (b"RIFF", b"RF64"):
        return None
    return {b"WAVE": WAV, b"WEBP": WEBP}.get(head[8:12])


def _find_box_format(head: bytes) -> MediaFormat | None:
    if head[4:8] not in _QUICKTIME_BOXES:
        return None
    brand = head[8:12]
    if head[4:8] == b"ftyp" and brand in _PICTURE_BRANDS:
        return None
    return MP4 if head[4:8] == b"ftyp" and brand != b"qt  " else MOV


def _find_matroska(head: bytes) -> MediaFormat | None:
    if not head.startswith(b"\x1a\x45\xdf\xa3"):
        return None
    return WEBM if b"webm" in head[:64] else MATROSKA


def _find_mpeg_audio(head: bytes) -> MediaFormat | None:
    """Finds MPEG audio, whose frames begin with eleven set bits. AAC in ADTS has layer 0."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    if layer == 0:
        return AAC if head[1] & 0xF6 == 0xF0 else None
    bitrate, sample_rate = head[2] >> 4, head[2] >> 2 & 3
    return MP3 if version != 1 and bitrate != 15 and sample_rate != 3 else None
