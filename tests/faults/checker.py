"""Proves from a history that nothing accepted was lost, stuck or done twice. Pure: it looks at data, not at processes.

`check_always` holds at every moment, also in the middle of a fault; `check_ended` once nothing is under way.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from faults.history import History
from phoenix.contract import TERMINAL_EVENT_TYPES, WEBHOOK_EVENT_TYPES, JobState
from phoenix.jobs.lifecycle import AttemptEndState, TaskKind, TaskState, find_missing
from phoenix.jobs.tables import ArtifactRow, AttemptRow, EventRow, JobRow, TaskRow
from phoenix.jobs.webhooks.tables import WebhookDeliveryRow


@dataclass(frozen=True)
class Finding:
    """One broken promise: which, of what, and how it shows."""

    rule: str
    subject: str
    detail: str


@dataclass(frozen=True)
class TaskStory:
    row: TaskRow
    attempts: Sequence[AttemptRow]
    """In order of their numbers."""


@dataclass(frozen=True)
class JobStory:
    """A job with all that belongs to it, each kind in order."""

    row: JobRow
    tasks: Sequence[TaskStory]
    events: Sequence[EventRow]
    artifacts: Sequence[ArtifactRow]
    deliveries: Sequence[WebhookDeliveryRow]


Check = Callable[[JobStory], Iterator[str]]


def check_always(history: History) -> list[Finding]:
    shared = [*_check_shared(history), *_check_drafts(history)]
    return [*_check_known(history), *_check_jobs(history, ALWAYS), *shared]


def check_ended(history: History) -> list[Finding]:
    jobs = _check_jobs(history, {**ALWAYS, **ENDED})
    shared = [*_check_shared(history), *_check_drafts(history)]
    return [*_check_known(history), *jobs, *shared, *_check_files(history)]


def check_edits(history: History) -> list[Finding]:
    """An edit renders no clip that its original had already. For runs in which no job is deleted."""
    findings: list[Finding] = []
    for job in history.jobs:
        of_original = [task for task in history.tasks if task.job_id == job.edited_from and task.content_key]
        done = {task.content_key for task in of_original if task.finished_at and task.finished_at < job.created_at}
        done -= {task.content_key for task in of_original if task.state is not TaskState.SUCCEEDED}
        again = [task for task in history.tasks if task.job_id == job.id and task.content_key in done]
        findings += [
            Finding("edits reuse", job.id, f"clip {task.position} was rendered again")
            for task in again
            if not task.is_reused
        ]
    return findings


def files_without_rows(history: History) -> list[str]:
    """Keys that nothing refers to. No broken promise: what a lost attempt uploaded is cleared away in time."""
    kept = {artifact.key.rpartition("/")[0] for artifact in history.artifacts}
    return [key for key in history.files or {} if key.rpartition("/")[0] not in kept]


def build_stories(history: History) -> list[JobStory]:
    return [
        JobStory(
            job,
            [
                TaskStory(task, sorted((a for a in history.attempts if a.task_id == task.id), key=lambda a: a.number))
                for task in sorted((t for t in history.tasks if t.job_id == job.id), key=lambda t: t.position)
            ],
            sorted((event for event in history.events if event.job_id == job.id), key=lambda event: event.seq),
            [artifact for artifact in history.artifacts if artifact.job_id == job.id],
            [delivery for delivery in history.deliveries if delivery.job_id == job.id],
        )
        for job in history.jobs
    ]


def _check_jobs(history: History, checks: Mapping[str, Check]) -> Iterator[Finding]:
    for story in build_stories(history):
        for rule, check in checks.items():
            yield from (Finding(rule, story.row.id, detail) for detail in check(story))


def _check_known(history: History) -> Iterator[Finding]:
    for job_id in history.accepted - {job.id for job in history.jobs}:
        yield Finding("accepted is kept", job_id, "it was answered with 202 and is not there")


def _check_shared(history: History) -> Iterator[Finding]:
    """Several jobs of one owner may have one file, and its bytes count once."""
    holders: dict[str, list[ArtifactRow]] = {}
    for artifact in history.artifacts:
        holders.setdefault(artifact.key, []).append(artifact)
    for key, rows in holders.items():
        owners, counted = {row.owner_id for row in rows}, [row.id for row in rows if not row.shares_file]
        if len(owners) != 1 or len(counted) != 1:
            yield Finding("a shared file counts once", key, f"it is of {sorted(owners)} and counted for {counted}")


def _check_drafts(history: History) -> Iterator[Finding]:
    """A held job waits for a draft that is under way, or for an approval with a deadline."""
    jobs = {job.id: job for job in history.jobs}
    for job in history.jobs:
        draft = jobs.get(job.draft_job_id or "")
        started = [task.id for task in history.tasks if task.job_id == job.id and task.attempt]
        if job.draft_job_id is None:
            continue
        if job.approved_at is None and started:
            yield Finding("an approval comes first", job.id, f"tasks {started} have begun without it")
        if job.state is JobState.HELD and draft is None:
            yield Finding("a held job has a draft", job.id, f"{job.draft_job_id} is not there")
        is_asked = job.queue_deadline_at is not None
        if job.state is JobState.HELD and draft is not None and draft.state.is_terminal and not is_asked:
            yield Finding("a draft that has ended moves its job", job.id, f"{draft.id} is {draft.state}")


def _check_files(history: History) -> Iterator[Finding]:
    if history.files is None:
        return
    for artifact in history.artifacts:
        file = history.files.get(artifact.key)
        if file is None:
            yield Finding("bytes are there", artifact.id, f"{artifact.key} is missing")
        elif (file.size_bytes, file.sha256) != (artifact.size_bytes, artifact.sha256):
            yield Finding("bytes are there", artifact.id, f"{artifact.key} holds something else")


def _numbers_have_no_gap(story: JobStory) -> Iterator[str]:
    numbers = [event.seq for event in story.events]
    if numbers != list(range(1, story.row.last_seq + 1)):
        yield f"events {numbers}, last number {story.row.last_seq}"


def _one_terminal_event_per_opening(story: JobStory) -> Iterator[str]:
    is_open = False
    for event in story.events:
        if event.type == "job.queued":
            if is_open:
                yield f"queued again at {event.seq} while open"
            is_open = True
        elif not is_open:
            yield f"{event.type} at {event.seq} after the end"
        elif event.type in TERMINAL_EVENT_TYPES:
            is_open = False
    if story.row.state.is_terminal == is_open:
        yield f"the job is {story.row.state}, its log is {'open' if is_open else 'closed'}"


def _the_log_ends_as_the_job_did(story: JobStory) -> Iterator[str]:
    last = story.events[-1].type if story.events else "nothing"
    if story.row.state.is_terminal and last != f"job.{story.row.state}":
        yield f"the job is {story.row.state}, its last event {last}"


def _attempts_are_numbered_from_one(story: JobStory) -> Iterator[str]:
    for task in story.tasks:
        numbers = [attempt.number for attempt in task.attempts]
        if numbers != list(range(1, task.row.attempt + 1)):
            yield f"task {task.row.id} is at attempt {task.row.attempt}, its history is {numbers}"


def _one_attempt_runs_at_a_time(story: JobStory) -> Iterator[str]:
    for task in story.tasks:
        running = [attempt.number for attempt in task.attempts if attempt.outcome is None]
        expected = [task.row.attempt] if task.row.state is TaskState.RUNNING else []
        if running != expected:
            yield f"task {task.row.id} is {task.row.state}, its attempts {running} have not ended"
        for earlier, later in pairwise(task.attempts):
            if earlier.ended_at is not None and later.started_at < earlier.ended_at:
                yield f"task {task.row.id}: attempt {later.number} began before {earlier.number} had ended"


def _no_wait_is_negative(story: JobStory) -> Iterator[str]:
    for task in story.tasks:
        waited_s = task.row.timings.get("queue_s") or 0
        began = task.row.started_at if task.row.state in (TaskState.RUNNING, TaskState.SUCCEEDED) else None
        if waited_s < 0 or (began is not None and began < task.row.waiting_since):
            yield f"task {task.row.id} waited since {task.row.waiting_since}, began at {began}, waited {waited_s} s"


def _nothing_succeeds_twice(story: JobStory) -> Iterator[str]:
    for task in story.tasks:
        winners = [attempt.number for attempt in task.attempts if attempt.outcome is AttemptEndState.SUCCEEDED]
        is_rendered = task.row.state is TaskState.SUCCEEDED and not task.row.is_reused
        expected = [task.row.attempt] if is_rendered else []
        if winners != expected:
            yield f"task {task.row.id} is {task.row.state} at {task.row.attempt}; attempts {winners} succeeded"


def _results_are_of_the_winning_attempt(story: JobStory) -> Iterator[str]:
    keys = {artifact.id: artifact.key for artifact in story.artifacts}
    for task in story.tasks:
        is_done = task.row.state is TaskState.SUCCEEDED
        key = keys.get(task.row.artifact_id or "")
        if not is_done and task.row.artifact_id is not None:
            yield f"task {task.row.id} is {task.row.state} and has a result"
        elif is_done and (key is None or not (task.row.is_reused or _is_output_of(task.row, key))):
            yield f"task {task.row.id} succeeded at attempt {task.row.attempt}; its result is {key}"
    done = [task.row for task in story.tasks if task.row.state is TaskState.SUCCEEDED]
    for artifact_id, key in keys.items():
        if not any(task.artifact_id == artifact_id or _is_output_of(task, key) for task in done):
            yield f"{key} is of no attempt that succeeded"


def _is_output_of(task: TaskRow, key: str) -> bool:
    return f"/{task.id}/{task.attempt}/" in f"/{key}"


def _a_reused_clip_was_not_tried(story: JobStory) -> Iterator[str]:
    for task in story.tasks:
        row = task.row
        can_be_reused = row.kind in (TaskKind.RENDER, TaskKind.NARRATE)
        if row.is_reused and (row.state is not TaskState.SUCCEEDED or row.attempt or not can_be_reused):
            yield f"{row.kind} task {row.id} is reused, {row.state}, at attempt {row.attempt}"


def _a_job_succeeds_whole(story: JobStory) -> Iterator[str]:
    is_done = story.row.state is JobState.SUCCEEDED
    # A viewer may ask for the segments after the end.
    needed = [task.row for task in story.tasks if task.row.kind.decides_job]
    missing = [row.id for row in needed if row.state is not TaskState.SUCCEEDED]
    if is_done and missing:
        yield f"it succeeded without {missing}"
    output = story.tasks[-1].row.artifact_id if is_done and story.tasks else None
    if story.row.output_artifact_id != output:
        yield f"it is {story.row.state}, its output {story.row.output_artifact_id} instead of {output}"


def _nothing_starts_before_its_prerequisites(story: JobStory) -> Iterator[str]:
    tasks = [task.row for task in story.tasks]
    for task in story.tasks:
        missing = find_missing(task.row, tasks)
        has_started = task.row.state in (TaskState.READY, TaskState.RUNNING, TaskState.SUCCEEDED, TaskState.FAILED)
        if missing and has_started:
            yield f"task {task.row.id} is {task.row.state} before tasks {missing} have succeeded"
        is_held = story.row.state is JobState.HELD
        if not missing and task.row.state is TaskState.BLOCKED and not is_held:
            yield f"task {task.row.id} is blocked, and waits for nothing"
        before = [other.finished_at for other in tasks if other.position in task.row.prerequisites]
        ready_at = max((finished_at for finished_at in before if finished_at), default=None)
        for attempt in task.attempts:
            if ready_at is not None and attempt.started_at < ready_at:
                yield f"attempt {attempt.number} of task {task.row.id} began before its prerequisites had ended"


def _it_is_assembled_once(story: JobStory) -> Iterator[str]:
    assemblies = [task.row.id for task in story.tasks if task.row.kind is TaskKind.ASSEMBLE]
    if len(assemblies) != (story.row.kind != "soundtrack"):
        yield f"a {story.row.kind} with {len(assemblies)} assemblies"


def _one_webhook_per_event_asked_for(story: JobStory) -> Iterator[str]:
    webhook = story.row.options.get("webhook")
    asked = (webhook["events"] or WEBHOOK_EVENT_TYPES) if webhook else ()
    expected = [event.seq for event in story.events if event.type in asked]
    written = sorted(delivery.seq for delivery in story.deliveries)
    if written != expected:
        yield f"webhooks for events {written} instead of {expected}"


def _the_job_has_ended(story: JobStory) -> Iterator[str]:
    if not story.row.state.is_terminal or story.row.ending is not None:
        yield f"it is {story.row.state}, ending as {story.row.ending}"


def _its_tasks_end_with_it(story: JobStory) -> Iterator[str]:
    for task in story.tasks:
        if story.row.state.is_terminal and not task.row.state.is_terminal:
            yield f"the job is {story.row.state}, task {task.row.id} is {task.row.state}"


def _something_moves_it(story: JobStory) -> Iterator[str]:
    """An open job that nobody works on and nobody could would be stuck until its deadline."""
    states = [task.row.state.value for task in story.tasks]
    movers = {TaskState.RUNNING} if story.row.ending else {TaskState.RUNNING, TaskState.READY}
    if story.row.state is JobState.HELD:
        return
    if not story.row.state.is_terminal and not movers.intersection(states):
        yield f"it is {story.row.state}, ending as {story.row.ending}, with its tasks {states}"


ALWAYS: Mapping[str, Check] = {
    "event numbers have no gap": _numbers_have_no_gap,
    "one terminal event per opening": _one_terminal_event_per_opening,
    "the log ends as the job did": _the_log_ends_as_the_job_did,
    "attempts are numbered from one": _attempts_are_numbered_from_one,
    "one attempt at a time": _one_attempt_runs_at_a_time,
    "no wait is negative": _no_wait_is_negative,
    "nothing succeeds twice": _nothing_succeeds_twice,
    "results are of the winning attempt": _results_are_of_the_winning_attempt,
    "reused clips are not tried": _a_reused_clip_was_not_tried,
    "a job succeeds whole": _a_job_succeeds_whole,
    "prerequisites come first": _nothing_starts_before_its_prerequisites,
    "assembled once": _it_is_assembled_once,
    "a job ends with its tasks": _its_tasks_end_with_it,
    "something moves every open job": _something_moves_it,
    "one webhook per event asked for": _one_webhook_per_event_asked_for,
}
ENDED: Mapping[str, Check] = {
    "every job ends": _the_job_has_ended,
}


def describe(findings: Iterable[Finding]) -> str:
    return "\n".join(f"{finding.rule}: {finding.subject}: {finding.detail}" for finding in findings)
