"""ETags of jobs, and changes that are made only if the job still has the given one."""

import hashlib
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from phoenix.api.conditions import is_expected
from phoenix.db.unit_of_work import UnitOfWork
from phoenix.errors import PreconditionFailed
from phoenix.jobs.rows import get_job_locked

# The digest in a tag, after the number.
_DIGEST = re.compile(r'(?<=[0-9])-[0-9a-f]{12}(?=")')


def tag_of(last_seq: int, view: bytes) -> str:
    """A strong `ETag`: the number of the job's last durable event, and a digest of what is shown.

    Progress and queue positions move without such an event, so the number alone does not tell two views apart.
    """
    return f'"{last_seq}-{hashlib.blake2b(view, digest_size=6).hexdigest()}"'


@asynccontextmanager
async def unless_changed(uow: UnitOfWork, job_id: str, *, owner_id: str, if_match: str | None) -> AsyncGenerator[None]:
    """Around a change: rolls it back with `PreconditionFailed` if `if_match` names an earlier state of the job.

    Only the tag's number counts: a job must stay cancelable while its progress moves. Evaluated after the change,
    because other refusals take precedence (RFC 9110, section 13.2.1).
    """
    if if_match is None:
        yield
        return
    seen_seq = (await get_job_locked(uow.session, job_id, owner_id=owner_id)).last_seq
    yield
    if not is_expected(_DIGEST.sub("", if_match), f'"{seen_seq}"'):
        raise PreconditionFailed
