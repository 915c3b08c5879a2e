"""Each check of the fault suite finds what it is there for: a clean history, with one thing wrong in it."""

from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime, timedelta

import pytest

from faults.checker import ALWAYS, ENDED, check_always, check_edits, check_ended, files_without_rows
from faults.history import History, StoredFile
from phoenix.contract import ArtifactKind, JobState
from phoenix.jobs.lifecycle import AttemptEndState, TaskKind, TaskState
from phoenix.jobs.tables import ArtifactRow, AttemptRow, EventRow, JobRow, TaskRow
from phoenix.jobs.webhooks.tables import DeliveryState, WebhookDeliveryRow

START = datetime(2026, 1, 1, tzinfo=UTC)
CLIP, FILM = "jobs/job_1/clip/2/clip.mp4", "jobs/job_1/film/1/output.mp4"


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def task(task_id: str, kind: TaskKind, position: int, attempt: int, artifact_id: str) -> TaskRow:
    return TaskRow(
        id=task_id,
        job_id="job_1",
        kind=kind,
        position=position,
        queue="gpu",
        state=TaskState.SUCCEEDED,
        attempt=attempt,
        artifact_id=artifact_id,
        waiting_since=START,
        eligible_at=START,
    )


def attempt(task_id: str, number: int, began_s: float, outcome: AttemptEndState | None) -> AttemptRow:
    return AttemptRow(
        task_id=task_id,
        number=number,
        worker_id="wrk_1",
        started_at=at(began_s),
        ended_at=None if outcome is None else at(began_s + 1),
        outcome=outcome,
    )


def artifact(artifact_id: str, key: str) -> ArtifactRow:
    return ArtifactRow(
        id=artifact_id,
        owner_id="anonymous",
        kind=ArtifactKind.CLIP,
        job_id="job_1",
        key=key,
        media_type="video/mp4",
        size_bytes=3,
        sha256="abc",
        created_at=START,
    )


def event(seq: int, kind: str) -> EventRow:
    return EventRow(job_id="job_1", seq=seq, type=kind, at=START, data={})


def delivery(seq: int) -> WebhookDeliveryRow:
    return WebhookDeliveryRow(
        id=f"whd_{seq}",
        job_id="job_1",
        seq=seq,
        owner_id="anonymous",
        url="https://example.com/hook",
        target="https://example.com",
        type="job.succeeded",
        payload={},
        state=DeliveryState.SUCCEEDED,
        next_at=START,
        created_at=START,
    )


def clean() -> History:
    """A clip that was lost once and then rendered, and its film; tried again by hand in between, and both ends told."""
    job = JobRow(
        id="job_1",
        owner_id="anonymous",
        kind="reel",
        state=JobState.SUCCEEDED,
        request={},
        options={"webhook": {"url": "https://example.com/hook", "events": None}},
        output_artifact_id="art_film",
        last_seq=5,
        created_at=START,
        queued_at=START,
        run_timeout_s=60,
    )
    clip = task("clip", TaskKind.RENDER, 0, 2, "art_clip")
    clip.finished_at = at(3)
    film = task("film", TaskKind.ASSEMBLE, 1, 1, "art_film")
    film.prerequisites = [0]
    kinds = ("job.queued", "job.started", "job.failed", "job.queued", "job.succeeded")
    return History(
        jobs=[job],
        tasks=[clip, film],
        attempts=[
            attempt("clip", 1, 0, AttemptEndState.CRASHED),
            attempt("clip", 2, 2, AttemptEndState.SUCCEEDED),
            attempt("film", 1, 4, AttemptEndState.SUCCEEDED),
        ],
        events=[event(seq, kind) for seq, kind in enumerate(kinds, start=1)],
        artifacts=[artifact("art_clip", CLIP), artifact("art_film", FILM)],
        deliveries=[delivery(3), delivery(5)],
        accepted=frozenset({"job_1"}),
        files={CLIP: StoredFile(3, "abc"), FILM: StoredFile(3, "abc")},
    )


def lose_an_event(history: History) -> None:
    del history.events[1]


def repeat_an_event(history: History) -> None:
    history.events.append(event(5, "job.succeeded"))


