"""Everything that a stream can say. Durable events are numbered from 1 without a gap; the others carry no `id:`."""

from typing import Annotated, Literal, get_args

from pydantic import Field, RootModel

from phoenix.contract.base import Progress, TerminalEventType, Timestamp, View
from phoenix.contract.jobs import Job, JobError, JobOutput, JobTimings


class _Event(View):
    job_id: str
    seq: int = Field(description="Number of the last durable event: this one's own, if it is durable.")
    at: Timestamp


class _ClipEvent(_Event):
    clip_index: int
    attempt: int


class JobQueued(_Event):
    type: Literal["job.queued"] = "job.queued"


class JobStarted(_Event):
    type: Literal["job.started"] = "job.started"


class ClipStarted(_ClipEvent):
    type: Literal["clip.started"] = "clip.started"
    steps: int
    worker_id: str


class ClipSucceeded(_ClipEvent):
    type: Literal["clip.succeeded"] = "clip.succeeded"
    artifact_id: str
    url: str
    progress: Progress = Field(description="Of the whole job, from 0 to 1.")


class ClipRetrying(_ClipEvent):
    """The attempt failed or was lost, and the clip is queued again."""

    type: Literal["clip.retrying"] = "clip.retrying"
    reason: JobError
    retry_in_s: float


class ClipFailed(_ClipEvent):
    type: Literal["clip.failed"] = "clip.failed"
    error: JobError


class JobAssembling(_Event):
    type: Literal["job.assembling"] = "job.assembling"


class JobSucceeded(_Event):
    type: Literal["job.succeeded"] = "job.succeeded"
    output: JobOutput
    timings: JobTimings


class JobFailed(_Event):
    type: Literal["job.failed"] = "job.failed"
    error: JobError


class JobCanceled(_Event):
    type: Literal["job.canceled"] = "job.canceled"


class JobExpired(_Event):
    type: Literal["job.expired"] = "job.expired"
    error: JobError


class JobSnapshot(_Event):
    """The whole job: first on every connection that does not resume."""

    type: Literal["snapshot"] = "snapshot"
    job: Job


class ClipProgress(_ClipEvent):
    type: Literal["clip.progress"] = "clip.progress"
    step: int
    steps: int
    progress: Progress = Field(description="Of this clip, from 0 to 1.")
    eta_s: float | None = None
    job_progress: Progress
    job_eta_s: float | None = None


class ClipPreview(_ClipEvent):
    type: Literal["clip.preview"] = "clip.preview"
    image: str = Field(description="A small picture as a data URL, at most 10 kB.")


class JobQueueMoved(_Event):
    type: Literal["job.queue"] = "job.queue"
    queue_position: int | None
    waiting_reason: str | None
    eta_s: float | None


DurableEvent = Annotated[
    JobQueued
    | JobStarted
    | ClipStarted
    | ClipSucceeded
    | ClipRetrying
    | ClipFailed
    | JobAssembling
    | JobSucceeded
    | JobFailed
    | JobCanceled
    | JobExpired,
    Field(discriminator="type"),
]
EphemeralEvent = Annotated[JobSnapshot | ClipProgress | ClipPreview | JobQueueMoved, Field(discriminator="type")]

TERMINAL_EVENT_TYPES: frozenset[str] = frozenset(get_args(TerminalEventType))


class JobEvent(RootModel[Annotated[DurableEvent | EphemeralEvent, Field(discriminator="type")]]):
    """One event of a stream, told apart by `type`."""


class StreamToken(View):
    """Lets whoever holds it follow one job, and do nothing else."""

    token: str
    expires_at: Timestamp
    url: str = Field(description="URL of the stream, token included: for `new EventSource(url)`.")


class EventPage(View):
    """The durable events of a job after a number, oldest first."""

    data: list[DurableEvent]
    has_more: bool = Field(description="Ask again with `last_event_id` set to the last `seq` of this page.")
