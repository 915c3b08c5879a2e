"""The events of a stream. Durable events are numbered from 1 without a gap; ephemeral events have no `id:`."""

from typing import Annotated, Literal, get_args

from pydantic import Field, RootModel

from phoenix.contract.jobs import ClipCheck, ClipWarning, Job, JobError, JobOutput, JobTimings, WaitingReason
from phoenix.contract.wire_types import Progress, TerminalEventType, Timestamp, View


class _Event(View):
    job_id: str
    seq: int = Field(description="Number of the job's last durable event. A durable event has its own number here.")
    at: Timestamp


class _ClipEvent(_Event):
    clip_index: int
    attempt: int


class JobQueued(_Event):
    """The job was accepted, or was queued again by a retry."""

    type: Literal["job.queued"] = "job.queued"


class JobAwaitingApproval(_Event):
    """The draft is done, and the job waits until it is approved."""

    type: Literal["job.awaiting_approval"] = "job.awaiting_approval"
    draft_job_id: str = Field(description="Id of the job that has rendered the draft.")
    expires_at: Timestamp


class JobApproved(_Event):
    """The draft was approved, and the job is queued."""

    type: Literal["job.approved"] = "job.approved"


class JobStarted(_Event):
    """A worker has started the first task of the job."""

    type: Literal["job.started"] = "job.started"


class ClipStarted(_ClipEvent):
    """A worker has started an attempt to render the clip."""

    type: Literal["clip.started"] = "clip.started"
    steps: int
    worker_id: str


class ClipSucceeded(_ClipEvent):
    """The clip is there, and its file can be downloaded. `attempt` is 0 for a clip that was reused."""

    type: Literal["clip.succeeded"] = "clip.succeeded"
    artifact_id: str
    url: str
    progress: Progress = Field(description="Fraction of the whole job that is done, from 0 to 1.")
    warnings: list[ClipWarning] = Field(default_factory=list[ClipWarning], description="As in the clip of the job.")
    reused: bool = Field(default=False, description="As in the clip of the job.")
    checks: list[ClipCheck] = Field(default_factory=list[ClipCheck], description="As in the clip of the job.")


class ClipRetrying(_ClipEvent):
    """An attempt has failed or was lost, and the clip is queued again."""

    type: Literal["clip.retrying"] = "clip.retrying"
    reason: JobError
    retry_in_s: float


class ClipFailed(_ClipEvent):
    """The clip has failed for good; the job fails with it."""

    type: Literal["clip.failed"] = "clip.failed"
    error: JobError


class JobAssembling(_Event):
    """A worker has started to assemble the result."""

    type: Literal["job.assembling"] = "job.assembling"


class JobSucceeded(_Event):
    """The job has ended with a result."""

    type: Literal["job.succeeded"] = "job.succeeded"
    output: JobOutput
    timings: JobTimings


class JobFailed(_Event):
    """The job has ended without a result, because of an error."""

    type: Literal["job.failed"] = "job.failed"
    error: JobError


class JobCanceled(_Event):
    """The job was canceled, and no worker is working on it."""

    type: Literal["job.canceled"] = "job.canceled"


class JobExpired(_Event):
    """The job has ended because no worker started it in time."""

    type: Literal["job.expired"] = "job.expired"
    error: JobError


class JobSnapshot(_Event):
    """The whole job. The first event of every connection that does not resume."""

    type: Literal["snapshot"] = "snapshot"
    job: Job


class ClipProgress(_ClipEvent):
    """A step of the running attempt is done."""

    type: Literal["clip.progress"] = "clip.progress"
    step: int
    steps: int
    progress: Progress = Field(description="Fraction of this clip that is done, from 0 to 1.")
    eta_s: float | None = None
    job_progress: Progress
    job_eta_s: float | None = None


class ClipPreview(_ClipEvent):
    """A picture of the clip while it is rendered."""

    type: Literal["clip.preview"] = "clip.preview"
    image: str = Field(description="A small picture as a data URL, at most 10 kB.")


class JobQueueMoved(_Event):
    """The queue position of a waiting job, or its waiting reason, has changed. A running job has no position."""

    type: Literal["job.queue"] = "job.queue"
    queue_position: int | None
    waiting_reason: WaitingReason | None
    eta_s: float | None


DurableEvent = Annotated[
    JobQueued
    | JobAwaitingApproval
    | JobApproved
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
WEBHOOK_EVENT_TYPES: frozenset[str] = TERMINAL_EVENT_TYPES | {"job.awaiting_approval"}


class JobEvent(RootModel[Annotated[DurableEvent | EphemeralEvent, Field(discriminator="type")]]):
    """One event of a stream. `type` says which."""


class StreamToken(View):
    """A token that lets its holder follow one job and do nothing else."""

    token: str
    expires_at: Timestamp
    url: str = Field(description="URL of the stream with the token in it, for `new EventSource(url)`.")


class EventPage(View):
    """A page of the durable events of a job, oldest first."""

    data: list[DurableEvent]
    has_more: bool = Field(
        description="Whether there are more; pass the last `seq` of this page as `last_event_id` to get them."
    )
