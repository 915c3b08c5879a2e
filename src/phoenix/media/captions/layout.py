"""Lays captions out: cleans their text, breaks lines, and splits a text that is too long into several cues. Pure."""

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from phoenix.media.captions.cues import Cue

_LINE_ENDS = str.maketrans(
    {"\r": "\n", "\v": "\n", "\f": "\n", "\x85": "\n", "\u2028": "\n", "\u2029": "\n", "\t": " "}
)
_JOINERS = {"\u200d", "\ufe0e", "\ufe0f"}


@dataclass(frozen=True)
class TextBox:
    """The space for one cue: `max_lines` lines, each `width` wide as `measure` measures a text."""

    measure: Callable[[str], float]
    width: float
    max_lines: int


def track_box(width_px: int, height_px: int) -> TextBox:
    """The box of captions that a player draws. A line has 42 characters by custom, and fewer in a tall picture."""
    return TextBox(measure=len, width=42 if width_px >= height_px else 28, max_lines=2 if width_px >= height_px else 3)


def lay_out(cues: Sequence[Cue], box: TextBox) -> list[Cue]:
    """The cues with line breaks. A text that needs more lines is shown in parts, each for a share of the time."""
    laid: list[Cue] = []
    for cue in cues:
        lines = wrap_lines(clean_caption(cue.text), box)
        pages = ["\n".join(page) for page in _paged(lines, box.max_lines)]
        total, done = sum(map(len, pages)), 0
        for page in pages:
            start_s = cue.start_s + (cue.end_s - cue.start_s) * done / total
            done += len(page)
            laid.append(Cue(start_s, cue.start_s + (cue.end_s - cue.start_s) * done / total, page))
    return laid


def _paged(lines: Sequence[str], max_lines: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(lines), max_lines):
        yield lines[start : start + max_lines]


def clean_caption(text: str) -> str:
    """The text with plain line breaks, single spaces, and without control characters. Its lines are not empty."""
    plain = text.replace("\r\n", "\n").translate(_LINE_ENDS)
    # The files of captions mark their times with this arrow, and WebVTT forbids it in a text.
    plain = plain.replace("-->", "→")
    kept = "".join(letter for letter in plain if letter == "\n" or unicodedata.category(letter) not in ("Cc", "Cs"))
    lines = (" ".join(line.split()) for line in kept.split("\n"))
    return "\n".join(line for line in lines if line)


def wrap_lines(text: str, box: TextBox) -> list[str]:
    """Breaks lines between words, and inside a word that is wider than the box."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in _fitting_words(paragraph, box):
            longer = f"{line} {word}" if line else word
            if line and box.measure(longer) > box.width:
                lines.append(line)
                line = word
            else:
                line = longer
        lines += [line] if line else []
    return lines


def _fitting_words(paragraph: str, box: TextBox) -> Iterator[str]:
    for word in paragraph.split():
        part = ""
        for letter in word:
            if part and box.measure(part + letter) > box.width and not _continues(letter, part):
                yield part
                part = ""
            part += letter
        yield part


def _continues(letter: str, before: str) -> bool:
    """Whether a letter is drawn together with the letter before it."""
    return bool(unicodedata.combining(letter)) or letter in _JOINERS or before[-1] == "\u200d"
