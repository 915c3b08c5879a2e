"""What a job waits for, by its next unclaimed task and the queue of that task."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from phoenix.contract import JobState, PauseKind, WaitingCode
from phoenix.errors import FailureCode, Stage
from phoenix.jobs.lifecycle import TaskKind, TaskState
from phoenix.jobs.repository import FullJob
from phoenix.jobs.scheduling.durations import NO_DURATIONS
from phoenix.jobs.scheduling.fair_queue import InsertionIndex
from phoenix.jobs.scheduling.pauses import NO_PAUSES, Pauses
from phoenix.jobs.scheduling.queue_snapshots import QueueSnapshot
from phoenix.jobs.scheduling.waiting_reasons import explain_claimed_wait, explain_wait, find_next_unclaimed
from phoenix.jobs.scheduling.workers import QueueWorkers, workers_of_queue
from phoenix.jobs.tables import JobRow, PauseRow, TaskRow, WorkerRow
from phoenix.storage.reserve import Shortage

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SERVED = QueueWorkers(slots=1, models=frozenset({"animatic"}))


def make_job(state: JobState = JobState.RUNNING) -> JobRow:
    return JobRow(
        id="job_1",
        owner_id="key_a",
        kind="reel",
        state=state,
        model="animatic",
        request={},
        created_at=NOW,
        queued_at=NOW,
        run_timeout_s=60,
    )


def make_task(
    position: int = 0, state: TaskState = TaskState.READY, kind: TaskKind = TaskKind.RENDER, *, later_s: float = 0
) -> TaskRow:
    return TaskRow(
        id=f"task_{position}",
        job_id="job_1",
        kind=kind,
        position=position,
        queue="gpu" if kind is TaskKind.RENDER else "media",
        state=state,
        waiting_since=NOW,
        eligible_at=NOW + timedelta(seconds=later_s),
    )


def make_snapshot(
    workers: QueueWorkers = SERVED,
    *,
    queue: str = "gpu",
    running: int = 0,
    in_flight: Mapping[str, int] | None = None,
    pauses: Pauses = NO_PAUSES,
) -> QueueSnapshot:
    index = InsertionIndex([], {})
    return QueueSnapshot(queue, index, running, 0.0, workers, NO_DURATIONS, in_flight or {}, NOW, pauses)


def make_pauses(*subjects: tuple[PauseKind, str], reason: str | None = None) -> Pauses:
    return Pauses(
        {
            (kind, name): PauseRow(kind=kind, name=name, reason=reason, created_at=NOW, created_by="key_admin")
            for kind, name in subjects
        }
    )


def find_position(*tasks: TaskRow, state: JobState = JobState.RUNNING) -> int | None:
    found = find_next_unclaimed(FullJob(make_job(state), tasks, None))
    return None if found is None else found.position


@pytest.mark.parametrize(
    ("prerequisites", "said"),
    [
        ([0], "Clip 1 waits for clip 0, which it continues."),
        ([2], "Clip 1 waits for its narration, which its lips say."),
        ([0, 2], "Clip 1 waits for clip 0, which it continues."),
    ],
)
def test_a_clip_says_what_it_waits_for(prerequisites: list[int], said: str) -> None:
    task = make_task(1, TaskState.BLOCKED)
    task.prerequisites = prerequisites
    reason = explain_wait(make_job(), task, make_snapshot(), jobs_ahead=0, clips_per_key=0)
    assert (reason.code, reason.detail) == (WaitingCode.BLOCKED_BY_CLIPS, said)


@pytest.mark.parametrize("state", [TaskState.READY, TaskState.RUNNING])
def test_a_job_does_not_wait_for_its_segments(state: TaskState) -> None:
    assert find_position(make_task(-1, state, TaskKind.SEGMENT), make_task(0)) == 0


def explain(task: TaskRow, snapshot: QueueSnapshot, *, jobs_ahead: int = 0, limit: int = 0) -> tuple[WaitingCode, str]:
    reason = explain_wait(make_job(), task, snapshot, jobs_ahead=jobs_ahead, clips_per_key=limit)
    return reason.code, reason.detail


def test_a_job_of_which_a_task_runs_waits_for_nothing() -> None:
    assert find_position(make_task(0, TaskState.RUNNING), make_task(1)) is None


@pytest.mark.parametrize("state", [state for state in JobState if state.is_terminal])
def test_a_job_that_has_ended_waits_for_nothing(state: JobState) -> None:
    assert find_position(make_task(0, TaskState.FAILED), make_task(1), state=state) is None


def test_the_first_clip_is_next() -> None:
    assert find_position(make_task(0), make_task(1)) == 0


def test_after_the_clips_the_assembly_is_next() -> None:
    assert find_position(make_task(0, TaskState.SUCCEEDED), make_task(1, kind=TaskKind.ASSEMBLE)) == 1


def test_a_clip_in_a_back_off_comes_after_the_others() -> None:
    assert find_position(make_task(0, later_s=60), make_task(1)) == 1


def test_a_blocked_task_is_next_only_if_no_task_is_ready() -> None:
    blocked = make_task(1, TaskState.BLOCKED, TaskKind.ASSEMBLE)
    assert [find_position(make_task(0), blocked), find_position(blocked)] == [0, 1]


def test_a_blocked_task_waits_for_the_clips() -> None:
    task = make_task(1, TaskState.BLOCKED, TaskKind.ASSEMBLE)
    assert explain(task, make_snapshot(queue="media"))[0] is WaitingCode.BLOCKED_BY_CLIPS


def test_a_blocked_clip_waits_for_the_clip_that_it_continues() -> None:
    task = make_task(3, TaskState.BLOCKED)
    task.prerequisites = [2]
    expected = "Clip 3 waits for clip 2, which it continues."
    assert explain(task, make_snapshot()) == (WaitingCode.BLOCKED_BY_CLIPS, expected)


def test_a_queue_whose_workers_are_all_drained_says_so() -> None:
    workers = QueueWorkers(has_drained=True)
    expected = "Each worker of the queue gpu is drained. `phoenix workers resume` lets one claim again."
    assert explain(make_task(), make_snapshot(workers)) == (WaitingCode.NO_WORKER_FOR_QUEUE, expected)


def test_a_model_whose_workers_are_all_drained_says_so() -> None:
    workers = QueueWorkers(1, frozenset(), has_drained=True, drained_models=frozenset({"animatic"}))
    code, detail = explain(make_task(), make_snapshot(workers))
    assert (code, detail.split(".")[0]) == (
        WaitingCode.NO_WORKER_FOR_MODEL,
        "Each worker that serves the model animatic is drained",
    )


def test_without_a_worker_of_the_queue_the_command_is_named() -> None:
    code, detail = explain(make_task(1, kind=TaskKind.ASSEMBLE), make_snapshot(QueueWorkers(), queue="media"))
    assert code is WaitingCode.NO_WORKER_FOR_QUEUE
    assert "`phoenix worker --queue media` starts one." in detail


@pytest.mark.parametrize(("queue", "needs"), [("gpu", "weights"), ("remote", "key of its service")])
def test_without_a_worker_of_the_model_the_command_and_what_it_needs_are_named(queue: str, needs: str) -> None:
    code, detail = explain(make_task(), make_snapshot(QueueWorkers(1, frozenset({"other"})), queue=queue))
    assert code is WaitingCode.NO_WORKER_FOR_MODEL
    assert "animatic" in detail
    assert f"`phoenix worker --queue {queue}` serves it" in detail
    assert needs in detail


def test_an_assembly_needs_no_worker_of_the_model() -> None:
    task = make_task(1, kind=TaskKind.ASSEMBLE)
    assert explain(task, make_snapshot(QueueWorkers(slots=1), queue="media"))[0] is WaitingCode.AHEAD


def test_a_worker_that_drains_serves_nothing() -> None:
    row = WorkerRow(
        id="wrk_1", host="a", pid=1, device="cpu", slots={"gpu": 0}, serves=["animatic"], started_at=NOW, seen_at=NOW,
        expires_at=NOW,
    )  # fmt: skip
    assert workers_of_queue([row], "gpu") == QueueWorkers()


def test_a_ready_task_waits_for_space_while_a_disk_is_below_its_reserve() -> None:
    shortage = Shortage("storage", 3_000_000, 500_000_000)
    reason = explain_wait(make_job(), make_task(), make_snapshot(), jobs_ahead=0, clips_per_key=0, shortage=shortage)
    assert reason.code is WaitingCode.STORAGE_FULL
    assert reason.detail.startswith("The disk of the storage has 3 MB free, and 500 MB are its reserve.")


@pytest.mark.parametrize(("later_s", "code"), [(60, WaitingCode.STORAGE_FULL), (0, WaitingCode.AHEAD)])
def test_a_clip_that_found_no_space_waits_for_space_until_its_next_attempt(later_s: float, code: WaitingCode) -> None:
    task = make_task(later_s=later_s)
    task.error = {"code": FailureCode.STORAGE_FULL, "message": "the store has no space left"}
    assert explain(task, make_snapshot())[0] is code


def test_a_failed_clip_waits_until_the_end_of_its_back_off() -> None:
    task = make_task(later_s=60)
    task.failures = 1
    code, detail = explain(task, make_snapshot())
    assert (code, "2026-01-01T12:01:00Z" in detail) == (WaitingCode.RETRY_AT, True)


@pytest.mark.parametrize(("failures", "later_s"), [(0, 60), (1, 0)])
def test_a_snoozed_clip_and_a_clip_after_its_back_off_wait_for_their_turn(failures: int, later_s: float) -> None:
    task = make_task(later_s=later_s)
    task.failures = failures
    assert explain(task, make_snapshot())[0] is WaitingCode.AHEAD


@pytest.mark.parametrize(("count", "limit", "is_held_back"), [(1, 1, True), (2, 1, True), (1, 2, False), (1, 0, False)])
def test_the_clips_of_an_owner_at_its_limit_wait(count: int, limit: int, is_held_back: bool) -> None:
    code, _ = explain(make_task(), make_snapshot(in_flight={"key_a": count}), limit=limit)
    assert (code is WaitingCode.AT_YOUR_LIMIT) == is_held_back


def test_a_dispatched_clip_is_not_held_back_by_the_limit_that_it_counts_for() -> None:
    task = make_task()
    task.dispatched_at = NOW
    assert explain(task, make_snapshot(in_flight={"key_a": 1}), limit=1)[0] is WaitingCode.AHEAD


@pytest.mark.parametrize(
    ("jobs_ahead", "running", "detail"),
    [
        (1, 1, "1 job will start before this one."),
        (2, 1, "2 jobs will start before this one."),
        (0, 1, "It is next: every slot is busy."),
        (0, 0, "A worker is about to start it."),
    ],
)
def test_a_job_whose_turn_comes_says_what_is_ahead(jobs_ahead: int, running: int, detail: str) -> None:
    found = explain(make_task(), make_snapshot(running=running), jobs_ahead=jobs_ahead)
    assert found == (WaitingCode.AHEAD, detail)


def explain_claimed(*stages: Stage | None, kind: TaskKind = TaskKind.RENDER) -> WaitingCode | None:
    """Of a job with a claimed task in each of these stages, and a task that nobody has claimed."""
    claimed = [make_task(position, TaskState.RUNNING, kind) for position, _ in enumerate(stages)]
    for task, stage in zip(claimed, stages, strict=True):
        task.stage = stage
    reason = explain_claimed_wait(FullJob(make_job(), [*claimed, make_task(len(stages))], None))
    return None if reason is None else reason.code


@pytest.mark.parametrize(
    ("stages", "code"),
    [
        ([Stage.LOAD], WaitingCode.LOADING_MODEL),
        ([Stage.QUEUE], WaitingCode.NO_ROOM_ON_DEVICE),
        ([Stage.QUEUE, Stage.LOAD], WaitingCode.LOADING_MODEL),
        ([Stage.QUEUE, Stage.DENOISE], None),
        ([Stage.LOAD, Stage.UPLOAD], None),
        ([None], None),
        ([], None),
    ],
)
def test_a_job_waits_on_its_workers_if_every_claimed_clip_loads_or_queues(
    stages: list[Stage | None], code: WaitingCode | None
) -> None:
    assert explain_claimed(*stages) == code


def test_an_assembly_never_waits_for_a_model() -> None:
    assert explain_claimed(Stage.LOAD, kind=TaskKind.ASSEMBLE) is None


def test_the_model_that_is_loaded_is_named() -> None:
    task = make_task(0, TaskState.RUNNING)
    task.stage = Stage.LOAD
    reason = explain_claimed_wait(FullJob(make_job(), [task], None))
    assert reason is not None
    assert "the model animatic" in reason.detail


@pytest.mark.parametrize(
    ("subject", "detail"),
    [
        ((PauseKind.QUEUE, "gpu"), "The queue gpu is paused: new drivers."),
        ((PauseKind.MODEL, "animatic"), "The model animatic is paused: new drivers."),
        ((PauseKind.KEY, "key_a"), "Your key is paused: new drivers."),
    ],
)
def test_a_clip_waits_for_the_end_of_a_pause(subject: tuple[PauseKind, str], detail: str) -> None:
    snapshot = make_snapshot(QueueWorkers(), pauses=make_pauses(subject, reason="new drivers"))

    reason = explain_wait(make_job(), make_task(), snapshot, jobs_ahead=0, clips_per_key=0)

    assert (reason.code, reason.detail) == (WaitingCode.PAUSED, detail)


def test_a_pause_without_a_reason_says_who_ends_it() -> None:
    snapshot = make_snapshot(pauses=make_pauses((PauseKind.QUEUE, "gpu")))

    reason = explain_wait(make_job(), make_task(), snapshot, jobs_ahead=0, clips_per_key=0)

    assert reason.detail == "The queue gpu is paused, until the operator resumes it."


@pytest.mark.parametrize(
    "subject",
    [(PauseKind.QUEUE, "media"), (PauseKind.MODEL, "wan"), (PauseKind.KEY, "key_b"), (PauseKind.MODEL, "gpu")],
)
def test_the_pause_of_something_else_holds_no_clip_back(subject: tuple[PauseKind, str]) -> None:
    snapshot = make_snapshot(pauses=make_pauses(subject))

    assert explain_wait(make_job(), make_task(), snapshot, jobs_ahead=0, clips_per_key=0).code is WaitingCode.AHEAD


def test_the_pause_of_a_model_lets_its_reels_be_assembled() -> None:
    pauses = make_pauses((PauseKind.MODEL, "animatic"))

    assert pauses.find(make_job(), make_task(1, kind=TaskKind.ASSEMBLE)) is None
