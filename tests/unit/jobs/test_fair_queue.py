"""Which owner's task is next."""

from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.waiting import make_ready, ready_lists
from phoenix.jobs.scheduling.fair_queue import (
    ReadyTask,
    apply_concurrency_limit,
    apply_model_limits,
    decayed_usage_s,
    fair_order,
    priority_boost_s,
)


def names(waiting: list[ReadyTask], usage_s: dict[str, float] | None = None) -> list[str]:
    return [task.task_id for task in fair_order(waiting, usage_s or {})]


@given(ready_lists(st.floats(0, 10_000)))
def test_every_task_is_ordered_exactly_once(waiting: list[ReadyTask]) -> None:
    assert sorted(names(waiting)) == sorted(task.task_id for task in waiting)


@given(ready_lists(st.floats(0, 10_000)))
def test_what_was_moved_to_the_front_comes_first_the_latest_before_the_others(waiting: list[ReadyTask]) -> None:
    order = list(fair_order(waiting, {"a": 5000}))

    moved = [task.front_at for task in order if task.front_at]
    assert [task.front_at for task in order[: len(moved)]] == sorted(moved, reverse=True)


@given(ready_lists(st.floats(0, 10_000)))
def test_within_an_owner_no_task_is_overtaken_by_more_than_the_priority_boost(waiting: list[ReadyTask]) -> None:
    seen: dict[str, datetime] = {}
    for task in fair_order([each for each in waiting if each.front_at is None], {}):
        latest = seen.get(task.owner_id)
        assert latest is None or latest <= task.boosted_queued_at
        seen[task.owner_id] = task.boosted_queued_at


def test_the_owner_with_the_least_usage_goes_first() -> None:
    waiting = [make_ready("old", owner="a", age_s=500), make_ready("new", owner="b")]

    assert names(waiting, {"a": 300}) == ["new", "old"]


def test_usage_decays_to_zero_within_a_quarter_of_its_time() -> None:
    assert [decayed_usage_s(100, idle_s) for idle_s in (0, 20, 25, 1000)] == [100, 20, 0, 0]


def test_of_owners_with_equal_usage_the_earliest_task_goes_first() -> None:
    waiting = [make_ready("new", owner="a"), make_ready("half done", owner="b", age_s=500)]

    assert names(waiting, {"b": decayed_usage_s(100, idle_s=25)}) == ["half done", "new"]


def test_a_dump_of_jobs_delays_another_owner_by_one_task() -> None:
    dump = [make_ready(f"dump{n}", owner="a", age_s=100 - n) for n in range(50)]

    assert names([*dump, make_ready("small", owner="b")]).index("small") == 1


def test_a_priority_is_a_boost_and_not_a_right_of_way() -> None:
    waiting = [make_ready("patient", age_s=1300), make_ready("urgent", priority="high")]

    assert names(waiting) == ["patient", "urgent"]


@pytest.mark.parametrize("owner", ["a", "b"])
def test_a_task_with_a_higher_priority_goes_before_one_that_came_less_than_the_boost_earlier(owner: str) -> None:
    waiting = [make_ready("patient", owner="a", age_s=500), make_ready("urgent", owner=owner, priority="high")]

    assert names(waiting) == ["urgent", "patient"]


def test_a_boost_makes_up_for_usage_of_the_same_length() -> None:
    waiting = [make_ready("normal", owner="a"), make_ready("urgent", owner="b", priority="high")]

    assert names(waiting, {"b": 599}) == ["urgent", "normal"]
    assert names(waiting, {"b": 601}) == ["normal", "urgent"]


def test_a_priority_that_only_a_newer_version_knows_counts_as_normal() -> None:
    assert priority_boost_s("urgent") == priority_boost_s("normal")


@given(
    ready_lists(st.floats(0, 10_000)), st.dictionaries(st.sampled_from("abcd"), st.integers(0, 5)), st.integers(1, 5)
)
def test_no_owner_exceeds_its_concurrency_limit_and_the_order_stays(
    waiting: list[ReadyTask], in_flight: dict[str, int], most: int
) -> None:
    turns = list(fair_order(waiting, {}))

    kept = list(apply_concurrency_limit(turns, in_flight, limit=most))

    for owner in "abcd":
        of_owner = [turn for turn in turns if turn.owner_id == owner]
        capacity = max(0, most - in_flight.get(owner, 0))
        assert [turn for turn in kept if turn.owner_id == owner] == of_owner[:capacity]
    assert kept == [turn for turn in turns if turn in kept]


def test_without_a_concurrency_limit_no_task_is_left_out() -> None:
    turns = [make_ready(str(number)) for number in range(9)]

    assert list(apply_concurrency_limit(turns, {"a": 100}, limit=0)) == turns


def test_an_owner_of_weight_2_gets_two_tasks_for_each_task_of_another() -> None:
    light = [make_ready(f"a{n}", owner="a", age_s=10 - n) for n in range(3)]
    heavy = [replace(make_ready(f"b{n}", owner="b", age_s=10 - n), weight=2) for n in range(6)]

    owners = [task.owner_id for task in fair_order([*light, *heavy], {})]

    assert [owners[:n].count("b") for n in (3, 6, 9)] == [2, 4, 6]


def test_what_is_beyond_the_limit_of_a_model_is_skipped_and_other_models_follow() -> None:
    models = ["wan", "wan", "ltx", "wan"]
    ordered = [replace(make_ready(f"a{n}"), model=model) for n, model in enumerate(models)]
    ordered.append(replace(make_ready("b", owner="b"), model="wan"))

    kept = [task.task_id for task in apply_model_limits(ordered, {("a", "wan"): 1}, {"a": 2})]

    assert kept == ["a0", "a2", "b"]
