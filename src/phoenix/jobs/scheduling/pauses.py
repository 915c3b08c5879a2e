"""Pauses: an administrator lets nothing of a queue, of a model or of a key start until it is resumed.

What runs already ends as usual. Jobs are still accepted, and their deadlines go on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import and_, delete, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import ColumnElement
from sqlmodel import col

from phoenix.contract import Pause, PauseKind
from phoenix.db import UnitOfWork, detached, table_of
from phoenix.jobs.lifecycle import TaskKind
from phoenix.jobs.post_commit import TasksReady
from phoenix.jobs.tables import JobRow, PauseRow, TaskRow


@dataclass(frozen=True)
class Pauses:
    """The pauses at one moment, by kind and name."""

    rows: Mapping[tuple[PauseKind, str], PauseRow] = field(default_factory=dict[tuple[PauseKind, str], PauseRow])

    def __bool__(self) -> bool:
        return bool(self.rows)

    def names(self, kind: PauseKind) -> Sequence[str]:
        return [name for found, name in self.rows if found is kind]

    def of_parts(self) -> "Pauses":
        """Without the pauses of whole queues."""
        return Pauses({subject: row for subject, row in self.rows.items() if subject[0] is not PauseKind.QUEUE})

    def find(self, job: JobRow, task: TaskRow) -> PauseRow | None:
        """What keeps the task of this job from starting; the queue before the model, and the model before the key."""
        subjects = [(PauseKind.QUEUE, task.queue), (PauseKind.KEY, job.owner_id)]
        if task.kind is TaskKind.RENDER and job.model:
            subjects.insert(1, (PauseKind.MODEL, job.model))
        return next((self.rows[subject] for subject in subjects if subject in self.rows), None)

    def allows(self, queue: str) -> ColumnElement[bool]:
        """Whether a task of `queue` may start, for statements over tasks and their jobs."""
        if (PauseKind.QUEUE, queue) in self.rows:
            return ~true()
        conditions: list[ColumnElement[bool]] = []
        if models := self.names(PauseKind.MODEL):
            is_other = or_(col(JobRow.model).is_(None), col(JobRow.model).not_in(models))
            conditions.append(or_(col(TaskRow.kind) != TaskKind.RENDER, is_other))
        if keys := self.names(PauseKind.KEY):
            conditions.append(col(JobRow.owner_id).not_in(keys))
        return and_(true(), *conditions)


NO_PAUSES = Pauses()

_SELECT = select(*table_of(PauseRow).columns).order_by(col(PauseRow.created_at), col(PauseRow.name))


async def read_pauses(session: AsyncSession) -> Pauses:
    """All pauses, the oldest first. Read only."""
    rows = [detached(PauseRow, values) for values in await session.execute(_SELECT)]
    return Pauses({(row.kind, row.name): row for row in rows})


async def pause(uow: UnitOfWork, kind: PauseKind, name: str, *, reason: str | None, paused_by: str) -> Pause:
    """Pauses the queue, model or key, or gives its pause another reason. `paused_by`: id of an administrator's key."""
    row = await uow.session.get(PauseRow, (kind, name))
    if row is None:
        row = PauseRow(kind=kind, name=name, created_at=await uow.now(), created_by=paused_by)
        uow.session.add(row)
    row.reason = reason
    # The dispatcher takes back the messages that no worker has claimed.
    uow.publish_after_commit(TasksReady())
    return view_pause(row)


async def resume(uow: UnitOfWork, kind: PauseKind, name: str) -> None:
    """Ends a pause. Harmless if there is none."""
    await uow.session.execute(delete(PauseRow).where(col(PauseRow.kind) == kind, col(PauseRow.name) == name))
    uow.publish_after_commit(TasksReady())


def view_pause(row: PauseRow) -> Pause:
    return Pause(kind=row.kind, name=row.name, reason=row.reason, paused_at=row.created_at, paused_by=row.created_by)
