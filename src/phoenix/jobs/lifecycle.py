"""The state machines of jobs and tasks, as data. Pure.

A job is `queued` until its first task is claimed, and ends in exactly one terminal state. A job with a draft is `held`
first, until its owner approves the draft: all of its tasks are `blocked` then. A task is `blocked` until
its prerequisites have succeeded (an assembly waits for all clips, a clip for the clip that it continues), `ready` when
a worker may claim it, and `running` under a lease. A task becomes `ready` again when its attempt was lost, was
pre-empted, or failed and may be retried.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from phoenix.contract import JobState
from phoenix.errors import PhoenixError, Stage


class TaskState(StrEnum):
    """The state of a task; see the module for what each state means."""

    BLOCKED = "blocked"
    READY = "ready"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_terminal(self) -> bool:
        return self in (TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELED)


class TaskKind(StrEnum):
    """What a task makes: a clip, the speech of a clip, the soundtrack, the output, or what a player loads of a clip.

    A lip-sync makes the output of its job alone, or a part of the frames.
    """

    RENDER = "render"
    NARRATE = "narrate"
    SOUNDTRACK = "soundtrack"
    ASSEMBLE = "assemble"
    SEGMENT = "segment"
    LIPSYNC = "lipsync"

    @property
    def makes_frames(self) -> bool:
        """Whether the task makes frames of the result, which take most of the time of a job."""
        return self in (TaskKind.RENDER, TaskKind.LIPSYNC)

    @property
    def decides_job(self) -> bool:
        """Whether the job waits for the task, and fails with it. A job may succeed before its playlist is complete."""
        return self is not TaskKind.SEGMENT


class AttemptEndState(StrEnum):
    """How one attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    CRASHED = "crashed"
    """Its worker died or its lease ran out."""
    PREEMPTED = "preempted"
    """Its worker returned the task in order to drain."""


class StopRequestReason(StrEnum):
    """Why a running attempt is asked to stop."""

    CANCEL = "cancel"
    DEADLINE = "deadline"


_FIRST_STAGES: Mapping[TaskKind, Stage] = {
    TaskKind.RENDER: Stage.LOAD,
    TaskKind.NARRATE: Stage.NARRATION,
    TaskKind.SOUNDTRACK: Stage.SOUNDTRACK,
    TaskKind.ASSEMBLE: Stage.ASSEMBLE,
    TaskKind.SEGMENT: Stage.ENCODE,
    TaskKind.LIPSYNC: Stage.FETCH,
}

FINISHING_STAGES: tuple[Stage, ...] = (Stage.POSTPROCESS, Stage.ENCODE, Stage.UPLOAD)
"""The stages of a clip after its slot on the device is free again."""

WAITING_STAGES: tuple[Stage, ...] = (Stage.LOAD, Stage.QUEUE)
"""The stages in which a claimed clip does not advance: its model is being loaded, or the device has no room for it."""


def first_stage(kind: TaskKind) -> Stage:
    """The stage of an attempt until its worker reports another one."""
    return _FIRST_STAGES[kind]


def parse_stage(kind: TaskKind, reported: str | None) -> Stage:
    """The stage that a worker reported. The first stage without a report, and for a stage of a newer version."""
    return Stage(reported) if reported in list(Stage) else first_stage(kind)


def is_finishing(kind: TaskKind, reported: str | None) -> bool:
    """Whether a running task has given its slot back, and only encodes and stores its clip."""
    return kind is TaskKind.RENDER and reported in FINISHING_STAGES


def is_waiting(kind: TaskKind, reported: str | None) -> bool:
    """Whether a running task waits on its worker. Without a report, nobody knows."""
    return kind is TaskKind.RENDER and reported in WAITING_STAGES


