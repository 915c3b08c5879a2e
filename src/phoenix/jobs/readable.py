"""Which rows this version can read, as SQL conditions. What only a newer version knows is left to that one."""

from typing import get_args

from sqlalchemy import exists
from sqlalchemy.orm import aliased
from sqlalchemy.sql.elements import ColumnElement
from sqlmodel import col

from phoenix.contract.base import JobKind, Priority
from phoenix.contract.jobs import JobState
from phoenix.jobs.lifecycle import TaskKind, TaskState
from phoenix.jobs.tables import JobRow, TaskRow


def is_newer(task: type[TaskRow]) -> ColumnElement[bool]:
    """Whether only a newer version can read this row of `tasks`, or of an alias of it."""
    return col(task.kind).not_in(list(TaskKind)) | col(task.state).not_in(list(TaskState))


_task = aliased(TaskRow)
_KNOWN = (
    col(JobRow.state).in_(list(JobState)),
    col(JobRow.ending).is_(None) | col(JobRow.ending).in_(list(JobState)),
    col(JobRow.kind).in_(get_args(JobKind)),
)

# What only a newer version knows in one job's row would make all the others unreadable that are read with it.
READABLE = (*_KNOWN, col(JobRow.priority).in_(get_args(Priority)))
"""Of a job: that it can be shown, as far as its own row goes."""

MOVABLE = (*_KNOWN, ~exists().where(col(_task.job_id) == col(JobRow.id), is_newer(_task)))
"""Of a job: that it can be brought forward, or to its end. That takes all of its tasks, but not its priority."""
