"""Converts rows to wire types. The caller passes what SQL does not know: steps of running clips, queue positions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args

from phoenix.contract import (
    Artifact,
    CaptionFile,
    Clip,
    ClipCheck,
    ClipProgress,
    ClipState,
    ClipTimings,
    ClipWarning,
    Job,
    JobError,
    JobOutput,
    JobState,
    JobTimings,
    MediaInfo,
    Priority,
    ResolvedClip,
    ResolvedLipsync,
    ResolvedReel,
    ResolvedRequest,
    StoredEntry,
    Take,
    WaitingReason,
)
from phoenix.db import NEWER_VERSION_RETRY_AFTER_S
from phoenix.errors import NewerVersionError
from phoenix.events.progress_cache import NO_PROGRESS, ProgressSnapshot
from phoenix.jobs.lifecycle import TaskKind, TaskState, find_continued
from phoenix.jobs.progress import recorded_progress
from phoenix.jobs.tables import ArtifactRow, JobRow, TaskRow

_PRIORITIES = get_args(Priority)

CLIP_STATES: Mapping[TaskState, ClipState] = {
    TaskState.BLOCKED: ClipState.QUEUED,
    TaskState.READY: ClipState.QUEUED,
    TaskState.RUNNING: ClipState.RUNNING,
    TaskState.SUCCEEDED: ClipState.SUCCEEDED,
    TaskState.FAILED: ClipState.FAILED,
    TaskState.CANCELED: ClipState.CANCELED,
}


@dataclass(frozen=True)
class QueuePosition:
    """Queue position and estimate of an unfinished job. `eta_s`: seconds until its end, from learned durations."""

    queue_position: int | None = None
    waiting_reason: WaitingReason | None = None
    eta_s: float | None = None
    wait_s: float | None = None
    """Seconds until a waiting job starts, from the learned durations of the work ahead."""


@dataclass(frozen=True)
class LiveState:
    """What is known of a job outside SQL. Every field may be missing."""

    progress: ProgressSnapshot = NO_PROGRESS
    queue_position: int | None = None
    waiting_reason: WaitingReason | None = None
    eta_s: float | None = None


def live_state(progress: ProgressSnapshot, position: QueuePosition, now: datetime) -> LiveState:
    """Combines progress and queue position. The workers' estimate of the time left wins over the learned estimate."""
    # While nothing of the job runs, no worker counts down its time.
    left_s = None if position.waiting_reason else progress.job_left_s(now)
    eta_s = position.eta_s if left_s is None else float(round(left_s))
    return LiveState(progress, position.queue_position, position.waiting_reason, eta_s)


_AS_STORED = (
    *(
        "id",
        "owner_id",
        "kind",
        "state",
        "model",
        "title",
        "tags",
        "favorite",
        "edited_from",
        "draft_job_id",
        "draft_of",
    ),
    *("error", "priority", "last_seq", "created_at", "started_at", "finished_at", "request_id"),
)


def view_job(
    job: JobRow,
    tasks: Sequence[TaskRow],
    output: ArtifactRow | None,
    live: LiveState | None = None,
    *,
    request: ResolvedRequest | None = None,
) -> Job:
    """The job as the API shows it. Raises `NewerVersionError` if this version cannot read its request or priority.

    `request`: of the job, if it is parsed already.
    """
    if job.priority not in _PRIORITIES:
        raise NewerVersionError(retry_after_s=NEWER_VERSION_RETRY_AFTER_S)
    live = live or LiveState()
    request = request or job.parse_request()
    is_waiting = job.state is JobState.QUEUED
    # Redis may be empty, or away. What it has is newer only by chance: workers record progress before they publish it.
    progress = live.progress.merged_with(recorded_progress(tasks))
    return Job.model_validate(
        {
            **{name: getattr(job, name) for name in _AS_STORED},
            # Not computed from the running clips: another replica would not know it, and could show less later.
            "progress": progress.job_progress,
            "queue_position": live.queue_position if is_waiting else None,
            "eta_s": None if job.state.is_terminal else live.eta_s,
            "waiting_reason": live.waiting_reason,
            "clips": _view_clips(job, request, tasks, progress.clips),
            "output": view_output(job, output) if output else None,
            "timings": view_timings(job, tasks),
            "metadata": job.options.get("metadata") or {},
            "cancel_requested": job.ending is JobState.CANCELED,
            "request": _without_folders(request),
        }
    )


def _without_folders(request: ResolvedRequest) -> ResolvedRequest:
    """The request with the names of model folders, and without their places on the server's machines."""
    if isinstance(request, ResolvedLipsync):
        return request.model_copy(update={"entry": _hide_folders(request.entry)})
    if not isinstance(request, ResolvedReel) or request.entry is None:
        return request
    adapters = {adapter_id: _hide_folders(entry) for adapter_id, entry in request.adapters.items()}
    postprocessors = {spec_id: _hide_folders(entry) for spec_id, entry in request.postprocessors.items()}
    changes = {"entry": _hide_folders(request.entry), "adapters": adapters, "postprocessors": postprocessors}
    return request.model_copy(update=changes)


def _hide_folders(entry: StoredEntry) -> StoredEntry:
    loras = [lora | {"source": _folder_name(lora["source"])} for lora in entry.fields.get("loras", ())]
    changes: dict[str, Any] = {"source": _folder_name(entry.fields.get("source"))} | ({"loras": loras} if loras else {})
    if heard := entry.fields.get("features_source"):
        changes["features_source"] = _folder_name(heard)
    return entry.model_copy(update={"fields": entry.fields | changes})


