"""The tables of jobs. They never cross the wire, which has its own types in `contract`.

Lock order, wherever one transaction takes more than one row: the job before its tasks. That is what makes a
claim, a cancel and the fan-in of the last clip wait for each other instead of deadlocking. Artifacts come after their
job and in order of id, for those who delete them and for those who submit what is made of them. Rows that jobs share
(duration statistics, then the owner, then a job counter) come last, just before the commit, so that they are locked
only briefly.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Text
from sqlmodel import Field, SQLModel

from phoenix.contract.artifacts import ArtifactKind
from phoenix.contract.jobs import JobState
from phoenix.db.columns import EnumText, UtcDateTime
from phoenix.jobs.lifecycle import AttemptEndState, TaskKind, TaskState

Document = dict[str, Any]


class JobRow(SQLModel, table=True):
    """What a client submitted. `last_seq` numbers its durable events, so this row is also the log's lock."""

    __tablename__ = "jobs"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        Index(None, "owner_id", "id"),
        Index(None, "state", "id"),
        Index(None, "state", "queue_deadline_at"),
    )

    id: str = Field(primary_key=True)
    owner_id: str
    kind: str
    state: JobState = Field(sa_type=EnumText(JobState))  # pyright: ignore[reportArgumentType]
    ending: JobState | None = Field(default=None, sa_type=EnumText(JobState))  # pyright: ignore[reportArgumentType]
    """The terminal state it is heading for while its last workers wind down; the first reason wins."""
    model: str | None = None
    priority: str = "normal"
    request: Document = Field(sa_type=JSON)
    search_text: str = Field(default="", sa_type=Text)
    """Lower-case prompts, for search."""
    options: Document = Field(default_factory=dict, sa_type=JSON)
    """Metadata and webhook, as given."""
    error: Document | None = Field(default=None, sa_type=JSON)
    output_artifact_id: str | None = None
    last_seq: int = 0
    request_id: str | None = None
    traceparent: str | None = None
    """The trace of the request that made it, as W3C Trace Context writes it."""
    created_at: datetime = Field(sa_type=UtcDateTime)
    queued_at: datetime = Field(sa_type=UtcDateTime)
    """Like `created_at`, but reset by a manual retry: waiting times count from here."""
    queue_deadline_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    run_timeout_s: float
    run_deadline_at: datetime | None = Field(default=None, sa_type=UtcDateTime, index=True)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime, index=True)


class TaskRow(SQLModel, table=True):
    """One schedulable part of a job.

    `attempt` is the fencing token: every write of a worker names the attempt it was given, and changes nothing
    if that is no longer the one. `dispatch_seq` numbers the dispatch messages: only the newest one can be claimed.
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
    """The clip's index; other tasks come after the clips."""
    queue: str
    state: TaskState = Field(sa_type=EnumText(TaskState))  # pyright: ignore[reportArgumentType]
    weight: float = 1.0
    """Share of the job's work, in arbitrary units: frames x steps x pixels for a clip."""
    attempt: int = 0
    dispatch_seq: int = 1
    crashes: int = 0
    failures: int = 0
    preemptions: int = 0
    dispatched_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When the dispatch message of this dispatch was put into Redis; null while the task waits for its turn in SQL."""
    affinity_skipped_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When a worker first left this dispatch to holders of its model; null if none did."""
    ready_at: datetime = Field(sa_type=UtcDateTime)
    """Not to be dispatched before this: now, or the end of a back-off."""
    lease_owner: str | None = None
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    stop_reason: str | None = None
    """A `StopRequestReason`, read by its worker at the next renewal. Plain text: a newer value must not raise."""
    artifact_id: str | None = None
    error: Document | None = Field(default=None, sa_type=JSON)
    timings: Document = Field(default_factory=dict, sa_type=JSON)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class AttemptRow(SQLModel, table=True):
    """The history of a task: who tried it, when, and how that ended."""

    __tablename__ = "attempts"  # pyright: ignore[reportAssignmentType]

    task_id: str = Field(primary_key=True, sa_column_args=(ForeignKey("tasks.id", ondelete="CASCADE"),))
    number: int = Field(primary_key=True)
    worker_id: str
    started_at: datetime = Field(sa_type=UtcDateTime, index=True)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    outcome: AttemptEndState | None = Field(default=None, sa_type=EnumText(AttemptEndState))  # pyright: ignore[reportArgumentType]
    error: Document | None = Field(default=None, sa_type=JSON)


class UsageRow(SQLModel, table=True):
    """An attempt at a task of a job that was deleted: its time counts against its owner for a day all the same."""

    __tablename__ = "usage_ledger"  # pyright: ignore[reportAssignmentType]

    task_id: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    owner_id: str
    queue: str
    started_at: datetime = Field(sa_type=UtcDateTime, index=True)
    ended_at: datetime = Field(sa_type=UtcDateTime)


