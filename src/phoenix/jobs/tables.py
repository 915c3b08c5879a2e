"""The tables of jobs. Rows never cross the wire: the types of the API are in `contract`.

A transaction that locks several rows locks the job before its tasks, so that a claim, a cancel and the fan-in of the
last clip wait for each other instead of deadlocking. Artifacts are locked after their job and in order of id, both by
deletions and by submits that name the artifacts. Rows that jobs share (duration statistics, then the owner, then a
job counter) come last, just before the commit, so that they are locked only briefly.
"""

from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Text
from sqlmodel import Field, SQLModel

from phoenix.contract import ArtifactKind, JobState, PauseKind, ResolvedRequest
from phoenix.db import NEWER_VERSION_RETRY_AFTER_S, EnumText, UtcDateTime
from phoenix.errors import NewerVersionError
from phoenix.jobs.lifecycle import AttemptEndState, TaskKind, TaskState
from phoenix.telemetry.logs import get_logger

Document = dict[str, Any]

_logger = get_logger(__name__)
_request: TypeAdapter[ResolvedRequest] = TypeAdapter(ResolvedRequest)


class JobRow(SQLModel, table=True):
    """A job as submitted, and its state. `last_seq` numbers its durable events, so this row is also the log's lock."""

    __tablename__ = "jobs"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        Index(None, "owner_id", "id"),
        # The filters of a search: without them, it would read the rows of all jobs to find a rare model.
        Index(None, "owner_id", "state", "created_at", "model"),
        Index(None, "state", "id"),
        Index(None, "state", "queue_deadline_at"),
    )

    id: str = Field(primary_key=True)
    owner_id: str
    kind: str
    state: JobState = Field(sa_type=EnumText(JobState))  # pyright: ignore[reportArgumentType]
    ending: JobState | None = Field(default=None, sa_type=EnumText(JobState))  # pyright: ignore[reportArgumentType]
    """The terminal state that the job gets once its last workers have stopped. The first reason wins."""
    model: str | None = None
    title: str | None = None
    tags: list[str] = Field(default_factory=list, sa_type=JSON)
    favorite: bool = False
    edited_from: str | None = None
    """Id of the job of which this job is an edit. That job may have been deleted."""
    draft_job_id: str | None = None
    """Id of the job that renders the draft, which is approved before this job continues."""
    draft_of: str | None = None
    """Id of the job of which this job renders the draft. That job may have been deleted."""
    priority: str = "normal"
    moved_to_front_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When an administrator moved the job to the front of its queues last; null if none has, and after a retry."""
    request: Document = Field(sa_type=JSON)
    search_title: str = Field(default="", sa_type=Text)
    """The words of the title and the tags. Triggers put this and the next two columns into the index of the search."""
    search_text: str = Field(default="", sa_type=Text)
    """The words of the prompts and of the metadata."""
    search_filters: str = Field(default="", sa_type=Text)
    """Marks of exact values: the owner, tags, metadata, favorites."""
    options: Document = Field(default_factory=dict, sa_type=JSON)
    """Metadata, webhook and queue timeout, as given."""
    error: Document | None = Field(default=None, sa_type=JSON)
    output_artifact_id: str | None = None
    last_seq: int = 0
    ends: int = 0
    """How often the job has ended. A manual retry opens it again."""
    request_id: str | None = None
    traceparent: str | None = None
    """The trace of the request that made the job, in the format of W3C Trace Context."""
    created_at: datetime = Field(sa_type=UtcDateTime)
    queued_at: datetime = Field(sa_type=UtcDateTime)
    """Like `created_at`, but reset by an approval and by a manual retry: waiting times count from here."""
    queue_deadline_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When a job expires that no worker has started, or that nobody has approved. Null while its draft is rendered."""
    approval_timeout_s: float | None = None
    """How long a job with a draft waits for the approval."""
    approved_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    run_timeout_s: float
    run_deadline_at: datetime | None = Field(default=None, sa_type=UtcDateTime, index=True)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime, index=True)

    def parse_request(self) -> ResolvedRequest:
        """The resolved request. Raises `NewerVersionError` if only a newer version can read it."""
        try:
            return _request.validate_python(self.request)
        except ValidationError:
            _logger.warning("found a request of a newer version", job_id=self.id, kind=self.kind)
            raise NewerVersionError(retry_after_s=NEWER_VERSION_RETRY_AFTER_S) from None


