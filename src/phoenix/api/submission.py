"""Submission of all kinds of job: a request is checked, accepted at most once per Idempotency-Key, and answered."""

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, get_type_hints

from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.requests import ClientDisconnect

from phoenix.access.keys import Caller, hold_key
from phoenix.api.dependencies import (
    AppStateDep,
    AuthFirstRoute,
    CallerDep,
    RequestIdDep,
    TraceparentDep,
    get_app_state,
    get_caller,
)
from phoenix.api.errors.validation import explain_validation
from phoenix.api.http.preferences import IdempotencyKey, Prefer, parse_wait_s
from phoenix.api.job_views import POLL_AFTER_S
from phoenix.api.lifespan import AppState
from phoenix.api.server_checks import find_server_errors, with_voice
from phoenix.api.submitted_body import SubmittedBody, fingerprint_of, list_references
from phoenix.api.uploads import ProbedUpload, UploadStore, UploadStoreDep, quota_of
from phoenix.catalog.catalog import Catalog
from phoenix.catalog.conditions import KnownClips, KnownMedia
from phoenix.catalog.lipsync_validation import admit_lipsync
from phoenix.catalog.request_validation import SEED_SPACE, AdmissionLimits, admit_reel, admit_soundtrack, admit_stitch
from phoenix.contract import (
    Job,
    LipsyncRequest,
    MediaInfo,
    ReelRequest,
    ResolvedReel,
    ResolvedRequest,
    SoundtrackJobRequest,
    StitchRequest,
)
from phoenix.contract.valid_part import ValidPart
from phoenix.db import Database, UnitOfWork
from phoenix.errors import Gone, InvalidRequest, NotFound, Unavailable
from phoenix.events.sse.snapshot_and_replay import job_stream
from phoenix.jobs.artifacts import find_finished_clips, find_known_media
from phoenix.jobs.repository import FullJob
from phoenix.jobs.reuse import find_earlier_work
from phoenix.jobs.submission.admission_control import QueueCapacity, check_capacity, check_quota
from phoenix.jobs.submission.drafts import Draft, draft_of, explain_draft_error, submit_held
from phoenix.jobs.submission.idempotency import KeyedRequest, acquire_key, find_earlier_job, record_job
from phoenix.jobs.submission.submit import submit
from phoenix.settings import LimitSettings, Settings
from phoenix.storage.store import StoredObject

_NO_UPLOADS: Mapping[str, MediaInfo] = {}


@dataclass(frozen=True)
class RequestResolver:
    """Resolves requests with the models, the artifacts and the limits of this server."""

    settings: Settings
    catalog: Catalog
    database: Database

    async def resolve(
        self, body: SubmittedBody, *, owner_id: str, uploads: Mapping[str, MediaInfo] = _NO_UPLOADS
    ) -> ResolvedRequest:
        """The request with every default filled in. Raises `InvalidRequest` with every field error.

        `uploads` are files by the artifact ids that they would get.
        """
        own_errors = await find_server_errors(body, self.settings)
        clips = await self._find_clips(body, owner_id)
        media = {**await self._find_media([*list_references(body), *clips.values()], owner_id), **uploads}
        try:
            resolved = self._admit(body, media, clips)
        except InvalidRequest as error:
            raise InvalidRequest.from_field_errors([*error.field_errors, *own_errors]) from error
        if own_errors:
            raise InvalidRequest.from_field_errors(own_errors)
        return with_voice(resolved, body, self.settings.tts)

    async def resolve_draft(self, body: SubmittedBody, resolved: ResolvedRequest, *, owner_id: str) -> Draft | None:
        """The draft that the body asks for. Raises `InvalidRequest` if it cannot be made."""
        if not isinstance(body, ReelRequest) or not isinstance(resolved, ResolvedReel) or body.hold is None:
            return None
        request = draft_of(body, resolved, self.catalog)
        try:
            draft = await self.resolve(request, owner_id=owner_id)
        except InvalidRequest as error:
            raise InvalidRequest.from_field_errors(
                [explain_draft_error(each) for each in error.field_errors]
            ) from error
        assert isinstance(draft, ResolvedReel)
        return Draft(request, draft, find_earlier_work(request, draft, self.settings.engine))

    def _admit(self, body: SubmittedBody, media: KnownMedia, clips: KnownClips) -> ResolvedRequest:
        limits = AdmissionLimits(
            max_reel_duration_s=self.settings.limits.max_reel_duration_s,
            max_frame_pixels=self.settings.limits.max_upload_frame_pixels,
            default_lip_model=self.settings.lipsync.default_model,
            finds_faces=self.settings.lipsync.face_detector is not None,
        )
        match body:
            case ReelRequest():
                model = self.settings.engine.default_model
                return admit_reel(
                    body,
                    self.catalog,
                    default_model=model,
                    limits=limits,
                    draw_seed=draw_seed,
                    media=media,
                    finished_clips=clips,
                )
            case StitchRequest():
                return admit_stitch(body, limits=limits, media=media)
            case SoundtrackJobRequest():
                return admit_soundtrack(body, media=media)
            case LipsyncRequest():
                return admit_lipsync(
                    body,
                    self.catalog,
                    default_model=limits.default_lip_model,
                    finds_faces=limits.finds_faces,
                    max_duration_s=limits.max_reel_duration_s,
                    part_s=self.settings.lipsync.part_s,
                    media=media,
                )

    async def _find_media(self, references: Iterable[str | None], owner_id: str) -> Mapping[str, MediaInfo]:
        """Media info of the owner's artifacts among `references`, by id; unknown artifacts are left out."""
        artifact_ids = {reference for reference in references if reference is not None}
        if not artifact_ids:
            return {}
        async with self.database.read() as session:
            return await find_known_media(session, artifact_ids, owner_id=owner_id)

    async def _find_clips(self, body: SubmittedBody, owner_id: str) -> KnownClips:
        """Artifact ids of the owner's finished clips that the body names; other clips are left out."""
        if not isinstance(body, ReelRequest):
            return {}
        sources = [condition.source for clip in body.clips for condition in clip.conditions]
        named = [*sources, *([body.extends] if body.extends else [])]
        if all(source.job_id is None for source in named):
            return {}
        async with self.database.read() as session:
            return await find_finished_clips(session, named, owner_id=owner_id)


