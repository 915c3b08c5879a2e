"""Which doorbells are in Redis, and behind which others."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from phoenix.jobs.scheduling.fair_queue import UNCHANGED, Waiting, line_up

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def make_waiting(name: str, *, is_rung: bool = False) -> Waiting:
    return Waiting(name, 1, "a", f"job_{name}", 0, "normal", NOW, 60, rung_at=NOW if is_rung else None)


def names(tasks: list[Waiting] | tuple[Waiting, ...]) -> str:
    return "".join(task.task_id for task in tasks)


def test_what_is_new_is_rung_behind_what_is_rung() -> None:
    rung, new = make_waiting("a", is_rung=True), make_waiting("b")

    lineup = line_up([rung, new], [rung])

    assert (lineup.ring, lineup.withdraw) == ([new], [])


def test_what_is_rung_comes_again_behind_one_that_goes_before_it() -> None:
    rung, new = make_waiting("a", is_rung=True), make_waiting("b")

    lineup = line_up([new, rung], [rung])

    assert (lineup.ring, lineup.withdraw, lineup.put_back) == ([new, rung], [rung], [])


def test_what_is_no_longer_among_the_next_waits_in_sql_again() -> None:
    rung, new = make_waiting("a", is_rung=True), make_waiting("b")

    lineup = line_up([new], [rung])

    assert (lineup.ring, lineup.withdraw, lineup.put_back) == ([new], [rung], [rung])


def test_doorbells_that_only_change_places_stay_as_they_are() -> None:
    rung = [make_waiting("a", is_rung=True), make_waiting("b", is_rung=True)]

    assert line_up(rung[::-1], rung) is UNCHANGED


@given(st.lists(st.tuples(st.uuids().map(str), st.booleans()), unique_by=lambda pair: pair[0]), st.integers(1, 8))
def test_there_are_never_more_doorbells_than_there_should_be_once_one_is_added(
    drawn: list[tuple[str, bool]], most: int
) -> None:
    order = [make_waiting(name, is_rung=is_rung) for name, is_rung in drawn]
    rung = [task for task in order if task.rung_at]

    lineup = line_up(order[:most], rung)

    stay = [task for task in rung if task not in lineup.withdraw]
    assert lineup is UNCHANGED or [*stay, *lineup.ring] == order[:most]
