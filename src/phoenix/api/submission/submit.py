"""Submission of all kinds of job: checked, accepted at most once per Idempotency-Key, and answered."""

import asyncio
import hashlib
import json
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Response
from pydantic import BaseModel

from phoenix.access.keys import ANYBODY, Caller
from phoenix.api.dependencies import AppStateDep, CallerDep, RequestIdDep, TraceparentDep
from phoenix.api.http.request_headers import IdempotencyKey, Prefer, parse_wait_s
from phoenix.api.lifespan import AppState
from phoenix.api.submission.job_views import POLL_AFTER_S, fetch_job, view_new_job
from phoenix.api.webhooks.callback_urls import find_url_errors
from phoenix.assembly import Services
from phoenix.catalog import admission
from phoenix.catalog.admission import SEED_SPACE, AdmissionLimits
from phoenix.contract.artifacts import MediaInfo
from phoenix.contract.jobs import Job
from phoenix.contract.requests import JobOptions, ReelRequest
from phoenix.contract.resolved import ResolvedReel, ResolvedRequest
from phoenix.db.unit_of_work import PreCommitHook
from phoenix.errors import FieldError, Gone, InvalidRequest, NotFound
from phoenix.events.sse.streams import job_stream
from phoenix.jobs.artifacts import find_known_media
from phoenix.jobs.repository import FullJob
from phoenix.jobs.submission import idempotency
from phoenix.jobs.submission.admission_control import Quota
from phoenix.jobs.submission.idempotency import KeyedRequest
from phoenix.jobs.submission.submit import submit
from phoenix.settings import LimitSettings


async def wait_until_finished(state: AppState, job_id: str, *, timeout_s: float) -> None:
    """Returns when the job has ended, after `timeout_s`, or when this server shuts down."""
    # A stream ends after the terminal event, and recovers it by itself if its message was lost.
    stream = job_stream(state.hub, state.log, job_id, None)
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s), aclosing(stream):
            async for _frames in stream:
                pass


Admit = Callable[[], Awaitable[ResolvedRequest]]


@dataclass(frozen=True)
class Submission:
    """One request for a job: its caller, its preferences, and the response that takes the headers."""

    state: AppState
    caller: Caller
    request_id: str
    traceparent: str | None
    request: Request
    response: Response
    idempotency_key: IdempotencyKey
    prefer: Prefer

    @property
    def services(self) -> Services:
        return self.state.services

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
        before_commit: PreCommitHook | None = None,
    ) -> Job:
        """Queues what `admit` makes of the body, and returns the job; response headers say where to follow it.

        `fingerprint` identifies the request where `body` is not what the client sent. Raises `InvalidRequest` with all
        field errors, `IdempotencyMismatch`, `QueueFull` or `RateLimited`.
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
            return await idempotency.find_earlier_job(session, keyed)

    async def _admit(self, body: JobOptions, admit: Admit) -> ResolvedRequest:
        field_errors = find_url_errors(body, self.services.settings)
        try:
            resolved = await admit()
        except InvalidRequest as error:
            raise _invalid([*error.field_errors, *field_errors]) from error
        if field_errors:
            raise _invalid(field_errors)
        return resolved

    async def _submit(
        self,
        resolved: ResolvedRequest,
        body: JobOptions,
        keyed: KeyedRequest | None,
        before_commit: PreCommitHook | None,
    ) -> FullJob | str:
        """The new job, or the id of the one that a concurrent request with the same key has made first."""
        limits = self.services.settings.limits
        async with self.services.database.write() as uow:
            if keyed and (earlier := await idempotency.acquire_key(uow, keyed)):
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
                capacity=self.services.queue_capacity,
            )
            if keyed:
                await idempotency.record_job(uow, keyed, job.row.id)
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
            await wait_until_finished(self.state, job_id, timeout_s=wait_s)
        point_to_job(self.response, job_id)
        try:
            return await fetch_job(self.services, job_id, self.caller.owner_id)
        except NotFound as error:
            raise Gone("The job that this request made has been deleted.") from error


async def get_submission(
    state: AppStateDep,
    caller: CallerDep,
    request_id: RequestIdDep,
    traceparent: TraceparentDep,
    request: Request,
    response: Response,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> Submission:
    return Submission(state, caller, request_id, traceparent, request, response, idempotency_key, prefer)


SubmissionDep = Annotated[Submission, Depends(get_submission)]


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
    canonical = json.dumps(body.model_dump(mode="json", exclude_unset=True), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _invalid(field_errors: list[FieldError]) -> InvalidRequest:
    first = f"{field_errors[0].pointer}: {field_errors[0].detail}"
    more = f" (and {len(field_errors) - 1} more)" if len(field_errors) > 1 else ""
    return InvalidRequest(first + more, field_errors=field_errors)


async def admit_reel(submission: Submission, body: ReelRequest) -> ResolvedReel:
    """The reel as it will be rendered. Raises `InvalidRequest` with every field error."""
    sound = body.soundtrack.artifact_id if body.soundtrack else None
    return admission.admit_reel(
        body,
        submission.services.catalog,
        default_model=submission.services.settings.engine.default_model,
        limits=submission.limits,
        draw_seed=draw_seed,
        media=await submission.find_media([sound, *(clip.image_artifact_id for clip in body.clips)]),
    )
