"""The rows of `make bench`, how they are chosen, and what is read from other programs."""

import signal
from collections.abc import Iterator, Sequence

import pytest
from suite.groups import Group, choose, measure_group
from suite.instructions import parse_count
from suite.results import Measurement, Round, Row
from suite.rows import GROUPS
from suite.stacks import Frame, top_frames, top_list

ROWS = [row for group in GROUPS for row in group.rows]


def chosen_names(only: str) -> list[str]:
    return [row.name for _, rows in choose(GROUPS, only) for row in rows]


def test_names_of_rows_and_groups_are_unique() -> None:
    names = [*(row.name for row in ROWS), *(group.name for group in GROUPS)]

    assert sorted(set(names)) == sorted(names)


def test_all_rows_but_those_of_long_groups_are_measured_if_none_is_named() -> None:
    long = [row.name for group in GROUPS if group.is_long for row in group.rows]

    assert long
    assert chosen_names("") == [row.name for row in ROWS if row.name not in long]


def test_a_row_is_chosen_by_its_name_or_by_the_beginning_of_it() -> None:
    assert chosen_names("help") == ["help"]
    assert set(chosen_names("post- help")) == {"post-core", "post-seeds", "post-asgi", "post-100", "help"}


def test_a_group_is_chosen_by_its_name() -> None:
    (starts,) = [group for group in GROUPS if group.name == "starts"]

    assert chosen_names("starts") == [row.name for row in starts.rows]


def test_the_command_of_a_row_measures_that_row_alone() -> None:
    assert {row.name: chosen_names(row.name) for row in ROWS} == {row.name: [row.name] for row in ROWS}


def test_an_unknown_name_chooses_nothing() -> None:
    assert chosen_names("nothing-like-it") == []


FIRST, SECOND = (Row(name, name, "ms", "a peer", 1.0) for name in ("first", "second"))


def group_of(*found: Row | BaseException, limit_s: float = 60) -> Group:
    """A group that yields these rows, and raises the error where one is among them."""

    def measure(_rows: Sequence[Row], rounds: int) -> Iterator[Measurement]:
        for each in found:
            if isinstance(each, BaseException):
                raise each
            yield Measurement(each, [Round(1, 2)] * rounds)

    return Group("a group", (FIRST, SECOND), measure, limit_s)


def reasons_of(group: Group, left_s: float = 60) -> dict[str, str]:
    return {each.row.name: each.reason for each in measure_group(group, group.rows, 1, left_s)}


def test_a_group_that_fails_keeps_the_rows_that_it_has_measured() -> None:
    measured = list(measure_group(group_of(FIRST, ValueError("no server\nat all")), (FIRST, SECOND), 3, 60))

    assert measured == [
        Measurement(FIRST, [Round(1, 2)] * 3),
        Measurement(SECOND, (), "ValueError: no server"),
    ]


def test_an_interrupted_group_keeps_the_rows_that_it_has_measured_and_ends_the_run() -> None:
    found = measure_group(group_of(FIRST, KeyboardInterrupt()), (FIRST, SECOND), 1, 60)

    assert [next(found).reason, next(found).reason] == ["", "interrupted"]
    with pytest.raises(KeyboardInterrupt):
        next(found)


def test_a_row_that_its_group_leaves_out_is_not_lost() -> None:
    assert reasons_of(group_of(SECOND)) == {"second": "", "first": "its group ended early"}


def test_a_group_does_not_begin_when_the_time_is_up() -> None:
    reason = "TimeoutError: no time was left"

    assert reasons_of(group_of(FIRST, SECOND), left_s=-1) == {"first": reason, "second": reason}


def test_a_group_that_hangs_is_given_up_and_the_timer_of_others_stays() -> None:
    def hang(_rows: Sequence[Row], _rounds: int) -> Iterator[Measurement]:
        signal.pause()
        yield Measurement(FIRST, ())

    before = signal.getsignal(signal.SIGALRM)
    reasons = reasons_of(Group("a group", (FIRST,), hang, limit_s=0.01))

    assert reasons == {"first": "TimeoutError: not done in the 0 s that were left"}
    assert signal.getsignal(signal.SIGALRM) is before


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


def test_the_list_of_a_profile_leaves_out_what_only_calls_others_all_the_time() -> None:
    stacks = "main (a.py:1);run (a.py:5);read (b.py:7) 8\nmain (a.py:1);write (b.py:9) 2\n"

    assert top_list(top_frames(stacks)).splitlines() == [
        "  80.0%   80.0%  read (b.py)",
        "  20.0%   20.0%  write (b.py)",
    ]


def test_an_empty_profile_has_no_functions() -> None:
    assert top_list(top_frames("")) == ""
