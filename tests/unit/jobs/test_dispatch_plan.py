"""Which dispatch messages are sent and revoked, and in which order."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from phoenix.jobs.scheduling.fair_queue import UNCHANGED, ReadyTask, make_dispatch_plan

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def make_ready(name: str, *, is_dispatched: bool = False) -> ReadyTask:
    return ReadyTask(name, 1, "a", f"job_{name}", 0, "normal", NOW, 60, dispatched_at=NOW if is_dispatched else None)


def names(tasks: list[ReadyTask] | tuple[ReadyTask, ...]) -> str:
    return "".join(task.task_id for task in tasks)


def test_new_tasks_are_dispatched_behind_dispatched_tasks() -> None:
    dispatched, new = make_ready("a", is_dispatched=True), make_ready("b")

    plan = make_dispatch_plan([dispatched, new], [dispatched])

    assert (plan.enqueue, plan.revoke) == ([new], [])


def test_a_dispatched_task_is_dispatched_again_behind_a_new_task_that_precedes_it() -> None:
    dispatched, new = make_ready("a", is_dispatched=True), make_ready("b")

    plan = make_dispatch_plan([new, dispatched], [dispatched])

    assert (plan.enqueue, plan.revoke, plan.undispatch) == ([new, dispatched], [dispatched], [])


def test_a_task_that_is_no_longer_among_the_next_waits_in_sql_again() -> None:
    dispatched, new = make_ready("a", is_dispatched=True), make_ready("b")

    plan = make_dispatch_plan([new], [dispatched])

    assert (plan.enqueue, plan.revoke, plan.undispatch) == ([new], [dispatched], [dispatched])


def test_messages_that_only_change_their_order_stay_as_they_are() -> None:
    dispatched = [make_ready("a", is_dispatched=True), make_ready("b", is_dispatched=True)]

    assert make_dispatch_plan(dispatched[::-1], dispatched) is UNCHANGED


@given(st.lists(st.tuples(st.uuids().map(str), st.booleans()), unique_by=lambda pair: pair[0]), st.integers(1, 8))
def test_no_plan_leaves_more_messages_than_next_tasks(drawn: list[tuple[str, bool]], most: int) -> None:
    order = [make_ready(name, is_dispatched=is_dispatched) for name, is_dispatched in drawn]
    dispatched = [task for task in order if task.dispatched_at]

    plan = make_dispatch_plan(order[:most], dispatched)

    stay = [task for task in dispatched if task not in plan.revoke]
    assert plan is UNCHANGED or [*stay, *plan.enqueue] == order[:most]
