"""Submission of all kinds of job: a request is checked, accepted at most once per Idempotency-Key, and answered."""

import asyncio
import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request, Response
from pydantic import AfterValidator, BaseModel, Field
from starlette.requests import ClientDisconnect

from phoenix.access.keys import ANYBODY, Caller
from phoenix.api.dependencies import AppStateDep, CallerDep, RequestIdDep, TraceparentDep
from phoenix.api.job_views import POLL_AFTER_S
from phoenix.api.lifespan import AppState
from phoenix.catalog.request_validation import SEED_SPACE, AdmissionLimits, admit_reel, admit_soundtrack, admit_stitch
from phoenix.contract import (
    Job,
    MediaInfo,
    Omittable,
    ReelRequest,
    ResolvedRequest,
    SoundtrackJobRequest,
    StitchRequest,
)
from phoenix.errors import FieldError, Gone, InvalidRequest, NotFound
from phoenix.events.sse.snapshot_and_replay import job_stream
from phoenix.jobs.artifacts import find_known_media
from phoenix.jobs.repository import FullJob
from phoenix.jobs.submission.admission_control import Quota
from phoenix.jobs.submission.idempotency import KeyedRequest, acquire_key, find_earlier_job, record_job
from phoenix.jobs.submission.submit import submit
from phoenix.media.ssrf import EgressPolicy, UrlNotAllowed, check_url
from phoenix.services import Services
from phoenix.settings import LimitSettings, Settings

MAX_KEY_LENGTH = 255
MAX_WAIT_S = 60
"""Proxies give up on responses that take longer."""

_QUOTED = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_BARE = re.compile(r"[\x21\x23-\x7e][\x20-\x7e]*")
_SHOWN_PATTERN = r'^([!#-~]([ -~]{0,253}[!-~])?|"[ !#-\[\]-~]{1,255}")$'
_WAIT = re.compile(r'wait\s*=\s*(?:"(\d{1,9})"|(\d{1,9}))', re.ASCII | re.IGNORECASE)


def parse_idempotency_key(text: str) -> str:
    """The key in `"abc"`, a string of RFC 9651, or in plain `abc`. Raises `ValueError` for anything else."""
    given = text.strip(" \t")
    quoted = _QUOTED.fullmatch(given)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else given if _BARE.fullmatch(given) else ""
    if not 0 < len(key) <= MAX_KEY_LENGTH:
        raise ValueError(f"send 1 to {MAX_KEY_LENGTH} printable ASCII characters, in double quotes or without")
    return key


def parse_wait_s(prefer: str | None) -> int | None:
    """Seconds to wait, at most `MAX_WAIT_S`; None if the client does not ask for it. Ignores other preferences."""
    for preference in (prefer or "").split(","):
        # A semicolon starts parameters of a preference; `wait` has none.
        if match := _WAIT.fullmatch(preference.partition(";")[0].strip()):
            return min(int(match[1] or match[2]), MAX_WAIT_S)
    return None


IdempotencyKey = Annotated[
    Omittable[
        Annotated[str, AfterValidator(parse_idempotency_key), Field(json_schema_extra={"pattern": _SHOWN_PATTERN})]
    ],
    Header(
        alias="Idempotency-Key",
        description="Any text of yours, up to 255 characters. The same request with the same key within 24 hours "
        "makes no second job: the response is the first one's job, with `Idempotent-Replayed: true`.",
    ),
]
Prefer = Annotated[
    Omittable[str],
    Header(
        description="`wait=10` delays the response until the job has ended, but at most 10 seconds (60 is the limit)."
    ),
]

