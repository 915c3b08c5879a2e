"""The durable log as streams read it: the rows of SQL, with the newest progress laid over a snapshot."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from sqlalchemy import select

from phoenix.contract.events import ClipProgress, DurableEvent, JobSnapshot
from phoenix.db.columns import db_now
from phoenix.db.unit_of_work import Database
from phoenix.errors import NotFound
from phoenix.events.log import Tail
from phoenix.jobs import journal, views
from phoenix.jobs.find import find_full_job
from phoenix.jobs.position import find_standing

ReadProgress = Callable[[str], Awaitable[dict[int, ClipProgress]]]


class SqlEventLog:
    """Implements `events.log.EventLog`. Holds no session between calls: a stream lives for an hour."""

    def __init__(self, database: Database, read_progress: ReadProgress, *, worker_timeout_s: float) -> None:
        self._database = database
        self._read_progress = read_progress
        self._worker_timeout_s = worker_timeout_s

    async def replay(self, job_id: str, after_seq: int) -> Sequence[DurableEvent]:
        async with self._database.read() as session:
            return await journal.replay(session, job_id, after_seq)

    async def tails(self, job_ids: Collection[str]) -> Mapping[str, Tail]:
        async with self._database.read() as session:
            found = await journal.tails(session, list(job_ids))
        return {job_id: Tail(seq, state.is_terminal) for job_id, (seq, state) in found.items()}

    async def snapshot(self, job_id: str) -> JobSnapshot:
        progress = await self._read_progress(job_id)
        async with self._database.read() as session:
            job = await find_full_job(session, job_id)
            if job is None:
                raise NotFound(f"There is no job {job_id}.")
            standing = await find_standing(session, job.row, worker_timeout_s=self._worker_timeout_s)
            now = (await session.execute(select(db_now(0)))).scalar_one()
        live = views.LiveState(progress, standing.queue_position, standing.waiting_reason)
        view = views.view_job(job.row, job.tasks, job.output, live)
        return JobSnapshot(job_id=job_id, seq=job.row.last_seq, at=now, job=view)
