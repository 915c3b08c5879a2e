"""Rows that no session tracks: they have every column, and refuse changes that nobody would write."""

import pytest

from phoenix.clock import utc_now
from phoenix.db.rows import detached, new_row, table_of
from phoenix.jobs.lifecycle import TaskKind, TaskState
from phoenix.jobs.tables import OwnerRow, TaskRow

COLUMNS = table_of(TaskRow).columns.keys()


def new_task() -> TaskRow:
    return new_row(
        TaskRow,
        id="tsk_1",
        job_id="job_1",
        kind=TaskKind.RENDER,
        position=0,
        queue="gpu",
        state=TaskState.READY,
        prerequisites=[],
        timings={},
        warnings=[],
        made_with={},
        waiting_since=utc_now(),
        eligible_at=utc_now(),
    )


def test_a_detached_row_has_the_values_in_the_order_of_the_columns() -> None:
    row = detached(OwnerRow, ["somebody", 7])
    assert (row.id, row.last_seq) == ("somebody", 7)


def test_a_value_too_few_is_no_row() -> None:
    with pytest.raises(ValueError, match="shorter"):
        detached(OwnerRow, ["somebody"])


def test_a_new_row_has_the_defaults_of_its_fields() -> None:
    task = new_task()
    assert (task.dispatch_seq, task.attempt, task.lease_owner) == (1, 0, None)


def test_a_new_row_has_every_column() -> None:
    assert set(COLUMNS) == set(vars(new_task()))


def test_a_new_row_equals_a_tracked_one_in_every_column() -> None:
    task = new_task()
    tracked = TaskRow(**vars(task))
    assert {name: getattr(tracked, name) for name in COLUMNS} == vars(task)


def test_a_change_of_a_detached_row_is_refused() -> None:
    row = detached(OwnerRow, ["somebody", 7])
    with pytest.raises(AttributeError):
        row.last_seq = 8
