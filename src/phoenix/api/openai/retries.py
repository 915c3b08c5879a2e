"""Submits a video once for all tries of a client."""

from collections.abc import Callable, Sequence

from fastapi import Request

from phoenix.api.job_views import POLL_AFTER_S
from phoenix.api.submission import Submission
from phoenix.api.uploads import ProbedUpload
from phoenix.contract import Job, ReelRequest
from phoenix.errors import FieldError, InvalidRequest
from phoenix.jobs.submission.idempotency import RequestIdentity, record_lost_response, recover_lost_response


async def submit_video(
    submission: Submission,
    body: ReelRequest,
    fingerprint: str,
    files: Sequence[ProbedUpload] = (),
    *,
    explain: Callable[[FieldError], FieldError] | None = None,
) -> Job:
    """`_submit_once`, with each error at the place in the form that `explain` finds for it."""
    try:
        return await _submit_once(submission, body, fingerprint, files)
    except InvalidRequest as error:
        if explain is None or not error.field_errors:
            raise
        raise InvalidRequest.from_field_errors([explain(each) for each in error.field_errors]) from error


async def _submit_once(
    submission: Submission, body: ReelRequest, fingerprint: str, files: Sequence[ProbedUpload]
) -> Job:
    """Submits the reel once for all tries of a client. Raises the errors of `Submission.submit`.

    OpenAI's SDKs send no Idempotency-Key, only the number of the retry. So no job is made for a client that has already
    left, and the job of a client that leaves before the response is recorded for the client's next try.
    """
    submission.response.headers["openai-poll-after-ms"] = str(POLL_AFTER_S * 1000)
    if submission.idempotency_key is not None:
        return await submission.submit(body, fingerprint=fingerprint, files=files)
    request, database = submission.request, submission.database
    identity = RequestIdentity(submission.caller.owner_id, f"{request.method} {request.url.path}", fingerprint)
    job = await _recover_response(submission, identity) if _is_retry(request) else None
    if job is None:
        job = await submission.submit(body, abort_if_disconnected=True, files=files)
    if await request.is_disconnected():
        async with database.write() as uow:
            await record_lost_response(uow, identity, job.id)
    return job


async def _recover_response(submission: Submission, identity: RequestIdentity) -> Job | None:
    async with submission.database.write() as uow:
        job_id = await recover_lost_response(uow, identity)
    return await submission.answer(job_id, is_replay=True) if job_id else None


def _is_retry(request: Request) -> bool:
    tries = request.headers.get("x-stainless-retry-count", "")
    return tries.isascii() and tries.isdecimal() and tries.strip("0") != ""