async def get_resolver(state: AppStateDep) -> RequestResolver:
    services = state.services
    return RequestResolver(services.settings, services.catalog, services.database)


ResolverDep = Annotated[RequestResolver, Depends(get_resolver)]


@dataclass(frozen=True)
class Submission:
    """One request for a job: its caller, its preferences, and the response that takes the headers."""

    state: AppState
    resolver: RequestResolver
    uploads: UploadStore
    caller: Caller
    request_id: str
    traceparent: str | None
    request: Request
    response: Response
    idempotency_key: IdempotencyKey
    prefer: Prefer
    edited_from: str | None = None

    @property
    def database(self) -> Database:
        return self.resolver.database

    async def submit(
        self,
        body: SubmittedBody,
        *,
        fingerprint: str | None = None,
        abort_if_disconnected: bool = False,
        files: Sequence[ProbedUpload] = (),
    ) -> Job:
        """Queues the job and returns it; response headers say where to follow it.

        `fingerprint` identifies the request if `body` is not what the client sent. `abort_if_disconnected` makes no job
        for a client that has left before the commit. `files` came with the request, and `body` names them; they are
        kept only together with the job. Raises `InvalidRequest` with all field errors, `IdempotencyMismatch`,
        `QueueFull`, `StorageFull`, `RateLimited`, `StorageQuotaExceeded`, or `ClientDisconnect`.
        """
        keyed = self.keyed(fingerprint or fingerprint_of(body)) if self.idempotency_key else None
        # Looked up before the checks: a request that was valid then need not be valid now.
        earlier = await self.find_earlier(keyed) if keyed else None
        made = earlier or await self._write(body, keyed, abort_if_disconnected, files)
        if isinstance(made, str):
            return await self.answer(made, is_replay=True)
        if parse_wait_s(self.prefer) is not None:
            return await self.answer(made.row.id, is_replay=False)
        point_to_job(self.response, made.row.id)
        return await self.state.job_views.view_new(made)

    def keyed(self, fingerprint: str) -> KeyedRequest | None:
        if self.idempotency_key is None:
            return None
        route = f"{self.request.method} {self.request.url.path}"
        return KeyedRequest(self.caller.owner_id, route, self.idempotency_key, fingerprint)

    async def find_earlier(self, keyed: KeyedRequest) -> str | None:
        async with self.database.read_once() as session:
            return await find_earlier_job(session, keyed)

    async def _write(
        self,
        body: SubmittedBody,
        keyed: KeyedRequest | None,
        abort_if_disconnected: bool,
        files: Sequence[ProbedUpload],
    ) -> FullJob | str:
        """The new job, or the id of the job that a concurrent request with the same key has made first."""
        sent: dict[str, MediaInfo] = {file.artifact_id: file.info for file in files}
        resolved = await self.resolver.resolve(body, owner_id=self.caller.owner_id, uploads=sent)
        draft = await self.resolver.resolve_draft(body, resolved, owner_id=self.caller.owner_id)
        self.state.services.reserve.check()
        if not files:
            return await self._commit(resolved, body, keyed, abort_if_disconnected, draft=draft)
        await self._check_limits(files)
        async with AsyncExitStack() as stack:
            stored = [
                (file, await stack.enter_async_context(self.uploads.stored_bytes(file, self.caller))) for file in files
            ]
            made = await self._commit(resolved, body, keyed, abort_if_disconnected, stored)
        if isinstance(made, str):
            for file in files:
                await self.uploads.discard_bytes(file, self.caller)
        return made

    async def _check_limits(self, files: Sequence[ProbedUpload]) -> None:
        """Raises what the commit would raise for a limit, before the bytes of the files are stored."""
        await self.uploads.check_quota(self.caller, size_bytes=sum(file.size_bytes for file in files))
        async with self.database.write() as uow:
            await check_job_limits(uow, self.caller, self.state.services.settings.limits)

    async def _commit(
        self,
        resolved: ResolvedRequest,
        body: SubmittedBody,
        keyed: KeyedRequest | None,
        abort_if_disconnected: bool,
        files: Sequence[tuple[ProbedUpload, StoredObject]] = (),
        draft: Draft | None = None,
    ) -> FullJob | str:
        settings = self.state.services.settings
        limits = settings.limits
        async with self.database.write() as uow:
            await hold_key(uow, self.caller)
            if keyed and (earlier := await acquire_key(uow, keyed)):
                return earlier
            for file, stored in files:
                await self.uploads.record(uow, file, stored, self.caller)
            submit_one = partial(
                submit,
                uow,
                owner_id=self.caller.owner_id,
                request_id=self.request_id,
                traceparent=self.traceparent,
                limits=limits,
                quota=quota_of(self.caller, limits),
                capacity=self.state.services.queue_capacity,
            )
            work = find_earlier_work(body, resolved, settings.engine, edited_from=self.edited_from)
            if draft is not None and isinstance(body, ReelRequest) and isinstance(resolved, ResolvedReel):
                job = await submit_held(submit_one, resolved, body, draft, earlier=work)
            else:
                job = await submit_one(resolved, body, earlier=work)
            if keyed:
                await record_job(uow, keyed, job.row.id)
            if abort_if_disconnected:
                uow.before_commit(_ConnectionCheck(self.request))
        return job

    async def answer(self, job_id: str, *, is_replay: bool) -> Job:
        """The job as it is now, or once it has ended if the client prefers to wait. Raises `Gone`."""
        if is_replay:
            self.response.headers["Idempotent-Replayed"] = "true"
        wait_s = parse_wait_s(self.prefer)
        if wait_s is not None:
            self.response.headers["Preference-Applied"] = f"wait={wait_s}"
            await wait_until_finished(self.state, job_id, timeout_s=wait_s)
        point_to_job(self.response, job_id)
        try:
            return await self.state.job_views.fetch(job_id, self.caller.owner_id)
        except NotFound as error:
            raise Gone("The job that this request made has been deleted.") from error


