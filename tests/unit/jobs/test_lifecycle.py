"""The state machines as data."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoenix.contract import JobState
from phoenix.errors import Stage
from phoenix.jobs.lifecycle import (
    JOB_TRANSITIONS,
    TASK_TRANSITIONS,
    IllegalTransition,
    TaskKind,
    TaskState,
    can_claim,
    can_retry_manually,
    check_job_transition,
    check_task_transition,
    find_missing,
    is_finishing,
    is_unblocked,
    parse_stage,
    retry_delay_s,
)


def test_every_state_says_what_may_follow() -> None:
    assert set(JOB_TRANSITIONS) == set(JobState)
    assert set(TASK_TRANSITIONS) == set(TaskState)


@pytest.mark.parametrize("state", [state for state in JobState if state.is_terminal])
def test_an_ended_job_can_only_be_queued_again(state: JobState) -> None:
    assert JOB_TRANSITIONS[state] <= {JobState.QUEUED, JobState.HELD}


def test_a_job_that_succeeded_stays_so() -> None:
    with pytest.raises(IllegalTransition, match="a job cannot go from succeeded to canceled"):
        check_job_transition(JobState.SUCCEEDED, JobState.CANCELED)


def test_a_clip_that_is_done_stays_done() -> None:
    with pytest.raises(IllegalTransition, match="a task cannot go from succeeded to ready"):
        check_task_transition(TaskState.SUCCEEDED, TaskState.READY)


def test_a_job_can_be_retried_manually_once_it_has_ended_without_success() -> None:
    retriable = {state for state in JobState if can_retry_manually(state)}

    assert retriable == {JobState.FAILED, JobState.CANCELED, JobState.EXPIRED}


def test_only_segments_may_start_once_a_job_has_succeeded() -> None:
    late = {(state, kind) for state in JobState for kind in TaskKind if state.is_terminal and can_claim(state, kind)}

    assert late == {(JobState.SUCCEEDED, TaskKind.SEGMENT)}
    assert all(can_claim(JobState.RUNNING, kind) for kind in TaskKind)


def test_every_state_can_be_reached() -> None:
    reached = {JobState.QUEUED}
    for _ in JobState:
        reached |= {after for state in reached for after in JOB_TRANSITIONS[state]}

    assert reached == set(JobState)


@dataclass(frozen=True)
class Part:
    position: int
    state: TaskState
    prerequisites: Sequence[int] = ()


DONE, RUNNING = Part(0, TaskState.SUCCEEDED), Part(1, TaskState.RUNNING)


def test_a_task_without_prerequisites_waits_for_nothing() -> None:
    assert is_unblocked(Part(2, TaskState.BLOCKED), [DONE, RUNNING])


def test_a_task_waits_for_its_own_prerequisites_alone() -> None:
    assert is_unblocked(Part(2, TaskState.BLOCKED, [0]), [DONE, RUNNING])
    assert not is_unblocked(Part(2, TaskState.BLOCKED, [0, 1]), [DONE, RUNNING])


@pytest.mark.parametrize("state", [state for state in TaskState if state is not TaskState.SUCCEEDED])
def test_only_a_success_satisfies_a_prerequisite(state: TaskState) -> None:
    assert find_missing(Part(1, TaskState.BLOCKED, [0]), [Part(0, state)]) == [0]


@given(st.integers(1, 60), st.floats(0, 0.999))
def test_the_back_off_grows_and_is_bounded(failures: int, jitter: float) -> None:
    delay_s = retry_delay_s(failures, first_s=2, jitter=jitter)

    assert 2 <= delay_s <= 375
    assert retry_delay_s(failures + 1, first_s=2, jitter=jitter) >= delay_s


def test_the_back_off_starts_with_the_first_delay_and_doubles_up_to_five_minutes() -> None:
    delays_s = [retry_delay_s(failures, first_s=2, jitter=0) for failures in range(1, 11)]

    assert delays_s == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_the_back_off_is_spread_by_up_to_a_quarter() -> None:
    assert [retry_delay_s(1, first_s=2, jitter=jitter) for jitter in (0.5, 1)] == [2.25, 2.5]


def test_a_task_that_has_not_failed_waits_no_longer_than_after_one_failure() -> None:
    assert retry_delay_s(0, first_s=2, jitter=0) == 2


@pytest.mark.parametrize(
    ("kind", "reported", "stage"),
    [
        (TaskKind.RENDER, "denoise", Stage.DENOISE),
        (TaskKind.RENDER, None, Stage.LOAD),
        (TaskKind.ASSEMBLE, "of a newer version", Stage.ASSEMBLE),
        (TaskKind.SOUNDTRACK, None, Stage.SOUNDTRACK),
        (TaskKind.SEGMENT, None, Stage.ENCODE),
    ],
)
def test_without_a_report_that_can_be_read_an_attempt_is_in_its_first_stage(
    kind: TaskKind, reported: str | None, stage: Stage
) -> None:
    assert parse_stage(kind, reported) is stage


def test_only_clips_finish_without_a_slot() -> None:
    finishing = {(kind, stage) for kind in TaskKind for stage in Stage if is_finishing(kind, stage)}

    stages = (Stage.POSTPROCESS, Stage.ENCODE, Stage.UPLOAD)
    assert finishing == {(TaskKind.RENDER, stage) for stage in stages}
    assert not is_finishing(TaskKind.RENDER, None)


def test_nothing_of_a_held_job_may_start() -> None:
    assert not any(can_claim(JobState.HELD, kind) for kind in TaskKind)
