"""What an attempt that succeeds leaves behind: the rows of its files, its timings, and what it teaches about pace."""

from dataclasses import dataclass, field
from datetime import datetime

from phoenix.contract.artifacts import ArtifactKind, MediaInfo
from phoenix.contract.jobs import ClipTimings
from phoenix.contract.resolved import ResolvedReel
from phoenix.db.unit_of_work import UnitOfWork
from phoenix.ids import new_artifact_id
from phoenix.jobs import views
from phoenix.jobs.lifecycle import TaskKind
from phoenix.jobs.pace import assembly_of, learn, shape_of
from phoenix.jobs.tables import ArtifactRow, JobRow, TaskRow


@dataclass(frozen=True)
class Result:
    """A file in the store, which becomes visible only when the attempt succeeds."""

    key: str
    media_type: str
    size_bytes: int
    sha256: str
    info: MediaInfo
    timings: ClipTimings = field(default_factory=ClipTimings)
    batch_size: int | None = None
    """For a clip: how many were rendered in the same call, this one included."""
    thumbnail: "Result | None" = None
    """Its thumbnail, stored beside it and published with it."""

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key, *(self.thumbnail.keys if self.thumbnail else ()))


def completes(job: JobRow, task: TaskRow) -> bool:
    """Whether the task's result is the job's result."""
    return task.kind is TaskKind.ASSEMBLE or job.kind == "soundtrack"


async def publish(uow: UnitOfWork, job: JobRow, task: TaskRow, result: Result) -> ArtifactRow:
    """Makes the result that of its task."""
    artifact = await _add_file(uow, job, result, _kind_of_result(job, task))
    if result.thumbnail is not None:
        await _add_file(uow, job, result.thumbnail, ArtifactKind.THUMBNAIL)
    task.artifact_id = artifact.id
    waited_s = (task.started_at - task.ready_at).total_seconds() if task.started_at else None
    timings = result.timings.model_copy(update={"queue_s": waited_s}).model_dump(mode="json")
    task.timings = {**timings, "batch_size": result.batch_size}
    return artifact


def _kind_of_result(job: JobRow, task: TaskRow) -> ArtifactKind:
    if task.kind is TaskKind.RENDER:
        return ArtifactKind.CLIP
    return ArtifactKind.OUTPUT if completes(job, task) else ArtifactKind.SOUNDTRACK


async def _add_file(uow: UnitOfWork, job: JobRow, result: Result, kind: ArtifactKind) -> ArtifactRow:
    artifact = ArtifactRow(
        id=new_artifact_id(),
        owner_id=job.owner_id,
        kind=kind,
        job_id=job.id,
        key=result.key,
        media_type=result.media_type,
        size_bytes=result.size_bytes,
        sha256=result.sha256,
        info=result.info.model_dump(mode="json"),
        created_at=await uow.now(),
    )
    uow.session.add(artifact)
    return artifact


def learn_pace(uow: UnitOfWork, job: JobRow, task: TaskRow, result: Result, *, ended_at: datetime) -> None:
    request = views.parse_request(job)
    if not isinstance(request, ResolvedReel):
        return
    held_s = (ended_at - task.started_at).total_seconds() if task.started_at else 0.0
    if task.kind is TaskKind.ASSEMBLE:
        shape, weight = assembly_of(request)
        learn(uow, shape, weight=weight, spent_s=held_s)
    elif task.kind is TaskKind.RENDER:
        timings = result.timings
        steps_s = sum(seconds or 0.0 for seconds in (timings.text_s, timings.denoise_s))
        finish_s = sum(seconds or 0.0 for seconds in (timings.decode_s, timings.encode_s, timings.upload_s))
        # Loading the model and waiting for the device say nothing about the pace of the next clip.
        spent_s = steps_s + finish_s or held_s
        shape = shape_of(request.model, request.clips[task.position])
        learn(uow, shape, weight=task.weight, spent_s=spent_s, finish_s=finish_s)
