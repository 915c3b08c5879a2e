"""Submits a video as the reel that it is, and only once, however often an SDK retries."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect, Request

from phoenix.api.openai.forms import FILE_FIELD, save_picture
from phoenix.api.routes.uploads import store_upload
from phoenix.api.submission.job_views import POLL_AFTER_S
from phoenix.api.submission.submit import Submission, admit_reel
from phoenix.contract.jobs import Job
from phoenix.contract.requests import ReelRequest
from phoenix.jobs.submission.idempotency import RequestIdentity, record_lost_response, recover_lost_response
from phoenix.jobs.tables import ArtifactRow


async def store_picture(submission: Submission, picture: UploadFile) -> ArtifactRow:
    """Makes an artifact of a picture that came with a form. Raises `InvalidRequest` if it is not one."""
    with TemporaryDirectory(prefix="phoenix-upload-", ignore_cleanup_errors=True) as folder:
        received = await asyncio.to_thread(save_picture, picture, Path(folder) / FILE_FIELD)
        return await store_upload(submission.state, received, submission.caller.owner_id)


async def submit_video(submission: Submission, body: ReelRequest, fingerprint: str) -> Job:
    """Like `Submission.accept`, for clients that retry on their own.

    OpenAI's SDKs send no Idempotency-Key, only the number of retries. So no job is made for a client that has
    already left, and one whose client leaves before the response is kept for its next try.
    """
    submission.response.headers["openai-poll-after-ms"] = str(POLL_AFTER_S * 1000)
    if submission.idempotency_key is not None:
        return await submission.accept(body, lambda: admit_reel(submission, body), fingerprint=fingerprint)
    request = submission.request
    identity = RequestIdentity(submission.caller.owner_id, f"{request.method} {request.url.path}", fingerprint)
    job = await _recover_response(submission, identity) if _is_retry(request) else None
    if job is None:
        job = await submission.accept(
            body, lambda: admit_reel(submission, body), before_commit=lambda: _abort_if_disconnected(request)
        )
    if await request.is_disconnected():
        async with submission.services.database.write() as uow:
            await record_lost_response(uow, identity, job.id)
    return job


async def _recover_response(submission: Submission, identity: RequestIdentity) -> Job | None:
    async with submission.services.database.write() as uow:
        job_id = await recover_lost_response(uow, identity)
    return await submission.answer(job_id, is_replay=True) if job_id else None


def _is_retry(request: Request) -> bool:
    tries = request.headers.get("x-stainless-retry-count", "")
    return tries.isascii() and tries.isdecimal() and tries.strip("0") != ""


async def _abort_if_disconnected(request: Request) -> None:
    if await request.is_disconnected():
        raise ClientDisconnect
