"""The peers of `make bench` do the work that Phoenix does: the same rows, and the schedules of the specifications."""

import runpy
from typing import Any

import pytest
from sqlmodel import SQLModel
from suite.results import Round
from suite.rows.schedules import SCHEDULES, Schedule

from fixtures.repository import REPOSITORY
from phoenix.clock import utc_now
from phoenix.jobs.tables import EventRow, JobRow, TaskRow

rows: dict[str, Any] = runpy.run_path(str(REPOSITORY / "benchmarks" / "peers" / "rows.py"))
REQUEST = {"model": "animatic", "clips": [{"prompt": "a harbour"}, {"prompt": "a boat"}]}
NOW = utc_now()
JOB, TASKS = rows["rows_of"](REQUEST, NOW)
EVENT = rows["event_row"](JOB["id"], 1, NOW)


@pytest.mark.parametrize(
    ("row", "table"), [(JOB, JobRow), (TASKS[0], TaskRow), (TASKS[-1], TaskRow), (EVENT, EventRow)]
)
def test_a_peer_fills_every_column_that_needs_a_value_and_no_other_column_than_there_is(
    row: dict[str, Any], table: type[SQLModel]
) -> None:
    columns = SQLModel.metadata.tables[str(table.__tablename__)].columns
    needed = {column.name for column in columns if not column.nullable and column.server_default is None}

    assert needed <= row.keys() <= {column.name for column in columns}


def test_a_peer_writes_a_task_for_each_clip_and_one_that_assembles_them() -> None:
    assert [(task["kind"], task["state"], task["prerequisites"]) for task in TASKS] == [
        ("render", "ready", []),
        ("render", "ready", []),
        ("assemble", "blocked", [0, 1]),
    ]


def test_rows_of_one_peer_never_have_the_same_id() -> None:
    ids = [row["id"] for _ in range(100) for job, tasks in [rows["rows_of"](REQUEST, NOW)] for row in (job, *tasks)]

    assert len(set(ids)) == 400


def test_an_insert_names_the_columns_in_the_order_of_the_values() -> None:
    statement = rows["insert_statement"]("jobs", {"id": 1, "kind": 2}, ["$1", "$2"])

    assert statement == "INSERT INTO jobs (id, kind) VALUES ($1, $2)"


def test_the_answer_of_a_peer_has_the_clips_with_their_prompts() -> None:
    answer = rows["answer_of"](JOB)

    assert [(clip["index"], clip["prompt"]) for clip in answer["clips"]] == [(0, "a harbour"), (1, "a boat")]
    assert (answer["id"], answer["created_at"]) == (JOB["id"], NOW.isoformat())


def test_the_schedules_are_those_of_the_specifications() -> None:
    assert [(each.clips, each.slots, each.turns) for each in SCHEDULES] == [
        (15, 3, 5),
        (20, 5, 4),
        (50, 8, 7),
        (50, 56, 1),
    ]


def test_all_schedules_take_as_long_so_that_they_end_together() -> None:
    assert {each.ideal_s for each in SCHEDULES} == {28.0}


def test_a_schedule_that_waits_for_one_more_turn_misses_its_aim() -> None:
    schedule = Schedule(15, 3, 2.0)

    assert Round(schedule.ideal_s + schedule.clip_s, schedule.ideal_s).ratio == pytest.approx(1.2)
