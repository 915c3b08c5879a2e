"""The output for the events of a job, on a terminal and elsewhere."""

import io

import pytest
from rich.console import Console

from fixtures.event_examples import (
    AT,
    JOB_ID,
    a_clip,
    a_job,
    clip_failed,
    clip_preview,
    clip_progress,
    clip_retrying,
    clip_started,
    clip_succeeded,
    job_canceled,
    job_started,
    queue_moved,
)
from phoenix.cli.following import MANY_CLIPS, BarDisplay, LineDisplay, describe
from phoenix.client import Event
from phoenix.contract import ClipState, JobSnapshot, JobState, WaitingCode, WaitingReason

NO_WORKER = WaitingReason(code=WaitingCode.NO_WORKER_FOR_QUEUE, detail="No worker takes it.")


def snapshot(clips: int) -> JobSnapshot:
    job = a_job(clips=[a_clip(index) for index in range(clips)], progress=0.25)
    return JobSnapshot(job_id=JOB_ID, seq=1, at=AT, job=job)


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (snapshot(0), f"{JOB_ID} running, 0 clips, 25% done"),
        (queue_moved(3), "position 3 in the queue"),
        (queue_moved(0, reason=NO_WORKER), "position 0 in the queue: No worker takes it."),
        (queue_moved(None, reason=NO_WORKER), "waiting: No worker takes it."),
        (queue_moved(None), None),
        (job_started(2), "started"),
        (clip_started(3, clip_index=1), "clip 1: started"),
        (clip_started(3, attempt=2), "clip 0: started, attempt 2"),
        (clip_retrying(4), "clip 0: retry in 1 s, no memory"),
        (clip_failed(4), "clip 0: failed, no memory"),
        (clip_succeeded(5), "clip 0: done"),
        (job_canceled(6), "canceled"),
        (clip_preview(), None),
        (clip_progress(4), None),
    ],
)
def test_an_event_is_one_line_or_none(event: Event, line: str | None):
    assert describe(event) == line


def test_a_snapshot_also_shows_the_clips_that_run_already():
    assert describe(snapshot(2)) == f"{JOB_ID} running, 2 clips, 25% done\nclip 0: started\nclip 1: started"


def shown(kind: type[LineDisplay] | type[BarDisplay], *events: Event) -> str:
    written = io.StringIO()
    display = kind(Console(file=written, force_terminal=kind is BarDisplay, width=120, height=50, markup=False))
    with display:
        for event in events:
            display.show(event)
    return written.getvalue()


def test_progress_in_a_pipe_is_shown_once_per_tenth():
    steps = [clip_progress(step, job_progress=step / 100) for step in range(1, 25)]
    assert shown(LineDisplay, *steps).splitlines() == ["10% done", "20% done"]


@pytest.mark.parametrize("kind", [LineDisplay, BarDisplay])
def test_a_wait_that_lasts_is_explained_once(kind: type[LineDisplay] | type[BarDisplay]):
    queued = a_job(state=JobState.QUEUED, clips=[])
    waiting = queued.model_copy(update={"queue_position": 0, "waiting_reason": NO_WORKER})
    moved = queue_moved(0, reason=NO_WORKER)
    text = shown(kind, JobSnapshot(job_id=JOB_ID, seq=1, at=AT, job=waiting), moved, moved)
    assert text.count(NO_WORKER.detail) == 1


@pytest.mark.parametrize("kind", [LineDisplay, BarDisplay])
def test_a_wait_that_comes_again_is_explained_again(kind: type[LineDisplay] | type[BarDisplay]):
    moved, started = queue_moved(None, reason=NO_WORKER), queue_moved(None)
    text = shown(kind, snapshot(1), moved, started, moved)
    assert text.count(NO_WORKER.detail) == 2


def test_a_terminal_shows_a_bar_per_clip():
    text = shown(BarDisplay, snapshot(2), clip_started(2), clip_progress(50, job_progress=0.5))
    assert "  1 p" in text
    assert "  2 p" in text
    assert "step 50/100" in text


def test_of_many_clips_only_running_clips_have_a_bar():
    clips = [a_clip(index, state=ClipState.QUEUED) for index in range(MANY_CLIPS + 1)]
    many = JobSnapshot(job_id=JOB_ID, seq=1, at=AT, job=a_job(clips=clips))
    text = shown(BarDisplay, many, clip_started(2, clip_index=3))
    assert "  4 p" in text
    assert "  5 p" not in text
