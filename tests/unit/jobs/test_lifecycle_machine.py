"""Any order of everything that can happen to jobs, on a real SQLite file, judged by the fault suite's checker."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import update
from sqlmodel import SQLModel, col

from builders import FROM_PREVIOUS, LEASE_S, OWNER, RULE, add_file, make_failure, make_reel, make_result
from faults.checker import check_always, check_ended, describe
from faults.history import History, read_history
from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.request_validation import AdmissionLimits, admit_reel
from phoenix.contract import (
    CheckCode,
    ClipCheck,
    EditRequest,
    JobOptions,
    JobState,
    ReelRequest,
    ResolvedReel,
    ResolvedRequest,
    ResolvedSoundtrack,
    ResolvedStitch,
    SoundtrackRequest,
)
from phoenix.db.columns import db_now
from phoenix.db.engine import database_url, open_engine
from phoenix.db.unit_of_work import Database, UnitOfWork
from phoenix.errors import Conflict, NotFound
from phoenix.jobs.cancel_and_retry import approve, cancel, retry
from phoenix.jobs.execution.claim import Claim, claim, renew_leases
from phoenix.jobs.execution.recovery import (
    end_overdue,
    list_expired_leases,
    list_overdue,
    list_running_on,
    recover_expired_lease,
    recover_from_lost_worker,
)
from phoenix.jobs.execution.task_completion import fail, release, stop, succeed
from phoenix.jobs.lifecycle import LeaseLost, TaskState
from phoenix.jobs.repository import FullJob
from phoenix.jobs.retention import delete_job
from phoenix.jobs.reuse import NO_EARLIER_WORK, EarlierWork
from phoenix.jobs.scheduling.dispatch import snooze
from phoenix.jobs.submission.drafts import Draft, draft_of, submit_held
from phoenix.jobs.submission.edits import edit_reel
from phoenix.jobs.submission.submit import submit
from phoenix.jobs.tables import JobRow, TaskRow
from phoenix.settings import DatabaseSettings, LimitSettings

Answer = TypeVar("Answer")
DispatchMessage = tuple[str, int]
FEW_EXAMPLES = 20

VIDEOS = ["art_1", "art_2"]
SOUND = {"url": "https://example.com/a.mp3"}
REQUESTS: Mapping[str, ResolvedRequest] = {
    "one clip": make_reel("a"),
    "two clips": make_reel("a", "b"),
    "three clips with sound": make_reel("a", "b", "c", soundtrack=SOUND),
    "a chain": make_reel(clips=[{"prompt": "a"}, FROM_PREVIOUS, FROM_PREVIOUS]),
    "a chain beside a clip": make_reel(clips=[{"prompt": "a"}, {"prompt": "b"}, FROM_PREVIOUS], soundtrack=SOUND),
    "a chain that is checked": make_reel(clips=[{"prompt": "a"}, FROM_PREVIOUS], on_failed_check="reroll"),
    "takes": make_reel(clips=[{"prompt": "a", "takes": 2}, FROM_PREVIOUS]),
    "a soundtrack": ResolvedSoundtrack(source=SoundtrackRequest.model_validate(SOUND)),
    "a stitch": ResolvedStitch(artifact_ids=VIDEOS, transition=make_reel().transition),
}
WORKERS = st.sampled_from(["wrk_1", "wrk_2"])


TAKE: Mapping[str, Any] = {"clips": [{"op": "take", "index": 0, "take": 1}]}
CHANGES: Sequence[Mapping[str, Any]] = [
    TAKE,
    {"title": "new"},
    {"clips": [{"op": "reroll", "index": 0, "seed": 8}]},
    {"clips": [{"op": "insert", "index": 1, "clip": {"prompt": "new", "seed": 1}}]},
    {"clips": [{"op": "replace", "index": 0, "clip": {"prompt": "new", "seed": 1}}]},
]


def edit_once(reel: ResolvedReel, change: Mapping[str, Any]) -> ResolvedReel:
    catalog = load_catalog()
    edited = edit_reel(reel, EditRequest.model_validate(change), catalog, draw_seed=lambda: 8)
    limits = AdmissionLimits()
    return admit_reel(edited.request, catalog, default_model="animatic", limits=limits, draw_seed=lambda: 8)


HELD = ["one clip", "a chain beside a clip", "takes"]


async def hold(uow: UnitOfWork, reel: ResolvedReel, earlier: EarlierWork) -> FullJob:
    request = ReelRequest.model_validate({"clips": [{"prompt": "a"}], "hold": "draft"})
    asked = draft_of(request, reel, load_catalog())
    resolved = admit_reel(
        asked, load_catalog(), default_model="animatic", limits=AdmissionLimits(), draw_seed=lambda: 8
    )
    submit_one = partial(submit, uow, owner_id=OWNER, request_id=None, limits=LimitSettings())
    return await submit_held(submit_one, reel, request, Draft(asked, resolved, NO_EARLIER_WORK), earlier=earlier)


async def add_videos(uow: UnitOfWork) -> None:
    """What a stitch is made of."""
    for video in VIDEOS:
        await add_file(uow, video, make_result().info)


async def succeed_with_a_file(uow: UnitOfWork, held: Claim) -> None:
    await succeed(uow, held, make_result(f"jobs/{held.job_id}/{held.task_id}/{held.attempt}/clip.mp4"))


async def fail_a_check(uow: UnitOfWork, held: Claim) -> None:
    black = ClipCheck(code=CheckCode.BLACK, message="Every frame is black.")
    await succeed(uow, held, make_result(f"jobs/{held.job_id}/{held.task_id}/{held.attempt}/clip.mp4", checks=(black,)))


async def fail_retriably(uow: UnitOfWork, held: Claim) -> None:
    await fail(uow, held, make_failure(retriable=True), replace(RULE, first_delay_s=60), jitter=0)


async def fail_for_good(uow: UnitOfWork, held: Claim) -> None:
    await fail(uow, held, make_failure(), RULE, jitter=0)


ENDINGS = (succeed_with_a_file, fail_a_check, fail_retriably, fail_for_good, stop, release)


class JobsMachine(RuleBasedStateMachine):
    """Owners, workers, lease reapers and the clock do what they like, with claims and messages however stale."""

    jobs: Bundle[str] = Bundle("jobs")
    messages: Bundle[DispatchMessage] = Bundle("messages")
    claims: Bundle[Claim] = Bundle("claims")

    def __init__(self, template: Path) -> None:
        super().__init__()
        self._folder = Path(tempfile.mkdtemp())
        shutil.copy(template, self._folder / "phoenix.db")
        self._runner = asyncio.Runner()
        one = DatabaseSettings(pool_size=1)
        self._database = Database(open_engine(database_url(one, self._folder), one))
        self._accepted: set[str] = set()
        self._write(add_videos)
        self._seen = self._read()

    @initialize(target=jobs, name=st.sampled_from(sorted(REQUESTS)))
    def begin(self, name: str) -> str:
        return self._submit(name)

    @rule(target=jobs, name=st.sampled_from(sorted(REQUESTS)), reuses=st.booleans())
    def submit(self, name: str, reuses: bool) -> str:
        return self._submit(name, reusable=range(3) if reuses else ())

    @rule(target=jobs, name=st.sampled_from(HELD), reuses=st.booleans())
    def hold(self, name: str, reuses: bool) -> Any:
        """A reel that waits for its draft, which is of the same model here."""
        reel = REQUESTS[name]
        assert isinstance(reel, ResolvedReel)
        job = self._write(lambda uow: hold(uow, reel, EarlierWork(range(3) if reuses else ())))
        self._accepted |= {job.row.id, str(job.row.draft_job_id)}
        return multiple(job.row.id, str(job.row.draft_job_id))

    @rule(target=jobs, job_id=jobs, change=st.sampled_from(CHANGES))
    def edit(self, job_id: str, change: Mapping[str, Any]) -> Any:
        """A new version of a reel that has ended, which reuses what there is of it."""
        job = next((job for job in self._seen.jobs if job.id == job_id), None)
        reel = job.parse_request() if job else None
        if job is None or not job.state.is_terminal or not isinstance(reel, ResolvedReel):
            return multiple()
        if change is TAKE and reel.clips[0].takes == 1:
            return multiple()
        return self._submit_request(edit_once(reel, change), EarlierWork(range(9), job_id))

    @rule(target=messages, place=st.integers(0, 9))
    def ring(self, place: int) -> Any:
        """A message is on its way; it may arrive late, twice, or never."""
        ready = self._tasks(TaskState.READY)
        return (ready[place % len(ready)].id, ready[place % len(ready)].dispatch_seq) if ready else multiple()

    @rule(target=claims, message=messages, worker_id=WORKERS)
    def answer(self, message: DispatchMessage, worker_id: str) -> Any:
        is_fresh = message in [(task.id, task.dispatch_seq) for task in self._tasks(TaskState.READY)]
        claimed = self._claim(message, worker_id)
        assert (claimed is not None) == is_fresh
        return claimed or multiple()

    @rule(target=claims, place=st.integers(0, 9), worker_id=WORKERS)
    def take(self, place: int, worker_id: str) -> Any:
        """A message that is answered at once."""
        ready = self._tasks(TaskState.READY)
        return self._claim_task(ready[place % len(ready)], worker_id) if ready else multiple()

    @rule(message=messages)
    def skip(self, message: DispatchMessage) -> None:
        """A worker that cannot do the task leaves it to others, with a message however stale."""
        waits = {task.id: task.waiting_since for task in self._seen.tasks}
        self._write(lambda uow: snooze(uow, *message, for_s=10))
        assert {task.id: task.waiting_since for task in self._read().tasks} == waits

    @rule(held=claims, end=st.sampled_from(ENDINGS))
    def end(self, held: Claim, end: Callable[[UnitOfWork, Claim], Awaitable[None]]) -> None:
        if self._holds(held):
            self._write(lambda uow: end(uow, held))
        else:
            self._changes_nothing(LeaseLost, lambda uow: end(uow, held))

    @rule(held=claims)
    def renew(self, held: Claim) -> None:
        renewed = self._write(
            lambda uow: renew_leases(uow, worker_id=held.worker_id, task_ids=[held.task_id], lease_s=LEASE_S)
        )
        assert ((held.task_id, held.attempt) in renewed) == self._holds(held)

    @rule(held=claims)
    def lapse(self, held: Claim) -> None:
        """Whoever has the task now has not renewed for too long, but nobody has noticed."""
        if held.task_id in [task.id for task in self._tasks(TaskState.RUNNING)]:
            self._set(TaskRow, TaskRow.id, held.task_id, lease_until=db_now(-1))

    @rule()
    def reap(self) -> None:
        self._runner.run(self._sweep())

    @rule(held=claims)
    def reap_with_stale_reads(self, held: Claim) -> None:
        """A second lease reaper acts on what it read before the first one was there."""
        self._write(lambda uow: recover_expired_lease(uow, held.job_id, held.task_id, RULE))
        self._write(lambda uow: end_overdue(uow, held.job_id))

    @rule(worker_id=WORKERS)
    def kill(self, worker_id: str) -> None:
        """A worker dies; its supervisor hands back what it held."""
        self._runner.run(self._hand_back(worker_id))

    @rule(job_id=jobs)
    def cancel(self, job_id: str) -> None:
        self._ask(job_id, lambda uow: cancel(uow, job_id, owner_id=OWNER), is_allowed=lambda _: True)

    @rule(job_id=jobs)
    def approve(self, job_id: str) -> None:
        self._ask(
            job_id,
            lambda uow: approve(uow, job_id, owner_id=OWNER, default_queue_timeout_s=60),
            is_allowed=lambda job: (
                job.draft_job_id is not None
                and (job.approved_at is not None or (job.state is JobState.HELD and job.queue_deadline_at is not None))
            ),
        )

    @rule(job_id=jobs)
    def retry(self, job_id: str) -> None:
        self._ask(
            job_id,
            lambda uow: retry(uow, job_id, owner_id=OWNER, queue_timeout_s=60),
            is_allowed=self._can_be_retried,
        )

    def _can_be_retried(self, job: JobRow) -> bool:
        needs_draft = job.draft_job_id is not None and job.approved_at is None
        has_draft = job.draft_job_id in {other.id for other in self._seen.jobs}
        return job.state.is_terminal and job.state is not JobState.SUCCEEDED and (has_draft or not needs_draft)

    @rule(job_id=jobs)
    def delete(self, job_id: str) -> None:
        is_gone = self._ask(
            job_id, lambda uow: delete_job(uow, job_id, owner_id=OWNER), is_allowed=self._can_be_deleted
        )
        if is_gone:
            self._accepted.discard(job_id)

    def _can_be_deleted(self, job: JobRow) -> bool:
        waiting = {other.draft_job_id for other in self._seen.jobs if other.state is JobState.HELD}
        return job.state.is_terminal and job.id not in waiting

    @rule(job_id=jobs, deadline=st.sampled_from(["queue_deadline_at", "run_deadline_at"]))
    def run_late(self, job_id: str, deadline: str) -> None:
        """Sets a deadline that the job does not have yet, too: it can only be early."""
        self._set(JobRow, JobRow.id, job_id, **{deadline: db_now(-1)})

    @invariant()
    def nothing_is_broken(self) -> None:
        before, self._seen = self._seen, self._read()
        assert not (findings := check_always(self._seen)), describe(findings)
        self._nothing_final_has_changed(before)

    def _nothing_final_has_changed(self, before: History) -> None:
        kept = {job.id for job in self._seen.jobs}
        succeeded = [task for task in before.tasks if task.state is TaskState.SUCCEEDED and task.job_id in kept]
        assert is_part(succeeded, self._seen.tasks), "a task that had succeeded was changed"
        recorded = [event for event in before.events if event.job_id in kept]
        assert is_part(recorded, self._seen.events), "the log was rewritten"
        alive = {task.id for task in self._seen.tasks}
        ended = [attempt for attempt in before.attempts if attempt.outcome is not None and attempt.task_id in alive]
        assert is_part(ended, self._seen.attempts), "an attempt that had ended was changed"

    def teardown(self) -> None:
        try:
            self._runner.run(self._finish_everything())
            self.nothing_is_broken()
            assert not (findings := check_ended(self._seen)), describe(findings)
            self._every_ending_can_be_mended()
        finally:
            self._runner.run(self._database.close())
            self._runner.close()
            shutil.rmtree(self._folder)

    def _every_ending_can_be_mended(self) -> None:
        for job in self._seen.jobs:
            if self._can_be_retried(job):
                self.retry(job.id)
        lost = {job.id for job in self._seen.jobs if job.state.is_terminal and not self._can_be_retried(job)}
        self._runner.run(self._finish_everything())
        self.nothing_is_broken()
        assert {job.state for job in self._seen.jobs if job.id not in lost} <= {JobState.SUCCEEDED}

    async def _finish_everything(self) -> None:
        """Every worker is gone, and a new one does what is left."""
        for worker_id in ("wrk_1", "wrk_2"):
            await self._hand_back(worker_id)
        await self._finish_ready()
        held = [job for job in (await self._history()).jobs if job.state is JobState.HELD]
        for job in held:
            async with self._database.write() as uow:
                await approve(uow, job.id, owner_id=OWNER, default_queue_timeout_s=60)
        await self._finish_ready()

    async def _finish_ready(self) -> None:
        while ready := [task for task in (await self._history()).tasks if task.state is TaskState.READY]:
            async with self._database.write() as uow:
                claimed = await claim(uow, ready[0].id, ready[0].dispatch_seq, worker_id="wrk_last", lease_s=LEASE_S)
                assert claimed is not None
            async with self._database.write() as uow:
                await succeed_with_a_file(uow, claimed)

    async def _hand_back(self, worker_id: str) -> None:
        async with self._database.read() as session:
            held = await list_running_on(session, worker_id)
        for job_id, task_id in held:
            async with self._database.write() as uow:
                assert await recover_from_lost_worker(uow, job_id, task_id, worker_id, RULE)

    async def _sweep(self) -> None:
        async with self._database.read() as session:
            expired, overdue = await list_expired_leases(session), await list_overdue(session)
        for job_id, task_id in expired:
            async with self._database.write() as uow:
                assert await recover_expired_lease(uow, job_id, task_id, RULE)
        for job_id in overdue:
            async with self._database.write() as uow:
                await end_overdue(uow, job_id)

    def _submit(self, name: str, reusable: Collection[int] = ()) -> str:
        return self._submit_request(REQUESTS[name], EarlierWork(reusable))

    def _submit_request(self, request: ResolvedRequest, earlier: EarlierWork) -> str:
        options, limits = JobOptions(), LimitSettings()
        job = self._write(
            lambda uow: submit(uow, request, options, owner_id=OWNER, request_id=None, limits=limits, earlier=earlier)
        )
        self._accepted.add(job.row.id)
        return job.row.id

    def _claim(self, message: DispatchMessage, worker_id: str) -> Claim | None:
        task_id, dispatch = message
        return self._write(lambda uow: claim(uow, task_id, dispatch, worker_id=worker_id, lease_s=LEASE_S))

    def _claim_task(self, task: TaskRow, worker_id: str) -> Claim:
        claimed = self._claim((task.id, task.dispatch_seq), worker_id)
        assert claimed is not None
        assert claimed.attempt == task.attempt + 1
        return claimed

    def _holds(self, held: Claim) -> bool:
        running = {(task.id, task.attempt, task.lease_owner) for task in self._tasks(TaskState.RUNNING)}
        return (held.task_id, held.attempt, held.worker_id) in running

    def _tasks(self, state: TaskState) -> list[TaskRow]:
        return [task for task in self._seen.tasks if task.state is state]

    def _ask(
        self,
        job_id: str,
        use: Callable[[UnitOfWork], Awaitable[object]],
        *,
        is_allowed: Callable[[JobRow], bool],
    ) -> bool:
        """Something that an owner asks for; a refusal must be the right one, and without effect."""
        job = next((job for job in self._seen.jobs if job.id == job_id), None)
        if job is not None and is_allowed(job):
            self._write(use)
            return True
        self._changes_nothing(NotFound if job is None else Conflict, use)
        return False

    def _changes_nothing(self, error: type[Exception], use: Callable[[UnitOfWork], Awaitable[object]]) -> None:
        with pytest.raises(error):
            self._write(use)
        assert dumped(self._read()) == dumped(self._seen)

    def _write(self, use: Callable[[UnitOfWork], Awaitable[Answer]]) -> Answer:
        async def write() -> Answer:
            async with self._database.write() as uow:
                return await use(uow)

        return self._runner.run(write())

    def _set(self, table: type[SQLModel], key: Any, value: str, **values: Any) -> None:
        self._write(lambda uow: uow.session.execute(update(table).where(col(key) == value).values(**values)))

    def _read(self) -> History:
        return self._runner.run(self._history())

    def _history(self) -> Coroutine[Any, Any, History]:
        return read_history(self._database, frozenset(self._accepted))


def is_part(rows: list[Any], whole: Any) -> bool:
    there = {repr(row.model_dump()) for row in whole}
    return all(repr(row.model_dump()) in there for row in rows)


def dumped(history: History) -> list[str]:
    rows = (*history.jobs, *history.tasks, *history.attempts, *history.events, *history.artifacts)
    return sorted(repr(row.model_dump()) for row in rows)


def test_no_order_of_events_loses_sticks_or_doubles_a_job(sqlite_template: Path) -> None:
    examples = int(os.environ.get("MACHINE_EXAMPLES", FEW_EXAMPLES))
    run_state_machine_as_test(
        lambda: JobsMachine(sqlite_template),
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            # A test of every day draws the same each time; `make faults` looks for what nobody has seen.
            derandomize=examples <= FEW_EXAMPLES or "CI" in os.environ,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
