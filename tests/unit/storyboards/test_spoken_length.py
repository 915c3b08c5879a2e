"""Words of narration are counted and cut, with spaces between them or without."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoenix.storyboards.spoken_length import count_words, cut_to_words, words_in


@pytest.mark.parametrize(
    ("text", "count"), [("", 0), ("one", 1), ("one, two - three", 4), ("红色气球飞走了", 4), ("Mia 跑了", 2)]
)
def test_words_are_counted(text: str, count: int) -> None:
    assert count_words(text) == count


@pytest.mark.parametrize(("length_s", "count"), [(0.1, 1), (2, 4), (2.6, 5)])
def test_a_clip_has_time_for_so_many_words(length_s: float, count: int) -> None:
    assert words_in(length_s) == count


def test_a_text_is_cut_between_words() -> None:
    assert cut_to_words("The harbour, wakes up", 2) == "The harbour"
    assert cut_to_words("红色气球飞走了", 2) == "红色气球"


@given(st.text(max_size=200), st.integers(1, 20))
def test_a_cut_text_has_at_most_so_many_words(text: str, most: int) -> None:
    assert count_words(cut_to_words(text, most)) <= most
