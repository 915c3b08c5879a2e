"""The text of a playlist (HLS, RFC 8216) that grows while a reel is rendered. Pure.

A player loads ranges of files: each clip has one file, with a header and segments. Players use the header of the first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

MEDIA_TYPE = "application/vnd.apple.mpegurl"
SEGMENT_S = 2
"""The longest segment, in seconds. A player asks for a growing playlist about this often."""


@dataclass(frozen=True)
class SegmentedFile:
    """What is in the file of a clip: a header of `header_bytes`, then segments of these bytes and lengths in frames.

    `header_sha256`: files with equal headers can be played as one.
    """

    header_bytes: int
    header_sha256: str
    segment_bytes: tuple[int, ...]
    segment_frames: tuple[int, ...]


def render_playlist(files: Sequence[SegmentedFile], urls: Sequence[str], *, fps: int, is_over: bool) -> str:
    """The playlist of the files, in order. `urls`: of each file. `is_over`: whether nothing will be added."""
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{SEGMENT_S}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:EVENT",
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
