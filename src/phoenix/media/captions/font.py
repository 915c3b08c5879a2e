"""The font of captions that are drawn into a picture: DejaVu Sans, which Phoenix ships, and which letters it has.

It has Latin, Greek, Cyrillic, Armenian, Georgian, Hebrew, Arabic and many symbols. It has no Chinese, Japanese, Korean,
Thai or Indic letters, and no emoji in colour.
"""

import struct
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

FONT_FAMILY = "DejaVu Sans"
FONT_FOLDER = Path(__file__).parent / "fonts"
FONT_FILE = FONT_FOLDER / "DejaVuSans.ttf"
CAPTION_FILTER = "subtitles"
"""The filter of ffmpeg that draws captions. Builds without libass lack it."""
NO_LIBASS = (
    "the ffmpeg here cannot draw captions: it was built without libass; use the one of imageio-ffmpeg, set "
    "PHOENIX_MEDIA__FFMPEG, or ask for captions as a track"
)
EM_PER_LINE = 0.859
"""A size in libass is the height of a line of the font: so much of it is the em, in which other programs count."""


def find_unknown_letters(text: str) -> list[str]:
    """The letters of a text that the font lacks, each once, in order. Invisible letters do not count."""
    known = _letters_of_font()
    unknown = (letter for letter in text if ord(letter) not in known and _is_drawn(letter))
    return list(dict.fromkeys(unknown))


def name_letter(letter: str) -> str:
    """A letter with its number and its name in Unicode: `猫 (U+732B CJK UNIFIED IDEOGRAPH-732B)`."""
    name = unicodedata.name(letter, "without a name")
    return f"{letter} (U+{ord(letter):04X} {name})"


def _is_drawn(letter: str) -> bool:
    return unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Zl", "Zp") and not "\ufe00" <= letter <= "\ufe0f"


@lru_cache(maxsize=1)
def _letters_of_font() -> frozenset[int]:
    """The code points that the font maps to a glyph."""
    data = FONT_FILE.read_bytes()
    (num_tables,) = struct.unpack_from(">H", data, 4)
    tables = {
        data[at : at + 4]: struct.unpack_from(">I", data, at + 8)[0] for at in range(12, 12 + 16 * num_tables, 16)
    }
    start = tables[b"cmap"]
    (num_maps,) = struct.unpack_from(">H", data, start + 2)
    letters: set[int] = set()
    for number in range(num_maps):
        (offset,) = struct.unpack_from(">I", data, start + 8 + 8 * number)
        (layout,) = struct.unpack_from(">H", data, start + offset)
        if layout == 12:
            letters |= _letters_of_groups(data, start + offset)
    return frozenset(letters)


def _letters_of_groups(data: bytes, start: int) -> set[int]:
    """Of a map in format 12: groups of consecutive code points."""
    (num_groups,) = struct.unpack_from(">I", data, start + 12)
    letters: set[int] = set()
    for number in range(num_groups):
        first, last, _ = struct.unpack_from(">III", data, start + 16 + 12 * number)
        letters.update(range(first, last + 1))
    return letters


def measure_at(size_px: int) -> Callable[[str], float]:
    """Returns a function that measures a line of text in pixels, at a size of libass."""
    # Part of an extra that an API replica does not have.
    from PIL import ImageFont  # noqa: PLC0415

    font: Any = ImageFont.truetype(str(FONT_FILE), max(1, round(size_px * EM_PER_LINE)))
    return lambda text: float(font.getlength(text))
