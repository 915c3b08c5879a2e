"""What happened: the attempts and the log of a job, and statistics over time for operators."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from phoenix.contract.jobs import JobError
from phoenix.contract.wire_types import WHOLE, Timestamp, View

AttemptState = Literal["running", "succeeded", "failed", "canceled", "crashed", "preempted"]
LineLimit = Annotated[int, Field(ge=1, le=2000), WHOLE]
TaskName = Literal["render", "narrate", "soundtrack", "assemble", "segment", "lipsync"]


class TaskAttempt(View):
    """One attempt of a worker at a part of the job."""

    task: TaskName = Field(description="`render` makes a clip, `segment` makes what a player loads of a clip.")
    index: int | None = Field(description="Index of the clip or of the take; null for parts that belong to no clip.")
    number: int = Field(description="From 1. A retry adds an attempt.")
    state: AttemptState = Field(
        description="`crashed`: its worker was lost. `preempted`: its worker shut down and handed it back."
    )
    worker_id: str | None = Field(description="Null without the scope `operator` or `admin`.")
    waited_s: float = Field(description="Seconds from when the part could start until this attempt.")
    started_at: Timestamp
    ended_at: Timestamp | None
    stages: dict[str, float] = Field(
        description="Seconds of each stage, in order; `queue` is the wait for the device. Empty until the attempt has "
        "ended, and for a lost attempt."
    )
    peak_memory_bytes: int | None = Field(
        description="The most memory that the worker had on its device during the call; null on a CPU."
    )
    error: JobError | None


class TaskAttemptList(View):
    """The attempts at the parts of a job, the oldest first."""

    data: list[TaskAttempt]


class LogSource(StrEnum):
    """Where a line comes from: an event of the job, or the log of a worker."""

    EVENT = "event"
    WORKER = "worker"


class JobLogLine(View):
    """Something that happened to the job."""

    at: Timestamp
    level: str = Field(description="`info`, `warning`, `error` or `critical`.")
    source: LogSource
    message: str = Field(description="The type of the event, or what the worker logged.")
    task: TaskName | None = Field(default=None, description="Of the attempt that logged the line.")
    index: int | None = Field(default=None, description="Index of the clip or of the take, if the line is about one.")
    attempt: int | None = None
    fields: dict[str, Any] = Field(description="Details of the line.")


class JobLog(View):
    """The newest lines of the log of a job, the oldest of them first."""

    data: list[JobLogLine]
    has_more: bool = Field(description="Whether earlier lines were left out.")


StatsStep = Literal["minute", "hour", "day"]
StatsBy = Literal["queue", "model"]


class Percentiles(View):
    """The distribution of a duration in seconds, or of a size in bytes. Percentiles are exact to within 4.5 %."""

    count: int
    mean: float
    p50: float
    p95: float
    p99: float


class StatsFigures(View):
    """What happened in a period. Jobs count where no queue is named; queues where no model is named."""

    submitted: int = Field(default=0, description="Jobs that were submitted in the period.")
    jobs: dict[str, int] = Field(default_factory=dict, description="Jobs that ended, by state.")
    job_codes: dict[str, int] = Field(default_factory=dict, description="Jobs that ended with an error, by code.")
    job_s: Percentiles | None = Field(default=None, description="From the submission of a job to its success.")
    attempts: dict[str, int] = Field(default_factory=dict, description="Attempts that ended, by their state.")
    attempt_codes: dict[str, int] = Field(default_factory=dict, description="Attempts with an error, by code.")
    wait_s: Percentiles | None = Field(default=None, description="From when a part could start to its attempt.")
    took_s: Percentiles | None = Field(default=None, description="Attempts that succeeded, from start to end.")
    stages: dict[str, Percentiles] = Field(
        default_factory=dict, description="Seconds by stage; `queue` is the wait of a clip for its device."
    )
    memory_bytes: Percentiles | None = Field(default=None, description="Peak memory of the device per clip.")
    device_s: float = Field(default=0, description="Seconds in which clips had a slot on a device.")
    worker_s: float = Field(default=0, description="Seconds of all attempts.")
    waiting_mean: float | None = Field(default=None, description="Tasks that waited, on average; null if not sampled.")
    waiting_max: int | None = None
    running_mean: float | None = Field(default=None, description="Tasks in slots, on average.")
    slots_mean: float | None = Field(default=None, description="Slots of the live workers, on average.")
    utilisation: float | None = Field(default=None, description="Share of the slots that were occupied.")
    memory_share_max: float | None = Field(
        default=None, description="The largest share of the memory of a device that was in use; null on CPUs."
    )


class StatsPoint(StatsFigures):
    """The figures of one period, which begins `at`."""

    at: Timestamp


class StatsSeries(View):
    """The figures of a queue or a model over time. Periods in which nothing happened are left out."""

    group: str | None = Field(description="The queue or the model; null if everything is counted together.")
    total: StatsFigures
    points: list[StatsPoint]


class Stats(View):
    """What happened, in periods of one length. The first and the last period may be incomplete."""

    start: Timestamp
    end: Timestamp
    step: StatsStep
    by: StatsBy | None
    series: list[StatsSeries]


class UsageDay(View):
    """What a key has used on one day in UTC. Only what has ended is counted."""

    day: str = Field(examples=["2026-01-31"])
    owner_id: str
    jobs: int
    clips: int = Field(description="Clips that were rendered; reused clips do not count.")
    attempts: int
    device_s: float = Field(description="Seconds in which clips had a slot on a device.")
    worker_s: float = Field(description="Seconds of all attempts.")
    output_bytes: int = Field(description="Bytes of the files that were made.")
    video_s: float = Field(description="Seconds of video in the results.")


class UsageTotal(View):
    """The sum over the days of one key."""

    owner_id: str
    jobs: int
    clips: int
    attempts: int
    device_s: float
    worker_s: float
    output_bytes: int
    video_s: float


class Usage(View):
    """What was used, by key and day. Days without use are left out."""

    start: Timestamp
    end: Timestamp
    totals: list[UsageTotal] = Field(description="The key with the most seconds on devices comes first.")
    days: list[UsageDay]