@dataclass(frozen=True)
class _ConnectionCheck:
    """Raises `ClientDisconnect` just before the commit if the client has left."""

    request: Request

    async def run(self, _uow: UnitOfWork) -> None:
        if await self.request.is_disconnected():
            raise ClientDisconnect


async def get_submission(
    state: AppStateDep,
    resolver: ResolverDep,
    uploads: UploadStoreDep,
    caller: CallerDep,
    request_id: RequestIdDep,
    traceparent: TraceparentDep,
    request: Request,
    response: Response,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> Submission:
    return Submission(
        state, resolver, uploads, caller, request_id, traceparent, request, response, idempotency_key, prefer
    )


SubmissionDep = Annotated[Submission, Depends(get_submission)]


class SubmissionRoute(AuthFirstRoute):
    """A route with one body, whose errors of form do not hide the errors that need the model and the named files."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        kind: type[SubmittedBody] = get_type_hints(self.endpoint)["body"]

        async def report_all(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                raise await _with_further_errors(request, kind, error) from None

        return report_all


async def _with_further_errors(
    request: Request, kind: type[SubmittedBody], error: RequestValidationError
) -> RequestValidationError | InvalidRequest:
    """The error, together with the errors of the part of the body that has the right form."""
    wrong = [each["loc"][1:] for each in error.errors() if each["loc"][0] == "body"]
    part = ValidPart(kind, error.body, wrong)
    if part.request is None:
        return error
    caller = await get_caller(request)
    resolver = await get_resolver(await get_app_state(request))
    try:
        await resolver.resolve(part.request, owner_id=caller.owner_id)
    except InvalidRequest as further:
        form = explain_validation(error.errors(), body=error.body).field_errors
        others = [each for each in further.field_errors if part.is_error_of_body(each.pointer)]
        return InvalidRequest.from_field_errors([*form, *others])
    except Unavailable:
        pass  # the errors of form are known without the database
    return error


async def check_job_limits(uow: UnitOfWork, caller: Caller, limits: LimitSettings) -> None:
    """Raises what `submit` would raise for a limit of the caller or of the queue."""
    if quota := quota_of(caller, limits):
        await check_quota(uow, caller.owner_id, quota)
    await check_capacity(uow, QueueCapacity(), limit=limits.max_queued_jobs)


async def wait_until_finished(state: AppState, job_id: str, *, timeout_s: float) -> None:
    """Returns when the job has ended, after `timeout_s`, or when this server shuts down."""
    # A stream ends after the terminal event, and reads that event from the log if its message was lost.
    stream = job_stream(state.hub, state.log, job_id, None)
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s), aclosing(stream):
            async for _frames in stream:
                pass


def point_to_job(response: Response, job_id: str) -> None:
    """Sets the headers that say where and when to poll the job."""
    response.headers["Location"] = f"/v1/jobs/{job_id}"
    response.headers["Retry-After"] = str(POLL_AFTER_S)


def draw_seed() -> int:
    return secrets.randbelow(SEED_SPACE)
