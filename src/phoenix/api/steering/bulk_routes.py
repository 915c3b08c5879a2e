"""One action on many jobs: cancel, retry or delete by ids or by the filters of the list, with a preview."""

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated

from fastapi import APIRouter, Body
from fastapi.openapi.models import Example

from phoenix.access.keys import Caller
from phoenix.api.dependencies import AppStateDep, AuthFirstRoute
from phoenix.api.steering.job_acts import JobActs, JobActsDep
from phoenix.api.steering.owners import JobSubject, WantedOwner, WantedOwnerDep, find_jobs
from phoenix.contract import JobState
from phoenix.contract.steering import BulkAction, BulkFailure, BulkFilter, BulkJob, BulkRequest, BulkResult
from phoenix.errors import Conflict, NotFound, RequestError, Unavailable
from phoenix.jobs.library.search import JobSearch
from phoenix.jobs.repository import JobFilter, count_jobs, fetch_heads

router = APIRouter(tags=["jobs"], route_class=AuthFirstRoute)

_PAGE = 20
_LONGEST_S = 10.0
"""A request ends after this time, and the client continues with its cursor: proxies give up on long ones."""
_UNFINISHED = frozenset(state for state in JobState if not state.is_terminal)
_CAN_CHANGE: Mapping[BulkAction, Collection[JobState]] = {
    BulkAction.CANCEL: _UNFINISHED,
    BulkAction.RETRY: frozenset({JobState.FAILED, JobState.CANCELED, JobState.EXPIRED}),
    BulkAction.DELETE: frozenset(JobState) - _UNFINISHED,
}
"""The states that a filter finds for each action."""
_BODIES: dict[str, Example] = {
    "a preview": {"value": {"action": "cancel", "filter": {"state": "queued", "model": "animatic"}, "dry_run": True}},
    "all that failed": {"value": {"action": "retry", "filter": {"state": "failed"}}},
    "these": {"value": {"action": "delete", "ids": ["job_01kag3e9zq4f7w5m8x2c6b0n1d"]}},
}


@router.post("/v1/jobs/bulk", status_code=202)
async def change_jobs(
    body: Annotated[BulkRequest, Body(openapi_examples=_BODIES)],
    state: AppStateDep,
    whose: WantedOwnerDep,
    acts: JobActsDep,
) -> BulkResult:
    """Cancel, retry or delete many jobs.

    Those with the given ids, or all that match a filter and that the action can change. `dry_run` shows them and
    changes nothing. Each job is changed on its own, as by the route for one job; a job that cannot be changed is
    reported, and the others go on. A request handles up to `limit` jobs, for ten seconds; repeat it with `next_cursor`
    until there is none. To go on after a lost response, send the same request again.
    """
    work = _BulkWork(acts, whose.caller, body.action, is_preview=body.dry_run)
    if body.ids is not None:
        await work.handle_ids(body.ids, await fetch_heads(state.services.database, body.ids), whose)
        return work.result(total=None, next_cursor=None)
    wanted, search = _read_filter(body.filter or BulkFilter(), body.action)
    total = None if search else await count_jobs(state.services.database, wanted, owner_id=whose.owner_id)
    cursor, ends_at_s = body.cursor, time.monotonic() + _LONGEST_S
    while True:
        limit = min(_PAGE, body.limit - work.seen)
        page = await find_jobs(state, whose, wanted, search, limit=limit, cursor=cursor)
        for job in page.jobs:
            await work.handle(BulkJob(id=job.row.id, owner_id=job.row.owner_id, state=job.row.state))
        cursor = page.next_cursor
        if cursor is None or work.seen >= body.limit or time.monotonic() > ends_at_s:
            return work.result(total=total, next_cursor=cursor)


class _BulkWork:
    """The jobs of one request, handled one after the other, and what became of them."""

    def __init__(self, acts: JobActs, caller: Caller, action: BulkAction, *, is_preview: bool) -> None:
        self._acts = acts
        self._caller = caller
        self._action = action
        self._is_preview = is_preview
        self._jobs: list[BulkJob] = []
        self._failed: list[BulkFailure] = []

    @property
    def seen(self) -> int:
        return len(self._jobs) + len(self._failed)

    async def handle_ids(
        self, ids: Sequence[str], heads: Mapping[str, tuple[str, JobState]], whose: WantedOwner
    ) -> None:
        """Handles each id once. `heads`: owner and state of the jobs that exist."""
        for job_id in dict.fromkeys(ids):
            owner_id, job_state = heads.get(job_id, ("", JobState.HELD))
            if not owner_id or whose.owner_id not in (None, owner_id):
                self._fail(job_id, NotFound(f"There is no job {job_id}."))
            elif self._is_preview and job_state not in _CAN_CHANGE[self._action]:
                self._fail(job_id, Conflict(f"The job is {job_state}; it cannot be changed so."))
            else:
                await self.handle(BulkJob(id=job_id, owner_id=owner_id, state=job_state))

    async def handle(self, job: BulkJob) -> None:
        """Raises `Unavailable` without a database: the client sends the request again."""
        try:
            if not self._is_preview:
                await self._change(JobSubject(job.id, job.owner_id, self._caller))
        except Unavailable:
            raise
        except RequestError as error:
            self._fail(job.id, error)
        else:
            self._jobs.append(job)

    async def _change(self, subject: JobSubject) -> None:
        match self._action:
            case BulkAction.CANCEL:
                await self._acts.cancel(subject)
            case BulkAction.RETRY:
                await self._acts.retry(subject)
            case BulkAction.DELETE:
                await self._acts.delete(subject)

    def _fail(self, job_id: str, error: RequestError) -> None:
        self._failed.append(BulkFailure(id=job_id, code=error.code, detail=error.detail))

    def result(self, *, total: int | None, next_cursor: str | None) -> BulkResult:
        return BulkResult(
            action=self._action,
            dry_run=self._is_preview,
            matched=self.seen,
            changed=0 if self._is_preview else len(self._jobs),
            total=total,
            jobs=self._jobs,
            failed=self._failed,
            has_more=next_cursor is not None,
            next_cursor=next_cursor,
        )


def _read_filter(given: BulkFilter, action: BulkAction) -> tuple[JobFilter, JobSearch]:
    wanted = JobFilter(
        given.state,
        given.kind,
        given.model,
        given.created_after,
        given.created_before,
        states=tuple(_CAN_CHANGE[action]),
    )
    return wanted, JobSearch(given.q, given.tags or (), given.metadata or {}, given.favorite)
