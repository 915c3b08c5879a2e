"""Text of users on a terminal, and numbers for people."""

import pytest

from phoenix.cli.console import format_seconds, printable


def test_control_characters_do_not_reach_the_terminal():
    assert printable("\x1b]0;owned\x07 a\nb\r\u202ec") == "]0;owned  a b  c"


def test_long_text_is_cut_to_its_length():
    assert printable("a red balloon", 8) == "a red b…"
    assert printable("balloon", 7) == "balloon"


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (8.21, "8.2 s"), (59.9, "59.9 s"), (185, "3:05"), (3723, "1:02:03")]
)
def test_times_read_as_people_write_them(seconds: float | None, text: str):
    assert format_seconds(seconds) == text
