"""How the places of jobs in several lists become one order, and which passages a job has."""

from typing import Any

from phoenix.embedding.passages import MAX_PASSAGES, PASSAGE_LENGTH, passages_of_job
from phoenix.jobs.library.meaning import fuse


def passages(*clips: dict[str, Any], title: str | None = None, tags: tuple[str, ...] = ()) -> list[str]:
    return passages_of_job({"clips": list(clips)}, title=title, tags=tags)


def test_a_job_in_both_lists_comes_before_the_first_of_one_list() -> None:
    assert fuse([["a", "b"], ["c", "b"]]) == ["b", "c", "a"]


def test_of_equal_jobs_the_newer_one_comes_first() -> None:
    assert fuse([["job_1"], ["job_2"]]) == ["job_2", "job_1"]


def test_one_list_keeps_its_order_and_no_list_finds_nothing() -> None:
    assert fuse([["c", "a", "b"]]) == ["c", "a", "b"]
    assert fuse([]) == []


def test_short_texts_share_a_passage_with_the_title_first() -> None:
    clip = {"prompt": "a  fox\nruns", "caption": "Run!", "narration": None, "seed": 7}

    assert passages(clip, {"prompt": "it stops"}, title="Foxes", tags=("wild",)) == [
        "Foxes wild\na fox runs Run!\nit stops"
    ]


def test_a_long_reel_has_several_passages_and_no_more_than_the_cap() -> None:
    long = {"prompt": "x" * PASSAGE_LENGTH}

    assert passages({"prompt": "a"}, long, {"prompt": "b"}) == ["a", long["prompt"], "b"]
    assert len(passages(*([long] * 40))) == MAX_PASSAGES


def test_a_job_without_texts_has_no_passage() -> None:
    assert passages_of_job({"source": {"url": "https://example.com"}}, title=None, tags=()) == []
