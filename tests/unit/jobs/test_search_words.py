"""The words of jobs and of queries: the same on both sides, whatever the text."""

import pytest

from phoenix.jobs.library.search import JobSearch, list_ranks
from phoenix.jobs.library.words import MAX_TEXT_LENGTH, split_query, split_words, words_of_job

CLIPS = {"clips": [{"prompt": "A red Balloon", "caption": "Dawn!", "narration": "Up, up."}, {"prompt": "the sea"}]}


def words(request=CLIPS, **changes):
    given = {"owner_id": "me", "title": None, "tags": [], "metadata": {}, "favorite": False}
    return words_of_job(request, **(given | changes))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A RED-ish balloon, 3d!", ["a", "red", "ish", "balloon", "3d"]),
        ("Café, ÜBER, naïve", ["cafe", "uber", "naive"]),
        ("cafe\u0301 Straße ﬁlm", ["cafe", "strasse", "film"]),
        ("赤い風船", ["赤", "い", "風", "船"]),
        ("港 harbour港", ["港", "harbour", "港"]),
        ("빨간 풍선", ["빨간", "풍선"]),
        ("snake_case\0x", ["snake", "case", "x"]),
        ("x" * 65, ["x" * 64, "x"]),
        ("é" * 65, ["e" * 64, "e"]),
        ("🎈 ' \" * ( ) - :", []),
    ],
)
def test_a_text_is_split_into_words(text: str, found: list[str]) -> None:
    assert split_words(text) == found


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("red balloon", [("red",), ("balloon",)]),
        ('"red balloon" sea', [("red", "balloon"), ("sea",)]),
        ('"red balloon', [("red",), ("balloon",)]),
        ("red-balloon", [("red", "balloon")]),
        ("風船", [("風", "船")]),
        ("red OR -sea NOT (x*", [("red",), ("or",), ("sea",), ("not",), ("x",)]),
        ('"" "', []),
    ],
)
def test_every_text_is_a_query(text: str, phrases: list[tuple[str, ...]]) -> None:
    assert split_query(text) == phrases


def test_a_job_is_found_by_the_texts_of_its_clips_and_by_its_metadata() -> None:
    found = words(title="Harbour", tags=["Sea"], metadata={"customer": "Acme Ltd"})

    assert found.title == "harbour sea"
    assert found.text == "a red balloon dawn up up the sea acme ltd"


@pytest.mark.parametrize("request_", [{"kind": "stitch"}, {"clips": [{"prompt": "x", "caption": None}, {}]}])
def test_a_request_without_these_texts_is_no_error(request_: dict[str, object]) -> None:
    assert words(request_).text in ("", "x")


def test_only_the_beginning_of_a_very_long_text_is_searched() -> None:
    # This letter stands for four words.
    for text in ("ab " * MAX_TEXT_LENGTH, "\ufdfa" * MAX_TEXT_LENGTH):
        assert len(words({"clips": [{"prompt": text}]}).text) <= MAX_TEXT_LENGTH


def test_filters_are_no_words_of_a_text_and_differ_by_owner_tag_and_value() -> None:
    marks = [
        words(owner_id="you").filters,
        words().filters,
        words(tags=["a"]).filters,
        words(metadata={"a": "b"}).filters,
        words(metadata={"a": "c"}).filters,
        words(favorite=True).filters,
    ]

    assert len(set(marks)) == len(marks)
    assert all(mark.startswith("=") for text in marks for mark in text.split())
    assert words(tags=["Sea"]).filters == words(tags=["sea"]).filters


def test_the_title_ranks_above_the_text_and_whole_words_above_beginnings() -> None:
    title, text, beginnings = list_ranks(JobSearch("red balloon"), "me")

    assert title.to_tsquery().endswith("(('~red') & ('~balloon'))")
    assert "('red') & ('balloon')) & !((('~red')" in text.to_tsquery()
    assert "('red':*) & ('balloon':*)) & !((('red') &" in beginnings.to_tsquery()
    assert '({title text} : ("red"* AND "balloon"*))) NOT (({title text} : ("red" AND' in beginnings.to_fts5()


def test_a_search_without_words_has_one_rank_for_filters_and_none_for_signs() -> None:
    assert len(list_ranks(JobSearch(favorite=False), "me")) == 1
    assert list_ranks(JobSearch("?!"), "me") == []
    assert len(list_ranks(JobSearch("ab"), "me")) == 2