def end_twice(history: History) -> None:
    history.events[3].type = "job.canceled"


def go_on_after_the_end(history: History) -> None:
    history.events[3].type = "clip.started"


def open_twice(history: History) -> None:
    history.events[2].type = "job.queued"


def end_without_an_event(history: History) -> None:
    history.events[4].type = "job.assembling"


def end_otherwise_than_published(history: History) -> None:
    history.events[4].type = "job.failed"


def skip_an_attempt(history: History) -> None:
    del history.attempts[0]


def run_two_attempts(history: History) -> None:
    history.attempts[0].outcome = history.attempts[0].ended_at = None


def overlap_two_attempts(history: History) -> None:
    history.attempts[0].ended_at = at(3)


def begin_before_the_wait(history: History) -> None:
    history.tasks[0].started_at = at(-1)


def wait_less_than_nothing(history: History) -> None:
    history.tasks[0].timings = {"queue_s": -1.075}


def succeed_twice(history: History) -> None:
    history.attempts[0].outcome = AttemptEndState.SUCCEEDED


def run_on_after_success(history: History) -> None:
    succeed_twice(history)
    history.attempts[1].outcome = AttemptEndState.CRASHED


def publish_a_lost_attempt(history: History) -> None:
    history.artifacts[0].key = CLIP.replace("/2/", "/1/")


def publish_without_a_task(history: History) -> None:
    history.artifacts.append(artifact("art_stray", CLIP.replace("/2/", "/1/")))


def show_a_result_of_nothing(history: History) -> None:
    history.tasks[0].state = TaskState.FAILED


def try_what_was_reused(history: History) -> None:
    history.tasks[0].is_reused = True


def reuse_a_film(history: History) -> None:
    history.tasks[1].is_reused, history.tasks[1].attempt = True, 0


def succeed_without_a_clip(history: History) -> None:
    history.tasks[0].state = TaskState.CANCELED


def show_another_film(history: History) -> None:
    history.jobs[0].output_artifact_id = "art_clip"


def assemble_twice(history: History) -> None:
    history.tasks.append(task("film2", TaskKind.ASSEMBLE, 2, 0, ""))


def start_before_the_clip(history: History) -> None:
    history.tasks[0].state = TaskState.RUNNING


def render_beside_the_clip(history: History) -> None:
    history.attempts[2].started_at = at(2.5)


def wait_for_nothing(history: History) -> None:
    history.tasks[1].state = TaskState.BLOCKED


def leave_a_task_open(history: History) -> None:
    history.tasks[0].state = TaskState.READY


def get_stuck(history: History) -> None:
    history.jobs[0].state = JobState.RUNNING


def stay_ending(history: History) -> None:
    history.jobs[0].ending = JobState.CANCELED


def lose_a_webhook(history: History) -> None:
    del history.deliveries[0]


def send_a_webhook_twice(history: History) -> None:
    history.deliveries.append(delivery(5))


def send_what_nobody_asked_for(history: History) -> None:
    history.jobs[0].options = {}


BREAKS: dict[str, list[Callable[[History], None]]] = {
    "event numbers have no gap": [lose_an_event, repeat_an_event],
    "one terminal event per opening": [end_twice, go_on_after_the_end, open_twice, end_without_an_event],
    "the log ends as the job did": [end_otherwise_than_published],
    "attempts are numbered from one": [skip_an_attempt],
    "one attempt at a time": [run_two_attempts, overlap_two_attempts],
    "no wait is negative": [begin_before_the_wait, wait_less_than_nothing],
    "nothing succeeds twice": [succeed_twice, run_on_after_success],
    "results are of the winning attempt": [publish_a_lost_attempt, publish_without_a_task, show_a_result_of_nothing],
    "reused clips are not tried": [try_what_was_reused, reuse_a_film],
    "a job succeeds whole": [succeed_without_a_clip, show_another_film],
    "assembled once": [assemble_twice],
    "prerequisites come first": [start_before_the_clip, render_beside_the_clip, wait_for_nothing],
    "a job ends with its tasks": [leave_a_task_open],
    "something moves every open job": [get_stuck],
    "one webhook per event asked for": [lose_a_webhook, send_a_webhook_twice, send_what_nobody_asked_for],
    "every job ends": [get_stuck, stay_ending],
}


