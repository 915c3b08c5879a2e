"""Writes captions as SRT, WebVTT and ASS, with pysubs2. The text of a client is text there: nothing in it is obeyed."""

import re
from collections.abc import Callable, Sequence

from pysubs2 import Alignment, Color, SSAEvent, SSAFile, SSAStyle

from phoenix.media.captions.cues import Cue
from phoenix.media.captions.font import FONT_FAMILY

_NUMBER = re.compile(r"^\d+\n(?=\d\d:\d\d:\d\d\.\d{3} --> )", re.MULTILINE)
_INVISIBLE = "\u2060"
"""WORD JOINER, which is invisible. It separates characters that a reader of the file would take for a command."""


def write_srt(cues: Sequence[Cue]) -> str:
    """The captions as SubRip (SRT). It has no escapes, and players obey tags of HTML and codes of ASS in it."""
    return _subtitles(cues, _defuse).to_string("srt", keep_ssa_tags=True)


def write_vtt(cues: Sequence[Cue], *, timestamp_map: str | None = None) -> str:
    """The captions as WebVTT. `timestamp_map`: the line that places a segment on the timeline of its playlist."""
    text = _subtitles(cues, _escape_html).to_string("vtt", keep_ssa_tags=True)
    if timestamp_map is None:
        return text
    # hls.js takes cues with the same number in two segments for the same cue.
    return _NUMBER.sub("", text).replace("WEBVTT", f"WEBVTT\n{timestamp_map}", 1)


def write_ass(cues: Sequence[Cue], *, width_px: int, height_px: int, size_px: int) -> str:
    """The captions as ASS for a picture of this size: white with a black edge, at the bottom, in our font."""
    subtitles = _subtitles(cues, _escape_ass)
    # Lines are broken already: 2 stands for no wrapping.
    subtitles.info |= {"PlayResX": str(width_px), "PlayResY": str(height_px), "WrapStyle": "2"}
    subtitles.info["ScaledBorderAndShadow"] = "yes"
    subtitles.styles["Default"] = SSAStyle(
        fontname=FONT_FAMILY,
        fontsize=size_px,
        primarycolor=Color(255, 255, 255),
        outlinecolor=Color(0, 0, 0),
        outline=max(1.0, size_px / 14),
        shadow=0,
        alignment=Alignment.BOTTOM_CENTER,
        marginl=0,
        marginr=0,
        marginv=round(0.05 * height_px),
    )
    return subtitles.to_string("ass")


def _subtitles(cues: Sequence[Cue], escape: Callable[[str], str]) -> SSAFile:
    subtitles = SSAFile()
    for cue in cues:
        lines = [escape(line) for line in cue.text.split("\n")]
        event = SSAEvent(start=round(cue.start_s * 1000), end=round(cue.end_s * 1000), text=r"\N".join(lines))
        subtitles.append(event)
    return subtitles


def _keep_backslashes(text: str) -> str:
    # pysubs2 and libass both take `\N`, `\n` and `\h` for white space.
    return text.replace("\\", f"\\{_INVISIBLE}")


def _defuse(text: str) -> str:
    return _keep_backslashes(text).replace("<", f"<{_INVISIBLE}").replace("{", "{" + _INVISIBLE)


def _escape_html(text: str) -> str:
    return _keep_backslashes(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _escape_ass(text: str) -> str:
    return _keep_backslashes(text).replace("{", r"\{").replace("}", r"\}")
