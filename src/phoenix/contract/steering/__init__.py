"""What administrators do to many jobs and to the fleet, and the audit log of what they did."""

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from phoenix.contract.conditions import JobRef
from phoenix.contract.jobs import JobState, WaitingReason
from phoenix.contract.requests import Metadata
from phoenix.contract.wire_types import (
    NUMBER,
    WHOLE,
    Instant,
    JobKind,
    Omittable,
    Request,
    Tags,
    Text,
    Timestamp,
    View,
)


class AuditEntry(View):
    """One act of an administrator, or one change of a key."""

    id: str = Field(examples=["act_01kag3e9zq4f7w5m8x2c6b0n1d"])
    at: Timestamp
    actor: str | None = Field(
        description="Id of the key that acted; `anonymous` on a server without keys, null for a command on the server."
    )
    account: str | None = Field(description="The account of the machine that ran a command; null for a request.")
    address: str | None = Field(description="Address of the client; null for a command.")
    # Plain text: an action of a later version must not make the page unreadable.
    action: str = Field(
        description="What was done: `job.cancel`, `job.retry`, `job.approve`, `job.change`, `job.delete`, "
        "`key.create`, `key.change`, `key.rotate`, `key.revoke`, `key.purge`, `queue.pause` and `queue.resume`, the "
        "same of `model` and `key`, `model.unload`, `worker.drain`, `worker.resume`, `key.share` or `key.unshare`. "
        "Later versions may have others.",
        examples=["job.cancel"],
    )
    target: str = Field(description="Id or name of what was acted on.")
    owner: str | None = Field(description="Id of the key that owns the target; null if none does.")
    outcome: str = Field(description="`done`, or the code of the refusal.", examples=["done", "JOB_ENDED"])
    details: dict[str, Any] = Field(description="What the act was given, such as a reason or a priority.")
    request_id: str | None = Field(description="As in the log of the server; null for a command.")


class AuditPage(View):
    """A page of the audit log, newest first."""

    data: list[AuditEntry]
    has_more: bool
    next_cursor: str | None = Field(default=None, description="Pass it as `cursor` to get the next page.")


class QueuedJob(View):
    """A job with tasks that wait for their turn in a queue."""

    job_id: str
    owner_id: str
    state: JobState = Field(description="`running` if another part of it runs, or ran before.")
    model: str | None
    priority: str = Field(description="`low`, `normal` or `high`. Later versions may have others.")
    tasks: int = Field(description="Tasks of the job that wait in the queue.")
    waiting_reason: WaitingReason | None = Field(description="Null while another part of the job advances.")
    eta_s: float | None = Field(description="Estimated seconds until the job ends; null if unknown.")
    queued_at: Timestamp
    moved_to_front: bool = Field(description="Whether an administrator moved it before the jobs of all keys.")


class QueuedJobList(View):
    """The jobs of a queue in the order in which they start."""

    data: list[QueuedJob]
    has_more: bool = Field(description="Whether more jobs wait behind them.")


class UnloadRequest(Request):
    """Which workers drop a model."""

    worker_id: Omittable[Annotated[Text, Field(min_length=1, max_length=64)]] = Field(
        default=None, description="Only this worker; otherwise every worker that has the model in memory."
    )


class ModelUnload(View):
    """The workers that drop a model."""

    model: str
    workers: list[str] = Field(description="Ids of the workers that have it in memory; empty if none has.")


class BulkAction(StrEnum):
    """What is done to each job."""

    CANCEL = "cancel"
    RETRY = "retry"
    DELETE = "delete"


MAX_BULK_JOBS = 500


class BulkFilter(Request):
    """Conditions that each job meets, as for `GET /v1/jobs`. An empty one matches all jobs that can be changed so."""

    state: Omittable[JobState] = None
    kind: Omittable[JobKind] = None
    model: Omittable[Annotated[Text, Field(max_length=200)]] = None
    q: Omittable[Annotated[Text, Field(max_length=200)]] = None
    tags: Omittable[Tags] = None
    favorite: Omittable[Annotated[bool, Field(strict=True)]] = None
    metadata: Omittable[Metadata] = None
    created_after: Omittable[Instant] = None
    created_before: Omittable[Instant] = None


class BulkRequest(Request):
    """An action, and the jobs that it is done to: `ids`, or all that match `filter`."""

    action: BulkAction
    ids: Omittable[Annotated[list[JobRef], Field(min_length=1, max_length=MAX_BULK_JOBS)]] = None
    filter: Omittable[BulkFilter] = None
    dry_run: Annotated[bool, Field(strict=True)] = Field(
        default=False, description="Changes nothing, and shows what matches."
    )
    limit: Annotated[int, Field(ge=1, le=MAX_BULK_JOBS), WHOLE] = Field(
        default=100, description="The most jobs of one request; `next_cursor` goes on."
    )
    cursor: Omittable[Annotated[Text, Field(max_length=200)]] = Field(
        default=None, description="`next_cursor` of the last request with the same filter."
    )

    @model_validator(mode="after")
    def _names_jobs_once(self) -> Self:
        if (self.ids is None) == (self.filter is None):
            raise ValueError("give either ids or filter")
        if self.ids is not None and self.cursor is not None:
            raise ValueError("a cursor goes with filter")
        return self


class BulkJob(View):
    """A job that was changed, or that matches."""

    id: str
    owner_id: str
    state: JobState = Field(description="Before the action.")


class BulkFailure(View):
    """A job that the action could not be done to, and why."""

    id: str
    code: str = Field(description="The code of the problem, as for the action on one job.")
    detail: str


class BulkResult(View):
    """What one request did. The jobs are handled one by one: those before a failure stay changed."""

    action: BulkAction
    dry_run: bool
    matched: int = Field(description="Jobs that this request looked at.")
    changed: int = Field(description="Jobs that it changed; 0 for a dry run.")
    total: int | None = Field(
        description="All jobs that matched when it began, with those of later requests, counted up to 10,000. Null for "
        "`ids`, and for a search by words, tags, metadata or favorites."
    )
    jobs: list[BulkJob] = Field(description="The jobs that were changed, or that match, newest first.")
    failed: list[BulkFailure]
    has_more: bool = Field(description="Whether more jobs match. Send the request again with `next_cursor`.")
    next_cursor: str | None


class KeyShareRequest(Request):
    """How much of the fleet a key gets."""

    weight: Annotated[float, Field(ge=0.01, le=100), NUMBER] = Field(
        default=1, description="While several keys wait, a key of weight 2 gets twice the seconds of a key of weight 1."
    )
    max_running_clips: Omittable[Annotated[int, Field(ge=0, le=100_000), WHOLE]] = Field(
        default=None, description="The most clips at a time; 0 for no limit, and the limit of the server if left out."
    )
    max_running_clips_per_model: Omittable[Annotated[int, Field(ge=1, le=100_000), WHOLE]] = Field(
        default=None, description="The most clips of one model at a time; no limit if left out."
    )


class KeyShare(View):
    """How much of the fleet a key gets."""

    key_id: str
    weight: float
    max_running_clips: int | None = Field(description="0 for no limit, null for the limit of the server.")
    max_running_clips_per_model: int | None = Field(description="Null for no limit.")


class KeyShareList(View):
    """The keys with a share of their own."""

    data: list[KeyShare]
