"""Fits text into a box: selects font and size, and breaks lines. Draws nothing."""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from PIL import ImageFont

Font = ImageFont.FreeTypeFont

FALLBACK_FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "LiberationSans-Regular.ttf",
    "Arial Unicode.ttf",
    "arial.ttf",
)
"""Fonts of the system, tried if the bundled font, which has only Latin letters, lacks letters of the text."""

MAX_LETTERS = 600
"""A longer text is illegible on a frame, and would take longer to wrap than to draw."""

NO_SUCH_LETTER = "\uffff"
NO_FONT = "(no font here for the letters of this prompt)"


@dataclass(frozen=True)
class WrappedText:
    """Text in lines, with its font. `line_height_px` includes the space between lines."""

    font: Font
    lines: tuple[str, ...]
    line_height_px: int


def clean_text(text: str) -> str:
    """Returns one line of printable text, without controls, joiners and lone surrogates, and with single spaces."""
    text = text[: MAX_LETTERS * 2]
    shown = "".join(" " if letter.isspace() else letter for letter in text if _is_shown(letter))
    shown = " ".join(shown.split())
    return shown if len(shown) <= MAX_LETTERS else shown[: MAX_LETTERS - 1].rstrip() + "…"


def wrap_text(text: str, *, width_px: int, height_px: int, largest_px: int, smallest_px: int) -> WrappedText:
    """Returns `text` wrapped at the largest size that fits. Cuts it with an ellipsis if no size fits."""
    name, text = _choose_font(text)
    for size_px in range(largest_px, smallest_px, -max(1, (largest_px - smallest_px) // 12)):
        lines = _wrap(text, _open_font(name, size_px), width_px)
        if len(lines) * _line_height(size_px) <= height_px:
            return WrappedText(_open_font(name, size_px), tuple(lines), _line_height(size_px))
    font = _open_font(name, smallest_px)
    lines = _wrap(text, font, width_px)
    max_lines = max(1, height_px // _line_height(smallest_px))
    if len(lines) > max_lines:
        lines = [*lines[: max_lines - 1], _ellipsize(lines[max_lines - 1], font, width_px)]
    return WrappedText(font, tuple(lines), _line_height(smallest_px))


@lru_cache(maxsize=64)
def _open_font(name: str | None, size_px: int) -> Font:
    """Returns the bundled font for None. Raises `OSError` if the system has no font with this name."""
    if name is not None:
        return ImageFont.truetype(name, size_px)
    font = ImageFont.load_default(size_px)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return font


def _is_shown(letter: str) -> bool:
    # Cc, Cf, Cs, Co, Cn are invisible, and a lone surrogate cannot be encoded.
    return letter.isspace() or not unicodedata.category(letter).startswith("C")


def _line_height(size_px: int) -> int:
    return round(size_px * 1.32)


def _choose_font(text: str) -> tuple[str | None, str]:
    """Returns the font that lacks the fewest letters of `text`, and the text with replacements for them."""
    names: list[str | None] = [None, *FALLBACK_FONTS]
    best, lacking = None, _lacking(None, text)
    for name in names[1:]:
        if not lacking:
            break
        try:
            missed = _lacking(name, text)
        except OSError:
            continue
        if len(missed) < len(lacking):
            best, lacking = name, missed
    return best, _without(text, lacking) or NO_FONT


def _lacking(name: str | None, text: str) -> set[str]:
    font = _open_font(name, 16)
    box = _glyph(font, NO_SUCH_LETTER)
    return {letter for letter in set(text) if letter != " " and _glyph(font, letter) == box}


def _glyph(font: Font, letter: str) -> bytes:
    core: Any = font.getmask(letter)
    return bytes(core)


def _without(text: str, lacking: set[str]) -> str:
    """Returns `text` without the letters in `lacking`: plain letters replace accented letters, and `…` any others.

    Returns an empty text if no letter is legible.
    """
    plain = {letter: unicodedata.normalize("NFKD", letter)[0] for letter in lacking}
    drawn = "".join("…" if plain.get(letter) == letter else plain.get(letter, letter) for letter in text)
    return re.sub("…[… ]*…", "…", drawn) if drawn.strip("… ") else ""


def _wrap(text: str, font: Font, width_px: int) -> list[str]:
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if font.getlength(longer) <= width_px:
            line = longer
            continue
        if line:
            lines.append(line)
        *full, line = _break_word(word, font, width_px)
        lines.extend(full)
    return [*lines, line]


def _break_word(word: str, font: Font, width_px: int) -> list[str]:
    """Splits a word that is wider than the box: a URL, or text in a language without spaces."""
    parts = [""]
    for letter in word:
        if parts[-1] and font.getlength(parts[-1] + letter) > width_px:
            parts.append("")
        parts[-1] += letter
    return parts


def _ellipsize(line: str, font: Font, width_px: int) -> str:
    while line and font.getlength(line + "…") > width_px:
        line = line[:-1]
    return line.rstrip() + "…"