def _folder_name(source: str | None) -> str | None:
    return source.rstrip("/").rpartition("/")[2] if source and source.startswith(("/", "~", ".")) else source


def _view_clips(
    job: JobRow, request: ResolvedRequest, tasks: Sequence[TaskRow], live: Mapping[int, ClipProgress]
) -> list[Clip]:
    if not isinstance(request, ResolvedReel):
        return []
    rendering = [task for task in tasks if task.kind is TaskKind.RENDER]
    renders = [
        _view_clip(job, clip, task, live.get(clip.index)) for clip, task in zip(request.renders, rendering, strict=True)
    ]
    return [
        _with_takes(renders[clip.index], request, renders) if clip.takes > 1 else renders[clip.index]
        for clip in request.clips
    ]


def _with_takes(shown: Clip, reel: ResolvedReel, renders: Sequence[Clip]) -> Clip:
    """The clip with all of its takes. `renders`: views of everything that is rendered, by index."""
    takes = [
        Take(
            take=clip.take,
            is_shown=clip.take_of is None,
            **renders[clip.index].model_dump(include=_OF_A_TAKE),
        )
        for clip in sorted(reel.renders, key=lambda clip: clip.take)
        if clip.place == shown.index
    ]
    return shown.model_copy(update={"takes": takes})


_OF_A_TAKE = {"index", "seed", "state", "progress", "attempt", "reused", "error", "artifact_id", "url"}


def _view_clip(job: JobRow, clip: ResolvedClip, task: TaskRow, live: ClipProgress | None) -> Clip:
    is_done = task.state is TaskState.SUCCEEDED
    # Progress of an earlier attempt says nothing about this one.
    is_current = live is not None and task.state is TaskState.RUNNING and live.attempt == task.attempt
    return Clip(
        index=clip.index,
        prompt=clip.prompt,
        caption=clip.caption,
        narration=clip.narration,
        state=CLIP_STATES[task.state],
        waits_for_clip=find_continued(task) if task.state is TaskState.BLOCKED else None,
        progress=1.0 if is_done else live.progress if live and is_current else 0.0,
        step=clip.steps if is_done else live.step if live and is_current else 0,
        steps=clip.steps,
        attempt=task.attempt,
        seed=clip.seed,
        reused=task.is_reused,
        error=JobError.model_validate(task.error) if task.error else None,
        artifact_id=task.artifact_id,
        url=clip_url(job.id, clip.index) if is_done else None,
        timings=ClipTimings.model_validate(task.timings),
        batch_size=task.timings.get("batch_size"),
        peak_memory_bytes=task.timings.get("peak_memory_bytes"),
        warnings=[ClipWarning.model_validate(warning) for warning in task.warnings],
        checks=[ClipCheck.model_validate(check) for check in task.checks],
        rerolled_from=task.rerolled_from,
        made_with=dict(task.made_with),
    )


def clip_url(job_id: str, index: int) -> str:
    """The path of a clip's file in the API."""
    return f"/v1/jobs/{job_id}/clips/{index}/content"


def view_output(job: JobRow, artifact: ArtifactRow) -> JobOutput:
    """A job's output as the API shows it."""
    info = MediaInfo.model_validate(artifact.info)
    return JobOutput(
        artifact_id=artifact.id,
        url=f"/v1/jobs/{job.id}/content",
        duration_s=info.duration_s or 0.0,
        width=info.width,
        height=info.height,
        fps=info.fps,
        size_bytes=artifact.size_bytes,
        sha256=artifact.sha256,
        captions=[
            CaptionFile(**each, url=f"/v1/jobs/{job.id}/content?variant={each['format']}")
            for each in artifact.info.get("captions", ())
        ],
    )


def view_timings(job: JobRow, tasks: Sequence[TaskRow]) -> JobTimings:
    """How long the job waited, and how long its parts took, in seconds; None for what has not happened."""
    return JobTimings(
        queue_s=(job.started_at - job.queued_at).total_seconds() if job.started_at else None,
        render_s=_total_s(tasks, TaskKind.RENDER),
        assemble_s=_total_s(tasks, TaskKind.ASSEMBLE),
        total_s=(job.finished_at - job.queued_at).total_seconds() if job.finished_at else None,
    )


def _total_s(tasks: Sequence[TaskRow], kind: TaskKind) -> float | None:
    spans = [
        (task.finished_at - task.started_at).total_seconds()
        for task in tasks
        if task.kind is kind and task.state is TaskState.SUCCEEDED and task.started_at and task.finished_at
    ]
    return sum(spans) if spans else None


def view_artifact(artifact: ArtifactRow) -> Artifact:
    """An artifact as the API shows it."""
    return Artifact(
        id=artifact.id,
        owner_id=artifact.owner_id,
        kind=artifact.kind,
        media_type=artifact.media_type,
        filename=artifact.filename,
        url=f"/v1/artifacts/{artifact.id}/content",
        size_bytes=artifact.size_bytes,
        sha256=artifact.sha256,
        info=MediaInfo.model_validate(artifact.info),
        job_id=artifact.job_id,
        created_at=artifact.created_at,
        last_used_at=artifact.last_used_at,
    )
