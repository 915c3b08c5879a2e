"""The progress of a job."""

from datetime import UTC, datetime

import pytest

from phoenix.jobs.lifecycle import TaskKind, TaskState
from phoenix.jobs.progress import MEDIA_SHARE, job_progress, weigh
from phoenix.jobs.tables import TaskRow


def make_task(kind: TaskKind, position: int, state: TaskState, weight: float = 1.0) -> TaskRow:
    return TaskRow(
        id=f"task_{position}",
        job_id="job",
        kind=kind,
        position=position,
        queue="gpu",
        state=state,
        weight=weight,
        waiting_since=datetime(2026, 1, 1, tzinfo=UTC),
        eligible_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_a_long_clip_counts_for_more() -> None:
    tasks = [
        make_task(TaskKind.RENDER, 0, TaskState.SUCCEEDED, weight=3),
        make_task(TaskKind.RENDER, 1, TaskState.READY, weight=1),
        make_task(TaskKind.ASSEMBLE, 2, TaskState.BLOCKED),
    ]

    assert job_progress(tasks) == pytest.approx((1 - MEDIA_SHARE) * 0.75)


def test_a_running_clip_may_be_lost_and_does_not_count_yet() -> None:
    tasks = [make_task(TaskKind.RENDER, 0, TaskState.RUNNING), make_task(TaskKind.ASSEMBLE, 1, TaskState.BLOCKED)]

    assert job_progress(tasks) == 0


def test_a_finished_job_is_whole() -> None:
    tasks = [
        make_task(TaskKind.RENDER, 0, TaskState.SUCCEEDED),
        make_task(TaskKind.ASSEMBLE, 1, TaskState.SUCCEEDED),
    ]

    assert job_progress(tasks) == pytest.approx(1.0)


def test_a_stitch_is_all_media_work() -> None:
    assert job_progress([make_task(TaskKind.ASSEMBLE, 0, TaskState.READY)]) == 0


def test_fractions_without_weight_count_for_nothing() -> None:
    assert weigh([1.0], [0.0]) == 0
