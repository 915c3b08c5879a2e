"""Command lines that draw captions into a picture, or add them as a track."""

from collections.abc import Sequence
from pathlib import Path

from phoenix.media.commands.colour import pin_bt709
from phoenix.media.commands.graph import KEEP_TIME, open_file, open_stream, write_file
from phoenix.media.commands.h264 import Encoding, h264_options
from phoenix.media.commands.video import Picture
from phoenix.media.timeline import SourceStream

_REPRODUCIBLE = {"fflags": "+bitexact", "map_metadata": -1}
_MP4 = {"f": "mp4", "movflags": "+faststart"}


def burn(
    source: SourceStream, picture: Picture, script: Path, fonts: Path, encoding: Encoding, output: Path
) -> list[str]:
    """Returns the command that draws the ASS file `script` into a picture that starts at 0, with the fonts in `fonts`.

    The result has no sound.
    """
    frames = open_stream(source).filter("subtitles", filename=str(script.absolute()), fontsdir=str(fonts.absolute()))
    encoded = h264_options(encoding, picture.width, picture.height)
    options = {**encoded, **_REPRODUCIBLE, "flags:v": "+bitexact", **_MP4, **KEEP_TIME}
    return write_file([pin_bt709(frames)], output, options)


def add_track(streams: Sequence[SourceStream], subtitles: Path, output: Path) -> list[str]:
    """Returns the command that copies streams, and adds the SRT file `subtitles` as a text track of the MP4."""
    copied = [open_stream(stream, index=index) for index, stream in enumerate(streams)]
    track = open_file(subtitles, index=len(streams), demuxers=("srt",), format="srt", sub_charenc="UTF-8")["s:0"]
    options = {"c:v": "copy", "c:a": "copy", "c:s": "mov_text", **_REPRODUCIBLE, **_MP4}
    return write_file([*copied, track], output, options)