@pytest.mark.parametrize(
    ("rule", "break_it"), [(rule, break_it) for rule, breaks in BREAKS.items() for break_it in breaks]
)
def test_a_broken_promise_is_found(rule: str, break_it: Callable[[History], None]) -> None:
    history = deepcopy(clean())

    break_it(history)

    assert rule in {finding.rule for finding in check_ended(history)}


def test_every_check_is_shown_to_bite() -> None:
    assert set(BREAKS) == {*ALWAYS, *ENDED}


def test_a_clean_history_has_no_findings() -> None:
    assert check_ended(clean()) == []


def test_work_under_way_is_no_finding_before_every_job_has_ended() -> None:
    history = clean()
    history.jobs[0].state, history.jobs[0].output_artifact_id = JobState.RUNNING, None
    history.tasks[1].state, history.tasks[1].artifact_id = TaskState.RUNNING, None
    history.attempts[2].outcome = history.attempts[2].ended_at = None
    del history.artifacts[1], history.events[4], history.deliveries[1]
    history.jobs[0].last_seq = 4

    assert check_always(history) == []
    assert [finding.rule for finding in check_ended(history)] == ["every job ends"]


def test_a_reused_clip_is_no_finding() -> None:
    history = clean()
    del history.attempts[:2]
    history.tasks[0].is_reused, history.tasks[0].attempt = True, 0
    history.artifacts[0].key = CLIP.replace("job_1", "job_0")

    assert check_always(history) == []


@pytest.mark.parametrize(
    ("is_reused", "state", "findings"),
    [
        (True, TaskState.SUCCEEDED, 0),
        (False, TaskState.SUCCEEDED, 1),
        (False, TaskState.FAILED, 0),
    ],
)
def test_an_edit_that_renders_what_its_original_had_is_found(is_reused: bool, state: TaskState, findings: int) -> None:
    history = clean()
    history.tasks[0].content_key, history.tasks[0].state = "key", state
    edited = history.jobs[0].model_copy(update={"id": "job_2", "edited_from": "job_1", "created_at": at(9)})
    clip = history.tasks[0].model_copy(update={"id": "clip2", "job_id": "job_2", "is_reused": is_reused})

    found = check_edits(History(jobs=[*history.jobs, edited], tasks=[*history.tasks, clip]))

    assert len(found) == findings


@pytest.mark.parametrize(("owner", "shares_file"), [("anonymous", False), ("key_other", True)])
def test_a_shared_file_that_counts_twice_or_has_two_owners_is_found(owner: str, shares_file: bool) -> None:
    history = clean()
    other = artifact("art_other", CLIP)
    other.owner_id, other.job_id, other.shares_file = owner, "job_2", shares_file
    history.artifacts.append(other)

    assert [finding.rule for finding in check_always(history)] == ["a shared file counts once"]


def test_an_accepted_job_that_is_gone_is_found() -> None:
    history = History(jobs=(), accepted=frozenset({"job_1"}))

    assert [finding.rule for finding in check_ended(history)] == ["accepted is kept"]


@pytest.mark.parametrize("stored", [{}, {CLIP: StoredFile(2, "abc")}, {CLIP: StoredFile(3, "abd")}])
def test_bytes_that_are_missing_or_wrong_are_found(stored: dict[str, StoredFile]) -> None:
    history = clean()
    files = {FILM: StoredFile(3, "abc"), **stored}

    findings = check_ended(History(**{**vars(history), "files": files}))

    assert [(finding.rule, finding.subject) for finding in findings] == [("bytes are there", "art_clip")]


def test_files_of_a_lost_attempt_are_not_findings() -> None:
    history = clean()
    lost = CLIP.replace("/2/", "/1/")
    thumbnail = CLIP.replace("clip.mp4", "thumbnail.jpg")
    extra = {lost: StoredFile(3, "x"), thumbnail: StoredFile(1, "y")}

    with_more = History(**{**vars(history), "files": {**(history.files or {}), **extra}})

    assert files_without_rows(with_more) == [lost]
    assert check_ended(with_more) == []
