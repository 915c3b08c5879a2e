"""How many jobs have ended, and how: counted as each one ends, because deleted jobs cannot be counted any more."""

from collections.abc import Mapping
from functools import partial

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.contract.jobs import JobState
from phoenix.db.unit_of_work import UnitOfWork
from phoenix.errors import FailureCode
from phoenix.jobs.tables import JobRow, TallyRow

NO_CODE = "none"
"""Of jobs that ended without an error."""

Ending = tuple[str, str]
"""A terminal state, and the code of the job's error."""

_OF_OTHER_STATES = {FailureCode.TIMEOUT, FailureCode.CANCELED}

KNOWN_ENDINGS: tuple[Ending, ...] = (
    (JobState.SUCCEEDED, NO_CODE),
    (JobState.CANCELED, NO_CODE),
    (JobState.EXPIRED, FailureCode.TIMEOUT),
    *((JobState.FAILED, code) for code in FailureCode if code not in _OF_OTHER_STATES),
)

# Added up in the database: many jobs may end at the same time, in many processes.
_ADD = text(
    "INSERT INTO tallies (state, code, jobs) VALUES (:state, :code, 1) "
    "ON CONFLICT (state, code) DO UPDATE SET jobs = tallies.jobs + 1"
)


def count_end(uow: UnitOfWork, job: JobRow) -> None:
    """Counts, at the commit, a job that is now in a terminal state; one that is tried again, each time it ends."""
    code = str(job.error["code"]) if job.error else NO_CODE
    uow.before_commit(partial(_add, uow, {"state": str(job.state), "code": code}))


async def _add(uow: UnitOfWork, ending: Mapping[str, str]) -> None:
    await uow.session.execute(_ADD, ending)


async def read_tally(session: AsyncSession) -> Mapping[Ending, int]:
    """The ends since the database was made; of a known kind that has not happened, 0. None of them ever shrinks."""
    rows = await session.execute(select(col(TallyRow.state), col(TallyRow.code), col(TallyRow.jobs)))
    known = {(str(state), str(code)): 0 for state, code in KNOWN_ENDINGS}
    return known | {(state, code): jobs for state, code, jobs in rows}
