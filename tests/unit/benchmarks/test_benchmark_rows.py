"""The rows of `make bench`, how they are chosen, and what is read from other programs."""

import pytest
from suite.groups import choose
from suite.instructions import parse_count
from suite.rows import GROUPS
from suite.stacks import Frame, top_frames, top_list

ROWS = [row for group in GROUPS for row in group.rows]


def chosen_names(only: str) -> list[str]:
    return [row.name for _, rows in choose(GROUPS, only) for row in rows]


def test_names_of_rows_and_groups_are_unique() -> None:
    names = [row.name for row in ROWS]

    assert sorted(set(names)) == sorted(names)
    assert len({group.name for group in GROUPS}) == len(GROUPS)


def test_all_rows_are_measured_if_none_is_named() -> None:
    assert chosen_names("") == [row.name for row in ROWS]


def test_a_row_is_chosen_by_its_name_or_by_the_beginning_of_it() -> None:
    assert chosen_names("help") == ["help"]
    assert set(chosen_names("post- help")) == {"post-core", "post-seeds", "post-asgi", "post-100", "help"}


def test_a_group_is_chosen_by_its_name() -> None:
    (starts,) = [group for group in GROUPS if group.name == "starts"]

    assert chosen_names("starts") == [row.name for row in starts.rows]


def test_an_unknown_name_chooses_nothing() -> None:
    assert chosen_names("nothing-like-it") == []


@pytest.mark.parametrize(
    ("stderr", "count"),
    [
        ("\n1234567,,instructions:u,1000,100.00,,\n", 1234567),
        ("==12== \n==12== I   refs:      1,234,567\n", 1234567),
        ("<not supported>,,instructions:u,0,100.00,,\n", None),
        ("", None),
    ],
)
def test_instructions_are_read_from_perf_and_from_valgrind(stderr: str, count: int | None) -> None:
    assert parse_count(stderr) == count


STACKS = "main (a.py:1);run (a.py:5);read (b.py:7) 6\nmain (a.py:1);run (a.py:9) 2\nmain (a.py:2) 2\n"


def test_a_profile_counts_a_function_once_per_sample_and_all_its_lines_together() -> None:
    assert top_frames(STACKS) == [
        Frame("main (a.py)", 1.0, 0.2),
        Frame("run (a.py)", 0.8, 0.2),
        Frame("read (b.py)", 0.6, 0.6),
    ]


def test_a_recursive_function_counts_once_per_sample() -> None:
    assert top_frames("walk (a.py:1);walk (a.py:2) 4\n") == [Frame("walk (a.py)", 1.0, 1.0)]


def test_an_empty_profile_has_no_functions() -> None:
    assert top_list(top_frames("")) == ""
