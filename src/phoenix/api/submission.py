"""Submission of all kinds of job: checked, accepted at most once per Idempotency-Key, and answered."""

import hashlib
import json
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Response
from pydantic import BaseModel

from phoenix.access.keys import ANYBODY
from phoenix.api.dependencies import Caller, RequestId, Running, Traceparent
from phoenix.api.job_views import POLL_AFTER_S, fetch_job, view_new_job
from phoenix.api.outbound_urls import find_url_faults
from phoenix.api.preferences import IdempotencyKey, Prefer, parse_wait_s
from phoenix.api.waiting import wait_until_over
from phoenix.assembly import Services
from phoenix.catalog.admission import SEED_SPACE
from phoenix.catalog.limits import AdmissionLimits
from phoenix.contract.artifacts import MediaInfo
from phoenix.contract.jobs import Job
from phoenix.contract.requests import JobOptions
from phoenix.contract.resolved import ResolvedRequest
from phoenix.db.unit_of_work import LastStep
from phoenix.errors import Fault, Gone, InvalidRequest, NotFound
from phoenix.jobs import idempotency
from phoenix.jobs.artifacts import find_known_media
from phoenix.jobs.find import FullJob
from phoenix.jobs.idempotency import KeyedRequest
from phoenix.jobs.quota import Quota
from phoenix.jobs.submit import submit
from phoenix.settings import LimitSettings

Admit = Callable[[], Awaitable[ResolvedRequest]]


@dataclass(frozen=True)
class Submission:
    """One request for a job: its caller, its preferences, and the response that takes the headers."""

    running: Running
    caller: Caller
    request_id: RequestId
    traceparent: Traceparent
    request: Request
    response: Response
    idempotency_key: IdempotencyKey
    prefer: Prefer

    @property
    def services(self) -> Services:
        return self.running.services

    @property
    def limits(self) -> AdmissionLimits:
        return AdmissionLimits(max_reel_duration_s=self.services.settings.limits.max_reel_duration_s)

    async def find_media(self, references: Iterable[str | None]) -> Mapping[str, MediaInfo]:
        """Media info of the owner's artifacts among `references`, by id; unknown ones are left out."""
        artifact_ids = {reference for reference in references if reference is not None}
        if not artifact_ids:
            return {}
        async with self.services.database.read() as session:
            return await find_known_media(session, artifact_ids, owner_id=self.caller.owner_id)

    async def accept(
        self,
        body: JobOptions,
        admit: Admit,
        *,
        fingerprint: str | None = None,
        before_commit: LastStep | None = None,
    ) -> Job:
        """Queues what `admit` makes of the body, and returns the job; response headers say where to follow it.

        `fingerprint` identifies the request where `body` is not what the client sent. Raises `InvalidRequest` with all
        faults, `IdempotencyMismatch`, `QueueFull` or `RateLimited`.
        """
        keyed = self._keyed(fingerprint or fingerprint_of(body))
        # Looked up before anything is checked: what was possible then need not be possible now.
        earlier = await self._find_earlier(keyed) if keyed else None
        made = earlier or await self._submit(await self._admit(body, admit), body, keyed, before_commit)
        if isinstance(made, str):
            return await self.answer(made, is_replay=True)
        if parse_wait_s(self.prefer) is not None:
            return await self.answer(made.row.id, is_replay=False)
        point_to_job(self.response, made.row.id)
        return await view_new_job(self.services, made)

    def _keyed(self, fingerprint: str) -> KeyedRequest | None:
        if self.idempotency_key is None:
            return None
        route = f"{self.request.method} {self.request.url.path}"
        return KeyedRequest(self.caller.owner_id, route, self.idempotency_key, fingerprint)

    async def _find_earlier(self, keyed: KeyedRequest) -> str | None:
        async with self.services.database.read() as session:
            return await idempotency.find_earlier(session, keyed)

    async def _admit(self, body: JobOptions, admit: Admit) -> ResolvedRequest:
        faults = find_url_faults(body, self.services.settings)
        try:
            resolved = await admit()
        except InvalidRequest as error:
            raise _invalid([*error.faults, *faults]) from error
        if faults:
            raise _invalid(faults)
        return resolved

    async def _submit(
        self,
        resolved: ResolvedRequest,
        body: JobOptions,
        keyed: KeyedRequest | None,
        before_commit: LastStep | None,
    ) -> FullJob | str:
        """The new job, or the id of the one that a concurrent request with the same key has made first."""
        limits = self.services.settings.limits
        async with self.services.database.write() as uow:
            if keyed and (earlier := await idempotency.begin(uow, keyed)):
                return earlier
            job = await submit(
                uow,
                resolved,
                body,
                owner_id=self.caller.owner_id,
                request_id=self.request_id,
                traceparent=self.traceparent,
                limits=limits,
                quota=quota_of(self.caller, limits),
                room=self.services.room,
            )
            if keyed:
                await idempotency.complete(uow, keyed, job.row.id)
            if before_commit:
                uow.before_commit(before_commit)
        return job

    async def answer(self, job_id: str, *, is_replay: bool) -> Job:
        """The job as it is now, or once it has ended if the client prefers to wait."""
        if is_replay:
            self.response.headers["Idempotent-Replayed"] = "true"
        wait_s = parse_wait_s(self.prefer)
        if wait_s is not None:
            self.response.headers["Preference-Applied"] = f"wait={wait_s}"
            await wait_until_over(self.running, job_id, time_limit_s=wait_s)
        point_to_job(self.response, job_id)
        try:
            return await fetch_job(self.services, job_id, self.caller.owner_id)
        except NotFound as error:
            raise Gone("The job that this request made has been deleted.") from error


async def get_submission(
    running: Running,
    caller: Caller,
    request_id: RequestId,
    traceparent: Traceparent,
    request: Request,
    response: Response,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> Submission:
    return Submission(running, caller, request_id, traceparent, request, response, idempotency_key, prefer)


Submitting = Annotated[Submission, Depends(get_submission)]


def quota_of(caller: Caller, limits: LimitSettings) -> Quota | None:
    """None for the operator, who is not limited."""
    return None if caller is ANYBODY else Quota.from_settings(limits)


def point_to_job(response: Response, job_id: str) -> None:
    response.headers["Location"] = f"/v1/jobs/{job_id}"
    response.headers["Retry-After"] = str(POLL_AFTER_S)


def draw_seed() -> int:
    return secrets.randbelow(SEED_SPACE)


def fingerprint_of(body: BaseModel) -> str:
    """SHA-256 of the body in canonical form: the same whatever the order of fields and the white space."""
    said = json.dumps(body.model_dump(mode="json", exclude_unset=True), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(said.encode()).hexdigest()


def _invalid(faults: list[Fault]) -> InvalidRequest:
    first = f"{faults[0].pointer}: {faults[0].detail}"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return InvalidRequest(first + more, faults=faults)
