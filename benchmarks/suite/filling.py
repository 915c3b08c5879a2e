"""Fills a PostgreSQL with waiting jobs: one is submitted as usual, and its rows are copied, without its events."""

from sqlalchemy import text

from phoenix.contract import JobOptions
from phoenix.db.unit_of_work import Database
from phoenix.jobs.submission.submit import submit
from phoenix.settings import LimitSettings
from suite.borrowed import make_reel

OWNERS = 10

# The ids sort like the numbers, as those of Phoenix sort like the time.
_COPIES = (
    """
    INSERT INTO jobs SELECT (jsonb_populate_record(jobs, jsonb_build_object(
      'id', job_id_of(number), 'owner_id', 'key_' || number % :owners))).*
    FROM jobs, generate_series(1, :count) AS number WHERE jobs.id = :job_id ORDER BY number
    """,
    """
    INSERT INTO tasks SELECT (jsonb_populate_record(tasks, jsonb_build_object(
      'id', 'task_zz' || lpad((number * 10 + tasks.position)::text, 24, '0'), 'job_id', job_id_of(number)))).*
    FROM tasks, generate_series(1, :count) AS number WHERE tasks.job_id = :job_id ORDER BY number
    """,
    "INSERT INTO owners SELECT 'key_' || number, 0 FROM generate_series(0, :owners - 1) AS number",
)
_JOB_ID = """
CREATE OR REPLACE FUNCTION job_id_of(number bigint) RETURNS text LANGUAGE sql IMMUTABLE
AS $$ SELECT 'job_zz' || lpad(number::text, 24, '0') $$
"""


async def fill(database: Database, count: int) -> None:
    """So many reels of one clip wait, of several owners, and one more. Workers may be running meanwhile."""
    limits = LimitSettings(max_queued_jobs=1_000_000)
    reel = make_reel(duration_s=0.5, resolution="240p", fps=8, steps=1)
    # In one transaction: a worker that saw the first job before would have begun it.
    async with database.write() as uow:
        job = await submit(uow, reel, JobOptions(), owner_id="first", request_id=None, limits=limits)
        await uow.session.flush()
        values = {"count": count, "owners": OWNERS, "job_id": job.row.id}
        await uow.session.execute(text(_JOB_ID))
        for statement in _COPIES:
            used = {name: value for name, value in values.items() if f":{name}" in statement}
            await uow.session.execute(text(statement), used)
