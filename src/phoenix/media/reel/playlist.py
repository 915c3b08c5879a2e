"""The text of a playlist (HLS, RFC 8216) that grows while a reel is rendered. Pure.

A player loads ranges of files: each clip has one file, with a header and segments. Players use the header of the first.
The captions of a reel are a playlist of their own, with a file of WebVTT for each clip. A third playlist names both.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil

MEDIA_TYPE = "application/vnd.apple.mpegurl"
SEGMENT_S = 2
"""The longest segment, in seconds. A player asks for a growing playlist about this often."""


ORIGIN_S = 10
"""The time of the first frame on the timeline of a playlist. ffmpeg writes a wrong time for sound from 0 on."""
TIMESTAMP_MAP = f"X-TIMESTAMP-MAP=MPEGTS:{ORIGIN_S * 90_000},LOCAL:00:00:00.000"
"""The line of a WebVTT file that says where its second 0 is on that timeline. Without it, players show no caption."""


@dataclass(frozen=True)
class SegmentedFile:
    """What is in the file of a clip: a header of `header_bytes`, then segments of these bytes and lengths in frames.

    `header_sha256`: files with equal headers can be played as one.
    """

    header_bytes: int
    header_sha256: str
    segment_bytes: tuple[int, ...]
    segment_frames: tuple[int, ...]


@dataclass(frozen=True)
class PictureStream:
    """What a player may know of a reel before it loads a segment. `peak_bits_per_s`: of its heaviest segment."""

    width: int
    height: int
    fps: int
    peak_bits_per_s: int


def peak_of(files: Sequence[SegmentedFile], fps: int) -> int:
    """The bits per second of the heaviest segment; 1 if there is none."""
    return max(
        (
            ceil(8 * size * fps / frames)
            for file in files
            for size, frames in zip(file.segment_bytes, file.segment_frames, strict=False)
        ),
        default=1,
    )


def render_multivariant(video_url: str, captions_url: str, stream: PictureStream, *, is_shown: bool) -> str:
    """The playlist that names the playlists of picture and captions. `is_shown`: whether captions are on at first."""
    shown = "YES" if is_shown else "NO"
    subtitles = f'TYPE=SUBTITLES,GROUP-ID="captions",NAME="Captions",DEFAULT={shown},AUTOSELECT=YES,FORCED=NO'
    picture = f"BANDWIDTH={stream.peak_bits_per_s},RESOLUTION={stream.width}x{stream.height}"
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        f'#EXT-X-MEDIA:{subtitles},URI="{captions_url}"',
        f'#EXT-X-STREAM-INF:{picture},FRAME-RATE={stream.fps:.3f},SUBTITLES="captions"',
        video_url,
    ]
    return "\n".join([*lines, ""])


def render_captions(lengths_s: Sequence[float], urls: Sequence[str], *, longest_s: float, is_over: bool) -> str:
    """The playlist of the captions of the first clips. `longest_s`: of all clips, also of those that are not done."""
    lines = _head(max(1, ceil(longest_s)))
    for length_s, url in zip(lengths_s, urls, strict=True):
        lines += [f"#EXTINF:{length_s:.6f},", url]
    return "\n".join([*lines, *(["#EXT-X-ENDLIST"] if is_over else []), ""])


def _head(target_s: int) -> list[str]:
    return [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{target_s}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:EVENT",
    ]


def render_playlist(files: Sequence[SegmentedFile], urls: Sequence[str], *, fps: int, is_over: bool) -> str:
    """The playlist of the files, in order. `urls`: of each file. `is_over`: whether nothing will be added."""
    lines = [
        *_head(SEGMENT_S),
        "#EXT-X-INDEPENDENT-SEGMENTS",
        # A player would begin near the end of a playlist that may still grow.
        "#EXT-X-START:TIME-OFFSET=0,PRECISE=YES",
    ]
    header: str | None = None
    for file, url in zip(files, urls, strict=True):
        if file.header_sha256 != header:
            # Encoders of two versions: the player has to begin again, which is better than an end.
            lines += ["#EXT-X-DISCONTINUITY"] if header else []
            lines.append(f'#EXT-X-MAP:URI="{url}",BYTERANGE="{file.header_bytes}@0"')
            header = file.header_sha256
        lines += _segments(file, url, fps)
    return "\n".join([*lines, *(["#EXT-X-ENDLIST"] if is_over else []), ""])


def _segments(file: SegmentedFile, url: str, fps: int) -> Iterator[str]:
    starts = accumulate(file.segment_bytes, initial=file.header_bytes)
    for start, size, frames in zip(starts, file.segment_bytes, file.segment_frames, strict=False):
        yield f"#EXTINF:{frames / fps:.6f},"
        yield f"#EXT-X-BYTERANGE:{size}@{start}"
        yield url
