"""The place of a task that came after the order was worked out."""

from hypothesis import given
from hypothesis import strategies as st

from fixtures.waiting import PRIORITIES, make_waiting, waiting_lists
from phoenix.jobs.scheduling.fair_queue import Seating, Waiting, take_turns


def names_before(line: list[Waiting], late: Waiting, served_s: dict[str, float] | None = None) -> list[str]:
    served_s = served_s or {}
    seating = Seating(take_turns(line, served_s), served_s)
    seat = seating.find_seat(late)
    before = set(range(seat.end)) - set(seat.overtaken)
    return [turn.task_id for number, turn in enumerate(seating.turns) if number in before]


@given(
    waiting_lists(st.integers(0, 10_000)),
    # Half a second younger than the rest, so that no tie can be broken either way.
    st.builds(
        make_waiting, name=st.just("late"), owner=st.sampled_from("abcde"), age_s=st.just(-0.5), priority=PRIORITIES
    ),
    st.dictionaries(st.sampled_from("abcde"), st.floats(0, 3000)),
)
def test_a_latecomer_gets_the_place_that_ordering_all_anew_would_give_it(
    line: list[Waiting], late: Waiting, served_s: dict[str, float]
) -> None:
    anew = [turn.task_id for turn in take_turns([*line, late], served_s)]

    assert names_before(line, late, served_s) == anew[: anew.index("late")]


def test_a_latecomer_comes_after_its_own_earlier_tasks() -> None:
    line = [make_waiting(f"own{n}", age_s=10 - n) for n in range(3)]

    assert names_before(line, make_waiting("late")) == ["own0", "own1", "own2"]


def test_a_latecomer_of_a_new_key_comes_before_what_others_have_too_much_of() -> None:
    line = [make_waiting(f"dump{n}", owner="b", age_s=100 - n) for n in range(50)]

    assert names_before(line, make_waiting("late")) == ["dump0"]


def test_nothing_is_before_a_latecomer_in_an_empty_line() -> None:
    assert names_before([], make_waiting("late")) == []


def test_two_keys_that_are_level_keep_their_order_whoever_else_waits() -> None:
    level = [make_waiting("one", owner="b", age_s=1), make_waiting("two", owner="c", age_s=1)]

    orders = [take_turns([*level, *others], {}) for others in ([], [make_waiting("late", owner="b")])]

    alone, with_another = ([turn.task_id for turn in order if turn.task_id != "late"] for order in orders)
    assert alone == with_another
