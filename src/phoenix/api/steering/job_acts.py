"""What a caller does with one job: cancel, retry, approve, change, delete. Acts on jobs of other keys are audited."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, Request

from phoenix.access.audit import Act, Actor, audited_write
from phoenix.access.keys import Caller, Scope, hold_key, hold_owner
from phoenix.api.dependencies import AdminDep, AppStateDep, get_caller
from phoenix.api.http.conditional import check_if_match
from phoenix.api.http.request_ids import audit_fields, request_id_of
from phoenix.api.lifespan import AppState
from phoenix.api.steering.hidden_words import show_job
from phoenix.api.steering.owners import JobSubject
from phoenix.api.uploads import quota_of
from phoenix.contract import Job, JobChanges
from phoenix.db import UnitOfWork
from phoenix.errors import Forbidden, JobEnded
from phoenix.jobs import retention
from phoenix.jobs.cancel_and_retry import approve, cancel, retry
from phoenix.jobs.library.changes import change_job
from phoenix.jobs.repository import lock_with_draft

_OF_WAITING = frozenset({"priority", "queue_timeout_s", "position"})
"""What an administrator may change of another key's job."""


async def get_actor(request: Request) -> Actor:
    """The caller as the audit log names it."""
    caller = await get_caller(request)
    address = audit_fields(request.scope)["client"]
    return Actor(caller.owner_id, address=address, request_id=request_id_of(request.scope))


ActorDep = Annotated[Actor, Depends(get_actor)]


async def get_admin_actor(actor: ActorDep, _admin: AdminDep) -> Actor:
    """Like `get_actor`; requires the scope `admin`."""
    return actor


AdminActorDep = Annotated[Actor, Depends(get_admin_actor)]


class JobActs:
    """The acts of one request. Each raises `NotFound` for a job that the owner does not have."""

    def __init__(self, state: AppState, actor: Actor) -> None:
        self._state = state
        self._database = state.services.database
        self._actor = actor

    async def show(self, subject: JobSubject) -> Job:
        """The job as the caller may see it."""
        job = await self._state.job_views.fetch(subject.job_id, subject.owner_id)
        return show_job(job, subject.caller, self._state.services.settings)

    async def cancel(self, subject: JobSubject, if_match: str | None = None) -> None:
        """Raises `JobEnded` for another key's job that has ended; a job of the caller's own stays as it is."""
        # A waiting job has to be canceled before it can be deleted.
        async with self._changing(subject, "job.cancel", if_match, frees_space=True) as uow:
            if subject.is_foreign:
                await _check_unended(uow, subject)
            await cancel(uow, subject.job_id, owner_id=subject.owner_id)

    async def retry(self, subject: JobSubject, if_match: str | None = None) -> None:
        """Raises like `cancel_and_retry.retry`: the job counts against the limits of its owner."""
        limits = self._state.services.settings.limits
        self._state.services.reserve.check()
        async with self._changing(subject, "job.retry", if_match) as uow:
            owner = await _hold(uow, subject)
            await retry(
                uow,
                subject.job_id,
                owner_id=subject.owner_id,
                queue_timeout_s=limits.default_queue_timeout_s,
                quota=quota_of(owner, limits),
                max_queued_jobs=limits.max_queued_jobs,
                catalog=self._state.services.catalog,
            )

    async def approve(self, subject: JobSubject, if_match: str | None = None) -> None:
        """Raises like `cancel_and_retry.approve`: the job counts against the limits of its owner."""
        limits = self._state.services.settings.limits
        self._state.services.reserve.check()
        async with self._changing(subject, "job.approve", if_match) as uow:
            owner = await _hold(uow, subject)
            await approve(
                uow,
                subject.job_id,
                owner_id=subject.owner_id,
                default_queue_timeout_s=limits.default_queue_timeout_s,
                quota=quota_of(owner, limits),
                max_queued_jobs=limits.max_queued_jobs,
                catalog=self._state.services.catalog,
            )

    async def change(self, subject: JobSubject, changes: JobChanges, if_match: str | None = None) -> None:
        """Raises `Forbidden` for what only the job's owner may change, and for what only an administrator may."""
        given = changes.model_dump(exclude_none=True)
        if subject.is_foreign and (names := sorted(given.keys() - _OF_WAITING)):
            raise Forbidden(f"Only the owner of the job may change {', '.join(names)}.")
        if changes.position is not None:
            subject.caller.check(Scope.ADMIN)
        # The log has no words of the owner.
        details = {name: value for name, value in given.items() if name in _OF_WAITING}
        async with self._changing(subject, "job.change", if_match, details) as uow:
            await change_job(uow, subject.job_id, changes, owner_id=subject.owner_id)

    async def delete(self, subject: JobSubject, if_match: str | None = None) -> None:
        """Raises `Conflict` while the job has not ended, or while an unfinished job uses one of its files."""
        async with self._changing(subject, "job.delete", if_match, frees_space=True) as uow:
            await retention.delete_job(uow, subject.job_id, owner_id=subject.owner_id)

    @asynccontextmanager
    async def _changing(
        self,
        subject: JobSubject,
        action: str,
        if_match: str | None,
        details: Mapping[str, Any] | None = None,
        *,
        frees_space: bool = False,
    ) -> AsyncGenerator[UnitOfWork]:
        job_id, owner_id = subject.job_id, subject.owner_id
        is_audited = subject.is_foreign or "position" in (details or {})
        act = Act(self._actor, action, job_id, owner_id, details or {})
        writing = audited_write(self._database, act, frees_space=frees_space)
        if not is_audited:
            writing = self._database.write(frees_space=frees_space)
        async with writing as uow, check_if_match(uow, job_id, owner_id=owner_id, if_match=if_match):
            yield uow


async def _hold(uow: UnitOfWork, subject: JobSubject) -> Caller:
    """The owner of the job, whose key cannot be revoked before the commit."""
    if subject.is_foreign:
        return await hold_owner(uow, subject.owner_id)
    await hold_key(uow, subject.caller)
    return subject.caller


async def _check_unended(uow: UnitOfWork, subject: JobSubject) -> None:
    job, _draft = await lock_with_draft(uow.session, subject.job_id, owner_id=subject.owner_id)
    if job.state.is_terminal:
        raise JobEnded(f"The job is {job.state} already; nothing was changed.")


async def get_job_acts(state: AppStateDep, actor: ActorDep) -> JobActs:
    return JobActs(state, actor)


JobActsDep = Annotated[JobActs, Depends(get_job_acts)]
