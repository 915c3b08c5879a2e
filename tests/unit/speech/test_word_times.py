"""The words that a reader sees get the times of the sounds that an engine reports."""

from dataclasses import dataclass

from phoenix.speech.children.espeak import times_of_words
from phoenix.speech.children.piper import group_sounds, split_sentences, times_of_sentence


@dataclass(frozen=True)
class Sound:
    phoneme: str
    num_samples: int


def listed(times: list[dict[str, object]]) -> list[tuple[object, ...]]:
    return [tuple(each.values()) for each in times]


def test_several_spoken_words_are_one_written_word():
    # "dollar" and "five" are both spoken at the place of "$5".
    times = times_of_words("costs $5 now", [(0, 0.0), (6, 0.5), (7, 0.8), (9, 1.2)], 1.5)

    assert listed(times) == [("costs", 0.0, 0.5), ("$5", 0.5, 1.2), ("now", 1.2, 1.5)]


def test_what_is_not_spoken_stays_with_the_word_before_it():
    times = times_of_words("run — now", [(0, 0.0), (6, 0.6)], 1.0)

    assert listed(times) == [("run —", 0.0, 0.6), ("now", 0.6, 1.0)]


def test_a_text_without_reported_words_has_its_words_all_the_same():
    assert listed(times_of_words("… …", [], 1.0)) == [("… …", 0.0, 1.0)]


def test_sounds_between_spaces_are_a_group_without_the_silence_around_it():
    sounds = [Sound("^", 10), Sound("a", 20), Sound("b", 30), Sound(" ", 5), Sound("c", 40), Sound(".", 7)]

    assert group_sounds(sounds, 100) == [(110, 160), (165, 205)]


def test_groups_are_words_only_where_there_are_as_many():
    assert listed(times_of_sentence(["a", "b"], [(0, 10), (20, 30)], (0, 40), 10)) == [("a", 0, 1), ("b", 2, 3)]
    assert listed(times_of_sentence(["$5", "go"], [(0, 10), (10, 20), (20, 30)], (0, 60), 10)) == [
        ("$5", 0, 3),
        ("go", 3, 6),
    ]


def test_sentences_end_with_their_marks():
    assert split_sentences("One. Two is 2.5!\nThree… four") == ["One.", "Two is 2.5!", "Three…", "four"]