class TaskRow(SQLModel, table=True):
    """One schedulable part of a job.

    `attempt` is the fencing token: every write of a worker names its attempt, and changes nothing once the task has
    another attempt. `dispatch_seq` numbers the dispatch messages: a task can be claimed only by its newest message.
    """

    __tablename__ = "tasks"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        Index(None, "job_id", "position"),
        Index(None, "state", "queue", "dispatched_at"),
        Index(None, "state", "lease_until"),
        Index(None, "lease_owner"),
    )

    id: str = Field(primary_key=True)
    job_id: str = Field(sa_column_args=(ForeignKey("jobs.id", ondelete="CASCADE"),))
    kind: TaskKind = Field(sa_type=EnumText(TaskKind))  # pyright: ignore[reportArgumentType]
    position: int
    """The clip's index. The soundtrack and the assembly come after the clips, and the segments before them."""
    queue: str
    state: TaskState = Field(sa_type=EnumText(TaskState))  # pyright: ignore[reportArgumentType]
    weight: float = 1.0
    """Share of the job's work, in arbitrary units: frames x steps x pixels for a clip."""
    prerequisites: list[int] = Field(default_factory=list, sa_type=JSON)
    """Positions of the job's tasks that must succeed before this task may start."""
    attempt: int = 0
    dispatch_seq: int = 1
    crashes: int = 0
    failures: int = 0
    preemptions: int = 0
    dispatched_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When the task's newest dispatch message was put into Redis; null while the task waits for its turn in SQL."""
    affinity_skipped_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When a worker first skipped this dispatch in favor of workers that hold the model; null if none has."""
    waiting_since: datetime = Field(sa_type=UtcDateTime)
    """When the task became ready last, or was written. Waits are measured from here: a snooze does not change it."""
    eligible_at: datetime = Field(sa_type=UtcDateTime)
    """The task is not dispatched earlier: the end of a back-off or a snooze. It may lie in the future."""
    lease_owner: str | None = None
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    stage: str | None = None
    """The `Stage` of the running attempt, as its worker reported it last; null before a report. Plain text."""
    stop_reason: str | None = None
    """A `StopRequestReason`, read by its worker at the next renewal. Plain text: a newer value must not raise."""
    progress: Document | None = Field(default=None, sa_type=JSON)
    """The `ClipProgress` that was published last, by this attempt or by an earlier one; null before the first."""
    artifact_id: str | None = None
    error: Document | None = Field(default=None, sa_type=JSON)
    timings: Document = Field(default_factory=dict, sa_type=JSON)
    warnings: list[Document] = Field(default_factory=list, sa_type=JSON)
    """Each a `ClipWarning` of the attempt that succeeded."""
    checks: list[Document] = Field(default_factory=list, sa_type=JSON)
    """Each a `ClipCheck` that the clip has failed."""
    rerolled_from: int | None = Field(default=None, sa_type=BigInteger)
    """The first seed of a clip that was rendered again because of a failed check."""
    made_with: Document = Field(default_factory=dict, sa_type=JSON)
    """Versions of the software that made the file, by package."""
    content_key: str | None = None
    """For a clip: the hash of what decides its pixels and its sound; null if that is not known."""
    is_reused: bool = False
    """Whether the clip has the file of an earlier clip, and no attempt."""
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class AttemptRow(SQLModel, table=True):
    """One attempt at a task: which worker made it, when, and how it ended."""

    __tablename__ = "attempts"  # pyright: ignore[reportAssignmentType]

    task_id: str = Field(primary_key=True, sa_column_args=(ForeignKey("tasks.id", ondelete="CASCADE"),))
    number: int = Field(primary_key=True)
    worker_id: str
    started_at: datetime = Field(sa_type=UtcDateTime, index=True)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    outcome: AttemptEndState | None = Field(default=None, sa_type=EnumText(AttemptEndState))  # pyright: ignore[reportArgumentType]
    error: Document | None = Field(default=None, sa_type=JSON)
    waited_s: float = 0.0
    """Seconds from when the task became ready until this attempt."""
    stages: Document = Field(default_factory=dict, sa_type=JSON)
    """Seconds by `Stage`, in the order in which they began first. Empty until the end, and for a lost attempt."""
    peak_memory_bytes: int | None = Field(default=None, sa_type=BigInteger)
    """The most device memory during the call that rendered the clip; null on a CPU."""
    log: list[Document] = Field(default_factory=list, sa_type=JSON)
    """The lines that the worker logged, oldest first, within a bound. Empty until the end, and for a lost attempt."""


class UsageRow(SQLModel, table=True):
    """An attempt of a deleted job. Its time still counts against its owner for a day."""

    __tablename__ = "usage_ledger"  # pyright: ignore[reportAssignmentType]

    task_id: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    owner_id: str
    queue: str
    started_at: datetime = Field(sa_type=UtcDateTime, index=True)
    ended_at: datetime = Field(sa_type=UtcDateTime)


class OwnerRow(SQLModel, table=True):
    """An owner of jobs. `last_seq` numbers the events of all its jobs. Transactions lock this row almost last."""

    __tablename__ = "owners"  # pyright: ignore[reportAssignmentType]

    id: str = Field(primary_key=True)
    last_seq: int


class DurationStatsRow(SQLModel, table=True):
    """The learned duration of clips of one model and shape, or of assemblies of one size."""

    __tablename__ = "duration_stats"  # pyright: ignore[reportAssignmentType]

    model: str = Field(primary_key=True)
    width: int = Field(primary_key=True)
    height: int = Field(primary_key=True)
    num_frames: int = Field(primary_key=True)
    steps: int = Field(primary_key=True)
    postprocessing: str = Field(primary_key=True, default="")
    total_s_per_weight: float
    """Seconds per unit of `TaskRow.weight`: a moving average over the clips."""
    finish_s_per_weight: float
    """The part of `total_s_per_weight` after a clip's last step."""
    updated_at: datetime = Field(sa_type=UtcDateTime, index=True)


