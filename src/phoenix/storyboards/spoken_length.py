"""How many words of narration a clip has time for. Pure."""

import re
import unicodedata

WORDS_PER_S = 2.0
"""What a planner is asked for. A calm voice says two to three words in a second."""
MOST_WORDS_PER_S = 3.0
"""What is refused beyond, because no voice says more."""

_WORD = re.compile(r"\S+")
_PARTS = re.compile(r"[\u2e80-\uffff]|[^\s\u2e80-\uffff]+\s*|\s+")
"""A word with the space behind it, or a letter of a script without spaces."""


def count_words(text: str) -> int:
    """The words of a text. Two letters of a script without spaces, such as Chinese, count as one."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    narrow = "".join(" " if unicodedata.east_asian_width(letter) in "WF" else letter for letter in text)
    return len(_WORD.findall(narrow)) + (wide + 1) // 2


def words_in(length_s: float, rate: float = WORDS_PER_S) -> int:
    """How many words are said in that time: at least one."""
    return max(1, int(length_s * rate))


def cut_to_words(text: str, most: int) -> str:
    """The beginning of a text, with at most so many words."""
    if count_words(text) <= most:
        return text
    kept = ""
    for part in _PARTS.findall(text):
        if count_words(kept + part) > most:
            break
        kept += part
    return kept.rstrip(" ,;:")