class OwnerRow(SQLModel, table=True):
    """One owner of jobs. `last_seq` numbers the events of all of them; nearly the last row that a transaction locks."""

    __tablename__ = "owners"  # pyright: ignore[reportAssignmentType]

    id: str = Field(primary_key=True)
    last_seq: int


class DurationStatsRow(SQLModel, table=True):
    """How fast clips of one model and shape are rendered, or reels of one size assembled; learned."""

    __tablename__ = "duration_stats"  # pyright: ignore[reportAssignmentType]

    model: str = Field(primary_key=True)
    width: int = Field(primary_key=True)
    height: int = Field(primary_key=True)
    num_frames: int = Field(primary_key=True)
    steps: int = Field(primary_key=True)
    total_s_per_weight: float
    """A moving average over the clips; for their weight see `TaskRow.weight`."""
    finish_s_per_weight: float
    """The part of it after a clip's last step."""
    updated_at: datetime = Field(sa_type=UtcDateTime, index=True)


class JobCounterRow(SQLModel, table=True):
    """How many jobs have ended in one way. Plain text, so that a newer version's ways are shown as well."""

    __tablename__ = "job_counters"  # pyright: ignore[reportAssignmentType]

    state: str = Field(primary_key=True)
    code: str = Field(primary_key=True)
    """Of the job's error, or `none`."""
    jobs: int = Field(sa_type=BigInteger)


class EventRow(SQLModel, table=True):
    """The durable log: one row per state change, written in the transaction that makes the change."""

    __tablename__ = "events"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (Index(None, "owner_id", "owner_seq", unique=True),)

    job_id: str = Field(primary_key=True, sa_column_args=(ForeignKey("jobs.id", ondelete="CASCADE"),))
    seq: int = Field(primary_key=True)
    owner_id: str
    owner_seq: int
    """Its number among the events of all jobs of the owner."""
    type: str
    at: datetime = Field(sa_type=UtcDateTime)
    data: Document = Field(sa_type=JSON)


class ArtifactRow(SQLModel, table=True):
    """A stored file. The row is written only when the bytes are there."""

    __tablename__ = "artifacts"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (Index(None, "owner_id", "id"), Index(None, "job_id"))

    id: str = Field(primary_key=True)
    owner_id: str
    kind: ArtifactKind = Field(sa_type=EnumText(ArtifactKind))  # pyright: ignore[reportArgumentType]
    job_id: str | None = Field(default=None, sa_column_args=(ForeignKey("jobs.id", ondelete="CASCADE"),))
    key: str
    media_type: str
    filename: str | None = None
    size_bytes: int = Field(sa_type=BigInteger)
    sha256: str
    info: Document = Field(default_factory=dict, sa_type=JSON)
    created_at: datetime = Field(sa_type=UtcDateTime)


class WorkerRow(SQLModel, table=True):
    """A worker process. It is live until `expires_at`; each heartbeat extends that."""

    __tablename__ = "workers"  # pyright: ignore[reportAssignmentType]

    id: str = Field(primary_key=True)
    host: str
    pid: int
    device: str
    slots: dict[str, int] = Field(sa_type=JSON)
    """Tasks at once, of each queue that it serves."""
    models: list[str] = Field(default_factory=list, sa_type=JSON)
    """Held in memory now."""
    serves: list[str] = Field(default_factory=list, sa_type=JSON)
    """Ids of the models that it could load."""
    memory_used_bytes: int | None = Field(default=None, sa_type=BigInteger)
    memory_total_bytes: int | None = Field(default=None, sa_type=BigInteger)
    started_at: datetime = Field(sa_type=UtcDateTime)
    seen_at: datetime = Field(sa_type=UtcDateTime)
    """The database's clock at the last heartbeat."""
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    """The end of the leases that the worker has extended at its last heartbeat."""


class IdempotencyRow(SQLModel, table=True):
    """A request that carried an Idempotency-Key, and the job that it made."""

    __tablename__ = "idempotency_keys"  # pyright: ignore[reportAssignmentType]

    owner_id: str = Field(primary_key=True)
    route: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    fingerprint: str
    """SHA-256 of the body in canonical form, in hexadecimal."""
    job_id: str | None = None
    """Null only inside of the transaction that accepts the job."""
    created_at: datetime = Field(sa_type=UtcDateTime, index=True)


class LeaderLeaseRow(SQLModel, table=True):
    """The lease on one background service, which one API process at a time runs for all."""

    __tablename__ = "leader_leases"  # pyright: ignore[reportAssignmentType]

    name: str = Field(primary_key=True)
    leader_id: str
    expires_at: datetime = Field(sa_type=UtcDateTime)
