"""Remembers the jobs that were read last, so that a job is read again in full only if it has changed."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Executable, Select, bindparam, func, select

from phoenix.db import Database, table_of
from phoenix.jobs.repository import (
    FullJob,
    JobFilter,
    Page,
    encode_cursor,
    fetch_full_job,
    fetch_full_jobs,
    select_page,
)
from phoenix.jobs.tables import JobRow, TaskRow

_JOBS, _TASKS = table_of(JobRow), table_of(TaskRow)
_LARGE = ("request", "search_title", "search_text", "search_filters")
"""The texts of a job. They change only together with another column."""
_COLUMNS = tuple(column for column in _JOBS.columns if column.name not in _LARGE)
_NAMES = tuple(column.name for column in _COLUMNS)
_MAX_TASKS = 1000
"""About 10 MB."""

_Stamp = tuple[Any, ...]
"""What changes whenever the view of a job changes that no worker has: its small columns, and sums over its tasks."""

_OF_TASKS = (
    func.sum(_TASKS.c.attempt),
    func.sum(_TASKS.c.dispatch_seq),
    func.count(_TASKS.c.dispatched_at),
    func.max(_TASKS.c.dispatched_at),
    func.max(_TASKS.c.eligible_at),
)


def _select_stamps(job_ids: Select[str]) -> Executable:
    sums = select(_TASKS.c.job_id, *(each.label(f"of_tasks_{number}") for number, each in enumerate(_OF_TASKS)))
    of_tasks = sums.where(_TASKS.c.job_id.in_(job_ids)).group_by(_TASKS.c.job_id).subquery()
    return select(*_COLUMNS, *list(of_tasks.c)[1:]).join(of_tasks, of_tasks.c.job_id == _JOBS.c.id).order_by(_JOBS.c.id)


_STAMP = _select_stamps(select(_JOBS.c.id).where(_JOBS.c.id == bindparam("job_id")))


# Building the statement takes longer than running it, and clients ask for the same pages again and again.
@lru_cache(maxsize=16)
def _select_stamps_of_page(wanted: JobFilter, owner_id: str | None, limit: int, cursor: str | None) -> Executable:
    return _select_stamps(select_page(wanted, owner_id=owner_id, limit=limit, cursor=cursor))


def _stamp_of(job: FullJob) -> _Stamp:
    values, dispatched = vars(job.row), [task.dispatched_at for task in job.tasks if task.dispatched_at is not None]
    return (
        *(values[name] for name in _NAMES),
        sum(task.attempt for task in job.tasks),
        sum(task.dispatch_seq for task in job.tasks),
        len(dispatched),
        max(dispatched, default=None),
        max(task.eligible_at for task in job.tasks),
    )


class RecentJobs:
    """One per process. Remembers jobs that have ended, and jobs of which no worker has had a part.

    Their tasks change only together with their stamp. The others are read in full each time.
    """

    def __init__(self, database: Database, *, max_tasks: int = _MAX_TASKS) -> None:
        self._database = database
        self._max_tasks = max_tasks
        self._tasks = 0
        self._jobs: dict[str, tuple[_Stamp, FullJob]] = {}

    async def fetch(self, job_id: str, *, owner_id: str) -> FullJob:
        """The job as it is now. Raises `NotFound` for an unknown job and for another owner's job."""
        if job_id in self._jobs:
            stamps = await self._database.fetch(_STAMP, {"job_id": job_id})
            job = self._find(tuple(stamps[0])) if stamps else None
            if job is not None and job.row.owner_id == owner_id:
                return job
        job = await fetch_full_job(self._database, job_id, owner_id=owner_id)
        self._remember([job])
        return job

    async def list_page(self, wanted: JobFilter, *, owner_id: str | None, limit: int, cursor: str | None) -> Page:
        """Like `repository.list_jobs`, newest first."""
        statement = _select_stamps_of_page(wanted, owner_id, limit, cursor)
        stamps = [tuple(row) for row in await self._database.fetch(statement)][::-1]
        ids = [stamp[0] for stamp in stamps]
        jobs = await self._complete(stamps[:limit])
        found = [jobs[job_id] for job_id in ids[:limit] if job_id in jobs]
        return Page(found, encode_cursor(ids[limit - 1]) if len(ids) > limit else None)

    def remembers(self, job: FullJob) -> bool:
        """Whether the next read returns this very object, unless the job changes."""
        return self._jobs.get(job.row.id, (None, None))[1] is job

    async def _complete(self, stamps: Sequence[_Stamp]) -> Mapping[str, FullJob]:
        """The jobs with these stamps by id. Leaves out jobs that are gone, or that only a newer version can read."""
        known = {stamp[0]: job for stamp in stamps if (job := self._find(stamp)) is not None}
        missing = await fetch_full_jobs(self._database, [stamp[0] for stamp in stamps if stamp[0] not in known])
        self._remember(missing)
        return known | {job.row.id: job for job in missing}

    def _find(self, stamp: _Stamp) -> FullJob | None:
        known, job = self._jobs.get(stamp[0], (None, None))
        return job if known == stamp else None

    def _remember(self, jobs: Iterable[FullJob]) -> None:
        for job in jobs:
            self._forget(job.row.id)
            if job.row.state.is_terminal or not job.was_claimed:
                self._jobs[job.row.id] = _stamp_of(job), job
                self._tasks += len(job.tasks)
        while self._tasks > self._max_tasks:
            self._forget(next(iter(self._jobs)))

    def _forget(self, job_id: str) -> None:
        _, job = self._jobs.pop(job_id, (None, None))
        self._tasks -= len(job.tasks) if job else 0
