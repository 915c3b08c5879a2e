"""Requests and finished work, with defaults for what a test does not care about."""

from collections.abc import Collection, Mapping
from typing import Any

from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.request_validation import AdmissionLimits, admit_reel
from phoenix.contract import JobOptions, MediaInfo, ReelRequest, ResolvedReel
from phoenix.db.unit_of_work import Database, UnitOfWork
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.ids import ArtifactId
from phoenix.jobs.artifacts import add_upload
from phoenix.jobs.event_log.reader import replay
from phoenix.jobs.execution.claim import Claim, claim
from phoenix.jobs.execution.retries import RetryRule
from phoenix.jobs.execution.task_completion import AttemptOutput, succeed
from phoenix.jobs.repository import FullJob, list_full_jobs
from phoenix.jobs.reuse import EarlierWork
from phoenix.jobs.scheduling.dispatch import list_ready
from phoenix.jobs.submission.submit import submit
from phoenix.media.probe import media_type_of
from phoenix.settings import LimitSettings

OWNER = "anonymous"
RULE = RetryRule(max_failures=3, max_crashes=3, first_delay_s=0)
LEASE_S = 600.0
FROM_PREVIOUS: Mapping[str, Any] = {
    "prompt": "and then",
    "conditions": [{"role": "first_frame", "source": {"previous_clip": True}}],
}
"""A clip that begins with the last frame of the clip before it."""


def make_reel(*prompts: str, **overrides: Any) -> ResolvedReel:
    request = ReelRequest.model_validate(
        {"clips": [{"prompt": prompt} for prompt in prompts or ["a red balloon"]], "duration_s": 1, **overrides}
    )
    return admit_reel(request, load_catalog(), default_model="animatic", limits=AdmissionLimits(), draw_seed=lambda: 7)


def make_result(key: str = "k", **overrides: Any) -> AttemptOutput:
    info = MediaInfo(media="video", format="mp4", duration_s=1.0, width=480, height=854, fps=16)
    values = {"key": key, "media_type": "video/mp4", "size_bytes": 3, "sha256": "0" * 64, "info": info}
    return AttemptOutput(**{**values, **overrides})


def make_failure(*, retriable: bool = False) -> TaskFailed:
    return TaskFailed(FailureCode.ENGINE_FAILED, "it broke", stage=Stage.DENOISE, retriable=retriable)


async def submit_reel(
    database: Database,
    *prompts: str,
    owner_id: str = OWNER,
    limits: LimitSettings | None = None,
    options: JobOptions | None = None,
    reusable: Collection[int] = (),
    **overrides: Any,
) -> str:
    """Submits a reel of the animatic model. Returns its job id."""
    async with database.write() as uow:
        job = await submit(
            uow,
            make_reel(*prompts, **overrides),
            options or JobOptions(),
            owner_id=owner_id,
            request_id="req_test",
            limits=limits or LimitSettings(),
            earlier=EarlierWork(reusable),
        )
    return job.row.id


async def add_file(uow: UnitOfWork, artifact_id: str, info: MediaInfo, *, owner_id: str = OWNER) -> None:
    """The row of an upload; nothing is stored."""
    await add_upload(
        uow,
        artifact_id=ArtifactId(artifact_id),
        owner_id=owner_id,
        key=f"uploads/{artifact_id}",
        media_type=media_type_of(info),
        filename=None,
        size_bytes=1,
        sha256="0" * 64,
        info=info,
    )


async def claim_next(database: Database, queue: str = "gpu", worker_id: str = "wrk_1") -> Claim:
    """Claims the oldest waiting task of a queue."""
    async with database.read() as session:
        waiting = (await list_ready(session, queue, with_dispatched=True))[0]
    async with database.write() as uow:
        claimed = await claim(uow, waiting.task_id, waiting.dispatch_seq, worker_id=worker_id, lease_s=LEASE_S)
    assert claimed is not None
    return claimed


async def complete_next(database: Database, queue: str = "gpu") -> Claim:
    """Claims the oldest waiting task of a queue and finishes it with success."""
    claimed = await claim_next(database, queue)
    async with database.write() as uow:
        await succeed(uow, claimed, make_result(f"{claimed.task_id}/{claimed.attempt}"))
    return claimed


async def get_job(database: Database, job_id: str) -> FullJob:
    async with database.read() as session:
        jobs = await list_full_jobs(session, [job_id])
    assert len(jobs) == 1
    return jobs[0]


async def event_types(database: Database, job_id: str) -> list[str]:
    """The types of the job's durable events, in order, after checking that their numbers have no gap."""
    async with database.read() as session:
        events = await replay(session, job_id, 0)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    return [event.type for event in events]
