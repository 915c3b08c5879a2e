"""Finds the codec and the layout of the channels of each stream, in the words of ffmpeg.

PyAV names no codec that it has no decoder for. And its objects for layouts of a custom order free memory twice, which
ends the process: so such a layout is read as text, and replaced before anything else reads it.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

import re
from dataclasses import dataclass
from typing import Any

from phoenix.media.probe_child.limits import UnreadableFile

# As in "Stream #0:1[0x2](und): Audio: aac (LC) (mp4a / 0x6134706D), 44100 Hz, mono, fltp, 70 kb/s (default)".
_STREAM = re.compile(r"^  Stream #0:(\d+)\S*: \w+: (\w+)(.*)$", re.MULTILINE)
_TAG = re.compile(r"\((\S+) / (0x\w+)\)")
_LAYOUT = re.compile(r" Hz, ([^,]+)")
_CUSTOM_LAYOUT = re.compile(r"(\d{1,2}) channels \(")
_MATROSKA_HEAD_BYTES = 64 * 1024
# The id of the element, its size, and the beginning of the name, which says the kind of the stream.
_MATROSKA_CODEC = {"audio": re.compile(rb"\x86([\x81-\xbf])(?=A_)"), "video": re.compile(rb"\x86([\x81-\xbf])(?=V_)")}


@dataclass(frozen=True)
class StatedStream:
    """What ffmpeg says of a stream: the name of the codec ("none" if it knows none), its tag, and the layout."""

    codec: str = "none"
    tag: str = ""
    layout: str = "stereo"


def read_stated_streams(container: Any) -> dict[int, StatedStream]:
    """Returns what ffmpeg says of each stream, by the index of the stream."""
    import av.logging  # noqa: PLC0415 - imported only for sounds and videos

    av.logging.set_level(av.logging.INFO)
    text: str = container.dumps_format()
    av.logging.set_level(None)
    return parse_streams(text)


def parse_streams(text: str) -> dict[int, StatedStream]:
    streams: dict[int, StatedStream] = {}
    for index, codec, rest in _STREAM.findall(text):
        tag, layout = _TAG.search(rest), _LAYOUT.search(rest)
        # Tags of unprintable bytes are clearer as a number: WAV has numbers.
        name = "" if tag is None else tag[2] if "[" in tag[1] else tag[1]
        streams[int(index)] = StatedStream(codec, name, layout[1] if layout else "stereo")
    return streams


def check_codec(path: str, stream: Any, stated: StatedStream) -> None:
    """Raises `UnreadableFile` with the name of the codec, if no decoder for the stream is here."""
    if stream.codec_context is not None:
        return
    what = "sound" if stream.type == "audio" else "picture"
    if stated.tag in ("encv", "enca"):
        raise UnreadableFile(f"its {what} is encrypted")
    name = stated.codec if stated.codec != "none" else stated.tag or _find_matroska_name(path, stream.type)
    raise UnreadableFile(f"its {what} has the codec {name}, which cannot be decoded here")


def read_layout(stream: Any, stated: StatedStream) -> str:
    """Returns how ffmpeg names the layout of the channels. Afterwards PyAV can read the stream safely."""
    match = _CUSTOM_LAYOUT.match(stated.layout)
    if match:
        stream.codec_context.layout = f"{match[1]}C"
    return stated.layout


def _find_matroska_name(path: str, kind: str) -> str:
    with open(path, "rb") as file:  # noqa: PTH123
        head = file.read(_MATROSKA_HEAD_BYTES)
    match = _MATROSKA_CODEC[kind].search(head)
    if match is None:
        return "without a name"
    size_bytes = match[1][0] & 0x7F
    return head[match.end() : match.end() + size_bytes].decode("ascii", errors="replace").rstrip("\0")