JOB_TRANSITIONS: Mapping[JobState, frozenset[JobState]] = {
    # An approval ends the hold. The draft may fail, be canceled or expire, and then the job does too.
    JobState.HELD: frozenset({JobState.QUEUED, JobState.FAILED, JobState.CANCELED, JobState.EXPIRED}),
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.FAILED, JobState.CANCELED, JobState.EXPIRED}),
    JobState.RUNNING: frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED}),
    JobState.SUCCEEDED: frozenset(),
    # A manual retry reopens an ended job and continues its log. A job that was never approved is held again.
    JobState.FAILED: frozenset({JobState.QUEUED, JobState.HELD}),
    JobState.CANCELED: frozenset({JobState.QUEUED, JobState.HELD}),
    JobState.EXPIRED: frozenset({JobState.QUEUED, JobState.HELD}),
}

TASK_TRANSITIONS: Mapping[TaskState, frozenset[TaskState]] = {
    TaskState.BLOCKED: frozenset({TaskState.READY, TaskState.CANCELED}),
    TaskState.READY: frozenset({TaskState.RUNNING, TaskState.FAILED, TaskState.CANCELED}),
    TaskState.RUNNING: frozenset({TaskState.READY, TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELED}),
    TaskState.SUCCEEDED: frozenset(),
    TaskState.FAILED: frozenset({TaskState.READY, TaskState.BLOCKED}),
    TaskState.CANCELED: frozenset({TaskState.READY, TaskState.BLOCKED}),
}


class IllegalTransition(PhoenixError):
    """The state machine has no such transition: a write was not fenced."""


def check_job_transition(current: JobState, to: JobState) -> None:
    """Raises `IllegalTransition`."""
    if to not in JOB_TRANSITIONS[current]:
        raise IllegalTransition(f"a job cannot go from {current} to {to}")


def check_task_transition(current: TaskState, to: TaskState) -> None:
    """Raises `IllegalTransition`."""
    if to not in TASK_TRANSITIONS[current]:
        raise IllegalTransition(f"a task cannot go from {current} to {to}")


def can_claim(job_state: JobState, kind: TaskKind) -> bool:
    """Whether a worker may start a ready task of a job in this state."""
    if job_state is JobState.HELD:
        return False
    return not job_state.is_terminal or (job_state is JobState.SUCCEEDED and not kind.decides_job)


def can_retry_manually(state: JobState) -> bool:
    """Whether a client may queue a job in this state again."""
    return state.is_terminal and JobState.QUEUED in JOB_TRANSITIONS[state]


class OrderedTask(Protocol):
    """The fields of a task that decide when it may start."""

    @property
    def position(self) -> int: ...
    @property
    def state(self) -> TaskState: ...
    @property
    def prerequisites(self) -> Sequence[int]: ...


def find_missing(task: OrderedTask, tasks: Iterable[OrderedTask]) -> list[int]:
    """Positions of the prerequisites of `task` that have not succeeded, in order. `tasks`: all tasks of its job."""
    wanted = frozenset(task.prerequisites)
    return [other.position for other in tasks if other.position in wanted and other.state is not TaskState.SUCCEEDED]


def find_continued(task: OrderedTask) -> int | None:
    """Position of the clip that a clip continues: the prerequisite before it. Narration comes after all clips."""
    return next((position for position in task.prerequisites if position < task.position), None)


def is_unblocked(task: OrderedTask, tasks: Iterable[OrderedTask]) -> bool:
    """Whether `task` may start: all of its prerequisites have succeeded. `tasks`: all tasks of its job."""
    return not find_missing(task, tasks)


def retry_delay_s(failures: int, *, first_s: float, jitter: float) -> float:
    """Seconds to wait before attempt `failures + 1`: doubled each time up to 5 minutes, plus up to a quarter of jitter.

    `jitter`: a random number in [0, 1). The caller draws it, so that this function stays pure.
    """
    return min(first_s * 2 ** max(failures - 1, 0), 300) * (1 + jitter / 4)


class LeaseLost(PhoenixError):
    """The attempt has lost its task, because its lease expired. Its writes are void."""