class JobCounterRow(SQLModel, table=True):
    """How many jobs have ended with one state and error code. Plain text, so that newer versions' states are shown."""

    __tablename__ = "job_counters"  # pyright: ignore[reportAssignmentType]

    state: str = Field(primary_key=True)
    code: str = Field(primary_key=True)
    """The code of the job's error, or `none`."""
    jobs: int = Field(sa_type=BigInteger)


class EventRow(SQLModel, table=True):
    """The durable log: one row per state change, written in the transaction that makes the change."""

    __tablename__ = "events"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (Index(None, "owner_id", "owner_seq", unique=True),)

    job_id: str = Field(primary_key=True, sa_column_args=(ForeignKey("jobs.id", ondelete="CASCADE"),))
    seq: int = Field(primary_key=True)
    owner_id: str
    owner_seq: int
    """The event's number among the events of all jobs of the owner."""
    type: str
    at: datetime = Field(sa_type=UtcDateTime)
    data: Document = Field(sa_type=JSON)


class ArtifactRow(SQLModel, table=True):
    """A stored file of a job, or an upload. The row is written after the bytes.

    The file of a reused clip has a row for each job that has it, with the same `key`.
    """

    __tablename__ = "artifacts"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        Index(None, "owner_id", "id"),
        # The bytes of an owner are added up from this index alone.
        Index(None, "owner_id", "shares_file", "size_bytes"),
        Index(None, "job_id"),
        Index(None, "key"),
    )

    id: str = Field(primary_key=True)
    owner_id: str
    kind: ArtifactKind = Field(sa_type=EnumText(ArtifactKind))  # pyright: ignore[reportArgumentType]
    job_id: str | None = Field(default=None, sa_column_args=(ForeignKey("jobs.id", ondelete="CASCADE"),))
    key: str
    shares_file: bool = False
    """Whether another row with this key counts for the bytes of the file."""
    media_type: str
    filename: str | None = None
    size_bytes: int = Field(sa_type=BigInteger)
    sha256: str
    info: Document = Field(default_factory=dict, sa_type=JSON)
    created_at: datetime = Field(sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When a job that names the file was submitted last, to within a day; null if none was."""


class ReusableClipRow(SQLModel, table=True):
    """The file of a finished clip that later jobs of the owner may use instead of rendering an equal clip."""

    __tablename__ = "reusable_clips"  # pyright: ignore[reportAssignmentType]

    owner_id: str = Field(primary_key=True)
    content_key: str = Field(primary_key=True)
    artifact_id: str = Field(sa_column_args=(ForeignKey("artifacts.id", ondelete="CASCADE"),), index=True)
    continues_key: str | None = None
    """The store's key of the clip that this clip continues: it fits no other clip, also if that has the same prompt."""


class JobEmbeddingRow(SQLModel, table=True):
    """What a job is about, as vectors of a sentence model. A row is never changed: other words need another row."""

    __tablename__ = "job_embeddings"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (Index(None, "owner_id", "id"), {"sqlite_autoincrement": True})

    id: int | None = Field(default=None, primary_key=True)
    """Rises in the order of the commits, and is not used again."""
    job_id: str = Field(unique=True, sa_column_args=(ForeignKey("jobs.id", ondelete="CASCADE"),))
    owner_id: str
    model: str
    """The name of the sentence model. Vectors of two models cannot be compared."""
    size: int
    """The numbers of one vector."""
    vectors: bytes
    """One after another, each number in 8 bits. Empty for a job without texts."""


class WorkerRow(SQLModel, table=True):
    """A worker process. It is live until `expires_at`; each heartbeat extends that."""

    __tablename__ = "workers"  # pyright: ignore[reportAssignmentType]

    id: str = Field(primary_key=True)
    host: str
    pid: int
    device: str
    slots: dict[str, int] = Field(sa_type=JSON)  # How many tasks of each queue it runs at a time.
    models: list[str] = Field(default_factory=list, sa_type=JSON)
    """Ids of the models in its memory."""
    serves: list[str] = Field(default_factory=list, sa_type=JSON)
    """Ids of the models that it can load."""
    memory_used_bytes: int | None = Field(default=None, sa_type=BigInteger)
    memory_total_bytes: int | None = Field(default=None, sa_type=BigInteger)
    host_memory_used_bytes: int | None = Field(default=None, sa_type=BigInteger)
    host_memory_budget_bytes: int | None = Field(default=None, sa_type=BigInteger)
    resident_bytes: int | None = Field(default=None, sa_type=BigInteger)
    model_loads: int = 0  # Since the start of the process, like the next two.
    model_evictions: int = 0
    memory_fallbacks: int = 0
    started_at: datetime = Field(sa_type=UtcDateTime)
    seen_at: datetime = Field(sa_type=UtcDateTime)
    """The database's clock at the last heartbeat."""
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    """The end of the leases that the worker has extended at its last heartbeat."""
    drained_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # Since then it must claim nothing.
    unload: list[str] = Field(default_factory=list, sa_type=JSON)
    """Ids of the models that the worker must drop from its memory. It reports what it has, and so the list shrinks."""
    phase: str = "ready"  # A `WorkerPhase`.
    fault: str | None = None


class PauseRow(SQLModel, table=True):
    """A queue, model or key of which nothing starts until an administrator resumes it."""

    __tablename__ = "pauses"  # pyright: ignore[reportAssignmentType]

    kind: PauseKind = Field(primary_key=True, sa_type=EnumText(PauseKind))  # pyright: ignore[reportArgumentType]
    name: str = Field(primary_key=True)
    """Of the queue, or the id of the model or the key."""
    reason: str | None = None
    created_at: datetime = Field(sa_type=UtcDateTime)
    created_by: str
    """Id of the key of the administrator."""


class KeyShareRow(SQLModel, table=True):
    """How much of the fleet one key gets, where an administrator has said so. `owner_id`: so that a purge finds it."""

    __tablename__ = "key_shares"  # pyright: ignore[reportAssignmentType]

    owner_id: str = Field(primary_key=True)
    weight: float
    """How many seconds of service count as one second of usage."""
    max_running_clips: int | None = None
    """Of this key at a time; 0 means no limit, null the limit of the settings."""
    max_running_clips_per_model: int | None = None
    """Null means no limit."""


class IdempotencyRow(SQLModel, table=True):
    """A request with an Idempotency-Key, or whose response was lost, and the job that it made."""

    __tablename__ = "idempotency_keys"  # pyright: ignore[reportAssignmentType]

    owner_id: str = Field(primary_key=True)
    route: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    fingerprint: str
    """SHA-256 of the body in canonical form, in hexadecimal."""
    job_id: str | None = None
    """Null only within the transaction that accepts the job."""
    created_at: datetime = Field(sa_type=UtcDateTime, index=True)


class LeaderLeaseRow(SQLModel, table=True):
    """The lease on one background service. One API process at a time runs the service for all."""

    __tablename__ = "leader_leases"  # pyright: ignore[reportAssignmentType]

    name: str = Field(primary_key=True)
    leader_id: str
    expires_at: datetime = Field(sa_type=UtcDateTime)
