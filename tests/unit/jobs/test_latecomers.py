"""The place of a task that came after the order was worked out."""

from hypothesis import given
from hypothesis import strategies as st

from fixtures.waiting import PRIORITIES, make_ready, ready_lists
from phoenix.jobs.scheduling.fair_queue import InsertionIndex, ReadyTask, fair_order


def names_before(order: list[ReadyTask], late: ReadyTask, usage_s: dict[str, float] | None = None) -> list[str]:
    usage_s = usage_s or {}
    index = InsertionIndex(fair_order(order, usage_s), usage_s)
    point = index.find_insertion_point(late)
    before = set(range(point.end)) - set(point.overtaken)
    return [turn.task_id for number, turn in enumerate(index.tasks) if number in before]


@given(
    ready_lists(st.integers(0, 10_000)),
    # Half a second younger than the rest, so that no tie can be broken either way.
    st.builds(
        make_ready, name=st.just("late"), owner=st.sampled_from("abcde"), age_s=st.just(-0.5), priority=PRIORITIES
    ),
    st.dictionaries(st.sampled_from("abcde"), st.floats(0, 3000)),
)
def test_a_new_task_gets_the_place_that_ordering_all_anew_would_give_it(
    order: list[ReadyTask], late: ReadyTask, usage_s: dict[str, float]
) -> None:
    anew = [turn.task_id for turn in fair_order([*order, late], usage_s)]

    assert names_before(order, late, usage_s) == anew[: anew.index("late")]


def test_a_new_task_comes_after_its_own_earlier_tasks() -> None:
    order = [make_ready(f"own{n}", age_s=10 - n) for n in range(3)]

    assert names_before(order, make_ready("late")) == ["own0", "own1", "own2"]


def test_a_new_task_with_a_priority_boost_still_comes_after_its_own_earlier_tasks() -> None:
    order = [make_ready("other", owner="b", age_s=1000), make_ready("own", age_s=900, cost_s=1)]

    assert names_before(order, make_ready("late", priority="high")) == ["other", "own"]


def test_a_new_task_with_a_priority_boost_overtakes_its_own_tasks_that_came_before_it() -> None:
    order = [make_ready("own", age_s=100), make_ready("other", owner="b", age_s=50)]

    assert names_before(order, make_ready("late", priority="high")) == []


def test_a_new_task_of_a_new_key_comes_before_what_others_have_too_much_of() -> None:
    order = [make_ready(f"dump{n}", owner="b", age_s=100 - n) for n in range(50)]

    assert names_before(order, make_ready("late")) == ["dump0"]


def test_nothing_is_before_a_new_task_in_an_empty_queue() -> None:
    assert names_before([], make_ready("late")) == []


def test_two_keys_that_are_level_keep_their_order_whoever_else_waits() -> None:
    level = [make_ready("one", owner="b", age_s=1), make_ready("two", owner="c", age_s=1)]

    orders = [fair_order([*level, *others], {}) for others in ([], [make_ready("late", owner="b")])]

    alone, with_another = ([turn.task_id for turn in order if turn.task_id != "late"] for order in orders)
    assert alone == with_another
