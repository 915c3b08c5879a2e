"""Downloads artifacts from the store, and uploads what an attempt has made."""

from pathlib import Path

from phoenix.contract.artifacts import MediaInfo
from phoenix.errors import FailureCode, NotFound, Stage, TaskFailed
from phoenix.ids import JobId, TaskId
from phoenix.jobs.execution.completion import AttemptOutput
from phoenix.jobs.repository import get_artifact
from phoenix.storage.errors import reported_as_task_failure
from phoenix.storage.keys import OutputName, output_key
from phoenix.worker.context import WorkerContext
from phoenix.worker.leases import HeldLease
from phoenix.worker.retry import cancel_on_stop, retry_until_available

MEDIA_TYPES = {
    OutputName.CLIP: "video/mp4",
    OutputName.OUTPUT: "video/mp4",
    OutputName.SOUNDTRACK: "audio/mp4",
    OutputName.THUMBNAIL: "image/jpeg",
}


async def download_artifact(context: WorkerContext, lease: HeldLease, artifact_id: str, path: Path) -> MediaInfo:
    """Copies an artifact of the job's owner to `path`; returns what it holds. Raises `TaskFailed`."""
    owner_id = lease.claim.owner_id

    async def look_up() -> tuple[str, MediaInfo]:
        async with context.services.database.read() as session:
            row = await get_artifact(session, artifact_id, owner_id=owner_id)
            return row.key, MediaInfo.model_validate(row.info)

    try:
        key, info = await retry_until_available(look_up, lease.stop)
    except NotFound as error:
        detail = f"the artifact {artifact_id} is not there any more"
        raise TaskFailed(FailureCode.MEDIA_INVALID, detail, stage=Stage.FETCH) from error
    with reported_as_task_failure(Stage.FETCH):
        await cancel_on_stop(context.services.store.download_to(key, path), lease.stop)
    lease.record_progress()
    return info


async def upload_result(
    context: WorkerContext, lease: HeldLease, name: OutputName, path: Path, info: MediaInfo
) -> AttemptOutput:
    """Stores a file under a key of this attempt. It becomes visible only when the attempt succeeds."""
    claim = lease.claim
    key = output_key(JobId(claim.job_id), TaskId(claim.task_id), claim.attempt, name)
    with reported_as_task_failure(Stage.UPLOAD):
        stored = await cancel_on_stop(context.services.store.put_file(key, path), lease.stop)
    lease.record_progress()
    return AttemptOutput(
        key=key,
        media_type=MEDIA_TYPES[name],
        size_bytes=stored.size_bytes,
        sha256=stored.sha256,
        info=info,
    )