SubmittedBody = ReelRequest | StitchRequest | SoundtrackJobRequest


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

    async def submit(
        self, body: SubmittedBody, *, fingerprint: str | None = None, abort_if_disconnected: bool = False
    ) -> Job:
        """Queues the job and returns it; response headers say where to follow it.

        `fingerprint` identifies the request if `body` is not what the client sent. `abort_if_disconnected` makes no job
        for a client that has left before the commit. Raises `InvalidRequest` with all field errors,
        `IdempotencyMismatch`, `QueueFull`, `RateLimited`, or `ClientDisconnect`.
        """
        keyed = self._keyed(fingerprint or fingerprint_of(body))
        # Looked up before the checks: a request that was valid then need not be valid now.
        earlier = await self._find_earlier(keyed) if keyed else None
        made = earlier or await self._write(await self._resolve(body), body, keyed, abort_if_disconnected)
        if isinstance(made, str):
            return await self.answer(made, is_replay=True)
        if parse_wait_s(self.prefer) is not None:
            return await self.answer(made.row.id, is_replay=False)
        point_to_job(self.response, made.row.id)
        return await self.state.job_views.view_new(made)

    def _keyed(self, fingerprint: str) -> KeyedRequest | None:
        if self.idempotency_key is None:
            return None
        route = f"{self.request.method} {self.request.url.path}"
        return KeyedRequest(self.caller.owner_id, route, self.idempotency_key, fingerprint)

    async def _find_earlier(self, keyed: KeyedRequest) -> str | None:
        async with self.services.database.read() as session:
            return await find_earlier_job(session, keyed)

    async def _resolve(self, body: SubmittedBody) -> ResolvedRequest:
        """The request with every default filled in. Raises `InvalidRequest` with every field error."""
        url_errors = find_url_errors(body, self.services.settings)
        try:
            resolved = await self._admit(body)
        except InvalidRequest as error:
            raise InvalidRequest.from_field_errors([*error.field_errors, *url_errors]) from error
        if url_errors:
            raise InvalidRequest.from_field_errors(url_errors)
        return resolved

    async def _admit(self, body: SubmittedBody) -> ResolvedRequest:
        media = await self._find_media(_list_references(body))
        settings = self.services.settings
        limits = AdmissionLimits(max_reel_duration_s=settings.limits.max_reel_duration_s)
        match body:
            case ReelRequest():
                model = settings.engine.default_model
                return admit_reel(
                    body, self.services.catalog, default_model=model, limits=limits, draw_seed=draw_seed, media=media
                )
            case StitchRequest():
                return admit_stitch(body, limits=limits, media=media)
            case SoundtrackJobRequest():
                return admit_soundtrack(body, media=media)

    async def _find_media(self, references: Iterable[str | None]) -> Mapping[str, MediaInfo]:
        """Media info of the owner's artifacts among `references`, by id; unknown artifacts are left out."""
        artifact_ids = {reference for reference in references if reference is not None}
        if not artifact_ids:
            return {}
        async with self.services.database.read() as session:
            return await find_known_media(session, artifact_ids, owner_id=self.caller.owner_id)

    async def _write(
        self, resolved: ResolvedRequest, body: SubmittedBody, keyed: KeyedRequest | None, abort_if_disconnected: bool
    ) -> FullJob | str:
        """The new job, or the id of the job that a concurrent request with the same key has made first."""
        limits = self.services.settings.limits
        async with self.services.database.write() as uow:
            if keyed and (earlier := await acquire_key(uow, keyed)):
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
                await record_job(uow, keyed, job.row.id)
            if abort_if_disconnected:
                uow.before_commit(self._raise_if_disconnected)
        return job

    async def _raise_if_disconnected(self) -> None:
        if await self.request.is_disconnected():
            raise ClientDisconnect

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


async def wait_until_finished(state: AppState, job_id: str, *, timeout_s: float) -> None:
    """Returns when the job has ended, after `timeout_s`, or when this server shuts down."""
    # A stream ends after the terminal event, and reads that event from the log if its message was lost.
    stream = job_stream(state.hub, state.log, job_id, None)
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s), aclosing(stream):
            async for _frames in stream:
                pass


def quota_of(caller: Caller, limits: LimitSettings) -> Quota | None:
    """The quota of the caller's key; None for the operator, who has no limit."""
    return None if caller is ANYBODY else Quota.from_settings(limits)


def point_to_job(response: Response, job_id: str) -> None:
    """Sets the headers that say where and when to poll the job."""
    response.headers["Location"] = f"/v1/jobs/{job_id}"
    response.headers["Retry-After"] = str(POLL_AFTER_S)


def draw_seed() -> int:
    return secrets.randbelow(SEED_SPACE)


def fingerprint_of(body: BaseModel) -> str:
    """SHA-256 of the body in canonical form: neither the order of fields nor white space changes it."""
    canonical = json.dumps(body.model_dump(mode="json", exclude_unset=True), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _list_references(body: SubmittedBody) -> Iterator[str | None]:
    """The artifact ids in the body; None for a reference that the client left out."""
    match body:
        case ReelRequest():
            yield from (clip.image_artifact_id for clip in body.clips)
        case StitchRequest():
            yield from body.artifact_ids
        case SoundtrackJobRequest():
            pass
    sound = body.source if isinstance(body, SoundtrackJobRequest) else body.soundtrack
    yield sound.artifact_id if sound else None


def find_url_errors(body: SubmittedBody, settings: Settings) -> list[FieldError]:
    """One field error for each URL that this server may not call.

    Resolves no names: the addresses behind a name are checked when the URL is called.
    """
    field_errors: list[FieldError] = []
    for pointer, url, policy in _list_urls(body, settings):
        try:
            check_url(url, policy)
        except UrlNotAllowed as error:
            field_errors.append(FieldError(pointer, f"This URL is not allowed: {error.detail.rstrip('.')}."))
    return field_errors


def _list_urls(body: SubmittedBody, settings: Settings) -> Iterator[tuple[str, str, EgressPolicy]]:
    """Each URL in the body, with its pointer before it and its policy after it."""
    if body.webhook is not None:
        yield "/webhook/url", str(body.webhook.url), EgressPolicy.for_webhooks(settings.webhooks)
    is_soundtrack = isinstance(body, SoundtrackJobRequest)
    sound, pointer = (body.source, "/source") if is_soundtrack else (body.soundtrack, "/soundtrack")
    if sound is not None and sound.url is not None:
        yield f"{pointer}/url", str(sound.url), EgressPolicy.from_settings(settings.media)
