"""The progress of a job."""

from datetime import UTC, datetime

import pytest

from fixtures.event_examples import clip_progress
from phoenix.jobs.lifecycle import TaskKind, TaskState
from phoenix.jobs.progress import MEDIA_SHARE, job_progress, recorded_progress, weigh
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


def test_a_lip_sync_is_done_with_its_only_part() -> None:
    assert job_progress([make_task(TaskKind.LIPSYNC, 0, TaskState.READY)]) == 0
    assert job_progress([make_task(TaskKind.LIPSYNC, 0, TaskState.SUCCEEDED)]) == 1


def test_the_parts_of_a_lip_sync_count_like_clips() -> None:
    tasks = [
        make_task(TaskKind.LIPSYNC, 0, TaskState.SUCCEEDED),
        make_task(TaskKind.LIPSYNC, 1, TaskState.RUNNING),
        make_task(TaskKind.ASSEMBLE, 2, TaskState.BLOCKED),
    ]
    assert job_progress(tasks) == pytest.approx((1 - MEDIA_SHARE) / 2)


def test_a_stitch_is_all_media_work() -> None:
    assert job_progress([make_task(TaskKind.ASSEMBLE, 0, TaskState.READY)]) == 0


def test_fractions_without_weight_count_for_nothing() -> None:
    assert weigh([1.0], [0.0]) == 0


def recorded(task: TaskRow, step: int, *, attempt: int = 1, job_progress: float) -> TaskRow:
    task.progress = clip_progress(
        step, clip_index=task.position, attempt=attempt, job_progress=job_progress
    ).model_dump(mode="json")
    return task


def test_what_a_running_attempt_recorded_counts() -> None:
    clip = recorded(make_task(TaskKind.RENDER, 0, TaskState.RUNNING), 4, job_progress=0.3)
    clip.attempt = 1

    found = recorded_progress([clip, make_task(TaskKind.ASSEMBLE, 1, TaskState.BLOCKED)])

    assert found.job_progress == 0.3
    assert found.clips == {0: clip_progress(4, job_progress=0.3)}


def test_what_an_earlier_attempt_recorded_counts_for_the_job_only() -> None:
    clip = recorded(make_task(TaskKind.RENDER, 0, TaskState.RUNNING), 4, job_progress=0.3)
    clip.attempt = 2

    found = recorded_progress([clip])

    assert (found.job_progress, found.clips) == (0.3, {})


def test_clips_that_are_done_count_for_more_than_what_was_recorded_before() -> None:
    clip = recorded(make_task(TaskKind.RENDER, 0, TaskState.SUCCEEDED), 4, job_progress=0.3)
    found = recorded_progress([clip, make_task(TaskKind.ASSEMBLE, 1, TaskState.BLOCKED)])
    assert found.job_progress == pytest.approx(1 - MEDIA_SHARE)


def test_what_a_newer_version_recorded_is_skipped() -> None:
    clip = make_task(TaskKind.RENDER, 0, TaskState.RUNNING)
    clip.progress = {"type": "clip.progress.2", "done": "half"}
    assert recorded_progress([clip]).clips == {}
