"""Whose turn it is."""

from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from fixtures.waiting import make_waiting, waiting_lists
from phoenix.jobs.scheduling.fair_queue import Waiting, remembered_s, take_turns, within_caps


def names(waiting: list[Waiting], served_s: dict[str, float] | None = None) -> list[str]:
    return [task.task_id for task in take_turns(waiting, served_s or {})]


@given(waiting_lists(st.floats(0, 10_000)))
def test_everybody_gets_a_turn_exactly_once(waiting: list[Waiting]) -> None:
    assert sorted(names(waiting)) == sorted(task.task_id for task in waiting)


@given(waiting_lists(st.floats(0, 10_000)))
def test_within_a_key_nobody_is_overtaken_by_more_than_the_head_start(waiting: list[Waiting]) -> None:
    seen: dict[str, datetime] = {}
    for task in take_turns(waiting, {}):
        latest = seen.get(task.owner_id)
        assert latest is None or latest <= task.arrival
        seen[task.owner_id] = task.arrival


def test_the_key_that_was_served_least_goes_first() -> None:
    waiting = [make_waiting("old", owner="a", age_s=500), make_waiting("new", owner="b")]

    assert names(waiting, {"a": 300}) == ["new", "old"]


def test_a_key_is_level_with_newcomers_after_a_quarter_of_its_service_without_any() -> None:
    assert [remembered_s(100, idle_s) for idle_s in (0, 20, 25, 1000)] == [100, 20, 0, 0]


def test_of_keys_that_are_level_the_one_that_came_first_goes_first() -> None:
    waiting = [make_waiting("new", owner="a"), make_waiting("half done", owner="b", age_s=500)]

    assert names(waiting, {"b": remembered_s(100, idle_s=25)}) == ["half done", "new"]


def test_a_dump_of_jobs_delays_another_key_by_one_turn() -> None:
    dump = [make_waiting(f"dump{n}", owner="a", age_s=100 - n) for n in range(50)]

    assert names([*dump, make_waiting("small", owner="b")]).index("small") == 1


def test_a_priority_is_a_head_start_and_not_a_right_of_way() -> None:
    waiting = [make_waiting("patient", age_s=1300), make_waiting("urgent", priority="high")]

    assert names(waiting) == ["patient", "urgent"]


@given(
    waiting_lists(st.floats(0, 10_000)), st.dictionaries(st.sampled_from("abcd"), st.integers(0, 5)), st.integers(1, 5)
)
def test_no_key_gets_more_than_its_cap_and_the_order_stays(
    waiting: list[Waiting], in_hand: dict[str, int], most: int
) -> None:
    turns = list(take_turns(waiting, {}))

    kept = list(within_caps(turns, in_hand, most=most))

    for owner in "abcd":
        of_owner = [turn for turn in turns if turn.owner_id == owner]
        room = max(0, most - in_hand.get(owner, 0))
        assert [turn for turn in kept if turn.owner_id == owner] == of_owner[:room]
    assert kept == [turn for turn in turns if turn in kept]


def test_without_a_cap_nobody_is_left_out() -> None:
    turns = [make_waiting(str(number)) for number in range(9)]

    assert list(within_caps(turns, {"a": 100}, most=0)) == turns
